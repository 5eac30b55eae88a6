import type { Value } from '../../graph/ir.ts';
import { positions } from '../positions.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/** Ops that give every element of their inputs a new place: the gradients move back. */

/** Whatever keeps the order of elements. */
const reshaped: GradientRule = (c) => c.give(0, c.reshapeLike(c.grad()!, c.input(0)));

const transpose: GradientRule = (c) => {
  const rank = c.rankOf(c.input(0));
  const perm = c.node.ints('perm') ?? [...Array(rank).keys()].reverse();
  const back = perm.map((_, i) => perm.indexOf(i));
  c.give(0, c.transpose(c.grad()!, back));
};

/** Each operand gets its part of the gradient. */
const concat: GradientRule = (c) => {
  const axis = c.node.int('axis', 1);
  const operands = c.node.inputs as Value[];
  const parts = splitLike(c, c.grad()!, operands, axis);
  operands.forEach((_, i) => c.give(i, parts[i]));
};

/** Parts of `v` along an axis, as long as the axis is in each of `likes`. */
function splitLike(c: RuleContext, v: Value, likes: readonly Value[], axis: number): Value[] {
  const [at] = c.axes(v, [axis]);
  const sizes = likes.map((like) => c.dimOf(like, at));
  const known = sizes.every((d) => typeof d === 'number') ? sizes : undefined;
  if (known) return c.split(v, known, at);
  if (c.opset >= 13) {
    const lengths = c.joinInts(likes.map((like) => c.dims(like, [at])));
    return c.ops('Split', [v, lengths], { axis: at }, likes.length);
  }
  // Split takes no sizes that are known at run time only: one list of positions after the other.
  let start: Value | undefined;
  return likes.map((like) => {
    const own = positions(c, like, at);
    const part = c.op('Gather', [v, start ? c.add(own, start) : own], { axis: at });
    start = start ? c.add(start, c.dims(like, [at])) : c.dims(like, [at]);
    return part;
  });
}

/** Parts that nothing depends on count as zeros. */
const split: GradientRule = (c) => {
  const parts = c.node.outputs.map((v, i) => c.grad(i) ?? c.zerosLike(v ?? c.madeOutput(i)));
  c.give(0, c.concat(parts, c.node.int('axis', 0)));
};

/** Blocks of depth spread over the plane, in either order of the axes; without a mode it is DCR. */
const depthToSpace: GradientRule = (c) => {
  const [x, g] = [c.input(0), c.grad()!];
  const block = c.node.int('blocksize', 1);
  if (c.node.string('mode', 'DCR') === 'DCR') return c.give(0, c.op('SpaceToDepth', [g], { blocksize: block }));
  const size = c.ints([block]);
  const pairs = [c.dims(g, [0, 1]), c.dims(x, [2]), size, c.dims(x, [3]), size];
  const blocks = c.transpose(c.reshape(g, c.joinInts(pairs)), [0, 1, 3, 5, 2, 4]);
  c.give(0, c.reshapeLike(blocks, x));
};

const spaceToDepth: GradientRule = (c) =>
  c.give(0, c.op('DepthToSpace', [c.grad()!], { blocksize: c.node.int('blocksize', 1) }));

/** Undoes itself. */
const reverseSequence: GradientRule = (c) => {
  const attributes = { batch_axis: c.node.int('batch_axis', 1), time_axis: c.node.int('time_axis', 0) };
  c.give(0, c.op('ReverseSequence', [c.grad()!, c.input(1)], attributes));
};

export const movingRules: RuleTable = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  ReverseSequence: reverseSequence,
};
