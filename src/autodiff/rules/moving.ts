import type { Value } from '../../graph/ir.ts';
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
  if (likes.length === 1) return [v];
  const [at] = c.axes(v, [axis]);
  const sizes = likes.map((like) => c.dimOf(like, at));
  const known = sizes.every((d) => typeof d === 'number') ? sizes : undefined;
  if (c.opset >= 13) {
    const lengths = known ? c.ints(known) : c.joinInts(likes.map((like) => c.dims(like, [at])));
    return c.ops('Split', [v, lengths], { axis: at }, likes.length);
  }
  if (known) return c.ops('Split', [v], { axis: at, split: known }, likes.length);
  // Split takes no sizes that are known at run time only: slices from one bound to the next.
  if (c.opset < 10) return c.fail(`sizes along axis ${at} are unknown`);
  let start = c.ints([0]);
  return likes.map((like) => {
    const end = c.add(start, c.dims(like, [at]));
    const part = c.op('Slice', [v, start, end, c.ints([at])]);
    start = end;
    return part;
  });
}

/** Parts that nothing depends on count as zeros. */
const split: GradientRule = (c) => {
  const parts = c.node.outputs.map((v, i) => c.grad(i) ?? c.zerosLike(v ?? c.madeOutput(i)));
  c.give(0, c.concat(parts, c.node.int('axis', 0)));
};

export const movingRules: RuleTable = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Transpose: transpose,
  Concat: concat,
  Split: split,
};
