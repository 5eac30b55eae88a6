import { describe, expect, it } from 'vitest';
import type { Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import type { Group } from '../../../src/units/types.ts';
import { Builder, type Attrs } from '../../support/build.ts';
import { checkInvariant } from '../../support/invariant.ts';

const MS = 'com.microsoft.';

interface Options {
  opset?: number;
  dims?: number[];
}

function analyse(make: (b: Builder, x: Value) => Value, options: Options = {}) {
  const b = new Builder({ opset: options.opset ?? 17 });
  b.output(make(b, b.input('x', ['N', ...(options.dims ?? [3, 5, 5])])));
  const s = analyseStructure(b.build());
  expect(s.warnings).toEqual([]);
  return s;
}

/** Every prunable group is held against the gated model. */
async function check(make: (b: Builder, x: Value) => Value, options: Options = {}): Promise<Group[]> {
  const s = analyse(make, options);
  const { results, tolerance } = await checkInvariant(s, { shares: [0.25, 0.5, 0.01], seed: 5 });
  for (const r of results) expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(tolerance);
  return s.groups;
}

const sizes = (groups: Group[]) => groups.filter((g) => g.prunable).map((g) => g.size);
const dims = [4, 8];

describe('fused ops, held against the gated model', () => {
  it('FusedConv with a sum', async () => {
    const groups = await check((b, x) => {
      const stem = b.conv(x, 3, 8, 3, { pads: [1, 1, 1, 1], name: 'stem' });
      const inputs = [stem, b.weight([8, 8, 1, 1]), b.weight([8], 'bias'), stem];
      const y = b.op(`${MS}FusedConv`, inputs, { kernel_shape: [1, 1], activation: 'Relu' });
      const last = [y, b.weight([6, 8, 1, 1]), b.weight([6], 'bias')];
      return b.conv(b.op(`${MS}FusedConv`, last, { kernel_shape: [1, 1], activation: 'Relu' }), 6, 3, 1);
    });
    expect(sizes(groups)).toEqual([8, 6]);
  });

  it('FusedGemm and FusedMatMul with transposes', async () => {
    const groups = await check(
      (b, x) => {
        const flat = b.reshape(x, [-1, 8]);
        const first = [flat, b.weight([12, 8]), b.weight([12], 'bias')];
        const y = b.op(`${MS}FusedGemm`, first, { transB: 1, activation: 'Relu' });
        const second = b.op(`${MS}FusedMatMul`, [b.transpose(y, [1, 0]), b.weight([10, 12])], {
          transA: 1,
          transB: 1,
          alpha: { float: 0.5 },
        });
        return b.gemm(b.op('Tanh', [second]), 10, 3);
      },
      { dims },
    );
    expect(sizes(groups)).toEqual([12, 10]);
  });

  it('FusedMatMul of two activations: heads of attention scores', async () => {
    const groups = await check(
      (b, x) => {
        const [q, k] = [b.linear(x, 8, 6, 'query'), b.linear(x, 8, 6, 'key')];
        return b.op(`${MS}FusedMatMul`, [q, k], { transB: 1, alpha: { float: 0.4 } });
      },
      { dims },
    );
    expect(sizes(groups)).toEqual([6]);
  });

  it('BiasGelu, FastGelu, QuickGelu and Gelu', async () => {
    const groups = await check(
      (b, x) => {
        let y = b.op(`${MS}BiasGelu`, [b.op('MatMul', [x, b.weight([8, 12])], {}, 'first'), b.weight([12], 'bias')]);
        y = b.op(`${MS}FastGelu`, [b.op('MatMul', [y, b.weight([12, 10])], {}, 'second'), b.weight([10], 'bias')]);
        y = b.op(`${MS}QuickGelu`, [b.linear(y, 10, 9, 'third')], { alpha: { float: 1.7 } });
        return b.linear(b.op(`${MS}Gelu`, [b.linear(y, 9, 7, 'fourth')]), 7, 3, 'last');
      },
      { dims },
    );
    expect(sizes(groups)).toEqual([12, 10, 9, 7]);
  });

  it('ConvTransposeWithDynamicPads', async () => {
    const groups = await check((b, x) => {
      const stem = b.conv(x, 3, 8, 3, { name: 'stem' });
      const inputs = [stem, b.weight([8, 6, 3, 3]), b.ints([1, 1, 1, 1]), b.weight([6], 'bias')];
      const attrs = { kernel_shape: [3, 3], strides: [2, 2] };
      return b.conv(b.op(`${MS}ConvTransposeWithDynamicPads`, inputs, attrs), 6, 3, 1);
    });
    expect(sizes(groups)).toEqual([8, 6]);
  });

  it('NhwcMaxPool of whole numbers', async () => {
    const groups = await check((b, x) => {
      const stem = b.transpose(b.conv(x, 3, 8, 3, { name: 'stem' }), [0, 2, 3, 1]);
      const zero = b.constant(Tensor.fromNumbers('zp', DataType.UINT8, [], [128]));
      const q = b.op('QuantizeLinear', [stem, b.floats([0.02], []), zero]);
      const y = b.op(`${MS}NhwcMaxPool`, [q], { kernel_shape: [2, 2], strides: [1, 1] });
      const float = b.op('DequantizeLinear', [y, b.floats([0.02], []), zero]);
      return b.conv(b.transpose(float, [0, 3, 1, 2]), 8, 3, 1);
    });
    expect(sizes(groups)).toEqual([8]);
  });

  it('PRelu with a slope per channel, and activations of each opset', async () => {
    const chain = (ops: [string, Attrs?][], opset: number) =>
      check(
        (b, x) => {
          let y = b.op('PRelu', [b.conv(x, 3, 8, 3, { name: 'stem' }), b.weight([8, 1, 1], 'slope')]);
          for (const [op, attrs] of ops) y = b.op(op, [y], attrs);
          return b.conv(y, 8, 3, 1);
        },
        { opset },
      );
    const old: [string, Attrs?][] = [
      ['Elu'],
      ['Selu'],
      ['Softsign'],
      ['ThresholdedRelu', { alpha: { float: 0.1 } }],
      ['Shrink'],
    ];
    expect(sizes(await chain(old, 13))).toEqual([8]);
    expect(sizes(await chain([['Mish'], ['HardSwish'], ['Gelu'], ['Celu']], 20))).toEqual([8]);
  });
});

describe('fused ops that no processor here runs: what goes together', () => {
  it('NhwcConv carries the batch and contracts the last axis', () => {
    const s = analyse((b, x) => {
      const y = b.transpose(b.conv(x, 3, 8, 3, { name: 'stem' }), [0, 2, 3, 1]);
      const inputs = [y, b.weight([6, 8, 1, 1]), b.weight([6], 'bias')];
      const z = b.op(`${MS}NhwcConv`, inputs, { kernel_shape: [1, 1] });
      return b.conv(b.transpose(z, [0, 3, 1, 2]), 6, 3, 1);
    });
    expect(sizes(s.groups)).toEqual([8, 6]);
    expect(s.groups[0].sites.map((site) => [site.node.opType, site.axis])).toEqual([['NhwcConv', 3]]);
  });

  it('BiasSplitGelu: both halves lose the same', () => {
    const s = analyse(
      (b, x) => {
        const y = b.op('MatMul', [x, b.weight([8, 12])], {}, 'first');
        return b.linear(b.op(`${MS}BiasSplitGelu`, [y, b.weight([12], 'bias')]), 6, 3, 'last');
      },
      { dims },
    );
    expect(sizes(s.groups)).toEqual([6]);
    expect([...s.groups[0].weights[0].units]).toEqual([0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);
  });

  it('BiasSoftmax keeps what it works along; blocked layouts are walls', () => {
    const soft = analyse(
      (b, x) => {
        const y = b.op(`${MS}BiasSoftmax`, [b.linear(x, 8, 6, 'first'), b.weight([6], 'bias')], { axis: 2 });
        return b.linear(y, 6, 3, 'last');
      },
      { dims },
    );
    expect(soft.groups[0].reason).toMatch(/shares a softmax in .*BiasSoftmax/);
    const blocked = analyse((b, x) => {
      const y = b.op('com.microsoft.nchwc.ReorderInput', [b.conv(x, 3, 8, 3, { name: 'stem' })]);
      return b.op('com.microsoft.nchwc.ReorderOutput', [y], { channels: 8 });
    });
    expect(blocked.groups[0].reason).toMatch(/laid out in blocks of channels by .*ReorderInput/);
  });
});
