import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addVectorJacobianProducts } from '../../../src/autodiff/gradient.ts';
import type { Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { builder, type Attrs, type Builder } from '../../support/build.ts';
import { checkGolden, goldenOps } from '../../support/golden-ops.ts';
import { checkGradient, type GradientCheck } from '../../support/gradients.ts';

const bools = (values: readonly unknown[], dims: number[]) =>
  new ort.Tensor(
    'bool',
    Uint8Array.from(values, (v) => (v ? 1 : 0)),
    dims,
  );

async function check(b: Builder, outputs: Value | Value[], wrt: Value[], options: GradientCheck = {}) {
  const { compared } = await checkGradient(b.model, outputs, wrt, { elements: 16, ...options });
  expect(compared).toBeGreaterThan(8 * wrt.length);
}

/** In float64 the runtime takes the operator apart, and then neither empties masked rows nor shifts the causal mask. */
describe('ai.onnx Attention', () => {
  function byHeads(b: Builder, { heads = 2, shared = 2, queries = 3, keys = 4 } = {}) {
    return [
      b.input('q', ['N', heads, queries, 3]),
      b.input('k', ['N', shared, keys, 3]),
      b.input('v', ['N', shared, keys, 2]),
    ];
  }

  it.each<[string, Attrs, { heads?: number; shared?: number; queries?: number; keys?: number }]>([
    ['plain', {}, {}],
    ['its own scale', { scale: { float: 0.3 } }, {}],
    ['causal, square', { is_causal: 1 }, { queries: 4 }],
    ['causal, fewer queries', { is_causal: 1 }, {}],
    ['causal, more queries', { is_causal: 1 }, { queries: 5 }],
    ['capped scores', { softcap: { float: 1.5 } }, {}],
    ['shared keys and values', {}, { heads: 6, shared: 2 }],
    ['one head of keys and values', { is_causal: 1 }, { heads: 3, shared: 1 }],
  ])('by heads: %s', async (_, attrs, form) => {
    const b = builder({ opset: 23 });
    const operands = byHeads(b, form);
    await check(b, b.op('Attention', operands, attrs), operands);
  });

  it('heads side by side', async () => {
    const b = builder({ opset: 23 });
    const operands = [b.input('q', ['N', 3, 8]), b.input('k', ['N', 'L', 4]), b.input('v', ['N', 'L', 6])];
    const y = b.op('Attention', operands, { q_num_heads: 4, kv_num_heads: 2 });
    await check(b, y, operands, { dims: { L: 4 } });
  });

  it('one value as query, key and value', async () => {
    const b = builder({ opset: 23 });
    const x = b.input('x', ['N', 2, 4, 3]);
    await check(b, b.op('Attention', [x, x, x]), [x], { elements: 48 });
  });

  it.each([[[3, 4]], [['N', 1, 3, 4]], [[1, 2, 3, 4]]])('with numbers added, %o', async (shape) => {
    const b = builder({ opset: 23 });
    const operands = byHeads(b);
    const mask = b.input('mask', shape);
    const y = b.op('Attention', [...operands, mask], { softcap: { float: 3 } });
    await check(b, y, [...operands, mask], { elements: 24 });
  });

  it.each<[string, DataType, ort.Tensor]>([
    ['int32', DataType.INT32, new ort.Tensor('int32', Int32Array.of(1, 2, -3, 0, 0, 1, 1, -2, 5, 0, 0, 1), [3, 4])],
    ['int64', DataType.INT64, new ort.Tensor('int64', BigInt64Array.of(1n, 0n, -2n, 1n), [1, 4])],
  ])('with whole numbers added, %s', async (_, elemType, numbers) => {
    const b = builder({ opset: 23 });
    const operands = byHeads(b);
    const mask = b.input('mask', [...numbers.dims], elemType);
    await check(b, b.op('Attention', [...operands, mask]), operands, { feeds: { mask: numbers } });
  });

  it.each([0, 1])('with a mask of booleans, one query of which sees nothing; causal: %i', async (is_causal) => {
    const b = builder({ opset: 23 });
    const operands = byHeads(b, { queries: 4 });
    const mask = b.input('mask', [4, 4], DataType.BOOL);
    const seen = [1, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 1, 1, 0, 0, 1];
    const y = b.op('Attention', [...operands, mask], { is_causal });
    await check(b, y, operands, { feeds: { mask: bools(seen, [4, 4]) }, single: true });
  });

  it('behind a cache, of which the gradient is one too', async () => {
    const b = builder({ opset: 23 });
    const operands = byHeads(b, { queries: 2, keys: 2 });
    const past = [b.input('past_k', ['N', 2, 3, 3]), b.input('past_v', ['N', 2, 3, 2])];
    const outputs = b.nodes('Attention', [...operands, null, ...past], { is_causal: 1 }, 3);
    await check(b, outputs, [...operands, ...past]);
  });

  it('keys that are padding', async () => {
    const b = builder({ opset: 24 });
    const operands = byHeads(b, { queries: 2 });
    const lengths = b.input('lengths', ['N'], DataType.INT64);
    const y = b.op('Attention', [...operands, null, null, null, lengths], { is_causal: 1 });
    await check(b, y, operands, {
      feeds: { lengths: new ort.Tensor('int64', BigInt64Array.of(2n, 4n), [2]) },
      single: true,
    });
  });

  it('says that gradients of scores are not supported', () => {
    const b = builder({ opset: 23 });
    const outputs = b.nodes('Attention', byHeads(b), {}, 4);
    const seeds = new Map([[outputs[3], b.input('seed', ['N', 2, 3, 4])]]);
    expect(() => addVectorJacobianProducts(b.model, seeds, b.graph.inputs.slice(0, 1))).toThrow(/output 3/);
  });
});

describe('gradients by torch.autograd', () => {
  it.each(goldenOps('attention').map((g) => [`${g.op} ${g.name}`, g] as const))('%s', (_, golden) =>
    checkGolden(golden),
  );
});
