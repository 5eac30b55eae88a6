import { DataType } from '../../onnx/data-type.ts';
import type { Value } from '../../graph/ir.ts';
import { putBack } from '../positions.ts';
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

export const indexingRules: RuleTable = { Gather: gather };
