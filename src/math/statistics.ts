/** Two-sided 95 % quantile of the standard normal distribution: an interval is estimate ± Z95 × standard error. */
export const Z95 = 1.959963984540054;

/** What `RunningVector` writes to JSON. */
export interface RunningState {
  count: number;
  mean: number[];
  squares: number[];
}

/**
 * Mean and standard error of vectors that arrive one by one, element by element (Welford 1962): stable where sums of
 * squares would cancel. The numbers depend on the order of arrival, so feed it in a fixed order.
 */
export class RunningVector {
  count = 0;
  readonly mean: Float64Array;
  /** Sum of squared deviations from the mean. */
  private readonly squares: Float64Array;

  constructor(size: number) {
    this.mean = new Float64Array(size);
    this.squares = new Float64Array(size);
  }

  static fromState(state: RunningState): RunningVector {
    const running = new RunningVector(state.mean.length);
    running.count = state.count;
    running.mean.set(state.mean);
    running.squares.set(state.squares);
    return running;
  }

  state(): RunningState {
    return { count: this.count, mean: [...this.mean], squares: [...this.squares] };
  }

  add(sample: ArrayLike<number>): void {
    const n = ++this.count;
    for (let i = 0; i < this.mean.length; i++) {
      const before = sample[i] - this.mean[i];
      this.mean[i] += before / n;
      this.squares[i] += before * (sample[i] - this.mean[i]);
    }
  }

  /** Unbiased sample variance per element; NaN below two samples. */
  variance(): Float64Array {
    return this.squares.map((s) => (this.count > 1 ? s / (this.count - 1) : NaN));
  }

  /** Standard error of each mean; NaN below two samples. */
  standardError(): Float64Array {
    return this.variance().map((v) => Math.sqrt(v / this.count));
  }
}

/** Mean and unbiased standard deviation (NaN below two numbers). */
export function meanAndDeviation(values: ArrayLike<number>): { mean: number; deviation: number } {
  let mean = 0;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    const before = values[i] - mean;
    mean += before / (i + 1);
    squares += before * (values[i] - mean);
  }
  if (values.length === 0) return { mean: NaN, deviation: NaN };
  return { mean, deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : NaN };
}

/**
 * How far the intervals mean ± reach·error are from all sharing a point: the highest lower end minus the lowest upper end;
 * at most 0 where they do.
 */
export function intervalGap(means: ArrayLike<number>, errors: ArrayLike<number>, reach: number): number {
  let highestLow = -Infinity;
  let lowestHigh = Infinity;
  for (let i = 0; i < means.length; i++) {
    highestLow = Math.max(highestLow, means[i] - reach * errors[i]);
    lowestHigh = Math.min(lowestHigh, means[i] + reach * errors[i]);
  }
  return highestLow - lowestHigh;
}

/** Largest minus smallest value; 0 for none. */
export function spread(values: ArrayLike<number>): number {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
  }
  return high >= low ? high - low : 0;
}
