import { SecateurError, checkSignal } from '../../errors.ts';
import type { Progress } from '../../protocol.ts';
import type { JobContext } from '../process/wire.ts';

export type { JobContext } from '../process/wire.ts';

/** @throws SecateurError 'cancelled' when the job was cancelled; gives messages from the client a chance to arrive. */
export async function checkpoint({ signal }: { signal: AbortSignal }): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  checkSignal(signal);
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

/**
 * Waits for work that is shared with other jobs, but no longer than this job lives: the work itself goes on.
 * @throws SecateurError 'cancelled' as soon as the signal fires
 */
export function unlessCancelled<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = (): void => reject(new SecateurError('cancelled', 'The job was cancelled.'));
    if (signal.aborted) cancel();
    else signal.addEventListener('abort', cancel, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', cancel));
  });
}
