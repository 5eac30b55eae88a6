import type { GradientRule, RuleTable } from './rule.ts';

/**
 * Rounding passes the gradient on as it is: the straight-through estimator (Bengio, Léonard, Courville: Estimating or
 * propagating gradients through stochastic neurons, 2013). Between the two ops a code has the gradient of the number
 * that it stands for.
 */
const straightThrough: GradientRule = (c) => {
  if (c.needs(1)) c.fail('gradients of scales are not supported');
  const g = c.grad()!;
  const x = c.node.op.endsWith('DequantizeLinear') ? c.elemTypeOf(c.output()) : c.elemTypeOf(c.input(0));
  c.give(0, c.cast(g, x));
};

export const quantisedRules: RuleTable = {
  QuantizeLinear: straightThrough,
  DequantizeLinear: straightThrough,
  'com.microsoft.QuantizeLinear': straightThrough,
  'com.microsoft.DequantizeLinear': straightThrough,
};
