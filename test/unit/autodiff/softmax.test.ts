import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import type { Dim } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { builder } from '../../support/build.ts';
import { checkGradient } from '../../support/gradients.ts';

describe('Softmax and LogSoftmax', () => {
  for (const op of ['Softmax', 'LogSoftmax']) {
    it.each([
      [7, undefined],
      [7, 2],
      [11, 0],
      [11, -1],
      [13, undefined],
      [13, 1],
      [13, 0],
    ])(`${op}, opset %i, axis %s`, async (opset, axis) => {
      const b = builder({ opset });
      const x = b.input('x', ['N', 3, 4]);
      await checkGradient(b.model, b.op(op, [x], axis === undefined ? {} : { axis }), [x]);
    });
  }
});

it('a query that may see nothing, whose NaN the model replaces, leaves the gradients of others finite', async () => {
  const b = builder({ opset: 17 });
  const x = b.input('x', ['N', 3, 4]);
  const none = -Infinity;
  const mask = b.floats([0, none, none, none, none, none, none, none, 0, 0, none, 0], [3, 4]);
  const y = b.softmax(b.add(b.op('MatMul', [x, b.weight([4, 4])]), mask));
  const seen = b.op('Where', [b.op('IsNaN', [y]), b.floats([0], []), y]);
  const { compared } = await checkGradient(b.model, seen, [x]);
  expect(compared).toBeGreaterThan(20);
});

const labelsOf = (values: number[], dims: number[]) =>
  new ort.Tensor('int64', BigInt64Array.from(values, BigInt), dims);

describe('losses that are operators', () => {
  const shapes: [Dim[], number[], number[]][] = [
    [['N', 4], [2, 0, 3], [3]],
    [
      ['N', 4, 2],
      [2, 0, 3, 1, 1, 0],
      [3, 2],
    ],
  ];
  for (const reduction of ['mean', 'sum', 'none'])
    for (const weighted of [false, true])
      for (const ignore of [undefined, 3, -1])
        it.each(shapes)(
          `${reduction}${weighted ? ', class weights' : ''}${ignore === undefined ? '' : `, ignoring ${ignore}`}: %o`,
          async (shape, labels, dims) => {
            const b = builder({ opset: 13 });
            const x = b.input('x', shape);
            const y = b.input('y', ['N', ...shape.slice(2)], DataType.INT64);
            const inputs = weighted ? [x, y, b.floats([0.5, 1, 2, 0.3])] : [x, y];
            const attrs = { reduction, ...(ignore === undefined ? {} : { ignore_index: ignore }) };
            const given = ignore === -1 ? labels.map((l, i) => (i === 1 ? -1 : l)) : labels;
            const feeds = { y: labelsOf(given, dims) };
            const options = { dims: { N: 3 }, feeds };
            await checkGradient(b.model, b.op('SoftmaxCrossEntropyLoss', inputs, attrs), [x], options);
            await checkGradient(b.model, b.op('NegativeLogLikelihoodLoss', inputs, attrs), [x], options);
          },
        );

  it('also the log-probabilities that the loss gives beside it', async () => {
    const b = builder({ opset: 13 });
    const x = b.input('x', ['N', 4]);
    const y = b.input('y', ['N'], DataType.INT64);
    const both = b.nodes('SoftmaxCrossEntropyLoss', [x, y], {}, 2);
    const options = { dims: { N: 3 }, feeds: { y: labelsOf([1, 3, 0], [3]) } };
    const { compared } = await checkGradient(b.model, both, [x], options);
    expect(compared).toBe(12);
    await checkGradient(b.model, both[1], [x], options);
  });
});
