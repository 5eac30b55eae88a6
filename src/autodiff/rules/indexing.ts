import { DataType } from '../../onnx/data-type.ts';
import type { Value } from '../../graph/ir.ts';
import type { EmitAttributes } from '../emit.ts';
import { positions, putBack, putElementsBack } from '../positions.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/** Ops that pick elements by number: what was picked more than once gets the sum of the gradients. */

/** All elements of a list of positions as an int64 vector. */
function vector(c: RuleContext, indices: Value): Value {
  const known = c.numbersOf(indices);
  if (known) return c.ints(known);
  const flat = c.rankOf(indices) === 1 ? indices : c.reshape(indices, [-1]);
  return c.cast(flat, DataType.INT64);
}

/** The axes of the indices stand in the place of the axis. */
const gather: GradientRule = (c) => {
  const [x, indices] = [c.input(0), c.input(1)];
  const [axis] = c.axes(x, [c.node.int('axis', 0)]);
  const spread = c.rankOf(indices);
  let g = c.grad()!;
  if (spread === 0) g = c.unsqueeze(g, [axis]);
  else if (spread > 1) {
    const behind = [...Array(c.rankOf(x) - axis - 1).keys()].map((i) => axis + spread + i);
    const front = [...Array(axis).keys()];
    const parts = [
      ...(axis > 0 ? [c.dims(g, front)] : []),
      c.ints([-1]),
      ...(behind.length > 0 ? [c.dims(g, behind)] : []),
    ];
    g = c.reshape(g, c.joinInts(parts));
  }
  c.give(0, putBack(c, g, vector(c, indices), axis, x));
};

const gatherElements: GradientRule = (c) => {
  c.give(0, putElementsBack(c, c.grad()!, c.input(1), c.node.int('axis', 0), c.input(0)));
};

/** Tuples of positions are numbered through, and the axes that they name become one. */
const gatherND: GradientRule = (c) => {
  const [x, indices] = [c.input(0), c.input(1)];
  const batch = c.node.int('batch_dims', 0);
  const width = c.dimOf(indices, -1);
  if (typeof width !== 'number') return c.fail('the length of its tuples is unknown');
  const lead = [...Array(batch + width).keys()];
  const rows = c.reshape(x, c.joinInts([product(c, x, lead), c.ints([-1])]));
  const numbers = numbered(c, x, indices, batch, width);
  const g = c.reshape(c.grad()!, c.joinInts([c.shape(numbers), c.ints([-1])]));
  c.give(0, c.reshapeLike(putBack(c, g, numbers, 0, rows), x));
};

/** Number of elements along some axes, as a vector of one. */
function product(c: RuleContext, v: Value, axes: readonly number[]): Value {
  const known = axes.map((a) => c.dimOf(v, a));
  if (known.every((d) => typeof d === 'number')) return c.ints([known.reduce((a, b) => a * b, 1)]);
  return c.reduce('ReduceProd', c.dims(v, axes), [0]);
}

/** For each tuple of positions in `indices` the row that it names where the axes of x up to there are one. */
function numbered(c: RuleContext, x: Value, indices: Value, batch: number, width: number): Value {
  const axes = [...Array(width).keys()].map((k) => batch + k);
  const strides = c.joinInts(axes.map((axis) => product(c, x, axes.slice(axes.indexOf(axis) + 1))));
  const sizes = c.dims(x, axes);
  const tuples = c.cast(indices, DataType.INT64);
  // Negative positions count from the end: a remainder takes the divisor's sign.
  const within = c.opset >= 10 ? c.op('Mod', [tuples, sizes]) : tuples;
  const own = c.reduceSum(c.mul(within, strides), [-1], false);
  if (batch === 0) return c.reshape(own, [-1]);
  const perSample = c.reshape(own, c.joinInts([product(c, x, [...Array(batch).keys()]), c.ints([-1])]));
  const first = c.mul(positions(c, perSample, 0), product(c, x, axes));
  return c.reshape(c.add(perSample, c.unsqueeze(first, [1])), [-1]);
}

/** The values that are kept lie at distinct positions, which the op gives too. */
const topK: GradientRule = (c) => {
  const indices = c.madeOutput(1);
  c.give(0, putElementsBack(c, c.grad()!, indices, c.node.int('axis', -1), c.input(0), true));
};

/** How an op writes updates to a tensor, adding them when told to, and how they are read again. */
interface Scatter {
  write(c: RuleContext, into: Value, updates: Value, add?: boolean): Value;
  read(c: RuleContext, from: Value): Value;
}

/** Elements that are overwritten get no gradient; those that are added to keep theirs. */
function scattered({ write, read }: Scatter): GradientRule {
  return (c) => {
    const g = c.grad()!;
    const mode = c.node.string('reduction', 'none');
    if (mode === 'max' || mode === 'min') return extreme(c, { write, read });
    if (mode !== 'none' && mode !== 'add') c.fail(`the reduction "${mode}" is not supported`);
    if (c.needs(0)) c.give(0, mode === 'add' ? g : write(c, g, c.zerosLike(c.input(2))));
    if (c.needs(2)) c.give(2, read(c, g));
  };
}

/** Of several equal largest (or smallest) elements and updates each takes an equal share, as in torch.scatter_reduce. */
function extreme(c: RuleContext, { write, read }: Scatter): void {
  const [x, updates, y, g] = [c.input(0), c.input(2), c.output(), c.grad()!];
  const own = c.cast(c.equal(x, y), c.elemTypeOf(g));
  const others = c.cast(c.equal(updates, read(c, y)), c.elemTypeOf(g));
  const share = c.div(g, write(c, own, others, true));
  if (c.needs(0)) c.give(0, c.mul(own, share));
  if (c.needs(2)) c.give(2, c.mul(others, read(c, share)));
}

const sum = (add?: boolean): EmitAttributes => (add ? { reduction: 'add' } : {});

const scatterElements = scattered({
  write: (c, into, updates, add) =>
    c.op(c.node.opType, [into, c.input(1), updates], { axis: c.node.int('axis', 0), ...sum(add) }),
  read: (c, from) =>
    c.opset >= 11
      ? c.op('GatherElements', [from, c.input(1)], { axis: c.node.int('axis', 0) })
      : c.fail('gradients of its updates need opset 11'),
});

const scatterND = scattered({
  write: (c, into, updates, add) => c.op('ScatterND', [into, c.input(1), updates], sum(add)),
  read: (c, from) => c.op('GatherND', [from, c.input(1)]),
});

/** Of the two values that it spells with; the classes carry no gradient. */
const oneHot: GradientRule = (c) => {
  if (!c.needs(2)) return;
  const g = c.grad()!;
  const pair = c.numbers([0, 1], [2], c.elemTypeOf(g));
  const hot = c.op('OneHot', [c.input(0), c.input(1), pair], { axis: c.node.int('axis', -1) });
  const on = c.reshape(c.sumAll(c.mul(g, hot)), [1]);
  c.give(2, c.concat([c.sub(c.reshape(c.sumAll(g), [1]), on), on], 0));
};

export const indexingRules: RuleTable = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  TopK: topK,
  Scatter: scatterElements,
  ScatterElements: scatterElements,
  ScatterND: scatterND,
  OneHot: oneHot,
};
