/** Names and references that all of the JSON shares. */

export type UnitKind =
  | 'channel'
  | 'neuron'
  | 'head'
  | 'head-dim'
  | 'width'
  | 'hidden'
  | 'block'
  | 'expert'
  | 'exit'
  | 'feature'
  /** A whole group, where ranks are of layers. */
  | 'layer';

export type MetricName = 'accuracy' | 'cross-entropy' | 'kl' | 'mse' | 'agreement';

export type DeviceName = 'cpu' | 'webgpu' | 'cuda' | 'dml' | 'coreml';

export type MethodName =
  | 'shapley'
  | 'oracle'
  | 'leave-one-out'
  | 'dirichlet'
  | 'taylor'
  | 'taylor-squared'
  | 'taylor-signed'
  | 'fisher'
  | 'magnitude'
  | 'magnitude-l2'
  | 'activation'
  | 'wanda'
  | 'obs'
  | 'random';

export interface ModelRef {
  path: string;
  sha256: string;
  bytes: number;
}

export interface DataRef {
  /** Path as given, or `synthetic`. */
  path: string;
  /** SHA-256 over the arrays that were read, names included. */
  fingerprint: string;
  samples: number;
}

/** How the output that the metric reads was understood. */
export type Reading =
  'logits' | 'probabilities' | 'log-probabilities' | 'binary-logit' | 'binary-probability' | 'regression';

/** `evaluate --json` */
export interface EvaluateReport {
  metric: MetricName;
  value: number;
  /** Standard error of the mean over samples, where the metric is a mean. */
  stderr?: number;
  samples: number;
  output: string;
  reading: Reading;
  holdout?: { value: number; stderr?: number; samples: number; perplexity?: number };
  /** exp of the cross-entropy per token, where cross-entropy is measured and every token has a label. */
  perplexity?: number;
  device: DeviceName;
  warnings: string[];
}
