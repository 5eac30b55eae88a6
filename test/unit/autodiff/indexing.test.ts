import ort from 'onnxruntime-node';
import { describe, it } from 'vitest';
import type { Dim } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { builder } from '../../support/build.ts';
import { checkGradient } from '../../support/gradients.ts';

const ints = (values: number[], dims: number[]) => new ort.Tensor('int64', BigInt64Array.from(values, BigInt), dims);

describe('Gather', () => {
  const constants: [string, Dim[], number, number[], number[]][] = [
    ['one position', ['N', 4, 3], 1, [0], []],
    ['the last position', ['N', 4, 3], 1, [-1], []],
    ['neighbours', ['N', 4, 3], 1, [1, 2], [2]],
    ['a permutation', ['N', 4, 3], -1, [2, 0, 1], [3]],
    ['some twice', ['N', 4, 3], 1, [2, 0, 2, -2, 1], [5]],
    ['a table of positions', ['N', 4, 3], 1, [2, 0, 2, 1], [2, 2]],
    ['a table along the first axis', [4, 3], 0, [2, 0, 2, 1], [2, 2]],
    ['one position of an unknown axis', ['N', 'T', 3], 1, [-1], []],
    ['positions of an unknown axis', ['N', 'T', 3], 1, [2, 0, 2, -1], [4]],
  ];
  for (const opset of [7, 9, 11, 13, 18])
    it.each(constants.filter(([, shape]) => opset > 8 || !shape.includes('T')))(
      `opset ${opset}: %s`,
      async (_, shape, axis, list, dims) => {
        const b = builder({ opset });
        const x = b.input('x', shape);
        await checkGradient(b.model, b.op('Gather', [x, b.ints(list, dims)], { axis }), [x], { dims: { T: 4 } });
      },
    );

  it.each([9, 13, 16, 20])('of an embedding, opset %i', async (opset) => {
    const b = builder({ opset });
    const tokens = b.input('tokens', ['N', 'T'], DataType.INT64);
    const w = b.weight([6, 3]);
    const feeds = { tokens: ints([1, 0, 5, 1, -1, 3], [2, 3]) };
    await checkGradient(b.model, b.op('Gather', [w, tokens], { axis: 0 }), [w], { feeds });
  });
});
