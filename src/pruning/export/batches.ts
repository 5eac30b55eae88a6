import type { Dataset } from '../../evaluation/data/index.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';

/** Inputs of one run, and how many of its rows are real samples (fixed batches are filled up). */
export interface FeedBatch {
  feeds: Record<string, HostTensor>;
  samples: number;
}

/** The samples of a data set in batches of at most `size` rows, or of as many as the model insists on. */
export function* sampleBatches(dataset: Dataset, size: number): Generator<FeedBatch> {
  for (const { indices, count } of dataset.batches(null, size)) yield { feeds: dataset.feeds(indices), samples: count };
}
