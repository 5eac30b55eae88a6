import { checkSignal } from '../../errors.ts';
import type { Dataset } from './dataset.ts';

/** Numbers that are summed in a run, about: 64 MB of float32. */
const NUMBERS_PER_RUN = 16e6;
const MOST_SAMPLES = 256;

/**
 * Runs a model on these samples and adds `weight` times what it gives to sums.
 * @returns how many numbers were summed
 */
export type AddRun = (indices: Int32Array, weight: number) => Promise<number>;

/**
 * Runs over all samples of a data set whose weighted sums hold each sample once, wherever in a tensor its numbers lie.
 * Without a fixed batch the first sample is run alone: it tells how many numbers a sample has, which shapes with symbols
 * do not. A fixed batch that is filled up with its last sample is set right by a run of nothing but that sample, which
 * takes off what the filling added.
 * @throws SecateurError 'cancelled' between two runs
 */
export async function sumOverSamples(dataset: Dataset, add: AddRun, signal?: AbortSignal): Promise<void> {
  const checked: AddRun = (indices, weight) => {
    checkSignal(signal);
    return add(indices, weight);
  };
  if (dataset.batchSize === null) {
    const numbers = await checked(Int32Array.of(0), 1);
    const size = Math.min(MOST_SAMPLES, Math.floor(NUMBERS_PER_RUN / Math.max(1, numbers)));
    const rest = Int32Array.from({ length: dataset.samples - 1 }, (_, i) => i + 1);
    for (const { indices } of dataset.batches(rest, size)) await checked(indices, 1);
    return;
  }
  for (const { indices, count } of dataset.batches(null, dataset.batchSize)) {
    await checked(indices, 1);
    const filled = indices.length - count;
    if (filled > 0) await checked(new Int32Array(indices.length).fill(indices[count]), -filled / indices.length);
  }
}
