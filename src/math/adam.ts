/** What `Adam` writes to JSON. */
export interface AdamState {
  steps: number;
  first: number[];
  second: number[];
}

export interface AdamOptions {
  learningRate: number;
  /** Decay of the running mean of gradients; 0.9. */
  beta1?: number;
  /** Decay of the running mean of squared gradients; 0.999. */
  beta2?: number;
  /** Added to the root of the latter; 1e-8. */
  epsilon?: number;
}

/**
 * Adam (Kingma and Ba 2015, ICLR, arXiv 1412.6980, algorithm 1) on a plain parameter vector. Same numbers as
 * torch.optim.Adam in double precision.
 */
export class Adam {
  /** May be changed between steps, for a schedule. */
  learningRate: number;
  private readonly beta1: number;
  private readonly beta2: number;
  private readonly epsilon: number;
  private steps = 0;
  private readonly first: Float64Array;
  private readonly second: Float64Array;

  constructor(size: number, options: AdamOptions) {
    this.learningRate = options.learningRate;
    this.beta1 = options.beta1 ?? 0.9;
    this.beta2 = options.beta2 ?? 0.999;
    this.epsilon = options.epsilon ?? 1e-8;
    this.first = new Float64Array(size);
    this.second = new Float64Array(size);
  }

  /** Moves the parameters in place, against the gradient. */
  step(parameters: Float64Array, gradient: ArrayLike<number>): void {
    const t = ++this.steps;
    const rate = this.learningRate / (1 - this.beta1 ** t);
    const correction = Math.sqrt(1 - this.beta2 ** t);
    for (let i = 0; i < parameters.length; i++) {
      const g = gradient[i];
      this.first[i] = this.beta1 * this.first[i] + (1 - this.beta1) * g;
      this.second[i] = this.beta2 * this.second[i] + (1 - this.beta2) * g * g;
      parameters[i] -= (rate * this.first[i]) / (Math.sqrt(this.second[i]) / correction + this.epsilon);
    }
  }

  state(): AdamState {
    return { steps: this.steps, first: [...this.first], second: [...this.second] };
  }

  /** Goes on from what `state()` gave for as many parameters. */
  restore(state: AdamState): void {
    this.steps = state.steps;
    this.first.set(state.first);
    this.second.set(state.second);
  }
}
