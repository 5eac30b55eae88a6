import { describe, expect, it } from 'vitest';
import { addVectorJacobianProducts } from '../../../src/autodiff/gradient.ts';
import type { Dim } from '../../../src/graph/ir.ts';
import { builder, type Attrs, type Builder } from '../../support/build.ts';
import { checkGradient } from '../../support/gradients.ts';

/** Numbers between 0.6 and 1.4. */
const positive = (b: Builder, size: number, name: string) =>
  b.floats(
    Array.from({ length: size }, (_, i) => 1 + 0.4 * Math.sin(i * 5 + size)),
    [size],
    name,
  );

function batchNorm(b: Builder, x: ReturnType<Builder['input']>, attrs: Attrs = {}, outputs = 1) {
  const channels = x.type!.shape![1] as number;
  const weights = [
    b.weight([channels], 'gamma', 1),
    b.weight([channels], 'beta', 1),
    b.weight([channels], 'mean', 1),
    positive(b, channels, 'variance'),
  ];
  return { weights, outputs: b.nodes('BatchNormalization', [x, ...weights], { epsilon: 0.1, ...attrs }, outputs) };
}

describe('BatchNormalization', () => {
  it.each<[number, Dim[]]>([
    [7, ['N', 3, 2, 2]],
    [9, ['N', 3]],
    [14, ['N', 3, 4]],
    [17, [2, 3, 2, 2]],
    [17, ['N', 2, 2, 2, 2]],
  ])('with stored statistics, opset %i, %o', async (opset, shape) => {
    const b = builder({ opset });
    const x = b.input('x', shape);
    const { weights, outputs } = batchNorm(b, x);
    const { double } = await checkGradient(b.model, outputs, [x, ...weights], { dims: { N: 3 } });
    expect(double).toBe(true);
  });

  it.each<[Dim[]]>([[['N', 3]], [['N', 3, 4]], [[4, 2, 2, 2]]])('with statistics of the batch, %o', async (shape) => {
    const b = builder({ opset: 17 });
    const x = b.input('x', shape);
    const { weights, outputs } = batchNorm(b, x, { training_mode: 1, momentum: 0.7 }, 3);
    const options = { dims: { N: 5 } };
    await checkGradient(b.model, outputs.slice(0, 1), [x, ...weights.slice(0, 2)], options);
    await checkGradient(b.model, outputs, [x, ...weights], options);
    await checkGradient(b.model, outputs.slice(2), [x, weights[3]], options);
  });

  it('does not guess what older opsets trained', () => {
    const b = builder({ opset: 9 });
    const x = b.input('x', ['N', 3]);
    const seeds = new Map([[batchNorm(b, x, {}, 5).outputs[0], b.input('seed', ['N', 3])]]);
    expect(() => addVectorJacobianProducts(b.model, seeds, [x])).toThrow(/training forms of opsets before 14/);
  });
});

describe('LayerNormalization', () => {
  it.each([
    [17, -1, true],
    [17, 1, false],
    [17, 0, true],
    [13, -1, true],
    [13, -2, false],
  ])('opset %i, axis %i, bias: %s', async (opset, axis, bias) => {
    const b = builder({ opset });
    const x = b.input('x', axis === 0 ? [2, 3, 4] : ['N', 3, 4]);
    const dims = [2, 3, 4].slice(axis);
    const weights = [b.weight(dims, 'gamma', 1), ...(bias ? [b.weight(dims, 'beta', 1)] : [])];
    const y = b.op('LayerNormalization', [x, ...weights], { axis, epsilon: 0.01 });
    await checkGradient(b.model, y, [x, ...weights]);
  });

  it('also the statistics that it gives', async () => {
    const b = builder({ opset: 17 });
    const x = b.input('x', ['N', 3, 4]);
    const gamma = b.weight([4], 'gamma', 1);
    const outputs = b.nodes('LayerNormalization', [x, gamma], { epsilon: 0.1 }, 3);
    // The runtime computes the statistics in float32 even where all else is of float64.
    const options = { single: true };
    await checkGradient(b.model, outputs, [x, gamma], options);
    await checkGradient(b.model, outputs[1], [x], options);
    await checkGradient(b.model, outputs[2], [x], options);
  });
});
