import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addVectorJacobianProducts } from '../../../src/autodiff/gradient.ts';
import type { Dim, Value } from '../../../src/graph/ir.ts';
import { builder, type Attrs } from '../../support/build.ts';
import { checkGradient, runValues } from '../../support/gradients.ts';

/** Linear in each operand: differences are good to float32. */
const tolerance = 2e-3;

interface Case {
  title: string;
  x: Dim[];
  /** Sizes of the weights. */
  w: number[];
  attrs?: Attrs;
  opset?: number;
  dims?: Record<string, number>;
}

async function check(op: string, { x: shape, w: dims, attrs = {}, opset, dims: symbols }: Case) {
  const b = builder({ opset });
  const [x, w] = [b.input('x', shape), b.weight(dims)];
  const group = typeof attrs.group === 'number' ? attrs.group : 1;
  const bias = b.weight([op === 'Conv' ? dims[0] : dims[1] * group]);
  const y = b.op(op, [x, w, bias], attrs);
  await checkGradient(b.model, y, [x, w, bias], { dims: symbols, tolerance });
}

describe('Conv', () => {
  const cases: Case[] = [
    { title: '3 × 3', x: ['N', 2, 5, 6], w: [3, 2, 3, 3], attrs: { pads: [1, 1, 1, 1] } },
    { title: 'no padding', x: ['N', 2, 5, 6], w: [3, 2, 3, 2] },
    { title: '1 × 1', x: ['N', 3, 3, 3], w: [4, 3, 1, 1] },
    { title: '1 × 1 with a stride', x: ['N', 3, 4, 5], w: [4, 3, 1, 1], attrs: { strides: [2, 2] } },
    { title: 'a stride', x: ['N', 2, 6, 7], w: [3, 2, 3, 3], attrs: { strides: [2, 2], pads: [1, 1, 1, 1] } },
    { title: 'a stride that leaves rows', x: ['N', 2, 8, 9], w: [3, 2, 2, 3], attrs: { strides: [3, 4] } },
    { title: 'padding on one side', x: ['N', 2, 4, 5], w: [3, 2, 3, 3], attrs: { pads: [0, 2, 1, 0] } },
    { title: 'more padding than the kernel', x: ['N', 2, 4, 4], w: [3, 2, 2, 2], attrs: { pads: [3, 3, 3, 3] } },
    { title: 'dilations', x: ['N', 2, 7, 7], w: [3, 2, 3, 2], attrs: { dilations: [2, 3], pads: [2, 1, 2, 1] } },
    {
      title: 'dilations and strides',
      x: ['N', 2, 8, 9],
      w: [3, 2, 3, 2],
      attrs: { dilations: [2, 3], strides: [2, 3], pads: [2, 1, 2, 1] },
    },
    { title: 'groups', x: ['N', 4, 5, 5], w: [6, 2, 3, 3], attrs: { group: 2, pads: [1, 1, 1, 1] } },
    { title: 'groups and strides', x: ['N', 4, 5, 5], w: [6, 2, 3, 3], attrs: { group: 2, strides: [2, 2] } },
    { title: 'depthwise', x: ['N', 3, 5, 5], w: [3, 1, 3, 3], attrs: { group: 3, pads: [1, 1, 1, 1] } },
    {
      title: 'depthwise, strides and dilations',
      x: ['N', 3, 7, 7],
      w: [6, 1, 3, 3],
      attrs: { group: 3, strides: [2, 2], dilations: [2, 1], pads: [1, 1, 1, 1] },
    },
    { title: 'SAME_UPPER', x: ['N', 2, 5, 6], w: [3, 2, 2, 3], attrs: { auto_pad: 'SAME_UPPER', strides: [2, 2] } },
    { title: 'SAME_LOWER', x: ['N', 2, 5, 6], w: [3, 2, 2, 3], attrs: { auto_pad: 'SAME_LOWER', strides: [2, 2] } },
    { title: 'SAME_LOWER, stride 1', x: ['N', 2, 5, 6], w: [3, 2, 2, 4], attrs: { auto_pad: 'SAME_LOWER' } },
    { title: 'VALID', x: ['N', 2, 5, 6], w: [3, 2, 2, 3], attrs: { auto_pad: 'VALID', strides: [2, 2] } },
    { title: 'many channels', x: ['N', 16, 4, 4], w: [16, 16, 3, 3], attrs: { pads: [1, 1, 1, 1] } },
    {
      title: 'many channels in groups',
      x: ['N', 32, 6, 5],
      w: [32, 16, 3, 2],
      attrs: { group: 2, strides: [2, 1], pads: [1, 0, 0, 1], dilations: [1, 2] },
    },
    { title: 'one axis', x: ['N', 2, 9], w: [3, 2, 3], attrs: { strides: [2], pads: [1, 0], dilations: [2] } },
    { title: 'one axis, depthwise', x: ['N', 3, 9], w: [3, 1, 3], attrs: { group: 3, pads: [1, 1] } },
    { title: 'three axes', x: ['N', 2, 4, 5, 4], w: [3, 2, 2, 3, 2], attrs: { pads: [0, 1, 1, 1, 1, 0] } },
    {
      title: 'three axes, groups, strides',
      x: ['N', 4, 5, 5, 4],
      w: [4, 2, 3, 3, 2],
      attrs: { group: 2, strides: [2, 2, 1], dilations: [1, 2, 1], pads: [1, 1, 1, 1, 1, 1] },
    },
    { title: 'unknown sizes', x: ['N', 2, 'H', 'W'], w: [3, 2, 3, 3], attrs: { pads: [1, 1, 1, 1] } },
    {
      title: 'unknown sizes and strides',
      x: ['N', 2, 'H', 'W'],
      w: [3, 2, 3, 3],
      attrs: { strides: [2, 3], pads: [1, 1, 1, 1] },
      dims: { H: 6, W: 7 },
    },
    {
      title: 'unknown sizes, groups and many channels',
      x: ['N', 32, 'H', 'W'],
      w: [32, 16, 3, 3],
      attrs: { group: 2, strides: [2, 3], pads: [1, 1, 1, 1] },
      dims: { H: 6, W: 7 },
    },
    {
      title: 'unknown sizes, depthwise',
      x: ['N', 3, 'H', 'W'],
      w: [3, 1, 3, 3],
      attrs: { group: 3, strides: [2, 2], pads: [1, 1, 1, 1] },
      dims: { H: 6, W: 7 },
    },
  ];
  it.each(cases)('$title', (given) => check('Conv', given));

  it.each([7, 9, 11, 13, 18])('opset %i', async (opset) => {
    await check('Conv', {
      title: '',
      x: ['N', 4, 5, 5],
      w: [4, 2, 3, 3],
      attrs: { group: 2, pads: [1, 1, 1, 1] },
      opset,
    });
    await check('Conv', { title: '', x: ['N', 16, 5, 5], w: [16, 16, 3, 3], attrs: { strides: [2, 2] }, opset });
  });

  it('weights that are computed, and no bias', async () => {
    const b = builder();
    const [x, w] = [b.input('x', ['N', 2, 4, 4]), b.weight([3, 2, 2, 2])];
    const y = b.op('Conv', [x, b.op('Tanh', [w])]);
    const { compared } = await checkGradient(b.model, y, [x, w], { tolerance: 1e-2 });
    expect(compared).toBeGreaterThan(20);
  });
});

describe('ConvTranspose', () => {
  const cases: Case[] = [
    { title: 'a stride', x: ['N', 3, 3, 4], w: [3, 2, 3, 3], attrs: { strides: [2, 2], pads: [1, 1, 1, 1] } },
    { title: 'no stride', x: ['N', 3, 3, 4], w: [3, 2, 2, 3], attrs: { pads: [1, 0, 0, 1] } },
    { title: '2 × 2', x: ['N', 3, 3, 4], w: [3, 2, 2, 2], attrs: { strides: [2, 2] } },
    {
      title: 'output_padding',
      x: ['N', 3, 3, 4],
      w: [3, 2, 3, 3],
      attrs: { strides: [2, 3], pads: [1, 1, 1, 1], output_padding: [1, 2] },
    },
    {
      title: 'groups and dilations',
      x: ['N', 4, 3, 4],
      w: [4, 3, 3, 2],
      attrs: { group: 2, strides: [2, 1], dilations: [2, 3], pads: [1, 0, 2, 1] },
    },
    {
      title: 'depthwise',
      x: ['N', 3, 3, 4],
      w: [3, 1, 4, 4],
      attrs: { group: 3, strides: [2, 2], pads: [1, 1, 1, 1] },
    },
    { title: 'output_shape', x: ['N', 3, 3, 4], w: [3, 2, 3, 3], attrs: { strides: [2, 2], output_shape: [6, 8] } },
    {
      title: 'a larger output_shape',
      x: ['N', 3, 3, 4],
      w: [3, 2, 2, 2],
      attrs: { strides: [2, 3], output_shape: [6, 12] },
    },
    {
      title: 'output_shape, SAME_UPPER',
      x: ['N', 3, 3, 4],
      w: [3, 2, 3, 4],
      attrs: { strides: [2, 2], output_shape: [6, 7], auto_pad: 'SAME_UPPER' },
    },
    { title: 'SAME_UPPER', x: ['N', 3, 3, 4], w: [3, 2, 3, 4], attrs: { strides: [2, 2], auto_pad: 'SAME_UPPER' } },
    { title: 'SAME_LOWER', x: ['N', 3, 3, 4], w: [3, 2, 3, 4], attrs: { strides: [2, 1], auto_pad: 'SAME_LOWER' } },
    { title: 'VALID', x: ['N', 3, 3, 4], w: [3, 2, 3, 4], attrs: { strides: [2, 1], auto_pad: 'VALID' } },
    {
      title: 'many channels',
      x: ['N', 32, 2, 3],
      w: [32, 16, 2, 3],
      attrs: { group: 2, strides: [2, 2], pads: [0, 1, 0, 1] },
    },
    { title: 'one axis', x: ['N', 2, 5], w: [2, 3, 4], attrs: { strides: [2], pads: [1, 1] } },
    { title: 'one axis, groups', x: ['N', 4, 5], w: [4, 1, 4], attrs: { group: 4, strides: [2], dilations: [2] } },
    {
      title: 'three axes',
      x: ['N', 2, 2, 3, 2],
      w: [2, 3, 2, 3, 2],
      attrs: { strides: [2, 2, 1], pads: [0, 1, 0, 0, 1, 1], output_padding: [1, 0, 0] },
    },
    {
      title: 'three axes, groups',
      x: ['N', 4, 2, 3, 2],
      w: [4, 1, 2, 3, 2],
      attrs: { group: 2, dilations: [2, 1, 1] },
    },
    {
      title: 'unknown sizes',
      x: ['N', 3, 'H', 'W'],
      w: [3, 2, 3, 3],
      attrs: { strides: [2, 3], pads: [1, 1, 1, 1], output_padding: [1, 2] },
      dims: { H: 3, W: 4 },
    },
    { title: 'opset 9', x: ['N', 3, 3, 4], w: [3, 2, 3, 3], attrs: { strides: [2, 2], pads: [1, 1, 1, 1] }, opset: 9 },
    { title: 'opset 7', x: ['N', 16, 3, 4], w: [16, 16, 3, 3], attrs: { strides: [2, 2] }, opset: 7 },
  ];
  it.each(cases)('$title', (given) => check('ConvTranspose', given));
});

describe('Conv in front of a normalisation with stored statistics', () => {
  const cases: Case[] = [
    { title: 'stride 1', x: ['N', 8, 5, 5], w: [8, 8, 3, 3], attrs: { pads: [1, 1, 1, 1] } },
    { title: 'a stride', x: ['N', 3, 6, 6], w: [4, 3, 3, 3], attrs: { strides: [2, 2], pads: [1, 1, 1, 1] } },
    { title: 'groups', x: ['N', 4, 5, 5], w: [6, 2, 3, 3], attrs: { group: 2, pads: [1, 1, 1, 1] } },
    { title: 'one axis', x: ['N', 3, 7], w: [4, 3, 3], attrs: { pads: [1, 1] } },
    { title: 'opset 9', x: ['N', 3, 5, 5], w: [4, 3, 3, 3], opset: 9 },
  ];
  const build = ({ x: shape, w: dims, attrs = {}, opset }: Case) => {
    const b = builder({ opset });
    const [x, w] = [b.input('x', shape), b.weight(dims)];
    const [scale, shift, mean] = [b.weight([dims[0]]), b.weight([dims[0]]), b.weight([dims[0]])];
    const variance = b.floats(Array.from({ length: dims[0] }, (_, i) => 0.5 + 0.3 * i));
    const y = b.op('BatchNormalization', [b.op('Conv', [x, w], attrs), scale, shift, mean, variance]);
    return { b, x, w, y };
  };
  it.each(cases)('$title', async (given) => {
    const { b, x, w, y } = build(given);
    await checkGradient(b.model, y, [x], { tolerance });
    await checkGradient(b.model, y, [x, w], { tolerance });
  });
  it('its constants go into the kernel', () => {
    const { b, x, y } = build(cases[0]);
    const seed = b.input('seed', ['N', 8, 5, 5]);
    addVectorJacobianProducts(b.model, new Map([[y, seed]]), [x]);
    const reader = seed.uses.map((u) => u.node.op);
    expect(reader).toContain('Conv');
  });
});

describe('Relu in front of products with weights', () => {
  it('between convolutions, with a sum on the way', async () => {
    const b = builder();
    const x = b.input('x', ['N', 8, 4, 4]);
    const conv = (v: Value) => b.op('Conv', [v, b.weight([8, 8, 3, 3])], { pads: [1, 1, 1, 1] });
    const first = b.op('Relu', [conv(x)]);
    const second = b.op('Relu', [b.op('Add', [conv(first), first])]);
    await checkGradient(b.model, conv(second), [x, first, second]);
  });
  it('between matrices', async () => {
    const b = builder();
    const x = b.input('x', ['N', 5]);
    const hidden = b.op('Relu', [b.op('Gemm', [x, b.weight([5, 6]), b.weight([6])])]);
    await checkGradient(b.model, b.op('MatMul', [hidden, b.weight([6, 3])]), [x, hidden]);
  });
  it('is open above 0 only, however little', async () => {
    const b = builder();
    const x = b.input('x', [1, 5]);
    const y = b.op('MatMul', [b.op('Relu', [x]), b.floats([2, 2, 2, 2, 2], [5, 1])]);
    const seed = b.floats([1], [1, 1]);
    const dx = addVectorJacobianProducts(b.model, new Map([[y, seed]]), [x]).gradients.get(x)!;
    const feeds = { x: new ort.Tensor('float32', Float32Array.of(-1, 0, 1.2e-38, 1, 3e38), [1, 5]) };
    const out = await runValues(b.model, [dx], feeds);
    expect([...(out[dx.name].data as Float32Array)]).toEqual([0, 0, 2, 2, 2]);
  });
});

describe('FusedConv', () => {
  const functions: [string, number[]][] = [
    ['Relu', []],
    ['Tanh', []],
    ['Sigmoid', []],
    ['LeakyRelu', [0.2]],
    ['Clip', [-0.3, 0.4]],
    ['HardSigmoid', [0.3, 0.4]],
    ['HardSwish', []],
  ];
  it.each(functions)('%s', async (activation, params) => {
    for (const opset of [9, 17]) {
      const b = builder({ opset });
      const [x, w, bias, z] = [
        b.input('x', ['N', 2, 4, 4]),
        b.weight([3, 2, 2, 2]),
        b.weight([3]),
        b.weight([2, 3, 2, 2]),
      ];
      const attrs: Attrs = {
        activation,
        strides: [2, 2],
        ...(params.length > 0 && { activation_params: { floats: params } }),
      };
      await checkGradient(b.model, b.op('com.microsoft.FusedConv', [x, w, bias, z], attrs), [x, w, bias, z]);
    }
  });
  it('without an addend, in groups', async () => {
    const b = builder();
    const [x, w] = [b.input('x', ['N', 4, 4, 4]), b.weight([4, 2, 3, 3])];
    const attrs = { activation: 'Relu', group: 2, pads: [1, 1, 1, 1] };
    await checkGradient(b.model, b.op('com.microsoft.FusedConv', [x, w], attrs), [x, w]);
  });
});
