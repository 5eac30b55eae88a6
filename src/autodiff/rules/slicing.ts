import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { positions, putAt, putBack } from '../positions.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/** Ops that keep a part: the gradient goes back to where it was taken, zeros to the rest. */

/** One axis of a Slice; bounds that are known at run time only are vectors of one int64. */
interface Cut {
  axis: number;
  start: number | Value;
  end: number | Value;
  step: number | Value;
}

/** Bounds are attributes before opset 10. */
function readCuts(c: RuleContext): Cut[] {
  const { node } = c;
  const x = c.input(0);
  if (c.opset < 10) {
    const starts = node.ints('starts', []);
    const ends = node.ints('ends', []);
    const axes = c.axes(x, node.ints('axes') ?? [...starts.keys()]);
    return axes.map((axis, k) => ({ axis, start: starts[k], end: ends[k], step: 1 }));
  }
  const list = (i: number): ((k: number) => number | Value) => {
    const known = c.contentOf(c.input(i));
    return (k) => {
      const one = known?.[k];
      if (typeof one === 'number') return one;
      return c.cast(c.op('Gather', [c.input(i), c.ints([k])], { axis: 0 }), DataType.INT64);
    };
  };
  const [starts, ends] = [list(1), list(2)];
  const steps = c.has(4) ? list(4) : () => 1;
  const count = c.dimOf(c.input(1), 0);
  const given = c.has(3) ? c.numbersOf(c.input(3)) : typeof count === 'number' ? [...Array(count).keys()] : undefined;
  if (!given) return c.fail('its axes are not constant');
  return c.axes(x, given).map((axis, k) => ({ axis, start: starts(k), end: ends(k), step: steps(k) }));
}

/** The gradient of `x` sliced by one cut, whose result has the gradient g. */
function uncut(c: RuleContext, g: Value, x: Value, { axis, start, end, step }: Cut): Value {
  const vector = (bound: number | Value) => (typeof bound === 'number' ? c.ints([bound]) : bound);
  const size = c.dimOf(x, axis);
  const known = typeof start === 'number' && typeof end === 'number' && typeof step === 'number';
  if (known && typeof size === 'number') return putAt(c, g, sliced(size, start, end, step), axis, size);
  if (known && step === 1 && start >= 0 && end < 0) return framed(c, g, axis, start, -end);
  // Longer than any axis: up to the end.
  if (known && step === 1 && start >= 0 && end >= 2 ** 31 - 1) return framed(c, g, axis, start, 0);
  if (c.opset < 10) return c.fail(`the size of axis ${axis} of its input is unknown`);
  const taken = c.op('Slice', [positions(c, x, axis), vector(start), vector(end), c.ints([0]), vector(step)]);
  return putBack(c, g, taken, axis, x, true);
}

function framed(c: RuleContext, g: Value, axis: number, before: number, behind: number): Value {
  const rank = c.rankOf(g);
  const pads = Array<number>(2 * rank).fill(0);
  pads[axis] = before;
  pads[rank + axis] = behind;
  return c.pad(g, pads);
}

/** Positions that a slice takes of an axis. */
function sliced(size: number, start: number, end: number, step: number): number[] {
  const within = (bound: number, low: number, high: number) =>
    Math.min(Math.max(bound < 0 ? bound + size : bound, low), high);
  const taken: number[] = [];
  if (step > 0) for (let i = within(start, 0, size); i < within(end, 0, size); i += step) taken.push(i);
  else for (let i = within(start, 0, size - 1); i > within(end, -1, size - 1); i += step) taken.push(i);
  return taken;
}

const slice: GradientRule = (c) => {
  const x = c.input(0);
  let g = c.grad()!;
  // The other axes of x have the length that they have in g by then: one after the other is put back.
  for (const cut of readCuts(c)) g = uncut(c, g, x, cut);
  c.give(0, g);
};

/** Positions where the condition holds, along an axis or of all elements in a row. */
const compress: GradientRule = (c) => {
  const x = c.input(0);
  const axis = c.node.int('axis');
  const taken = c.squeeze(c.op('NonZero', [c.input(1)]), [0]);
  if (axis !== undefined) return c.give(0, putBack(c, c.grad()!, taken, axis, x, true));
  c.give(0, c.reshapeLike(putBack(c, c.grad()!, taken, 0, c.reshape(x, [-1]), true), x));
};

/** The part above or below a diagonal. */
const triangle: GradientRule = (c) => {
  const inputs = c.has(1) ? [c.grad()!, c.input(1)] : [c.grad()!];
  c.give(0, c.op('Trilu', inputs, { upper: c.node.int('upper', 1) }));
};

export const slicingRules: RuleTable = { Slice: slice, Compress: compress, Trilu: triangle };
