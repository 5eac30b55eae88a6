import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addVectorJacobianProducts } from '../../../src/autodiff/gradient.ts';
import type { Dim } from '../../../src/graph/ir.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { builder, type Attrs } from '../../support/build.ts';
import { checkGradient, runValues } from '../../support/gradients.ts';

/** Distinct numbers in random order, further apart than the steps of the differences. */
function apart(dims: readonly number[]): ort.Tensor {
  const count = dims.reduce((a, b) => a * b, 1);
  const data = Float32Array.from({ length: count }, (_, i) => ((i * 7919) % count) / 4 - count / 8);
  return new ort.Tensor('float32', data, dims);
}

interface Case {
  title: string;
  x: number[];
  attrs: Attrs;
}

/** Checks a pool with known spatial sizes, and with symbols in their place unless the opset is too old. */
async function check(op: string, { x: sizes, attrs }: Omit<Case, 'title'>, opset = 17, symbolic = opset >= 10) {
  const symbols: Dim[][] = [['N', ...sizes.slice(1)]];
  if (symbolic) symbols.push(['N', sizes[1], ...sizes.slice(2).map((_, i) => `S${i}`)]);
  for (const shape of symbols) {
    const b = builder({ opset });
    const x = b.input('x', shape);
    await checkGradient(b.model, b.op(op, [x], attrs), [x], { feeds: { x: apart(sizes) }, elements: 24 });
  }
}

const square = (k: number, stride: number, pad = 0, more: Attrs = {}): Attrs => ({
  kernel_shape: [k, k],
  strides: [stride, stride],
  pads: [pad, pad, pad, pad],
  ...more,
});

describe('MaxPool', () => {
  const cases: Case[] = [
    { title: '2 × 2', x: [2, 2, 4, 6], attrs: square(2, 2) },
    { title: 'rows left over', x: [2, 2, 5, 7], attrs: square(2, 2) },
    { title: 'overlaps', x: [2, 2, 7, 6], attrs: square(3, 2, 1) },
    { title: 'overlaps at stride 1', x: [1, 2, 4, 5], attrs: square(3, 1, 1) },
    { title: 'ceil_mode', x: [2, 1, 6, 7], attrs: square(3, 2, 0, { ceil_mode: 1 }) },
    { title: 'dilations', x: [2, 2, 7, 7], attrs: square(3, 1, 1, { dilations: [2, 3] }) },
    { title: 'one axis', x: [2, 3, 9], attrs: { kernel_shape: [3], strides: [2] } },
    { title: 'three axes', x: [2, 2, 4, 4, 5], attrs: { kernel_shape: [2, 2, 3], strides: [2, 1, 2] } },
    { title: 'order of columns', x: [2, 2, 4, 6], attrs: square(3, 2, 1, { storage_order: 1 }) },
    { title: 'fewer windows than classes', x: [2, 2, 3, 3], attrs: square(3, 1) },
  ];
  it.each(cases)('$title', async (given) => {
    for (const opset of [9, 12, 17])
      if (opset >= 10 || !('ceil_mode' in given.attrs || 'dilations' in given.attrs))
        await check('MaxPool', given, opset);
  });
  it('SAME', async () => {
    for (const auto_pad of ['SAME_UPPER', 'SAME_LOWER'])
      await check('MaxPool', { x: [2, 2, 5, 6], attrs: { kernel_shape: [3, 2], strides: [1, 1], auto_pad } });
  });
  it.each([7, 8, 9, 10, 11, 13, 16, 18])('the first of equal elements has all of it, opset %i', async (opset) => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 1, 3, 3]);
    const y = b.op('MaxPool', [x], square(2, 1));
    const seed = b.graph.addInitializer('seed', Tensor.fromFloat32('', [1, 1, 2, 2], Float32Array.of(1, 2, 3, 4)));
    const { gradients } = addVectorJacobianProducts(b.model, new Map([[y, seed]]), [x]);
    const dx = gradients.get(x)!;
    const feeds = { x: new ort.Tensor('float32', Float32Array.of(5, 5, 0, 5, 0, 0, 0, 0, 0), [1, 1, 3, 3]) };
    const out = await runValues(b.model, [dx], feeds);
    expect([...(out[dx.name].data as Float32Array)]).toEqual([1, 2, 0, 3, 4, 0, 0, 0, 0]);
  });
});

describe('GlobalAveragePool', () => {
  it.each([7, 13, 18])('opset %i', async (opset) => {
    await check('GlobalAveragePool', { x: [2, 3, 2, 4], attrs: {} }, opset);
    await check('GlobalAveragePool', { x: [2, 3, 4], attrs: {} }, opset);
    await check('GlobalAveragePool', { x: [2, 2, 2, 3, 2], attrs: {} }, opset);
  });
});

describe('AveragePool', () => {
  const cases: Case[] = [
    { title: '2 × 2', x: [2, 2, 4, 6], attrs: square(2, 2) },
    { title: 'rows left over', x: [2, 2, 5, 7], attrs: square(2, 2) },
    { title: 'overlaps at stride 1, padding does not count', x: [2, 2, 4, 5], attrs: square(3, 1, 1) },
    { title: 'overlaps, padding does not count', x: [2, 2, 6, 7], attrs: square(3, 2, 1) },
    { title: 'overlaps, padding counts', x: [2, 2, 6, 7], attrs: square(3, 2, 1, { count_include_pad: 1 }) },
    { title: 'one axis', x: [2, 2, 7], attrs: { kernel_shape: [3], strides: [2], pads: [1, 0] } },
    { title: 'three axes', x: [2, 2, 4, 5, 4], attrs: { kernel_shape: [2, 3, 2], strides: [2, 1, 2] } },
  ];
  it.each(cases)('$title', async (given) => {
    for (const opset of [9, 17, 19]) await check('AveragePool', given, opset);
  });
  it('opset 7', async () => {
    await check('AveragePool', { x: [2, 2, 6, 6], attrs: square(3, 1, 1) }, 7);
  });
  it('ceil_mode, where the last window reaches beyond the padding or starts in it', async () => {
    const more = { ceil_mode: 1 };
    for (const opset of [10, 17, 19]) {
      await check('AveragePool', { x: [2, 2, 6, 7], attrs: square(3, 2, 0, more) }, opset, false);
      await check('AveragePool', { x: [2, 2, 6, 7], attrs: square(3, 2, 1, more) }, opset, false);
      await check('AveragePool', { x: [2, 1, 5, 5], attrs: square(2, 3, 1, more) }, opset, false);
    }
    const counted = { ...more, count_include_pad: 1 };
    await check('AveragePool', { x: [2, 2, 6, 7], attrs: square(3, 2, 1, counted) }, 19, false);
  });
  it('dilations', async () => {
    await check('AveragePool', { x: [2, 2, 7, 8], attrs: square(2, 2, 1, { dilations: [2, 3] }) }, 19);
    await check('AveragePool', { x: [2, 2, 7], attrs: { kernel_shape: [3], dilations: [2], pads: [2, 2] } }, 19);
  });
  it('SAME', async () => {
    for (const auto_pad of ['SAME_UPPER', 'SAME_LOWER'])
      await check('AveragePool', { x: [2, 2, 5, 6], attrs: { kernel_shape: [3, 2], auto_pad } });
    const strides = { kernel_shape: [3, 4], strides: [2, 2], auto_pad: 'SAME_UPPER' };
    await check('AveragePool', { x: [2, 2, 5, 6], attrs: strides }, 17, false);
  });
});

describe('GlobalMaxPool', () => {
  it.each([7, 9, 11, 16, 18])('opset %i', async (opset) => {
    await check('GlobalMaxPool', { x: [2, 3, 2, 4], attrs: {} }, opset);
    await check('GlobalMaxPool', { x: [2, 2, 2, 3, 2], attrs: {} }, opset);
  });
  it('the first of equal elements has all of it', async () => {
    const b = builder();
    const x = b.input('x', ['N', 1, 2, 2]);
    const y = b.op('GlobalMaxPool', [x]);
    const seed = b.graph.addInitializer('seed', Tensor.fromFloat32('', [1, 1, 1, 1], Float32Array.of(3)));
    const dx = addVectorJacobianProducts(b.model, new Map([[y, seed]]), [x]).gradients.get(x)!;
    const feeds = { x: new ort.Tensor('float32', Float32Array.of(1, 5, 5, 0), [1, 1, 2, 2]) };
    expect([...((await runValues(b.model, [dx], feeds))[dx.name].data as Float32Array)]).toEqual([0, 3, 0, 0]);
  });
});

describe('LpPool and GlobalLpPool', () => {
  it.each([1, 2, 3, 4])('p = %i', async (p) => {
    for (const opset of [9, 18]) {
      await check('LpPool', { x: [2, 2, 6, 7], attrs: square(3, 2, 1, { p }) }, opset);
      await check('GlobalLpPool', { x: [2, 2, 3, 4], attrs: { p } }, opset);
    }
  });
  it('has no slope where all elements are 0', async () => {
    const b = builder();
    const x = b.input('x', ['N', 1, 2, 2]);
    const y = b.op('LpPool', [x], { kernel_shape: [1, 2] });
    const seed = b.graph.addInitializer('seed', Tensor.fromFloat32('', [1, 1, 2, 1], Float32Array.of(1, 5)));
    const dx = addVectorJacobianProducts(b.model, new Map([[y, seed]]), [x]).gradients.get(x)!;
    const feeds = { x: new ort.Tensor('float32', Float32Array.of(0, 0, 3, 4), [1, 1, 2, 2]) };
    const got = (await runValues(b.model, [dx], feeds))[dx.name].data as Float32Array;
    [0, 0, 3, 4].forEach((wanted, i) => expect(got[i]).toBeCloseTo(wanted, 5));
  });
});
