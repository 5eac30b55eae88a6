import { describe, expect, it } from 'vitest';
import { addVectorJacobianProducts } from '../../../src/autodiff/gradient.ts';
import type { Dim } from '../../../src/graph/ir.ts';
import { builder, type Attrs, type Builder } from '../../support/build.ts';
import { checkGolden, goldenOps } from '../../support/golden-ops.ts';
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

describe('normalisations that leave the mean', () => {
  it.each<[string, number, number]>([
    ['RMSNormalization', 23, -1],
    ['RMSNormalization', 23, 1],
    ['SimplifiedLayerNormalization', 17, -1],
    ['SimplifiedLayerNormalization', 17, -2],
  ])('%s, opset %i, axis %i', async (op, opset, axis) => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 3, 4]);
    const gamma = b.weight([2, 3, 4].slice(axis), 'gamma', 1);
    await checkGradient(b.model, b.op(op, [x, gamma], { axis, epsilon: 0.01 }), [x, gamma]);
  });

  it('also the inverse deviation', async () => {
    const b = builder();
    const x = b.input('x', ['N', 4]);
    const gamma = b.weight([4], 'gamma', 1);
    const outputs = b.nodes('SimplifiedLayerNormalization', [x, gamma], { epsilon: 0.1 }, 2);
    await checkGradient(b.model, outputs, [x, gamma], { single: true });
  });
});

describe('sums with a skip connection', () => {
  it.each<[string, Dim[], boolean]>([
    ['SkipLayerNormalization', ['N', 3, 4], true],
    ['SkipLayerNormalization', ['N', 3, 4], false],
    ['SkipLayerNormalization', [3, 4], true],
    ['SkipLayerNormalization', [1, 3, 4], false],
    ['SkipSimplifiedLayerNormalization', ['N', 3, 4], true],
    ['SkipSimplifiedLayerNormalization', ['N', 3, 4], false],
  ])('%s, skip %o, biases: %s', async (op, shape, biased) => {
    const b = builder();
    const x = b.input('x', ['N', 3, 4]);
    const skip = b.input('skip', shape);
    const weights = [b.weight([4], 'gamma', 1), ...(biased ? [b.weight([4], 'bias', 1)] : [])];
    if (biased && op === 'SkipLayerNormalization') weights.splice(1, 0, b.weight([4], 'beta', 1));
    const outputs = b.nodes(`com.microsoft.${op}`, [x, skip, ...weights], { epsilon: 0.01 }, 4);
    const used = [outputs[0], outputs[3]];
    await checkGradient(b.model, used, [x, skip, ...weights], { elements: 24 });
    await checkGradient(b.model, outputs[3], [x, skip, ...weights.slice(biased ? 1 + +(weights.length > 2) : 1)]);
  });
});

describe('normalisations of channels', () => {
  it.each<[string, number, Dim[]]>([
    ['InstanceNormalization', 17, ['N', 3, 5]],
    ['InstanceNormalization', 8, ['N', 2, 3, 3]],
    ['GroupNormalization', 18, ['N', 4, 3]],
    ['GroupNormalization', 18, [2, 4, 2, 3]],
    ['GroupNormalization', 21, ['N', 4, 3]],
    ['GroupNormalization', 21, [2, 6, 2, 2]],
  ])('%s, opset %i, %o', async (op, opset, shape) => {
    const b = builder({ opset });
    const x = b.input('x', shape);
    const grouped = op === 'GroupNormalization';
    const size = grouped && opset < 21 ? 2 : (shape[1] as number);
    const weights = [b.weight([size], 'gamma', 1), b.weight([size], 'beta', 1)];
    const attrs = { epsilon: 0.01, ...(grouped ? { num_groups: 2 } : {}) };
    // Since opset 21 the runtime computes in float32 whatever it is given.
    await checkGradient(b.model, b.op(op, [x, ...weights], attrs), [x, ...weights], { single: opset >= 21 });
  });

  it.each([
    [9, [0, 2, 3]],
    [13, [0, 2]],
    [13, undefined],
  ])('MeanVarianceNormalization, opset %i, axes %o', async (opset, axes) => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 2, 3, 2]);
    await checkGradient(b.model, b.op('MeanVarianceNormalization', [x], axes ? { axes } : {}), [x]);
  });

  it.each([
    [3, 7],
    [5, 17],
    [1, 13],
  ])('LRN over %i channels, opset %i', async (size, opset) => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 6, 2, 3]);
    await checkGradient(b.model, b.op('LRN', [x], { size, alpha: 0.7, beta: 0.75, bias: 1.5 }), [x]);
  });
});

describe('LpNormalization', () => {
  it.each([
    [1, -1, 11],
    [2, -1, 11],
    [2, 1, 22],
    [1, 0, 17],
  ])('p %i, axis %i, opset %i', async (p, axis, opset) => {
    const b = builder({ opset });
    const x = b.input('x', [2, 3, 4]);
    await checkGradient(b.model, b.op('LpNormalization', [x], { p, axis }), [x]);
  });
});

describe('gradients by torch.autograd', () => {
  it.each(goldenOps('normalisation').map((g) => [`${g.op} ${g.name}`, g] as const))('%s', (_, golden) =>
    checkGolden(golden),
  );
});
