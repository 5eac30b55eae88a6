import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { Tensor } from '../../onnx/tensor.ts';
import { putElementsBack } from '../positions.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';
import { coveredEnd, spatialAxes, spread, windowAttributes, windowOf, type Window } from './window.ts';

/** Pools over windows and over whole planes. */

function kernelOf(c: RuleContext): number[] {
  return c.node.ints('kernel_shape') ?? c.fail('it has no kernel_shape');
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((a, b) => a * b, 1);
}

/** Every channel of every sample as a sample of its own, of one channel. */
function apart(c: RuleContext, v: Value): Value {
  return c.reshape(v, c.joinInts([c.ints([-1, 1]), c.dims(v, spatialAxes(c, v))]));
}

/** A plane of ones, [1, 1, …], of the spatial sizes of v. */
function plane(c: RuleContext, v: Value): Value {
  const sizes = c.dims(v, spatialAxes(c, v));
  const elemType = c.elemTypeOf(v);
  if (c.opset >= 9)
    return c.op('ConstantOfShape', [c.joinInts([c.ints([1, 1]), sizes])], {
      value: Tensor.fromNumbers('', elemType, [1], [1]),
    });
  const known = c.numbersOf(sizes) ?? c.fail('sizes that are known when it runs only need opset 9');
  return c.constant(Tensor.fromNumbers('', elemType, [1, 1, ...known], Array<number>(product(known)).fill(1)));
}

/** Each window's elements as channels, [batch · channels, kernel, …windows]; 0 in the padding. */
function patches(c: RuleContext, v: Value, kernels: Value, w: Window, windows: Value): Value {
  const ends = coveredEnd(c, w, v, windows).map((e, i) => e ?? w.end[i]);
  return c.op('Conv', [v, kernels], {
    kernel_shape: w.kernel,
    strides: w.strides,
    dilations: w.dilations,
    pads: [...w.begin, ...ends.map((e) => Math.max(0, e))],
  });
}

/** One kernel for each of its elements, with a 1 there: [kernel, 1, …kernel]. */
function unitKernels(c: RuleContext, kernel: readonly number[], like: Value): Value {
  const count = product(kernel);
  const data = Array.from({ length: count * count }, (_, i) => (i % (count + 1) === 0 ? 1 : 0));
  return c.constant(Tensor.fromNumbers('', c.elemTypeOf(like), [count, 1, ...kernel], data));
}

/**
 * The gradient goes to the element that was the largest, the first of equal ones: its place in the whole tensor is what
 * the pool says (`Indices`). Windows may overlap, so that places occur more than once: their gradients are added up.
 */
const maxPool: GradientRule = (c) => {
  // Without slices that take steps, or without indices at all.
  if (c.opset < 10) return maxPoolByPatches(c);
  const [x, g] = [c.input(0), c.grad()!];
  const indices = rowMajorIndices(c);
  // Codes have gradients in floating point.
  const zeros = c.reshape(c.zerosLike(c.cast(x, c.elemTypeOf(g))), [-1]);
  const flat = (v: Value) => c.reshape(v, [-1]);
  if (c.opset >= 16) {
    const sum = c.op('ScatterElements', [zeros, flat(indices), flat(g)], { axis: 0, reduction: 'add' });
    return c.give(0, c.reshapeLike(sum, x));
  }
  // No window overlaps the ones of its own class: each class is written on its own.
  const scatter = c.opset >= 11 ? 'ScatterElements' : 'Scatter';
  const sums = disjointClasses(c, x).map(([starts, steps]) => {
    const part = (v: Value) => (steps.every((s) => s === 1) ? v : everyFew(c, v, starts, steps));
    return c.op(scatter, [zeros, flat(part(indices)), flat(part(g))], { axis: 0 });
  });
  c.give(
    0,
    c.reshapeLike(
      sums.reduce((a, b) => c.add(a, b)),
      x,
    ),
  );
};

/** Indices in row-major order: the pool's own, or those of a copy where it is told to count by columns. */
function rowMajorIndices(c: RuleContext): Value {
  const { node } = c;
  if (node.int('storage_order', 0) === 0) return c.madeOutput(1);
  return c.ops('MaxPool', [c.input(0)], windowAttributes(c), 2)[1];
}

/** Windows so far apart that they share no element, as starts and steps on each spatial axis; all windows are in one. */
function disjointClasses(c: RuleContext, x: Value): [number[], number[]][] {
  const w = windowOf(c, kernelOf(c), x);
  const steps = w.extent.map((e, i) => Math.ceil(e / w.strides[i]));
  const starts = steps.reduce<number[][]>(
    (all, step) => all.flatMap((s) => Array.from({ length: step }, (_, i) => [...s, i])),
    [[]],
  );
  return starts.map((s) => [s, steps]);
}

function everyFew(c: RuleContext, v: Value, starts: number[], steps: number[]): Value {
  const ends = steps.map(() => 2 ** 31 - 1);
  return c.slice(v, starts, ends, spatialAxes(c, v), steps);
}

/**
 * The same for opsets before 10: the largest of each window's elements side by side takes the gradient, which goes back
 * through kernels that have a single 1. Takes as much memory as there are elements in the kernel.
 */
function maxPoolByPatches(c: RuleContext): void {
  const [x, g] = [c.input(0), c.grad()!];
  const w = windowOf(c, kernelOf(c), x);
  const axes = spatialAxes(c, x);
  const kernels = unitKernels(c, w.kernel, g);
  const inside = c.greater(patches(c, plane(c, x), kernels, w, g), c.scalar(0, g));
  const seen = patches(c, apart(c, x), kernels, w, g);
  const lowest = c.where(inside, seen, c.numbers([-3e38], [1, 1, ...axes.map(() => 1)], c.elemTypeOf(g)));
  const count = product(w.kernel);
  const numbers = c.numbers([...Array(count).keys()], [1, count, ...axes.map(() => 1)], DataType.INT64);
  const first = c.op('Equal', [c.op('ArgMax', [lowest], { axis: 1, keepdims: 1 }), numbers]);
  c.give(0, c.reshapeLike(spread(c, c.keep(first, apart(c, g)), kernels, w, 1, x), x));
}

/** Adds to every element of x what is in g for each of the windows that it lies in. */
function sumOverWindows(c: RuleContext, g: Value, w: Window, x: Value): Value {
  const channels = c.dimOf(x, 1);
  // Depthwise convolutions are fast, depthwise transposed ones are not: then each channel is a sample of its own.
  if (typeof channels === 'number' && w.strides.every((s) => s === 1))
    return spread(c, g, onesKernel(c, channels, w, g), w, channels, x);
  return c.reshapeLike(spread(c, apart(c, g), onesKernel(c, 1, w, g), w, 1, x), x);
}

/** [channels, 1, …kernel] */
function onesKernel(c: RuleContext, channels: number, w: Window, like: Value): Value {
  const dims = [channels, 1, ...w.kernel];
  return c.constant(Tensor.fromNumbers('', c.elemTypeOf(like), dims, Array<number>(product(dims)).fill(1)));
}

/** How many elements of x lie in each window: [1, 1, …windows]. */
function windowCounts(c: RuleContext, w: Window, x: Value, windows: Value): Value {
  if (coveredEnd(c, w, x, windows).includes(undefined) && w.ceil)
    return c.fail('ceil_mode with sizes that are known when it runs only is not supported');
  return patches(c, plane(c, x), onesKernel(c, 1, w, x), w, windows);
}

/** The part of a window's mean that each of its elements has: a number, or one for each window. */
function share(c: RuleContext, g: Value, w: Window, x: Value): Value {
  const { node } = c;
  const padded = [...w.begin, ...w.end].some((p) => p !== 0);
  if (!w.ceil && (!padded || node.int('count_include_pad', 0) !== 0)) return c.scalar(1 / product(w.kernel), g);
  // The pool of ones is the share times the number of elements: whatever it takes as the divisor.
  const means = c.op('AveragePool', [plane(c, x)], windowAttributes(c));
  return c.div(means, windowCounts(c, w, x, g));
}

const averagePool: GradientRule = (c) => {
  const [x, g] = [c.input(0), c.grad()!];
  const w = windowOf(c, kernelOf(c), x);
  c.give(0, sumOverWindows(c, c.mul(g, share(c, g, w, x)), w, x));
};

/** Every element of a plane has the same share of its mean. */
const globalAveragePool: GradientRule = (c) => {
  const [x, g] = [c.input(0), c.grad()!];
  const sizes = c.numbersOf(c.dims(x, spatialAxes(c, x)));
  if (!sizes) return c.give(0, c.expandLike(c.div(g, c.count(x, spatialAxes(c, x))), x));
  // A product of matrices takes a fraction of the time that broadcasting along the last axes does.
  const count = product(sizes);
  const shares = Tensor.fromNumbers('', c.elemTypeOf(g), [1, count], Array<number>(count).fill(1 / count));
  c.give(0, c.reshapeLike(c.op('MatMul', [c.reshape(g, [-1, 1]), c.constant(shares)]), x));
};

/** The first of a plane's largest elements, in row-major order, takes all of the gradient. */
const globalMaxPool: GradientRule = (c) => {
  const [x, g] = [c.input(0), c.grad()!];
  const rows = c.joinInts([c.dims(x, [0, 1]), c.ints([-1])]);
  const flat = c.reshape(x, rows);
  const largest = c.op('ArgMax', [flat], { axis: 2, keepdims: 1 });
  c.give(0, c.reshapeLike(putElementsBack(c, c.reshape(g, rows), largest, 2, flat, true), x));
};

/**
 * Y = (Σ |x|^p)^(1/p) has the slope x·|x|^(p−2) / Y^(p−1), which is 0 here where all elements are: `add` brings what is
 * there for Y to the elements of X.
 */
function lpGradient(c: RuleContext, add: (g: Value) => Value): Value {
  const [x, y, g] = [c.input(0), c.output(), c.grad()!];
  const p = c.node.int('p', 2);
  if (p === 1) return c.mul(c.op('Sign', [x]), add(g));
  const power = (v: Value, n: number) => (n === 1 ? v : c.op('Pow', [v, c.scalar(n, v)]));
  const zero = c.cast(c.equal(y, c.scalar(0, y)), c.elemTypeOf(y));
  const each = p === 2 ? x : c.mul(x, power(c.op('Abs', [x]), p - 2));
  return c.mul(each, add(c.div(g, c.add(power(y, p - 1), zero))));
}

const lpPool: GradientRule = (c) => {
  const x = c.input(0);
  const w = windowOf(c, kernelOf(c), x);
  c.give(
    0,
    lpGradient(c, (g) => sumOverWindows(c, g, w, x)),
  );
};

const globalLpPool: GradientRule = (c) =>
  c.give(
    0,
    lpGradient(c, (g) => g),
  );

export const poolingRules: RuleTable = {
  MaxPool: maxPool,
  AveragePool: averagePool,
  LpPool: lpPool,
  GlobalAveragePool: globalAveragePool,
  GlobalMaxPool: globalMaxPool,
  GlobalLpPool: globalLpPool,
};
