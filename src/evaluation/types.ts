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
