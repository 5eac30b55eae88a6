import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addVectorJacobianProducts } from '../../../src/autodiff/gradient.ts';
import type { Dim, Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { builder, type Attrs, type Builder } from '../../support/build.ts';
import { checkGradient, type GradientCheck } from '../../support/gradients.ts';

const int32 = (values: number[], dims = [values.length]) => new ort.Tensor('int32', Int32Array.from(values), dims);
const intTensor = (name: string, dims: number[], x: number) => Tensor.fromNumbers(name, DataType.INT32, dims, [x]);
const int64 = (values: number[], dims = [values.length]) =>
  new ort.Tensor('int64', BigInt64Array.from(values, BigInt), dims);

/** The fused kernels are of float32 only. */
async function check(b: Builder, outputs: Value | Value[], wrt: Value[], options: GradientCheck = {}) {
  const { compared } = await checkGradient(b.model, outputs, wrt, { elements: 16, single: true, ...options });
  expect(compared).toBeGreaterThan(6 * wrt.length);
}

describe('com.microsoft.Attention', () => {
  it.each<[string, Attrs, Dim[] | null, number[]]>([
    ['plain', {}, null, []],
    ['causal', { unidirectional: 1 }, null, []],
    ['its own scale', { scale: { float: 0.3 } }, null, []],
    ['a mask of keys', {}, ['N', 3], [1, 1, 0, 1, 0, 0]],
    ['lengths', { unidirectional: 1 }, ['N'], [2, 3]],
    ['a mask of pairs', {}, ['N', 3, 3], [1, 0, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1]],
  ])('%s', async (_, attrs, shape, mask) => {
    const b = builder();
    const wrt = [b.input('x', ['N', 3, 5]), b.weight([5, 12], 'w'), b.weight([12], 'b')];
    const given = shape && b.input('mask', shape, DataType.INT32);
    const y = b.op('com.microsoft.Attention', [...wrt, given], { num_heads: 2, ...attrs });
    const feeds: Record<string, ort.Tensor> = shape
      ? {
          mask: int32(
            mask,
            shape.map((d) => (d === 'N' ? 2 : Number(d))),
          ),
        }
      : {};
    await check(b, y, wrt, { feeds });
  });

  it('values of another width, and numbers added to the scores', async () => {
    const b = builder();
    const wrt = [b.input('x', ['N', 3, 5]), b.weight([5, 10], 'w'), b.weight([10], 'b')];
    const bias = b.input('bias', ['N', 2, 3, 3]);
    const attrs = { num_heads: 2, qkv_hidden_sizes: [4, 4, 2] };
    await check(b, b.op('com.microsoft.Attention', [...wrt, null, null, bias], attrs), [...wrt, bias]);
  });

  it('says that a cache is not supported', () => {
    const b = builder();
    const inputs = [b.input('x', ['N', 3, 5]), b.weight([5, 12]), b.weight([12]), null];
    const past = b.input('past', [2, 'N', 2, 4, 2]);
    const y = b.nodes('com.microsoft.Attention', [...inputs, past], { num_heads: 2 }, 2)[0];
    const seeds = new Map([[y, b.input('seed', ['N', 3, 4])]]);
    expect(() => addVectorJacobianProducts(b.model, seeds, [b.graph.inputs[0]])).toThrow(/cache/);
  });
});

describe('com.microsoft.MultiHeadAttention', () => {
  const operands = (b: Builder) => [b.input('q', ['N', 3, 4]), b.input('k', ['N', 5, 4]), b.input('v', ['N', 5, 6])];

  it.each<[string, Attrs]>([
    ['plain', {}],
    ['its own scale', { scale: { float: 0.4 } }],
  ])('%s', async (_, attrs) => {
    const b = builder();
    const wrt = operands(b);
    await check(b, b.op('com.microsoft.MultiHeadAttention', wrt, { num_heads: 2, ...attrs }), wrt);
  });

  it('with biases, a mask of keys and numbers added to the scores', async () => {
    const b = builder();
    const qkv = operands(b);
    const [bias, scores] = [b.weight([14], 'b'), b.input('scores', [1, 2, 3, 5])];
    const mask = b.input('mask', ['N', 5], DataType.INT32);
    const y = b.op('com.microsoft.MultiHeadAttention', [...qkv, bias, mask, scores], { num_heads: 2 });
    const feeds = { mask: int32([1, 1, 1, 0, 0, 1, 0, 1, 1, 1], [2, 5]) };
    await check(b, y, [...qkv, bias, scores], { feeds });
  });

  it('keys and values by heads; causal', async () => {
    const b = builder();
    const wrt = [b.input('q', ['N', 3, 4]), b.input('k', ['N', 2, 3, 2]), b.input('v', ['N', 2, 3, 2])];
    await check(b, b.op('com.microsoft.MultiHeadAttention', wrt, { num_heads: 2, unidirectional: 1 }), wrt);
  });
});

describe('com.microsoft.GroupQueryAttention', () => {
  interface Form {
    packed?: boolean;
    past?: number;
    attrs?: Attrs;
    rotary?: boolean;
  }
  const SIZE = 16;

  it.each<[string, Form]>([
    ['queries, keys and values', {}],
    ['packed', { packed: true }],
    ['its own scale, capped', { attrs: { scale: { float: 0.3 }, softcap: { float: 2 } } }],
    ['rotated', { rotary: true }],
    ['rotated pairs of neighbours', { rotary: true, packed: true, attrs: { rotary_interleaved: 1 } }],
    ['an empty cache', { past: 0, rotary: true }],
    ['behind a cache', { past: 3, rotary: true }],
  ])('%s', async (_, { packed = false, past, attrs = {}, rotary = false }) => {
    const b = builder();
    const length = 3;
    const qkv = packed
      ? [b.input('qkv', [1, length, 8 * SIZE]), null, null]
      : [b.input('q', [1, length, 4 * SIZE]), b.input('k', [1, length, 2 * SIZE]), b.input('v', [1, length, 2 * SIZE])];
    const cache =
      past === undefined
        ? [null, null]
        : ['past_k', 'past_v'].map((n) => b.input(n, [1, 2, past === 0 ? 'P' : past, SIZE]));
    const total = length + (past ?? 0);
    const lengths = [b.constant(intTensor('seqlens', [1], total - 1)), b.constant(intTensor('total', [], total))];
    const tables = rotary ? ['cos', 'sin'].map((n) => b.weight([8, SIZE / 2], n, 1)) : [];
    const inputs = [...qkv, ...cache, ...lengths, ...tables];
    const options = { num_heads: 4, kv_num_heads: 2, do_rotary: rotary ? 1 : 0, ...attrs };
    const y = b.nodes('com.microsoft.GroupQueryAttention', inputs, options, 3)[0];
    const wrt = [...qkv, ...(past ? cache : []), ...tables].filter((v): v is Value => v !== null);
    const empty = new ort.Tensor('float32', new Float32Array(0), [1, 2, 0, SIZE]);
    await check(b, y, wrt, { feeds: past === 0 ? { past_k: empty, past_v: empty } : {} });
  });
});

describe('RotaryEmbedding', () => {
  it.each([
    [0, 0],
    [1, 0],
    [0, 4],
    [1, 4],
  ])('ai.onnx, by heads, interleaved: %i, rotated part: %i', async (interleaved, part) => {
    const b = builder({ opset: 23 });
    const x = b.input('x', ['N', 2, 3, 6]);
    const tables = ['cos', 'sin'].map((n) => b.weight([5, (part || 6) / 2], n, 1));
    const at = b.input('at', ['N', 3], DataType.INT64);
    const y = b.op('RotaryEmbedding', [x, ...tables, at], { interleaved, rotary_embedding_dim: part });
    await check(b, y, [x, ...tables], { feeds: { at: int64([0, 1, 2, 4, 1, 3], [2, 3]) } });
  });

  it('ai.onnx, heads side by side, angles of every token', async () => {
    const b = builder({ opset: 23 });
    const x = b.input('x', ['N', 3, 8]);
    const angles = ['cos', 'sin'].map((n) => b.input(n, ['N', 3, 2]));
    await check(b, b.op('RotaryEmbedding', [x, ...angles], { num_heads: 2 }), [x, ...angles]);
  });

  it.each<[Dim[], number[], Dim[]]>([
    [['N', 3, 8], [1], [1]],
    [
      ['N', 2, 3, 4],
      [0, 1, 2, 3, 1, 0],
      ['N', 3],
    ],
  ])('com.microsoft, %o, positions %o', async (shape, at, dims) => {
    const b = builder();
    const x = b.input('x', shape);
    const tables = ['cos', 'sin'].map((n) => b.weight([5, 2], n, 1));
    const ids = b.input('at', dims, DataType.INT64);
    const y = b.op('com.microsoft.RotaryEmbedding', [x, ids, ...tables], {});
    const feeds = { at: int64(at, at.length === 1 ? [1] : [2, 3]) };
    await check(b, y, [x], { feeds });
  });
});
