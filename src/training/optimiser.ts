import type { Emitter } from '../autodiff/emit.ts';
import type { Value } from '../graph/ir.ts';

/** Optimisers as nodes of a training graph: the update of each weight from its gradient, equation by equation as torch. */

/** Stochastic gradient descent with momentum (Sutskever et al., ICML 2013), as torch.optim.SGD. */
export interface SgdOptions {
  kind: 'sgd';
  /** Share of the last step's direction that is kept; 0.9. */
  momentum?: number;
  /** Looks ahead by the momentum (default false). */
  nesterov?: boolean;
  /** Adds so many times the weight to its gradient; 0. */
  weightDecay?: number;
}

/**
 * Adam (Kingma and Ba, ICLR 2015), whose weight decay goes through the gradient, and AdamW (Loshchilov and Hutter, ICLR
 * 2019), where it shrinks the weights directly; as torch.optim.Adam and torch.optim.AdamW.
 */
export interface AdamOptions {
  kind: 'adam' | 'adamw';
  /** Decay of the running means of gradients and of their squares; [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Added to the root of the latter; 1e-8. */
  epsilon?: number;
  /** 0 for adam, 0.01 for adamw. */
  weightDecay?: number;
}

export type OptimiserOptions = SgdOptions | AdamOptions;

/**
 * Numbers that change from step to step, graph inputs without axes: the length of the step, what is left of a weight
 * after its decay, and the bias correction of Adam's root.
 */
export type StepNumber = 'step' | 'left' | 'root';

/** What an update reads, in the element type of the weight. */
export interface UpdateContext {
  e: Emitter;
  weight: Value;
  gradient: Value;
  /** False: this weight is spared weight decay. */
  decays: boolean;
  number(name: StepNumber): Value;
}

/** An optimiser bound to its options. */
export interface Optimiser {
  /** What it remembers for each weight: tensors of the weight's shape that start as zeros. */
  readonly memory: readonly string[];
  readonly numbers: readonly StepNumber[];
  /** Adds one update. @returns the new weight, then the new memory in order */
  update(context: UpdateContext, memory: readonly Value[]): Value[];
  /** The numbers of step `count` (the first is 1). */
  numbersAt(count: number, learningRate: number): Record<StepNumber, number>;
}

/** The optimiser with these options. */
export function optimiserFor(options: OptimiserOptions): Optimiser {
  return options.kind === 'sgd' ? sgd(options) : adam(options);
}

function sgd({ momentum = 0.9, nesterov = false, weightDecay = 0 }: SgdOptions): Optimiser {
  return {
    memory: momentum === 0 ? [] : ['momentum'],
    numbers: ['step'],
    update({ e, weight, gradient, decays, number }, [last]) {
      const decayed = decays && weightDecay !== 0 ? e.add(gradient, e.scale(weight, weightDecay)) : gradient;
      if (momentum === 0) return [e.sub(weight, e.mul(decayed, number('step')))];
      const direction = e.add(e.scale(last, momentum), decayed);
      const step = nesterov ? e.add(decayed, e.scale(direction, momentum)) : direction;
      return [e.sub(weight, e.mul(step, number('step'))), direction];
    },
    numbersAt: (_, learningRate) => ({ step: learningRate, left: 1, root: 1 }),
  };
}

function adam(options: AdamOptions): Optimiser {
  const { kind, betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = kind === 'adamw' ? 0.01 : 0 } = options;
  const [beta1, beta2] = betas;
  const shrinks = kind === 'adamw' && weightDecay !== 0;
  return {
    memory: ['mean', 'square'],
    numbers: shrinks ? ['step', 'root', 'left'] : ['step', 'root'],
    update({ e, weight, gradient, decays, number }, [mean, square]) {
      const decayed = decays && kind === 'adam' && weightDecay !== 0;
      const g = decayed ? e.add(gradient, e.scale(weight, weightDecay)) : gradient;
      const newMean = e.add(mean, e.scale(e.sub(g, mean), 1 - beta1));
      const newSquare = e.add(e.scale(square, beta2), e.scale(e.mul(g, g), 1 - beta2));
      const spread = e.plus(e.div(e.op('Sqrt', [newSquare]), number('root')), epsilon);
      const start = decays && shrinks ? e.mul(weight, number('left')) : weight;
      return [e.sub(start, e.mul(e.div(newMean, spread), number('step'))), newMean, newSquare];
    },
    numbersAt: (count, learningRate) => ({
      step: learningRate / (1 - beta1 ** count),
      left: 1 - learningRate * weightDecay,
      root: Math.sqrt(1 - beta2 ** count),
    }),
  };
}
