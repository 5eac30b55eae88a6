import { isConstantOnly } from '../../graph/edit.ts';
import type { Value } from '../../graph/ir.ts';
import type { Emitter } from '../emit.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';
import {
  coveredEnd,
  spatial,
  spatialAxes,
  spread,
  transposedWindowOf,
  weightDims,
  windowAttributes,
  windowOf,
  type Window,
} from './window.ts';

/**
 * Convolutions of any number of spatial axes. Y = X ∗ W is linear in both: dX spreads dY with the kernel (a transposed
 * convolution), dW correlates X with dY.
 */

/** From how many channels on (in and out, of each group) products of matrices give dW faster than a convolution does. */
const MANY_CHANNELS = 16;

/** An end of a slice beyond every size. */
const FAR = 2 ** 31 - 1;

/** dW of a convolution of x, of the sizes `dims`, where its output has the gradient g. */
function kernelGradient(c: RuleContext, x: Value, g: Value, window: Window, group: number, dims: number[]): Value {
  const [out, inner, ...kernel] = dims;
  const point = kernel.every((k) => k === 1);
  const strided = window.strides.some((s) => s !== 1);
  const products = (point || Math.min(out / group, inner) >= MANY_CHANNELS) && !(strided && c.opset < 10);
  return products ? kernelByProducts(c, x, g, window, group, dims) : kernelByConvolution(c, x, g, window, group, dims);
}

/**
 * One product of matrices for each element of the kernel: the inputs that it met, as rows of each channel over batch and
 * windows, times the gradients. About twice as fast as a convolution where there are many channels, and more for 1 × 1.
 */
function kernelByProducts(c: RuleContext, x: Value, g: Value, window: Window, group: number, dims: number[]): Value {
  const [out, inner, ...kernel] = dims;
  const axes = spatialAxes(c, x);
  const batchLast = [1, 0, ...axes];
  const columns = c.reshape(c.transpose(g, [0, ...axes, 1]), [-1, group, out / group]);
  const gradients = c.transpose(columns, [1, 0, 2]);
  const met = c.transpose(padded(c, x, g, window), batchLast);
  const products = offsets(kernel).map((offset) => {
    const inputs = c.reshape(shifted(c, met, offset, window), [group, inner, -1]);
    return c.unsqueeze(c.op('MatMul', [inputs, gradients]), [0]);
  });
  // [kernel, group, channels in, channels out]
  const all = c.transpose(c.concat(products, 0), [1, 3, 2, 0]);
  return c.reshape(all, dims);
}

/** x with its padding, ending where the last window ends if that is known. */
function padded(c: RuleContext, x: Value, g: Value, window: Window): Value {
  return c.pad(x, [0, 0, ...window.begin, 0, 0, ...behind(c, x, g, window)]);
}

/** Padding behind x: up to the last window where its end is known. */
function behind(c: RuleContext, x: Value, g: Value, window: Window): number[] {
  return coveredEnd(c, window, x, g).map((e, i) => e ?? window.end[i]);
}

/** The elements of the padded input that one element of the kernel meets, one for each window. */
function shifted(c: RuleContext, v: Value, offset: readonly number[], window: Window): Value {
  const starts = offset.map((k, i) => k * window.dilations[i]);
  // From the end, so that the size need not be known: no window starts there any more.
  const ends = window.extent.map((e, i) => starts[i] + 1 - e || FAR);
  const strided = window.strides.some((s) => s !== 1);
  if (!strided && window.extent.every((e) => e === 1)) return v;
  return c.slice(v, starts, ends, spatialAxes(c, v), strided ? window.strides : undefined);
}

/** All positions in a kernel, the last axis fastest. */
function offsets(kernel: readonly number[]): number[][] {
  return kernel.reduce<number[][]>(
    (all, k) => all.flatMap((o) => Array.from({ length: k }, (_, i) => [...o, i])),
    [[]],
  );
}

/**
 * A convolution of x with g as its kernel, channels in the place of the batch; strides and dilations change places.
 */
function kernelByConvolution(c: RuleContext, x: Value, g: Value, window: Window, group: number, dims: number[]): Value {
  const [, inner, ...kernel] = dims;
  const axes = spatialAxes(c, x);
  let data = c.transpose(x, [1, 0, ...axes]);
  if (group > 1 && inner > 1) {
    // Each group's channels in the place of the batch, groups next to each other: [channels in, group · batch].
    const sizes = c.joinInts([c.ints([group, inner, -1]), c.dims(x, axes)]);
    const apart = c.transpose(c.reshape(data, sizes), [1, 0, 2, ...axes.map((a) => a + 1)]);
    data = c.reshape(apart, c.joinInts([c.ints([inner, -1]), c.dims(x, axes)]));
  } else if (group > 1) data = c.reshape(data, c.joinInts([c.ints([1, -1]), c.dims(x, axes)]));
  const kernelLike = c.transpose(g, [1, 0, ...axes]);
  const found = c.op('Conv', [data, kernelLike], {
    group,
    strides: window.dilations,
    dilations: window.strides,
    pads: [...window.begin, ...behind(c, x, g, window).map((e) => Math.max(0, e))],
  });
  return c.transpose(firstElements(c, found, kernel), [1, 0, ...axes]);
}

/** The first elements of each spatial axis; a stride may leave rows of the input to no window, hence more. */
function firstElements(c: RuleContext, v: Value, sizes: readonly number[]): Value {
  if (spatial(c, v).every((d, i) => d === sizes[i])) return v;
  const starts = sizes.map(() => 0);
  return c.slice(v, starts, sizes, spatialAxes(c, v));
}

/**
 * Where the last that happened to g was that a constant multiplied each channel (a normalisation with stored statistics):
 * what it multiplied, and the kernel times these constants, which the runtime computes once and for all.
 */
function intoKernel(c: RuleContext, g: Value, w: Value): [from: Value, kernel: Value] {
  const [from, factors] = g.producer?.op === 'Mul' ? g.producer.inputs : [];
  if (!from || !factors || !isConstantOnly(factors) || !isConstantOnly(w)) return [g, w];
  const [channels, ...others] = factors.staticShape ?? [];
  const rank = c.rankOf(w);
  const perChannel = channels === c.dimOf(w, 0) && others.length === rank - 2 && others.every((d) => d === 1);
  if (!perChannel || c.shapeOf(from)?.length !== rank) return [g, w];
  return [from, c.mul(w, c.unsqueeze(factors, [rank - 1]))];
}

/** Sum over everything but the channels. */
function biasGradient(c: RuleContext, g: Value): Value {
  return c.reduceSum(g, [0, ...spatialAxes(c, g)], false);
}

const conv: GradientRule = (c) => {
  const [x, w, g] = [c.input(0), c.input(1), c.grad()!];
  const group = c.node.int('group', 1);
  const dims = weightDims(c, w);
  const window = windowOf(c, dims.slice(2), x);
  if (c.needs(0)) {
    const [from, kernel] = c.needs(1) || c.needs(2) ? [g, w] : intoKernel(c, g, w);
    c.give(0, spread(c, from, kernel, window, group, x));
  }
  if (c.needs(1)) c.give(1, kernelGradient(c, x, g, window, group, dims));
  if (c.needs(2)) c.give(2, biasGradient(c, g));
};

/** Y spreads X with the kernel: dX is a convolution of dY, and dW that of a convolution from Y to X. */
const convTranspose: GradientRule = (c) => {
  const [x, w, g] = [c.input(0), c.input(1), c.grad()!];
  const group = c.node.int('group', 1);
  const dims = weightDims(c, w);
  const window = transposedWindowOf(c, dims.slice(2), x);
  if (c.needs(0)) {
    const ends = behind(c, g, x, window);
    const found = c.op('Conv', [g, w], {
      group,
      kernel_shape: window.kernel,
      strides: window.strides,
      dilations: window.dilations,
      pads: [...window.begin, ...ends.map((e) => Math.max(0, e))],
    });
    c.give(0, found);
  }
  if (c.needs(1)) c.give(1, kernelGradient(c, g, x, window, group, dims));
  if (c.needs(2)) c.give(2, biasGradient(c, g));
};

/** An activation function of a FusedConv with its parameters, as plain ops. */
function activate(c: RuleContext, e: Emitter, v: Value): Value {
  const [name, stated] = [c.node.string('activation', ''), c.node.attributes.get('activation_params')];
  const [first, second] = stated?.kind === 'floats' ? stated.value : [];
  const float = (x: number) => ({ float: x });
  switch (name) {
    case '':
      return v;
    case 'Relu':
    case 'Tanh':
    case 'Sigmoid':
      return e.op(name, [v]);
    case 'LeakyRelu':
      return e.op(name, [v], { alpha: float(first) });
    case 'HardSigmoid':
      return e.op(name, [v], { alpha: float(first), beta: float(second) });
    case 'HardSwish':
      return e.mul(v, e.op('HardSigmoid', [v], { alpha: float(1 / 6), beta: float(0.5) }));
    case 'Clip':
      return e.opset >= 11
        ? e.op(name, [v, e.scalar(first, v), e.scalar(second, v)])
        : e.op(name, [v], { min: float(first), max: float(second) });
    default:
      return c.fail(`its activation function ${name} is not supported`);
  }
}

/** A convolution, plus Z where there is one, and an activation function of that. */
const fusedConv: GradientRule = (c) =>
  c.instead((e) => {
    const bias = c.has(2) ? [c.input(2)] : [];
    const sum = e.op('Conv', [c.input(0), c.input(1), ...bias], windowAttributes(c));
    return [activate(c, e, c.has(3) ? e.add(sum, c.input(3)) : sum)];
  });

export const convolutionRules: RuleTable = {
  Conv: conv,
  ConvTranspose: convTranspose,
  'com.microsoft.FusedConv': fusedConv,
};
