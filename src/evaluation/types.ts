import type { MetricName, Reading } from '../formats.ts';

/**
 * A cooperative game over the units of one group: a coalition is the set of open units, its value the metric of the
 * gated model on the data (oriented so that larger is better).
 */
export interface CoalitionGame {
  readonly group: string;
  readonly players: number;
  readonly samples: number;
  readonly metric: MetricName;
  /** Coalitions per call that the evaluator handles at full speed; callers should offer about so many at once. */
  readonly preferredBatch: number;
  /**
   * Values of coalitions, in order. Each coalition has one byte per unit, 1 open, 0 closed.
   * @throws SecateurError 'cancelled' when the signal fires.
   */
  evaluate(coalitions: readonly Uint8Array[], signal?: AbortSignal): Promise<Float64Array>;
}

/** Losses of some gate vectors, and their gradients with respect to the gates where the model has them. */
export interface LossBatch {
  /** One per gate vector: the mean over samples, smaller is better. */
  losses: Float64Array;
  /** Row-major, one row per gate vector. */
  gradients?: Float64Array;
}

/**
 * The loss of a model as a function of the gates of one group, which may be any numbers: 1 is a unit as it is, 0 a
 * removed one. The loss is the negative of the metric, a mean over samples. Samples are in a random order.
 */
export interface GateLoss {
  readonly group: string;
  readonly size: number;
  readonly samples: number;
  readonly metric: MetricName;
  /** Whether `evaluate` gives gradients. */
  readonly differentiable: boolean;
  /**
   * @param gates row-major, `count` rows of `size`
   * @param range the samples to take, `from` … `to` − 1; all rows the same
   * @throws SecateurError 'cancelled' between two runs, 'runtime'
   */
  evaluate(
    gates: Float64Array,
    count: number,
    range: { from: number; to: number },
    signal?: AbortSignal,
  ): Promise<LossBatch>;
}

/** The output that a metric reads, and how (architecture.md, "Which output"). */
export interface OutputReading {
  output: string;
  reading: Reading;
  /** Axis of the classes in that output; −1 for single-logit and regression outputs. */
  classAxis: number;
  /**
   * The other float outputs, where the metric reads all of them (no labels: KL and relative MSE are means over outputs;
   * KL over those that are distributions). Undefined: only `output` counts.
   */
  also?: OutputReading[];
}
