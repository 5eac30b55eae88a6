/** Datasets: what a user's files become before a model sees them. */
export type { Dataset, DatasetInput, InputKind } from './dataset.ts';
export { type Datasets, openDataset, openDatasets } from './open.ts';
export { vocabularyFiles } from './text/tokenizer.ts';
export { SYNTHETIC_WARNING } from './synthetic.ts';
