import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { alongAxis } from '../positions.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/**
 * Rounding passes the gradient on as it is: the straight-through estimator (Bengio, Léonard, Courville: Estimating or
 * propagating gradients through stochastic neurons, 2013). What lies beyond the range of the codes gets none, as in
 * torch's fake_quantize: a quantiser leaves out a Relu in front of codes that start at 0. Between the two ops a code has
 * the gradient of the number that it stands for.
 */

/** Least and greatest code; other types are small floats, whose range is not looked at. */
const RANGES = new Map<DataType, [number, number]>([
  [DataType.UINT4, [0, 15]],
  [DataType.INT4, [-8, 7]],
  [DataType.UINT8, [0, 255]],
  [DataType.INT8, [-128, 127]],
  [DataType.UINT16, [0, 65535]],
  [DataType.INT16, [-32768, 32767]],
]);

/** Whether x is rounded to a code without being cut off; undefined where every number may be. */
function within(c: RuleContext): Value | undefined {
  const range = RANGES.get(c.elemTypeOf(c.output()));
  if (!range || c.node.int('block_size', 0) !== 0) return undefined;
  const [x, zero] = [c.input(0), c.node.inputs[2]];
  const axis = c.node.int('axis', 1);
  const spread = (v: Value) =>
    c.rankOf(v) === 1 && c.rankOf(x) > 1 && c.dimOf(v, 0) !== 1 ? alongAxis(c, v, x, axis) : v;
  const scaled = c.div(x, spread(c.cast(c.input(1), c.elemTypeOf(x))));
  const code = zero ? c.add(scaled, spread(c.cast(zero, c.elemTypeOf(x)))) : scaled;
  return c.and(c.greater(code, c.scalar(range[0] - 0.5, x)), c.less(code, c.scalar(range[1] + 0.5, x)));
}

const quantise: GradientRule = (c) => {
  if (c.needs(1)) c.fail('gradients of scales are not supported');
  const g = c.cast(c.grad()!, c.elemTypeOf(c.input(0)));
  const kept = within(c);
  c.give(0, kept ? c.keep(kept, g) : g);
};

const dequantise: GradientRule = (c) => {
  if (c.needs(1)) c.fail('gradients of scales are not supported');
  c.give(0, c.cast(c.grad()!, c.elemTypeOf(c.output())));
};

/** Scale and zero point are those of the very tensor: what they change of the codes, they change back. */
const quantiseDynamically: GradientRule = (c) => {
  const g = c.grad();
  if (g) c.give(0, c.cast(g, c.elemTypeOf(c.input(0))));
};

export const quantisedRules: RuleTable = {
  DynamicQuantizeLinear: quantiseDynamically,
  'com.microsoft.DynamicQuantizeLinear': quantiseDynamically,
  QuantizeLinear: quantise,
  DequantizeLinear: dequantise,
  'com.microsoft.QuantizeLinear': quantise,
  'com.microsoft.DequantizeLinear': dequantise,
};
