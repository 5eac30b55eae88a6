/** Importance of input features: `*.features.json`. */
import type { DataRef, DeviceName, MetricName, ModelRef, Reading } from './common.ts';
import type { ShapleyEstimator } from './ranks.ts';

/** What counts as one input feature. */
export type FeatureKind =
  /** A column of a table. */
  | 'columns'
  /** A pixel, all of its colours together; a square of them. */
  | 'pixels'
  | 'patches'
  /** A colour, or another channel. */
  | 'channels'
  /** A row of an image: a line of a depth sensor. */
  | 'rows'
  /** A position in a sequence. */
  | 'tokens';

/** What a feature is when it is closed: its mean over the data, or 0. */
export type FeatureBaseline = 'mean' | 'zero';

/** How Dirichlet shares become gates: s / max(s), or s as it is (as published). */
export type FeatureScaling = 'max-one' | 'simplex';

export interface FeatureScore {
  /** Position among the features: of pixels and patches, row × columns of the grid + column. */
  index: number;
  name: string;
  /** Dirichlet: mean share, all adding up to 1. Shapley: value in the metric's unit, adding up to all − none open. */
  importance: number;
  /** Dirichlet: standard deviation of the share. Shapley: standard error; null where there is none. */
  sd: number | null;
}

/** Where the features of an image lie. */
export interface FeatureGrid {
  /** Of the image, in pixels. */
  height: number;
  width: number;
  /** Side of a patch in pixels, 1 for pixels; patches at the right and lower edge may be smaller. */
  patch: number;
  /** Features in each direction: rows × columns of them. Kind `rows`: columns is 1. */
  rows: number;
  columns: number;
}

/** A small image to lay a heat map over: the sample, or the mean of the data. */
export interface FeaturePicture {
  height: number;
  width: number;
  /** 1 grey, 3 red, green, blue. */
  channels: 1 | 3;
  /** 0…255, row by row, the colours of a pixel side by side; the image's range is stretched to it. */
  pixels: number[];
}

/** Importance of features for a part of the data, or in one model. */
export interface FeatureExplanation {
  /** What it is of: a path of a model, or `label 3`. */
  name: string;
  samples: number;
  /** One per feature, in the order of `index`. */
  features: FeatureScore[];
  /** Parameters of the Dirichlet distribution; null for Shapley values, and where each sample has its own. */
  phi: number[] | null;
  /** The loss (Q-FIT, smaller is better) or the metric (Shapley) with all features as they are, and with all at the baseline. */
  value: { open: number; closed: number };
}

/** Two explanations of the same features, side by side. */
export interface FeatureComparison {
  /** Two models on the same data, or two groups of the data by their labels. */
  of: 'models' | 'labels';
  /** The second; the first is the report itself. */
  other: FeatureExplanation;
  /** KL(Dir(φ first) ‖ Dir(φ second)) and the other way round, in nats; null for Shapley values. */
  divergence: { forward: number; backward: number } | null;
  /** Rank correlation of the importances; null where one of them has all features equal. */
  spearman: number | null;
}

/** `features --json` */
export interface Features extends FeatureExplanation {
  format: 'secateur-features/1';
  model: ModelRef;
  data: DataRef;
  method: 'qfit' | 'shapley';
  /** One φ for all samples; or one for each: of a single sample, or of all by a selector network. */
  mode: 'global' | 'local';
  /** Local mode of one sample: its number in the data. */
  sample?: number;
  /** Input of the model that the features are of. */
  input: string;
  kind: FeatureKind;
  baseline: FeatureBaseline;
  /** Kinds pixels, patches and rows. */
  grid?: FeatureGrid;
  picture?: FeaturePicture;
  /** Kind tokens in the local mode of one sample: the token at each position, by its number where its text is not known. */
  tokens?: string[];
  /** Local mode by a selector network: the mean share of every feature for each sample, as far as they were kept. */
  local?: { sample: number; importance: number[] }[];
  /** What was minimised (Q-FIT: mean over samples, cross-entropy and kl in nats) or played for (Shapley). */
  loss: MetricName;
  output: string;
  reading: Reading;
  /** Q-FIT: how the gradient was estimated. Shapley: the estimator. */
  estimator: 'point' | 'pathwise' | 'score-function' | ShapleyEstimator;
  /** Q-FIT: α₀ of the prior, what a nat of divergence from it costs, and how shares become gates. */
  prior: number | null;
  klWeight: number | null;
  scaling: FeatureScaling | null;
  /** Draws a step (0 in the point form), steps taken, samples a step; Shapley: evaluations as steps. */
  draws: number;
  steps: number;
  batch: number;
  /**
   * Spatially aware selection: features in the order in which they were chosen, and `value` with these open and the others
   * at the baseline.
   */
  selected?: { spread: number; indices: number[]; value: number };
  comparison?: FeatureComparison;
  seed: number;
  device: DeviceName;
  seconds: number;
  /** False when the run was cancelled and holds what was computed by then. */
  complete: boolean;
  warnings: string[];
}
