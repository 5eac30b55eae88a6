/** Sum and sum of squares of the metric over samples, per coalition. */
export class Sums {
  readonly sum: Float64Array;
  readonly squares: Float64Array;
  samples = 0;
  /** Gradients of the sums: one array per gate, row-major [coalitions, size]. Only where the evaluator has gradients. */
  gradients?: Float64Array[];

  constructor(readonly coalitions: number) {
    this.sum = new Float64Array(coalitions);
    this.squares = new Float64Array(coalitions);
  }
  add(coalition: number, value: number): void {
    this.sum[coalition] += value;
    this.squares[coalition] += value * value;
  }
  mean(coalition: number): number {
    return this.sum[coalition] / this.samples;
  }
  /** Standard error of the mean; 0 for a single sample. */
  stderr(coalition: number): number {
    const n = this.samples;
    if (n < 2) return 0;
    const mean = this.mean(coalition);
    return Math.sqrt(Math.max(0, this.squares[coalition] - n * mean * mean) / (n - 1) / n);
  }
}

/** Samples from … to−1. */
export interface Range {
  from: number;
  to: number;
}

/** One row of numbers per gate, each one number per unit: 1 open, 0 closed, or anything between and beyond. */
export type Mask = readonly ArrayLike<number>[];

/**
 * Evaluates the model under masks.
 * @throws SecateurError 'cancelled' between two runs, 'runtime'
 */
export interface MaskEvaluator {
  /** Coalitions that share a run at full speed. */
  readonly batch: number;
  evaluate(masks: readonly Mask[], range: Range, signal?: AbortSignal): Promise<Sums>;
  close(): Promise<void>;
}
