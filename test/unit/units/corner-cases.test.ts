import { describe, expect, it } from 'vitest';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { ladder } from '../../../src/pruning/plan/ladder.ts';
import { pruneModel } from '../../../src/pruning/surgery.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { builder, subgraph, type Builder } from '../../support/build.ts';
import { checkInvariant } from '../../support/invariant.ts';
import type { Structure } from '../../../src/units/types.ts';
import type { Value } from '../../../src/graph/ir.ts';

/** Builds a graph, analyses it, and holds every prunable group against onnxruntime: pruned = gated. */
async function check(
  make: (b: Builder) => Value | Value[],
  options: { opset?: number; optimise?: boolean; tolerance?: number } = {},
): Promise<Structure> {
  const b = builder({ seed: 5, opset: options.opset });
  const made = make(b);
  b.output(...(Array.isArray(made) ? made : [made]));
  const structure = analyseStructure(b.build());
  const { results, tolerance } = await checkInvariant(structure, {
    shares: [0.25, 0.5, 0.01],
    seed: 11,
    optimise: options.optimise,
  });
  for (const r of results)
    expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(options.tolerance ?? tolerance);
  return structure;
}

describe('corner cases of the rules, each prunable group held against the gated model', () => {
  /** `prunable`: how many units the groups have that may be pruned. */
  const t = (
    name: string,
    prunable: number[],
    make: (b: Builder) => Value | Value[],
    options: Parameters<typeof check>[1] = {},
  ) =>
    it(name, async () => {
      const s = await check(make, options);
      expect(s.groups.filter((g) => g.prunable).map((g) => g.size)).toEqual(prunable);
      expect(s.warnings).toEqual([]);
    });
  const stem = (b: Builder, c = 8) =>
    b.conv(b.input('x', ['N', 3, 8, 8]), 3, c, [3, 3], { pads: [1, 1, 1, 1], name: 'stem' });
  const head = (b: Builder, v: Value, c: number) => b.conv(v, c, 4, [1, 1], { name: 'out' });
  t(
    'BatchNormalization of every position (spatial = 0)',
    [],
    (b) => {
      const x = stem(b);
      const q = (n: string) =>
        b.floats(
          Array.from({ length: 512 }, (_, i) => 1 + (i % 7) / 9),
          [8, 8, 8],
          n,
        );
      return head(b, b.op('BatchNormalization', [x, q('g'), q('b'), q('m'), q('v')], { spatial: 0 }), 8);
    },
    { opset: 7 },
  );
  t(
    'Resize whose sizes are those of named axes',
    [8],
    (b) => {
      const x = stem(b);
      return head(b, b.op('Resize', [x, null, null, b.ints([16, 16])], { axes: [2, 3], mode: 'nearest' }), 8);
    },
    { opset: 18 },
  );
  t('Resize to sizes of which batch and channels are read while running', [8], (b) => {
    const x = stem(b);
    const front = b.op('Slice', [b.op('Shape', [x]), b.ints([0]), b.ints([2])]);
    return head(b, b.op('Resize', [x, null, null, b.op('Concat', [front, b.ints([16, 16])], { axis: 0 })]), 8);
  });
  t('Resize to the size of a skip connection, joined with it', [8, 6], (b) => {
    const x = stem(b);
    const inner = b.conv(b.maxPool(x), 8, 6, [1, 1], { name: 'inner' });
    const front = b.op('Slice', [b.op('Shape', [inner]), b.ints([0]), b.ints([2])]);
    const back = b.op('Slice', [b.op('Shape', [x]), b.ints([2]), b.ints([4])]);
    const up = b.op('Resize', [inner, null, null, b.op('Concat', [front, back], { axis: 0 })], { mode: 'linear' });
    return head(b, b.concat([up, x]), 14);
  });
  t('Resize whose sizes name the channels of another value', [8], (b) => {
    const x = stem(b);
    const other = b.relu(b.conv(x, 8, 8, [1, 1], { name: 'other' }));
    const front = b.op('Slice', [b.op('Shape', [other]), b.ints([0]), b.ints([2])]);
    const up = b.op('Resize', [x, null, null, b.op('Concat', [front, b.ints([8, 8])], { axis: 0 })]);
    return [head(b, up, 8), b.op('LRN', [other], { size: 3 })];
  });
  t('slice channels and space to the end', [8], (b) => {
    const x = stem(b);
    const y = b.op('Slice', [
      x,
      b.constant(Tensor.fromBytes('st', DataType.INT64, [2], new Uint8Array(BigInt64Array.from([2n, 1n]).buffer))),
      b.constant(
        Tensor.fromBytes(
          'en',
          DataType.INT64,
          [2],
          new Uint8Array(BigInt64Array.from([7n, 9223372036854775807n]).buffer),
        ),
      ),
      b.ints([1, 2]),
    ]);
    return head(b, y, 5);
  });
  t('slice channels and space from int64 min', [8], (b) => {
    const x = stem(b);
    const y = b.op('Slice', [
      x,
      b.constant(
        Tensor.fromBytes(
          'st',
          DataType.INT64,
          [2],
          new Uint8Array(BigInt64Array.from([2n, -9223372036854775808n]).buffer),
        ),
      ),
      b.constant(
        Tensor.fromBytes(
          'en',
          DataType.INT64,
          [2],
          new Uint8Array(BigInt64Array.from([9223372036854775807n, -1n]).buffer),
        ),
      ),
      b.ints([-3, -1]),
    ]);
    return head(b, y, 6);
  });
  t('grouped conv with computed weight', [8, 6], (b) => {
    const x = stem(b);
    const w = b.op('Cast', [b.constant(b.weight([6, 4, 1, 1], 'gw').initializer!)], { to: 1 });
    return head(b, b.op('Conv', [x, b.op('Neg', [w])], { group: 2 }, 'grouped'), 6);
  });
  t('single channel split off and broadcast', [7], (b) => {
    const x = stem(b);
    const [one, rest] = b.nodes('Split', [x, b.ints([1, 7])], { axis: 1 }, 2);
    return head(b, b.mul(one, rest), 7);
  });
  t('gather one channel keep dims', [7], (b) => {
    const x = stem(b);
    const one = b.op('Gather', [x, b.ints([3])], { axis: 1 });
    return head(b, b.mul(x, one), 8);
  });
  t('a token expanded to a batch that is known while running', [8], (b) => {
    const x = b.input('x', ['N', 5, 6]);
    const h = b.linear(x, 6, 8, 'embed');
    const n = b.op('Gather', [b.op('Shape', [x]), b.ints([0])], { axis: 0 });
    const shape = b.concat([n, b.ints([1]), b.ints([8])], 0);
    const token = b.op('Expand', [b.weight([1, 1, 8], 'token'), shape]);
    return b.linear(b.relu(b.concat([token, h], 1)), 8, 3, 'head');
  });
  t('expand an activation over a free batch', [8], (b) => {
    const x = b.input('x', ['N', 6]);
    const z = b.input('z', [1, 6]);
    const h = b.linear(z, 6, 8, 'embed');
    const n = b.op('Gather', [b.op('Shape', [x]), b.ints([0])], { axis: 0 });
    const h2 = b.op('Expand', [h, b.concat([n, b.ints([8])], 0)]);
    return b.linear(b.relu(h2), 8, 3, 'head');
  });
  t('expand with a shorter shape', [8], (b) => {
    const x = b.input('x', ['N', 5, 6]);
    const h = b.linear(x, 6, 8, 'embed');
    return b.linear(b.relu(b.op('Expand', [h, b.ints([5, 8])])), 8, 3, 'head');
  });
  t('Reshape with allowzero and a batch that is known while running', [8], (b) => {
    const x = b.input('x', ['N', 3, 8, 8]);
    const h = b.conv(x, 3, 8, [3, 3], { name: 'stem' });
    const n = b.op('Gather', [b.op('Shape', [x]), b.ints([0])], { axis: 0 });
    const y = b.op('Reshape', [h, b.concat([n, b.ints([8 * 36])], 0)], { allowzero: 1 });
    return b.gemm(b.relu(y), 8 * 36, 3, 'head');
  });
  t('reshape to the shape of another value', [], (b) => {
    const x = b.input('x', ['N', 6]);
    const z = b.input('z', ['N', 2, 4]);
    const h = b.linear(x, 6, 8, 'embed');
    const r = b.op('Reshape', [z, b.op('Shape', [h])]);
    return [b.linear(b.relu(h), 8, 3, 'head'), b.op('Identity', [r])];
  });
  t('reshape a tracked value to the shape of another', [8], (b) => {
    const x = b.input('x', ['N', 6]);
    const h = b.linear(x, 6, 8, 'embed');
    const g = b.linear(x, 6, 8, 'other');
    const r = b.op('Reshape', [g, b.op('Shape', [h])]);
    return [b.linear(b.relu(h), 8, 3, 'head'), b.linear(r, 8, 3, 'head2')];
  });
  t('expand to the shape of another', [], (b) => {
    const x = b.input('x', ['N', 6]);
    const z = b.input('z', ['N', 1]);
    const h = b.linear(x, 6, 8, 'embed');
    const r = b.op('Expand', [z, b.op('Shape', [h])]);
    return [b.linear(b.relu(h), 8, 3, 'head'), b.op('ReduceSum', [r, b.ints([1])])];
  });
  t('quantised weights and bias per channel', [8], (b) => {
    const x = b.input('x', ['N', 6]);
    const i8 = (n: string, dims: number[]) =>
      b.constant(
        Tensor.fromBytes(
          n,
          DataType.INT8,
          dims,
          Uint8Array.from({ length: dims.reduce((p, q) => p * q, 1) }, (_, i) => (i * 37) % 256),
        ),
      );
    const i32 = b.constant(Tensor.fromInt32('bias', [8], [1, 2, 3, 4, 5, 6, 7, 8]));
    const scale = () => b.floats([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]);
    const w = b.op('DequantizeLinear', [i8('w8', [8, 6]), scale()], { axis: 0 });
    const bias = b.op('DequantizeLinear', [i32, scale()], { axis: 0 });
    const h = b.op('Gemm', [x, w, bias], { transB: 1 }, 'fc');
    return b.gemm(b.relu(h), 8, 3, 'head');
  });
  t('two grouped convs behind a split', [6, 6], (b) => {
    const x = stem(b, 16);
    const [p, q] = b.nodes('Split', [x, b.ints([8, 8])], { axis: 1 }, 2);
    return [
      head(b, b.conv(p, 8, 6, [1, 1], { group: 2, name: 'g1' }), 6),
      b.conv(q, 8, 4, [1, 1], { group: 4, name: 'g2' }),
    ];
  });
  t('grouped conv on half', [12, 6], (b) => {
    const x = stem(b, 16);
    const [p, q] = b.nodes('Split', [x, b.ints([8, 8])], { axis: 1 }, 2);
    return [head(b, b.conv(p, 8, 6, [1, 1], { group: 2, name: 'g1' }), 6), b.conv(q, 8, 4, [1, 1], { name: 'g2' })];
  });
  t('keeps something of every output of a Split', [4], (b) => {
    const x = stem(b, 4);
    const [p, q] = b.nodes('Split', [x, b.ints([2, 2])], { axis: 1 }, 2);
    return [b.conv(p, 2, 6, [1, 1], { name: 'g1' }), b.conv(q, 2, 4, [3, 3], { name: 'g2' })];
  });
  t('MatMul of parts of few units', [4], (b) => {
    const x = b.linear(b.input('x', ['N', 6]), 6, 4, 'fc');
    const [p, q] = b.nodes('Split', [x, b.ints([2, 2])], { axis: 1 }, 2);
    return [b.linear(p, 2, 6), b.gemm(q, 2, 4)];
  });
  t('maxpool indices as output', [], (b) => {
    const x = stem(b);
    const [y, i] = b.nodes('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2] }, 2);
    return [head(b, y, 8), i];
  });
  t('dropout mask read', [8], (b) => {
    const x = stem(b);
    const [y, m] = b.nodes('Dropout', [x], {}, 2);
    return head(b, b.mul(y, b.op('Cast', [m], { to: 1 })), 8);
  });
  t('weight is an output', [], (b) => {
    const x = b.input('x', ['N', 6]);
    const w = b.weight([6, 8], 'w1');
    return [b.linear(b.op('MatMul', [x, w], {}, 'mm'), 8, 3, 'head'), w];
  });
  t('value is output and read', [], (b) => {
    const x = b.input('x', ['N', 6]);
    const h = b.linear(x, 6, 8, 'fc');
    return [b.linear(b.relu(h), 8, 3, 'head'), h];
  });
  t('subgraph captures', [8], (b) => {
    const x = b.input('x', ['N', 6]);
    const c = b.input('c', [], DataType.BOOL);
    const h = b.linear(x, 6, 8, 'fc');
    const g = b.linear(x, 6, 8, 'fc2');
    const w = b.weight([8, 3], 'shared');
    const y = b.op('If', [c], {
      then_branch: subgraph(b, 't', (i) => [i.op('MatMul', [h, w])]),
      else_branch: subgraph(b, 'e', (i) => [i.op('Neg', [i.op('MatMul', [h, w])])]),
    });
    return [y, b.op('MatMul', [g, w])];
  });
  t('gemm transA column bias', [8], (b) => {
    const x = b.input('x', [6, 5]);
    const w = b.weight([6, 8], 'w1');
    const h = b.op('Gemm', [w, x, b.weight([8, 1], 'c')], { transA: 1, alpha: 0.5, beta: { float: 2 } }, 'fc');
    return b.op('Gemm', [b.relu(h), b.weight([8, 3], 'w2')], { transA: 1, alpha: 0.25 }, 'head');
  });
  t('concat twice the same', [8], (b) => {
    const x = stem(b);
    return head(b, b.concat([x, b.relu(x), x]), 24);
  });
  t(
    'Softmax over all later axes before opset 13',
    [8],
    (b) => {
      const x = b.input('x', ['N', 4, 6]);
      return b.linear(b.op('Softmax', [b.linear(x, 6, 8, 'fc')], { axis: 1 }), 8, 3, 'head');
    },
    { opset: 11 },
  );
  t('depth to space', [4], (b) => head(b, b.op('DepthToSpace', [stem(b, 16)], { blocksize: 2, mode: 'CRD' }), 4));
  t('negative squeeze', [8], (b) => {
    const x = stem(b);
    const y = b.op('Squeeze', [b.globalPool(x), b.ints([-1, -2])]);
    return b.linear(b.op('Squeeze', [b.op('Unsqueeze', [y, b.ints([-2])]), b.ints([-2])]), 8, 3, 'head');
  });
  t('where with a fixed condition', [8], (b) => {
    const x = b.linear(b.input('x', ['N', 6]), 6, 8, 'fc');
    const c = b.op('Greater', [b.weight([8], 'thr'), b.floats([0])]);
    return b.linear(b.op('Where', [c, x, b.floats([0.5], [])]), 8, 3, 'head');
  });
  t('where with mismatched unknown', [], (b) => {
    const x = b.linear(b.input('x', ['N', 6]), 6, 8, 'fc');
    const c = b.input('c', ['N', 'K'], DataType.BOOL);
    return b.linear(b.op('Where', [c, x, b.floats([0.5], [])]), 8, 3, 'head');
  });
  t('empty graph', [], (b) => b.input('x', ['N', 6]));
  t('zero size', [8], (b) => {
    const x = b.linear(b.input('x', ['N', 6]), 6, 8, 'fc');
    return b.linear(b.concat([x, b.floats([], [1, 0])], 1), 8, 3, 'head');
  });
  t(
    'sizes of a Split by attribute and negative axis',
    [8],
    (b) => {
      const [p, q] = b.nodes('Split', [stem(b)], { axis: -3, split: [3, 5] }, 2);
      return [head(b, p, 3), b.conv(q, 5, 2)];
    },
    { opset: 11 },
  );
  t(
    'uneven Split by num_outputs',
    [8],
    (b) => {
      const [p, q, r] = b.nodes('Split', [stem(b)], { axis: 1, num_outputs: 3 }, 3);
      return [head(b, p, 3), b.conv(q, 3, 2), b.conv(r, 2, 2)];
    },
    { opset: 18 },
  );
  t('transposed convolutions in groups that are not depthwise', [8], (b) =>
    head(b, b.op('ConvTranspose', [stem(b), b.weight([8, 1, 2, 2])], { group: 4 }), 4),
  );
  t('channel shuffle, then halves', [4, 4], (b) => {
    const y = b.transpose(b.reshape(stem(b), [0, 2, 4, 8, 8]), [0, 2, 1, 3, 4]);
    const [p, q] = b.nodes('Split', [b.reshape(y, [0, 8, 8, 8]), b.ints([4, 4])], { axis: 1 }, 2);
    return head(b, b.concat([p, b.conv(q, 4, 4, [1, 1])]), 8);
  });

  it('names the parts of a group, and surgery refuses to empty one', () => {
    const b = builder();
    const [p, q] = b.nodes('Split', [stem(b), b.ints([3, 5])], { axis: 1 }, 2);
    b.output(b.conv(p, 3, 2), b.conv(q, 5, 2));
    const s = analyseStructure(b.build());
    expect(s.groups[0].parts).toEqual([
      [0, 1, 2],
      [3, 4, 5, 6, 7],
    ]);
    expect(() => pruneModel(s, new Map([['stem', [3, 4, 7]]]))).toThrow(/Nothing would be left/);
    const rungs = ladder(s.groups[0], [0, 1, 2, 3, 4, 5, 6, 7], 0, 1);
    expect(rungs.map((r) => r.units)).toEqual([[0], [1], [3], [4], [5], [6]]);
  });
});
