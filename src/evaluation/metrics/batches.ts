import { checkSignal } from '../../errors.ts';
import { elementCount } from '../../runtime/host-tensor.ts';
import type { HostTensor, Session } from '../../runtime/session.ts';
import type { Dataset } from '../data/dataset.ts';

/** Numbers in the inputs of one run, at most: keeps runs short (cancellation) and memory small. */
const BATCH_ELEMENTS = 2 ** 21;
/** Numbers in an output with an answer for every label. */
const OUTPUT_ELEMENTS = 2 ** 24;
const MAX_ROWS = 256;

/** Rows per run that suit the size of a sample and of what the model answers. */
export function batchRows(dataset: Dataset): number {
  const each = dataset.inputs.reduce((sum, i) => sum + (i.kind === 'constant' ? 0 : elementCount(i.sampleShape)), 0);
  const answers = dataset.labelsPerSample * (dataset.classes ?? 1);
  const most = Math.min(BATCH_ELEMENTS / Math.max(1, each), OUTPUT_ELEMENTS / Math.max(1, answers));
  return Math.max(1, Math.min(MAX_ROWS, Math.floor(most)));
}

/**
 * Runs a session over all samples of a dataset, batch by batch, in order. `done` counts the samples of earlier batches;
 * only the first `batch.count` rows of the results belong to samples.
 * @throws SecateurError 'cancelled' between two batches
 */
export async function runBatches(
  session: Session,
  dataset: Dataset,
  fetches: readonly string[],
  signal: AbortSignal | undefined,
  visit: (results: Record<string, HostTensor>, batch: { indices: Int32Array; count: number }, done: number) => void,
): Promise<void> {
  let done = 0;
  for (const batch of dataset.batches(null, batchRows(dataset))) {
    checkSignal(signal);
    visit(await session.run(dataset.feeds(batch.indices), fetches), batch, done);
    done += batch.count;
  }
}
