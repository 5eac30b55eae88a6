import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addVectorJacobianProducts } from '../../../src/autodiff/gradient.ts';
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

describe('GatherElements', () => {
  it.each([11, 13, 18])('opset %i', async (opset) => {
    const b = builder({ opset });
    const x = b.input('x', [2, 'T', 3]);
    const rows = b.ints([0, 2, -1, 1, 2, 2, 1, 1, 0, 0, 0, 0], [2, 2, 3]);
    const columns = b.op('GatherElements', [b.input('y', [2, 3]), b.ints([2, 0, 2, 1], [2, 2])], { axis: -1 });
    await checkGradient(b.model, b.op('GatherElements', [x, rows], { axis: 1 }), [x], { dims: { T: 4 } });
    await checkGradient(b.model, columns, [columns.producer!.inputs[0]!]);
  });
  it('with fewer indices than there are places along other axes', async () => {
    const b = builder({ opset: 16 });
    const x = b.input('x', [3, 4]);
    await checkGradient(b.model, b.op('GatherElements', [x, b.ints([3, 3, 0], [1, 3])], { axis: 1 }), [x]);
  });
});

describe('GatherND', () => {
  it.each([11, 13, 18])('opset %i', async (opset) => {
    const b = builder({ opset });
    const [x, y] = [b.input('x', ['T', 3, 2]), b.input('y', ['T', 'U', 2])];
    const pairs = b.ints([0, 2, 1, 0, 0, 2, -1, -1], [4, 2]);
    const values = [
      b.op('GatherND', [x, pairs]),
      b.op('GatherND', [x, b.ints([1, 0, 1], [3, 1])]),
      b.op('GatherND', [x, b.ints([0, 1, 1, 2, 0, 1], [1, 2, 3])]),
      b.op('GatherND', [y, pairs]),
    ];
    await checkGradient(b.model, values, [x, y], { dims: { T: 3, U: 3 } });
  });
  it.each([12, 18])('with batch axes, opset %i', async (opset) => {
    const b = builder({ opset });
    const [x, y] = [b.input('x', ['N', 4, 3]), b.input('y', ['N', 2, 3, 2])];
    const values = [
      b.op('GatherND', [x, b.ints([1, 0, 1, 2, -1, 2], [2, 3, 1])], { batch_dims: 1 }),
      b.op('GatherND', [y, b.ints([0, 2, 2, 1], [2, 2, 1])], { batch_dims: 2 }),
    ];
    await checkGradient(b.model, values, [x, y]);
  });
});

describe('Scatter', () => {
  it.each([11, 13, 16, 18])('elements, opset %i', async (opset) => {
    const b = builder({ opset });
    const [x, u] = [b.input('x', ['N', 4]), b.input('u', ['N', 3])];
    const list = b.ints([0, 3, -2, 1, 0, 2], [2, 3]);
    const values = [b.op('ScatterElements', [x, list, u], { axis: 1 })];
    const twice = b.ints([0, 0, 2, 1, -1, -1], [2, 3]);
    if (opset >= 16) values.push(b.op('ScatterElements', [x, twice, u], { axis: 1, reduction: 'add' }));
    await checkGradient(b.model, values, [x, u]);
  });
  it('of old opsets', async () => {
    const b = builder({ opset: 9 });
    const x = b.input('x', [2, 4]);
    const y = b.op('Scatter', [x, b.ints([0, 3, 1, 0], [2, 2]), b.weight([2, 2])], { axis: 1 });
    await checkGradient(b.model, y, [x]);
  });
  it.each([11, 13, 16, 18])('slices, opset %i', async (opset) => {
    const b = builder({ opset });
    const [x, u] = [b.input('x', [3, 'T', 2]), b.input('u', [2, 2])];
    const values = [b.op('ScatterND', [x, b.ints([0, 1, 2, -1], [2, 2]), u])];
    if (opset >= 16) values.push(b.op('ScatterND', [x, b.ints([0, 1, 0, 1], [2, 2]), u], { reduction: 'add' }));
    await checkGradient(b.model, values, [x, u], { dims: { T: 3 } });
  });
  it.each(['max', 'min'])('the %s of elements and of slices', async (reduction) => {
    const b = builder({ opset: 18 });
    const [x, u] = [b.input('x', [2, 4]), b.input('u', [2, 3])];
    const some = b.ints([0, 0, 2, 1, -1, -1], [2, 3]);
    const [y, v] = [b.input('y', [4, 2]), b.input('v', [3, 2])];
    const values = [
      b.op('ScatterElements', [x, some, u], { axis: 1, reduction }),
      b.op('ScatterND', [y, b.ints([2, 0, 2], [3, 1]), v], { reduction }),
    ];
    await checkGradient(b.model, values, [x, u, y, v]);
  });
  it('names a reduction that it does not know', () => {
    const b = builder({ opset: 18 });
    const x = b.input('x', [3]);
    const y = b.op('ScatterND', [x, b.ints([0], [1, 1]), b.weight([1])], { reduction: 'mul' });
    const seed = b.input('seed', [3]);
    expect(() => addVectorJacobianProducts(b.model, new Map([[y, seed]]), [x])).toThrow(/"mul" is not supported/);
  });
});

describe('TopK', () => {
  it.each([9, 10, 11, 16])('opset %i', async (opset) => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 5, 2]);
    const top = (axis: number, k: number) =>
      opset < 10 ? b.nodes('TopK', [x], { axis, k }, 2)[0] : b.nodes('TopK', [x, b.ints([k])], { axis }, 2)[0];
    await checkGradient(b.model, [top(1, 3), top(-1, 1)], [x]);
  });
});

describe('OneHot', () => {
  it('of the values that it spells with', async () => {
    const b = builder();
    const pair = b.floats([0.2, 0.7]);
    const y = b.op('OneHot', [b.ints([1, 0, 2]), b.ints([4], []), pair]);
    await checkGradient(b.model, y, [pair]);
  });
});
