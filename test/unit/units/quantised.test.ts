import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Value } from '../../../src/graph/ir.ts';
import { loadModel } from '../../../src/graph/load.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { operandValues } from '../../../src/graph/weight-values.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { pruneModel } from '../../../src/pruning/surgery.ts';
import type { Group, Structure } from '../../../src/units/types.ts';
import { Builder, numbers, type Attrs } from '../../support/build.ts';
import { checkInvariant, maxRelDiff, openSession, randomFeeds, seeded } from '../../support/invariant.ts';

const MS = 'com.microsoft.';

/** A builder with whole numbers: weights, zero points, and the way into and out of them. */
class Quantised extends Builder {
  private readonly random = numbers(11);

  ints8(dims: number[], type: number = DataType.INT8, low = -60, high = 60): Value {
    const count = dims.reduce((a, b) => a * b, 1);
    const data = Array.from({ length: count }, () => Math.round(low + ((this.random() + 1) / 2) * (high - low)));
    return this.constant(Tensor.fromNumbers('q', type, dims, data));
  }
  zero(value = 128, type: number = DataType.UINT8): Value {
    return this.constant(Tensor.fromNumbers('zp', type, [], [value]));
  }
  zeros(values: number[], type: number = DataType.INT8): Value {
    return this.constant(Tensor.fromNumbers('zps', type, [values.length], values));
  }
  scale(value = 0.05): Value {
    return this.floats([value], [], 'scale');
  }
  scales(count: number): Value {
    return this.floats(
      Array.from({ length: count }, () => 0.02 + 0.01 * this.random()),
      [count],
      'scales',
    );
  }
  int32s(count: number): Value {
    const data = Array.from({ length: count }, () => Math.round(2000 * this.random()));
    return this.constant(Tensor.fromInt32('b', [count], data));
  }
  quantise(x: Value, scale = 0.05, zero = 128): Value {
    return this.op('QuantizeLinear', [x, this.scale(scale), this.zero(zero)]);
  }
  dequantise(q: Value, scale = 0.05, zero = 128): Value {
    return this.op('DequantizeLinear', [q, this.scale(scale), this.zero(zero)]);
  }
  /** A convolution of quantised data, weights with a scale per filter, output at zero point 100. */
  qconv(q: Value, from: number, to: number, kernel = 1, attrs: Attrs = {}, zero = 128): Value {
    const group = (attrs.group as number | undefined) ?? 1;
    const w = this.ints8([to, from / group, kernel, kernel]);
    const inputs = [q, this.scale(), this.zero(zero), w, this.scales(to), this.zeros(Array<number>(to).fill(0))];
    return this.op('QLinearConv', [...inputs, this.scale(0.2), this.zero(100), this.int32s(to)], {
      kernel_shape: [kernel, kernel],
      ...attrs,
    });
  }
}

interface Options {
  opset?: number;
  dims?: number[];
}

/** `make` builds from a float input; every prunable group is held against the gated model. */
async function check(make: (b: Quantised, x: Value) => Value, options: Options = {}): Promise<Group[]> {
  const b = new Quantised({ opset: options.opset ?? 17 });
  b.output(make(b, b.input('x', ['N', ...(options.dims ?? [3, 5, 5])])));
  const s = analyseStructure(b.build());
  expect(s.warnings).toEqual([]);
  const { results, tolerance } = await checkInvariant(s, { shares: [0.25, 0.5, 0.01], seed: 5, optimise: false });
  for (const r of results) expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(tolerance);
  if (results.length) expect(await effect(s)).toBeGreaterThan(0.01);
  return s.groups;
}

/** How much the first prunable group matters: outputs that never move would show nothing. */
async function effect(s: Structure): Promise<number> {
  const feeds = randomFeeds(s.model, seeded(5));
  const first = s.groups.find((g) => g.prunable)!;
  const pruned = pruneModel(s, new Map([[first.id, first.blocks?.map((k) => k[0]) ?? [0]]])).model;
  const [a, b] = [await openSession(s.model, false), await openSession(pruned, false)];
  return maxRelDiff(await b.run(feeds), await a.run(feeds));
}

const sizes = (groups: Group[]) => groups.filter((g) => g.prunable).map((g) => g.size);
const stem = (b: Quantised, x: Value, c = 8) => b.quantise(b.conv(x, 3, c, 3, { name: 'stem' }));

describe('quantised convolutions', () => {
  it('QLinearConv: plain, grouped and depthwise', async () => {
    const groups = await check((b, x) => {
      let q = b.qconv(stem(b, x), 8, 12, 3, { pads: [1, 1, 1, 1] });
      q = b.qconv(q, 12, 12, 3, { group: 12 }, 100);
      q = b.qconv(q, 12, 8, 1, { group: 2 }, 100);
      return b.dequantise(b.qconv(q, 8, 4, 1, {}, 100), 0.2, 100);
    });
    expect(sizes(groups)).toEqual([8, 12, 8]);
    expect(groups[1].blocks?.map((k) => k.length)).toEqual([6, 6]);
  });

  it('com.microsoft.QLinearConv and pools, channels last', async () => {
    const groups = await check((b, x) => {
      const q = b.transpose(stem(b, x), [0, 2, 3, 1]);
      const w = [b.ints8([6, 8, 3, 3], DataType.INT8), b.scale(0.02), b.zero(0, DataType.INT8)];
      const attrs = { channels_last: 1, kernel_shape: [3, 3], pads: [1, 1, 1, 1] };
      const out = [b.scale(0.2), b.zero(100)];
      let y = b.op(`${MS}QLinearConv`, [q, b.scale(), b.zero(), ...w, ...out, b.int32s(6)], attrs);
      const poolAttrs = { channels_last: 1, kernel_shape: [2, 2] };
      y = b.op(`${MS}QLinearAveragePool`, [y, b.scale(0.2), b.zero(100), b.scale(0.2), b.zero(100)], poolAttrs);
      const global = [y, b.scale(0.2), b.zero(100), b.scale(0.2), b.zero(100)];
      y = b.op(`${MS}QLinearGlobalAveragePool`, global, { channels_last: 1 });
      return b.gemm(b.flatten(b.dequantise(y, 0.2, 100)), 6, 4);
    });
    expect(sizes(groups)).toEqual([8, 6]);
  });

  it('ConvInteger with a dynamic range', async () => {
    const groups = await check((b, x) => {
      const [q, scale, zero] = b.nodes('DynamicQuantizeLinear', [b.conv(x, 3, 8, 3, { name: 'stem' })], {}, 3);
      const w = b.ints8([6, 8, 1, 1], DataType.UINT8, 0, 255);
      const y = b.op('ConvInteger', [q, w, zero, b.zero(120)], { kernel_shape: [1, 1] });
      const float = b.mul(b.op('Cast', [y], { to: DataType.FLOAT }), b.mul(scale, b.scale(0.02)));
      return b.conv(b.relu(float), 6, 3, 1);
    });
    expect(sizes(groups)).toEqual([8, 6]);
  });
});

describe('quantised matrix products', () => {
  const dims = [4, 8];
  const hidden = (b: Quantised, x: Value) => b.relu(b.linear(x, 8, 16, 'first'));

  it('QLinearMatMul: per tensor, and a scale per column', async () => {
    const groups = await check(
      (b, x) => {
        const first = [b.ints8([16, 12], DataType.UINT8, 60, 200), b.scale(0.02), b.zero(128)];
        let y = b.op('QLinearMatMul', [
          b.quantise(hidden(b, x)),
          b.scale(),
          b.zero(),
          ...first,
          b.scale(0.2),
          b.zero(90),
        ]);
        const second = [b.ints8([12, 5]), b.scales(5), b.zeros([0, 0, 0, 0, 0])];
        y = b.op('QLinearMatMul', [y, b.scale(0.2), b.zero(90), ...second, b.scale(0.3), b.zero(110)]);
        return b.dequantise(y, 0.3, 110);
      },
      { dims },
    );
    expect(sizes(groups)).toEqual([16, 12]);
  });

  it('MatMulInteger as dynamic quantisation writes it', async () => {
    const groups = await check(
      (b, x) => {
        const layer = (v: Value, from: number, to: number, perColumn: boolean) => {
          const [q, scale, zero] = b.nodes('DynamicQuantizeLinear', [v], {}, 3);
          const wz = perColumn ? b.zeros(Array<number>(to).fill(3)) : b.zero(3, DataType.INT8);
          const y = b.op('MatMulInteger', [q, b.ints8([from, to]), zero, wz]);
          const scales = b.mul(scale, perColumn ? b.scales(to) : b.scale(0.02));
          return b.add(b.mul(b.op('Cast', [y], { to: DataType.FLOAT }), scales), b.weight([to], 'bias', 0.2));
        };
        return layer(b.relu(layer(hidden(b, x), 16, 12, true)), 12, 5, false);
      },
      { dims },
    );
    expect(sizes(groups)).toEqual([16, 12]);
  });

  it('MatMulInteger of two activations is gated on one', async () => {
    const groups = await check(
      (b, x) => {
        const quantised = (v: Value) => b.nodes('DynamicQuantizeLinear', [v], {}, 3);
        const [q, , zq] = quantised(b.linear(x, 8, 6, 'query'));
        const [k, , zk] = quantised(b.transpose(b.linear(x, 8, 6, 'key'), [0, 2, 1]));
        return b.op('Cast', [b.op('MatMulInteger', [q, k, zq, zk])], { to: DataType.FLOAT });
      },
      { dims },
    );
    expect(sizes(groups)).toEqual([6]);
  });

  it('QGemm, MatMulIntegerToFloat and DynamicQuantizeMatMul', async () => {
    const groups = await check(
      (b, x) => {
        let q = b.quantise(hidden(b, b.reshape(x, [-1, 8])));
        const first = [b.ints8([12, 16]), b.scales(12), b.zeros(Array<number>(12).fill(0)), b.int32s(12)];
        q = b.op(`${MS}QGemm`, [q, b.scale(), b.zero(), ...first, b.scale(0.2), b.zero(90)], { transB: 1 });
        const second = [b.ints8([12, 10]), b.scale(0.2), b.scales(10), b.zero(90), b.zeros(Array<number>(10).fill(2))];
        const y = b.op(`${MS}MatMulIntegerToFloat`, [q, ...second, b.weight([10], 'bias')]);
        const third = [b.ints8([10, 6]), b.scales(6), b.zeros(Array<number>(6).fill(1)), b.weight([6], 'bias')];
        return b.gemm(b.op(`${MS}DynamicQuantizeMatMul`, [b.relu(y), ...third]), 6, 3);
      },
      { dims },
    );
    expect(sizes(groups)).toEqual([16, 12, 10, 6]);
  });

  it('MatMulNBits loses columns, and features by whole blocks', async () => {
    // Scales in a row or not; zero points: none, packed, one to a byte, of the data's type.
    for (const flat of [true, false]) {
      for (const [bits, zeros] of [
        [4, 'none'],
        [4, 'packed'],
        [8, 'packed'],
        [4, 'float'],
      ] as const) {
        const groups = await check(
          (b, x) => {
            const [n, blocks] = [12, 5];
            const w = b.ints8([n, blocks, 2 * bits], DataType.UINT8, 0, 255);
            const row = (each: number) => (flat ? [n * each] : [n, each]);
            const scales = b.weight(row(blocks), 'scales', 0.1);
            const packed = () => b.ints8(row(Math.ceil((blocks * bits) / 8)), DataType.UINT8, 0, 255);
            const zp = zeros === 'none' ? null : zeros === 'packed' ? packed() : b.weight([n, blocks], 'zeros', 8);
            const inputs = [b.linear(x, 8, 80, 'first'), w, scales, zp, null, b.weight([n], 'bias')];
            const y = b.op(`${MS}MatMulNBits`, inputs, { K: 80, N: n, bits, block_size: 16 });
            return b.linear(b.relu(y), n, 3, 'last');
          },
          { dims },
        );
        expect(sizes(groups)).toEqual([zeros === 'packed' && bits === 4 ? 3 : 5, 12]);
      }
    }
  });

  it('MatMulNBits of one block keeps its features', async () => {
    const groups = await check(
      (b, x) => {
        const inputs = [b.linear(x, 8, 16, 'first'), b.ints8([12, 1, 8], DataType.UINT8, 0, 255), b.weight([12, 1])];
        const y = b.op(`${MS}MatMulNBits`, inputs, { K: 16, N: 12, bits: 4, block_size: 16 });
        return b.linear(b.relu(y), 12, 3, 'last');
      },
      { dims },
    );
    expect(sizes(groups)).toEqual([12]);
    expect(groups.find((g) => !g.prunable)!.reason).toMatch(/quantised in blocks by .*MatMulNBits/);
  });
});

describe('element-wise ops, joins and pools of whole numbers', () => {
  const lone = (b: Quantised) => [b.scale(), b.zero()];

  it('QLinearAdd, QLinearMul, QLinearConcat and pools', async () => {
    const groups = await check((b, x) => {
      const a = stem(b, x);
      const c = b.qconv(a, 8, 8, 1, {});
      const sum = b.op(`${MS}QLinearAdd`, [a, ...lone(b), c, b.scale(0.2), b.zero(100), b.scale(0.2), b.zero(110)]);
      const gate = b.op(`${MS}QLinearGlobalAveragePool`, [sum, b.scale(0.2), b.zero(110), ...lone(b)]);
      const act = b.op(`${MS}QLinearSigmoid`, [gate, ...lone(b), b.scale(1 / 256), b.zero(0)]);
      const parts = [sum, b.scale(0.2), b.zero(110), act, b.scale(1 / 256), b.zero(0)];
      const product = b.op(`${MS}QLinearMul`, [...parts, b.scale(0.2), b.zero(110)]);
      const d = b.qconv(product, 8, 6, 1, {}, 110);
      const leaky = b.op(`${MS}QLinearLeakyRelu`, [d, b.scale(0.2), b.zero(100), b.scale(0.2), b.zero(100)], {
        alpha: { float: 0.1 },
      });
      const joined = [b.scale(0.2), b.zero(105), product, b.scale(0.2), b.zero(110), leaky, b.scale(0.2), b.zero(100)];
      let y = b.op(`${MS}QLinearConcat`, joined, { axis: 1 });
      const pool = [y, b.scale(0.2), b.zero(105), b.scale(0.2), b.zero(105)];
      y = b.op(`${MS}QLinearAveragePool`, pool, { kernel_shape: [2, 2] });
      return b.dequantise(b.qconv(y, 14, 3, 1, {}, 105), 0.2, 100);
    });
    expect(sizes(groups)).toEqual([8, 6]);
  });

  it('QLinearSoftmax keeps what it works along', async () => {
    const groups = await check((b, x) => {
      const soft = b.op(`${MS}QLinearSoftmax`, [stem(b, x), ...lone(b), b.scale(1 / 256), b.zero(0)], {
        axis: 1,
        opset: 13,
      });
      return b.dequantise(b.qconv(soft, 8, 3, 1, {}, 0), 0.2, 100);
    });
    expect(groups[0].reason).toMatch(/QLinearSoftmax/);
  });
});

describe('QuantizeLinear and DequantizeLinear', () => {
  it('a scale per filter, an int32 bias, and a scale per channel of the data', async () => {
    const groups = await check((b, x) => {
      const w = b.op('DequantizeLinear', [b.ints8([8, 3, 3, 3]), b.scales(8), b.zeros(Array<number>(8).fill(0))], {
        axis: 0,
      });
      const bias = b.op('DequantizeLinear', [b.int32s(8), b.scale(0.001)]);
      const y = b.op('Conv', [x, w, bias], { kernel_shape: [3, 3] });
      const q = b.op('QuantizeLinear', [y, b.scales(8), b.zeros(Array<number>(8).fill(100), DataType.UINT8)], {
        axis: 1,
      });
      const back = [q, b.scales(8), b.zeros(Array<number>(8).fill(100), DataType.UINT8)];
      return b.conv(b.op('DequantizeLinear', back, { axis: 1 }), 8, 3, 1);
    });
    expect(sizes(groups)).toEqual([8]);
  });

  it('scales in blocks along the features: columns may go, and whole blocks', async () => {
    const groups = await check(
      (b, x) => {
        const layer = (v: Value, from: number, to: number, name: string) => {
          const blocks = [b.ints8([from, to]), b.weight([from / 4, to], 'scales', 0.05), b.ints8([from / 4, to])];
          const w = b.op('DequantizeLinear', blocks, { axis: 0, block_size: 4 });
          return b.op('MatMul', [v, w], {}, name);
        };
        return b.linear(b.relu(layer(b.relu(layer(x, 8, 16, 'first')), 16, 12, 'second')), 12, 3, 'last');
      },
      { dims: [4, 8], opset: 21 },
    );
    expect(sizes(groups)).toEqual([4, 12]);
  });
});

describe('layers that are whole inside', () => {
  it('QAttention and DynamicQuantizeLSTM contract their features', async () => {
    const attention = await check(
      (b, x) => {
        const q = b.quantise(b.linear(x, 8, 16, 'first'));
        const w = [b.ints8([16, 24], DataType.INT8), b.weight([24], 'bias'), b.scale(), b.scale(0.02)];
        return b.op(`${MS}QAttention`, [q, ...w, null, b.zero(), b.zero(0, DataType.INT8)], { num_heads: 2 });
      },
      { dims: [4, 8] },
    );
    expect(sizes(attention)).toEqual([16]);
    const lstm = await check(
      (b, x) => {
        const seq = b.transpose(b.linear(x, 8, 6, 'first'), [1, 0, 2]);
        const [h, scale, zero] = [4, b.floats([0.02]), b.zeros([0], DataType.INT8)];
        const [w, r] = [b.ints8([1, 6, 4 * h]), b.ints8([1, h, 4 * h])];
        const rest = [w, r, b.weight([1, 8 * h], 'bias', 0.1), null, null, null, null, scale, zero, scale, zero];
        return b.op(`${MS}DynamicQuantizeLSTM`, [seq, ...rest], { hidden_size: h });
      },
      { dims: [4, 8] },
    );
    expect(sizes(lstm)).toEqual([6]);
  });
});

describe('magnitudes', () => {
  it('of whole numbers count from the zero point, in units of the scale', () => {
    const b = new Quantised();
    const q = b.quantise(b.input('x', ['N', 2]));
    const w = b.constant(Tensor.fromNumbers('w', DataType.UINT8, [2, 2], [130, 98, 128, 108]));
    const weight = [w, b.floats([0.5, 0.25]), b.zeros([128, 100], DataType.UINT8)];
    const y = b.op('QLinearMatMul', [q, b.scale(), b.zero(), ...weight, b.scale(), b.zero()]);
    expect([...operandValues(y.producer!, 3)!.data]).toEqual([1, -0.5, 0, 2]);
    const packed = [b.input('z', ['N', 16]), b.ints8([4, 1, 8], DataType.UINT8, 0, 255), b.weight([4, 1])];
    const z = b.op(`${MS}MatMulNBits`, packed, { K: 16, N: 4, bits: 4, block_size: 16 });
    expect(operandValues(z.producer!, 1)).toBeUndefined();
  });
});

const corpus = process.env.SECATEUR_CORPUS;
describe.skipIf(!corpus || !existsSync(corpus))('quantised files of the corpus', () => {
  it.each(['trained/lenet5_mnist/model_int8_qdq.onnx', 'models/mnist_quantized/model_quantized.onnx'])(
    '%s',
    async (f) => {
      const s = analyseStructure(loadModel(join(corpus!, f)));
      const { results, tolerance } = await checkInvariant(s, { optimise: false, dims: { batch: 1 } });
      expect(results.length).toBeGreaterThan(0);
      for (const r of results) expect(r.diff, r.group).toBeLessThanOrEqual(tolerance);
    },
  );
});
