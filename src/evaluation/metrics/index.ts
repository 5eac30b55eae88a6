/** Metrics: which output is read, how, and what it is worth. */
export { batchRows, runBatches } from './batches.ts';
export { type EvaluateOptions, type Evaluation, evaluateModel, type Measure, sampleMeasure } from './evaluate.ts';
export { layoutOf } from './layout.ts';
export * from './numeric.ts';
export { metricsFor, readOutput, type ReadOutputOptions } from './reading.ts';
export { readingsOf, Reference, type ReferenceOutput, referenceOutputs } from './reference.ts';
