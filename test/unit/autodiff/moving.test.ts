import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import type { Dim } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { builder } from '../../support/build.ts';
import { checkGradient } from '../../support/gradients.ts';

describe('what keeps the order of elements', () => {
  it.each([7, 13])('opset %i', async (opset) => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 1, 3, 2]);
    const values = [
      b.op('Reshape', [x, b.ints([0, -1])]),
      b.op('Flatten', [x], { axis: 2 }),
      opset < 13 ? b.op('Squeeze', [x], { axes: [1] }) : b.op('Squeeze', [x, b.ints([1])]),
      opset < 13 ? b.op('Unsqueeze', [x], { axes: [0] }) : b.op('Unsqueeze', [x, b.ints([0, -1])]),
    ];
    await checkGradient(b.model, values, [x]);
  });
  it('of a shape that is computed', async () => {
    const b = builder();
    const x = b.input('x', ['N', 'T', 4]);
    const shape = b.op('Concat', [b.op('Shape', [x], { start: 0, end: 2 }), b.ints([2, 2])], { axis: 0 });
    await checkGradient(b.model, b.op('Reshape', [x, shape]), [x], { dims: { T: 3 } });
  });
});

describe('Transpose', () => {
  it.each([7, 13])('with and without a permutation, opset %i', async (opset) => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 3, 2, 4]);
    await checkGradient(b.model, [b.transpose(x, [2, 0, 3, 1]), b.op('Transpose', [x])], [x]);
  });
});

describe('Concat', () => {
  it.each([7, 11, 13, 18])('opset %i', async (opset) => {
    const b = builder({ opset });
    const [x, y, w] = [b.input('x', ['N', 2, 3]), b.input('y', ['N', 3, 3]), b.weight([2, 1, 3])];
    const { double } = await checkGradient(b.model, b.op('Concat', [x, y, w], { axis: -2 }), [x, w]);
    expect(double).toBe(true);
  });
  it.each([9, 11, 13, 18])('of sizes that are unknown, opset %i', async (opset) => {
    const b = builder({ opset });
    const [x, y] = [b.input('x', ['N', 'T']), b.input('y', ['N', 'U'])];
    await checkGradient(b.model, b.op('Concat', [x, x, y], { axis: 1 }), [x, y], { dims: { T: 3, U: 2 } });
  });
  it('of one value', async () => {
    const b = builder();
    const x = b.input('x', ['N', 2]);
    await checkGradient(b.model, b.op('Concat', [x], { axis: 1 }), [x]);
  });
});

describe('Split', () => {
  const cases: [number, Dim[]][] = [7, 11, 13, 18].flatMap((opset) => [
    [opset, ['N', 5]],
    [opset, [5, 'N', 2]],
  ]);
  it.each(cases)('opset %i of %j, of which one part is left', async (opset, shape) => {
    const b = builder({ opset });
    const x = b.input('x', shape);
    const axis = shape.indexOf(5);
    const parts =
      opset < 13
        ? b.nodes('Split', [x], { axis, split: [2, 1, 2] }, 3)
        : b.nodes('Split', [x, b.ints([2, 1, 2])], { axis }, 3);
    await checkGradient(b.model, [b.op('Tanh', [parts[0]]), parts[2]], [x]);
    await checkGradient(b.model, parts[1], [x]);
  });
  it('into equal parts', async () => {
    const b = builder({ opset: 18 });
    const x = b.input('x', ['N', 5]);
    const parts = b.nodes('Split', [x], { axis: -1, num_outputs: 3 }, 3);
    await checkGradient(b.model, [parts[1], parts[2]], [x]);
  });
});

describe('DepthToSpace and SpaceToDepth', () => {
  it.each([7, 11, 13])('opset %i', async (opset) => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 8, 'H', 4]);
    const values = [
      b.op('DepthToSpace', [x], { blocksize: 2 }),
      b.op('SpaceToDepth', [x], { blocksize: 2 }),
      ...(opset >= 11 ? [b.op('DepthToSpace', [x], { blocksize: 2, mode: 'CRD' })] : []),
    ];
    await checkGradient(b.model, values, [x], { dims: { H: 2 } });
  });
});

describe('ReverseSequence', () => {
  it.each([
    [1, 0],
    [0, 1],
  ])('batch axis %i', async (batch, time) => {
    const b = builder();
    const x = b.input('x', batch ? [4, 'N', 3] : ['N', 4, 3]);
    const lengths = b.input('lengths', ['N'], DataType.INT64);
    const y = b.op('ReverseSequence', [x, lengths], { batch_axis: batch, time_axis: time });
    const feeds = { lengths: new ort.Tensor('int64', [3n, 2n], [2]) };
    await checkGradient(b.model, y, [x], { feeds, dims: { N: 2 } });
  });
});
