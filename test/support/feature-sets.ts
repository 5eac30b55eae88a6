import { makeDataset, type Dataset } from '../../src/evaluation/data/dataset.ts';
import { standardNormal } from '../../src/math/normal.ts';
import { Rng } from '../../src/math/random.ts';

/**
 * Data whose labels depend on known features: the sets of Chen et al. 2018 (L2X, arXiv 1802.07814) and Yoon et al. 2019
 * (INVASE), as in scripts/golden/features.py, which trained the networks in test/fixtures/features on them.
 */
export interface FeatureSet {
  name: string;
  features: number;
  /** Log-odds of label 0. */
  logOdds(x: ArrayLike<number>): number;
  /** Whether labels are drawn by their probability; else the likelier one is taken. */
  drawn: boolean;
  /** Features that a sample's label depends on. */
  relevant(x: ArrayLike<number>): number[];
}

const product = (x: ArrayLike<number>): number => x[0] * x[1];
const sphere =
  (first: number) =>
  (x: ArrayLike<number>): number =>
    x[first] ** 2 + x[first + 1] ** 2 + x[first + 2] ** 2 + x[first + 3] ** 2 - 4;
const additive =
  (first: number, amplitude: number) =>
  (x: ArrayLike<number>): number =>
    -amplitude * Math.sin(0.2 * x[first]) + Math.abs(x[first + 1]) + x[first + 2] + Math.exp(-x[first + 3]) - 2.4;

/** Always the same features. */
const fixed = (name: string, relevant: number[], logOdds: FeatureSet['logOdds']): FeatureSet => ({
  name,
  features: 10,
  logOdds,
  drawn: false,
  relevant: () => relevant,
});

/** The last feature says which of two functions of others counts. */
const switching = (
  name: string,
  [left, leftFeatures]: [FeatureSet['logOdds'], number[]],
  [right, rightFeatures]: [FeatureSet['logOdds'], number[]],
): FeatureSet => ({
  name,
  features: 11,
  logOdds: (x) => (x[10] < 0 ? left(x) : right(x)),
  drawn: true,
  relevant: (x) => [...(x[10] < 0 ? leftFeatures : rightFeatures), 10],
});

const four = (first: number): number[] => [first, first + 1, first + 2, first + 3];

export const featureSets: Readonly<Record<string, FeatureSet>> = {
  xor: fixed('xor', [0, 1], product),
  'orange-skin': fixed('orange-skin', four(0), sphere(0)),
  'nonlinear-additive': fixed('nonlinear-additive', four(0), additive(0, 100)),
  syn4: switching('syn4', [product, [0, 1]], [sphere(2), four(2)]),
  syn5: switching('syn5', [product, [0, 1]], [additive(6, 10), four(6)]),
  syn6: switching('syn6', [sphere(2), four(2)], [additive(6, 10), four(6)]),
};

/** Samples of a set: standard normal features, labels 0 and 1. */
export function drawFeatureSet(set: FeatureSet, samples: number, seed: number): { x: Float32Array; dataset: Dataset } {
  const rng = Rng.from(seed, set.name);
  const x = new Float32Array(samples * set.features);
  const labels = new Int32Array(samples);
  for (let i = 0; i < samples; i++) {
    const row = x.subarray(i * set.features, (i + 1) * set.features);
    for (let f = 0; f < row.length; f++) row[f] = standardNormal(rng);
    const zero = 1 / (1 + Math.exp(-set.logOdds(row)));
    labels[i] = (set.drawn ? rng.float() : 0.5) < zero ? 0 : 1;
  }
  const dataset = makeDataset({
    path: set.name,
    samples,
    inputs: [{ name: 'x', type: 'float32', kind: 'rows', sampleShape: [set.features], data: x, dataType: 'float32' }],
    labels: { values: labels, perSample: 1, classes: 2 },
    fingerprint: `${set.name}:${samples}:${seed}`,
    synthetic: false,
    warnings: [],
    batchSize: null,
  });
  return { x, dataset };
}

/** Median of the ranks (1: most important) that some features have by their importance. */
export function medianRank(importance: ArrayLike<number>, features: readonly number[]): number {
  const order = Array.from(importance, (_, i) => i).sort((a, b) => importance[b] - importance[a]);
  return median(features.map((f) => order.indexOf(f) + 1));
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
