import type { Value } from '../../graph/ir.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/** Reductions along some axes: the gradient is spread again over what was reduced. */

/** Axes that are reduced, none of them negative: an attribute before opset 18 (13 for ReduceSum), an operand since. */
function reducedAxes(c: RuleContext): number[] {
  const x = c.input(0);
  const given = c.node.ints('axes') ?? (c.has(1) ? c.numbersOf(c.input(1)) : []);
  if (!given) return c.fail('its axes are not constant');
  if (given.length > 0) return c.axes(x, given);
  return c.node.int('noop_with_empty_axes', 0) ? [] : [...Array(c.rankOf(x)).keys()];
}

/** A reduction: `slope` gives what the gradient of the result, with axes of size 1 kept, is to x. */
function reduction(
  slope: (c: RuleContext, g: Value, x: Value, y: Value, axes: readonly number[]) => Value,
): GradientRule {
  return (c) => {
    const axes = reducedAxes(c);
    const x = c.input(0);
    if (axes.length === 0) return c.give(0, c.grad()!);
    const kept = (v: Value) => (c.node.int('keepdims', 1) ? v : c.unsqueeze(v, axes));
    c.give(0, slope(c, kept(c.grad()!), x, kept(c.output()), axes));
  };
}

export const reducingRules: RuleTable = {
  ReduceSum: reduction((c, g, x) => c.expandLike(g, x)),
  ReduceMean: reduction((c, g, x, _, axes) => c.expandLike(c.div(g, c.count(x, axes)), x)),
};
