import { makeDataset, type Dataset } from '../../src/evaluation/data/dataset.ts';
import { numbers } from './build.ts';

/** A data set of one float input `x` with a row per sample. */
export function datasetOf(
  data: Float32Array,
  sampleShape: readonly number[],
  batchSize: number | null = null,
): Dataset {
  const samples = data.length / sampleShape.reduce((a, b) => a * b, 1);
  return makeDataset({
    path: null,
    samples,
    inputs: [{ name: 'x', type: 'float32', kind: 'rows', sampleShape: [...sampleShape], data, dataType: 'float32' }],
    labels: null,
    fingerprint: '',
    synthetic: true,
    warnings: [],
    batchSize,
  });
}

/** The same of seeded random numbers in [−1, 1). */
export function randomDataset(
  samples: number,
  sampleShape: readonly number[],
  batchSize: number | null = null,
): Dataset {
  const next = numbers(5);
  const length = samples * sampleShape.reduce((a, b) => a * b, 1);
  return datasetOf(
    Float32Array.from({ length }, () => next()),
    sampleShape,
    batchSize,
  );
}
