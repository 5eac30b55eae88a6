import { describe, it } from 'vitest';
import { builder, type Builder } from '../../support/build.ts';
import type { Value } from '../../../src/graph/ir.ts';
import { checkGradient } from '../../support/gradients.ts';

/** A reduction with its axes as the opset takes them. */
function reduce(b: Builder, opset: number, op: string, x: Value, axes?: number[], keepdims = 1): Value {
  if (!axes) return b.op(op, [x], { keepdims });
  const operand = opset >= (op === 'ReduceSum' ? 13 : 18);
  return operand ? b.op(op, [x, b.ints(axes)], { keepdims }) : b.op(op, [x], { axes, keepdims });
}

const OPS = ['Sum', 'Mean', 'Max', 'Min', 'Prod', 'L1', 'L2', 'SumSquare', 'LogSum', 'LogSumExp'];

describe.each(OPS.map((op) => `Reduce${op}`))('%s', (op) => {
  it.each([7, 11, 13, 18, 21])('opset %i', async (opset) => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 3, 'H', 2]);
    const from = op === 'ReduceLogSum' ? b.op('Exp', [x]) : x;
    const values = [
      reduce(b, opset, op, from, [1, 2]),
      reduce(b, opset, op, from, [3], 0),
      reduce(b, opset, op, from),
      reduce(b, opset, op, from, undefined, 0),
    ];
    if (opset >= 11) values.push(reduce(b, opset, op, from, [-2, -3], 0));
    if (opset >= 18) values.push(b.op(op, [from], { noop_with_empty_axes: 1 }));
    await checkGradient(b.model, values, [x], { dims: { H: 3 } });
  });
});

describe('CumSum', () => {
  it.each([
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
  ])('exclusive %i, reverse %i', async (exclusive, reverse) => {
    const b = builder();
    const x = b.input('x', ['N', 4, 3]);
    await checkGradient(b.model, b.op('CumSum', [x, b.ints([1], [])], { exclusive, reverse }), [x]);
  });
});
