import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { unary } from './pointwise.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/** Activation functions. At a kink the slope is that of torch.autograd: 0 for Relu at 0. */

const positive = (c: RuleContext, x: Value) => c.greater(x, c.scalar(0, x));
const sigmoid = (c: RuleContext, x: Value) => c.op('Sigmoid', [x]);
const lessOne = (c: RuleContext, v: Value) => c.sub(c.scalar(1, v), v);
const square = (c: RuleContext, v: Value) => c.mul(v, v);

/** Every normal float32 above 0 times this is more than 1. */
const STEEP = 3e38;

/**
 * By its output, so that the runtime may compute it together with what is in front of it. The gradient that a product
 * with weights made is multiplied by 0 or 1, which takes less time than a choice: between convolutions the runtime keeps
 * tensors in blocks of channels, and has no choice that takes them. The two differ where gradients are not finite, which
 * those are in whole windows or rows.
 */
const relu: GradientRule = (c) => {
  const [y, g] = [c.output(), c.grad()!];
  if (c.elemTypeOf(y) !== DataType.FLOAT || !madeByWeights(g)) return c.give(0, c.keep(positive(c, y), g));
  // min(1, max(0, αy))
  const open = c.op('HardSigmoid', [y], { alpha: { float: STEEP }, beta: { float: 0 } });
  c.give(0, c.mul(g, open));
};

/** Whether a convolution or a product of matrices made it, or a part of the sum that it is. */
function madeByWeights(v: Value): boolean {
  const node = v.producer;
  if (node?.op === 'Add') return node.inputs.some((part) => madeByWeights(part!));
  if (node?.op === 'Reshape') return madeByWeights(node.inputs[0]!);
  return !!node && PRODUCTS.has(node.op);
}

const PRODUCTS: ReadonlySet<string> = new Set(['Conv', 'ConvTranspose', 'Gemm', 'MatMul']);

/** g where x > 0, else g times what `slope` gives. */
function kinked(slope: (c: RuleContext, x: Value, y: Value) => Value, above = 1): GradientRule {
  return (c) => {
    const [x, g] = [c.input(0), c.grad()!];
    c.give(0, c.where(positive(c, x), c.scale(g, above), c.mul(g, slope(c, x, c.output()))));
  };
}

const SELU_ALPHA = 1.6732632423543772;
const SELU_GAMMA = 1.0507009873554805;

/** Also the slope's gradient; the slope is broadcast to x. */
const prelu: GradientRule = (c) => {
  const [x, slope, g] = [c.input(0), c.input(1), c.grad()!];
  const open = positive(c, x);
  if (c.needs(0)) c.give(0, c.where(open, g, c.mul(g, slope)));
  if (c.needs(1)) c.give(1, c.unbroadcast(c.keep(c.not(open), c.mul(g, x)), slope));
};

const hardSigmoid: GradientRule = (c) => {
  const y = c.output();
  const inside = c.and(positive(c, y), c.less(y, c.scalar(1, y)));
  c.give(0, c.keep(inside, c.scale(c.grad()!, c.node.float('alpha', 0.2))));
};

/** x·max(0, min(1, x/6 + 1/2)) */
const hardSwish: GradientRule = (c) => {
  const [x, g] = [c.input(0), c.grad()!];
  const inner = c.mul(g, c.plus(c.scale(x, 1 / 3), 0.5));
  c.give(0, c.keep(c.greater(x, c.scalar(-3, x)), c.where(c.less(x, c.scalar(3, x)), inner, g)));
};

/** Φ(x) + x·φ(x), with Φ and φ the normal distribution's. */
export function geluSlope(c: RuleContext, x: Value): Value {
  const cdf = c.scale(c.plus(c.op('Erf', [c.scale(x, Math.SQRT1_2)]), 1), 0.5);
  const density = c.scale(c.op('Exp', [c.scale(square(c, x), -0.5)]), 1 / Math.sqrt(2 * Math.PI));
  return c.add(cdf, c.mul(x, density));
}

/** Slope of ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))). */
export function tanhGeluSlope(c: RuleContext, x: Value): Value {
  const root = Math.sqrt(2 / Math.PI);
  const x2 = square(c, x);
  const t = c.op('Tanh', [c.mul(x, c.plus(c.scale(x2, 0.044715 * root), root))]);
  const inner = c.plus(c.scale(x2, 3 * 0.044715 * root), root);
  const bend = c.mul(c.mul(x, lessOne(c, square(c, t))), inner);
  return c.scale(c.plus(c.add(t, bend), 1), 0.5);
}

/** σ(αx) + αx·σ(αx)·(1 − σ(αx)) */
function swishSlope(c: RuleContext, x: Value, alpha: number): Value {
  const z = c.scale(x, alpha);
  const s = sigmoid(c, z);
  return c.add(s, c.mul(c.mul(z, s), lessOne(c, s)));
}

/** An activation of x + bias, where there is a bias. */
function biased(slope: (c: RuleContext, x: Value) => Value): GradientRule {
  return (c) => {
    const bias = c.node.inputs[1];
    const g = c.mul(c.grad()!, slope(c, bias ? c.add(c.input(0), bias) : c.input(0)));
    c.give(0, g);
    if (bias && c.needs(1)) c.give(1, c.unbroadcast(g, bias));
  };
}

export const activationRules: RuleTable = {
  Relu: relu,
  LeakyRelu: kinked((c, x) => c.scalar(c.node.float('alpha', 0.01), x)),
  PRelu: prelu,
  ThresholdedRelu: (c) => {
    const x = c.input(0);
    c.give(0, c.keep(c.greater(x, c.scalar(c.node.float('alpha', 1), x)), c.grad()!));
  },
  /** α·eˣ = y + α below 0 */
  Elu: kinked((c, _, y) => c.plus(y, c.node.float('alpha', 1))),
  Selu: (c) => {
    const alpha = c.node.float('alpha', SELU_ALPHA);
    const gamma = c.node.float('gamma', SELU_GAMMA);
    kinked((_, _x, y) => c.plus(y, alpha * gamma), gamma)(c);
  },
  Celu: kinked((c, _, y) => c.plus(c.scale(y, 1 / c.node.float('alpha', 1)), 1)),
  Shrink: (c) => {
    const x = c.input(0);
    const lambda = c.node.float('lambd', 0.5);
    const outside = c.op('Or', [c.greater(x, c.scalar(lambda, x)), c.less(x, c.scalar(-lambda, x))]);
    c.give(0, c.keep(outside, c.grad()!));
  },
  Sigmoid: unary((c, _, y) => c.mul(y, lessOne(c, y))),
  HardSigmoid: hardSigmoid,
  HardSwish: hardSwish,
  Softplus: unary((c, x) => sigmoid(c, x)),
  /** 1/(1 + |x|)² = (1 − |y|)² */
  Softsign: unary((c, _, y) => square(c, lessOne(c, c.op('Abs', [y])))),
  Gelu: unary((c, x) => (c.node.string('approximate', 'none') === 'tanh' ? tanhGeluSlope(c, x) : geluSlope(c, x))),
  Swish: unary((c, x) => swishSlope(c, x, c.node.float('alpha', 1))),
  /** x·tanh(softplus(x)) */
  Mish: unary((c, x) => {
    const t = c.op('Tanh', [c.op('Softplus', [x])]);
    return c.add(t, c.mul(c.mul(x, sigmoid(c, x)), lessOne(c, square(c, t))));
  }),
  'com.microsoft.Gelu': unary(geluSlope),
  'com.microsoft.BiasGelu': biased(geluSlope),
  'com.microsoft.FastGelu': biased(tanhGeluSlope),
  'com.microsoft.QuickGelu': unary((c, x) => swishSlope(c, x, c.node.float('alpha', 1.702))),
};
