import type { Value } from '../../graph/ir.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';
import { spatialAxes, windowOf } from './window.ts';

/** Pools over windows and over whole planes. */

function kernelOf(c: RuleContext): number[] {
  return c.node.ints('kernel_shape') ?? c.fail('it has no kernel_shape');
}

/**
 * The gradient goes to the element that was the largest, the first of equal ones: its place in the whole tensor is what
 * the pool says (`Indices`). Windows may overlap, so that places occur more than once: their gradients are added up.
 */
const maxPool: GradientRule = (c) => {
  if (c.opset < 10) c.fail('its indices are of use from opset 10 on only');
  const [x, g] = [c.input(0), c.grad()!];
  const indices = rowMajorIndices(c);
  const zeros = c.reshape(c.zerosLike(x), [-1]);
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
  const lists = ['strides', 'pads', 'dilations'].flatMap((name) => {
    const list = node.ints(name);
    return list ? [[name, list] as const] : [];
  });
  const attributes = {
    kernel_shape: kernelOf(c),
    ...Object.fromEntries(lists),
    auto_pad: node.string('auto_pad', 'NOTSET'),
    ceil_mode: node.int('ceil_mode', 0),
  };
  return c.ops('MaxPool', [c.input(0)], attributes, 2)[1];
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

/** Every element of a plane has the same share of its mean. */
const globalAveragePool: GradientRule = (c) => {
  const x = c.input(0);
  c.give(0, c.expandLike(c.div(c.grad()!, c.count(x, spatialAxes(c, x))), x));
};

export const poolingRules: RuleTable = {
  MaxPool: maxPool,
  GlobalAveragePool: globalAveragePool,
};
