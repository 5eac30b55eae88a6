import type { Value } from '../../graph/ir.ts';
import { sign } from './pointwise.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/** Reductions along some axes: the gradient is spread again over what was reduced. */

/**
 * Axes that are reduced, none of them negative: an attribute before opset 18 (13 for ReduceSum), an operand since. None at
 * all where the op is told so: each element is then reduced by itself.
 */
function reducedAxes(c: RuleContext): number[] {
  const x = c.input(0);
  const given = c.node.ints('axes') ?? (c.has(1) ? c.numbersOf(c.input(1)) : []);
  if (!given) return c.fail('its axes are not constant');
  if (given.length > 0) return c.axes(x, given);
  return c.node.int('noop_with_empty_axes', 0) ? [] : [...Array(c.rankOf(x)).keys()];
}

/** What a reduction's rule sees: its result y and the gradient g of that, both with axes of size 1 kept. */
interface Reduced {
  x: Value;
  y: Value;
  g: Value;
  axes: readonly number[];
}

function reduction(gradient: (c: RuleContext, reduced: Reduced) => Value): GradientRule {
  return (c) => {
    const axes = reducedAxes(c);
    const [x, g] = [c.input(0), c.grad()!];
    const kept = (v: Value) => (c.node.int('keepdims', 1) ? v : c.unsqueeze(v, axes));
    c.give(0, gradient(c, { x, y: kept(c.output()), g: kept(g), axes }));
  };
}

/** g by the number of elements along some axes, which half precision may not hold where its inverse does. */
function shareOf(c: RuleContext, g: Value, x: Value, axes: readonly number[]): Value {
  const sizes = axes.map((axis) => c.dimOf(x, axis));
  if (!sizes.every((d) => typeof d === 'number')) return c.div(g, c.count(x, axes));
  return c.scale(g, 1 / sizes.reduce((a, b) => a * b, 1));
}

/** Of several equal largest (or smallest) elements each takes an equal share, as in torch.amax. */
const extreme = reduction((c, { x, y, g, axes }) => {
  const hits = c.cast(c.equal(x, y), c.elemTypeOf(g));
  return c.mul(hits, c.div(g, c.reduceSum(hits, axes)));
});

/** The product of all others, which also holds where some are 0. */
const product = reduction((c, { x, g, axes }) => {
  const zero = c.equal(x, c.scalar(0, x));
  const safe = c.where(zero, c.scalar(1, x), x);
  const isZero = c.cast(zero, c.elemTypeOf(x));
  const zeroOthers = c.sub(c.reduceSum(isZero, axes), isZero);
  const others = c.div(c.mul(g, c.reduce('ReduceProd', safe, axes)), safe);
  return c.keep(c.equal(zeroOthers, c.scalar(0, x)), others);
});

/** x/y; 0 where all elements are. */
const length = reduction((c, { x, y, g }) => {
  const safe = c.where(c.equal(y, c.scalar(0, y)), c.scalar(1, y), y);
  return c.mul(c.div(g, safe), x);
});

/** Each element is part of all sums from its own on: the sum of their gradients, backwards. */
const cumulative: GradientRule = (c) => {
  const exclusive = c.node.int('exclusive', 0);
  const reverse = c.node.int('reverse', 0) ? 0 : 1;
  c.give(0, c.op('CumSum', [c.grad()!, c.input(1)], { exclusive, reverse }));
};

export const reducingRules: RuleTable = {
  ReduceSum: reduction((c, { x, g }) => c.expandLike(g, x)),
  ReduceMean: reduction((c, { x, g, axes }) => c.expandLike(shareOf(c, g, x, axes), x)),
  ReduceMax: extreme,
  ReduceMin: extreme,
  ReduceProd: product,
  ReduceL1: reduction((c, { x, g }) => c.mul(g, sign(c, x))),
  ReduceL2: length,
  ReduceSumSquare: reduction((c, { x, g }) => c.mul(c.scale(g, 2), x)),
  /** 1/Σx, where y = ln Σx */
  ReduceLogSum: reduction((c, { x, y, g }) => c.expandLike(c.mul(g, c.op('Exp', [c.neg(y)])), x)),
  ReduceLogSumExp: reduction((c, { x, y, g }) => c.mul(g, c.op('Exp', [c.sub(x, y)]))),
  CumSum: cumulative,
};
