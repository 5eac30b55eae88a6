import { SecateurError } from '../../errors.ts';
import type { Progress } from '../../protocol.ts';
import type { JobContext } from '../process/wire.ts';

export type { JobContext } from '../process/wire.ts';

/** @throws SecateurError 'cancelled' when the job was cancelled; gives messages from the client a chance to arrive. */
export async function checkpoint({ signal }: { signal: AbortSignal }): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  if (signal.aborted) throw new SecateurError('cancelled', 'The job was cancelled.');
}

/** Progress of a part of a job, mapped onto `from` … `to` of the whole. */
export function part(context: JobContext, from: number, to: number): JobContext {
  return {
    signal: context.signal,
    progress: (progress: Progress) =>
      context.progress({
        ...progress,
        fraction: progress.fraction === null ? null : from + (to - from) * progress.fraction,
      }),
  };
}
