import { RunningVector } from '../../math/statistics.ts';

/** Means over samples of what is made of g = ∂loss/∂gate, one number for each unit, with their standard errors. */
export interface GateMoments {
  /** |g|; of several draws of a sample their mean. */
  absolute: RunningVector;
  /** g², draws weighted as the loss says. */
  square: RunningVector;
  /** g */
  signed: RunningVector;
}

/** Adds up the draws of a batch of samples, then the samples. */
export class SampleSums {
  readonly moments: GateMoments;
  private readonly size: number;
  private absolute = new Float64Array(0);
  private square = new Float64Array(0);
  private signed = new Float64Array(0);

  constructor(size: number) {
    this.size = size;
    this.moments = {
      absolute: new RunningVector(size),
      square: new RunningVector(size),
      signed: new RunningVector(size),
    };
  }

  start(rows: number): void {
    this.absolute = new Float64Array(rows * this.size);
    this.square = new Float64Array(rows * this.size);
    this.signed = new Float64Array(rows * this.size);
  }

  add(gradients: Float64Array, weights: Float64Array): void {
    for (let i = 0; i < gradients.length; i++) {
      const g = gradients[i];
      this.absolute[i] += Math.abs(g);
      this.signed[i] += g;
      this.square[i] += weights[Math.floor(i / this.size)] * g * g;
    }
  }

  finish(count: number, draws: number): void {
    const { size } = this;
    for (let r = 0; r < count; r++) {
      const of = (all: Float64Array) => all.subarray(r * size, (r + 1) * size);
      this.moments.absolute.add(of(this.absolute).map((x) => x / draws));
      this.moments.signed.add(of(this.signed).map((x) => x / draws));
      this.moments.square.add(of(this.square));
    }
  }
}

/** The moments of derivatives that are 0 for all samples. */
export function zeroMoments(size: number, samples: number): GateMoments {
  const sums = new SampleSums(size);
  sums.start(samples);
  sums.finish(samples, 1);
  return sums.moments;
}
