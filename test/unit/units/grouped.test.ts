import { describe, expect, it } from 'vitest';
import { modelCost } from '../../../src/graph/cost.ts';
import type { Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { pruneModel } from '../../../src/pruning/surgery.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { costTerms } from '../../../src/units/cost-terms.ts';
import type { Structure } from '../../../src/units/types.ts';
import { Builder, type Attrs } from '../../support/build.ts';
import { checkInvariant, randomKeep, seeded } from '../../support/invariant.ts';

/** A stem of `channels` channels, `make` over them, and a reader of the `out` channels that it gives. */
function network(channels: number, out: number, make: (b: Builder, x: Value) => Value, opset = 17): Structure {
  const b = new Builder({ opset });
  const stem = b.relu(b.conv(b.input('x', ['N', 3, 6, 6]), 3, channels, [3, 3], { name: 'stem' }));
  b.output(b.conv(b.relu(make(b, stem)), out, 3, [1, 1], { name: 'head' }));
  return analyseStructure(b.build());
}

/** Holds every group against the gated model, and the predicted cost against that of the pruned one; gives sizes and blocks. */
async function hold(s: Structure, optimise = true): Promise<string[]> {
  expect(s.warnings).toEqual([]);
  const { results, tolerance } = await checkInvariant(s, { shares: [0.25, 0.5, 0.01], seed: 6, optimise });
  for (const r of results) expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(tolerance);
  const random = seeded(12);
  const keep = new Map(s.groups.filter((g) => g.prunable).map((g) => [g.id, randomKeep(g, 0.5, random)]));
  const pruned = modelCost(pruneModel(s, keep).model);
  let macs = 0;
  for (const t of costTerms(s))
    macs += t.factors.reduce(
      (n, f) => n * f.groups.reduce((m, g) => m + g.multiplicity * keep.get(g.id)!.length, f.fixed),
      t.macs,
    );
  expect(macs).toBeCloseTo(pruned.macs, 6);
  return s.groups.flatMap((g) => (g.prunable ? [`${g.id} ${g.size}${g.blocks ? ` in ${g.blocks.length}` : ''}`] : []));
}

const bytes = (b: Builder, dims: number[], type: number, seed: number) => {
  const random = seeded(seed);
  const data = Uint8Array.from({ length: dims.reduce((p, d) => p * d, 1) }, () => Math.floor(random() * 256));
  return b.constant(Tensor.fromBytes('q', type, dims, data));
};

describe('grouped convolutions, held against the gated model', () => {
  for (const opset of [7, 13])
    it(`ConvTranspose in groups, opset ${opset}`, async () => {
      const make = (b: Builder, x: Value) =>
        b.op('ConvTranspose', [x, b.weight([8, 3, 2, 2]), b.weight([6])], { group: 2, strides: [2, 2] }, 'up');
      expect(await hold(network(8, 6, make, opset))).toEqual(['stem 8 in 2', 'up 3']);
    });

  it('ConvTranspose that makes several channels, or one, of every channel', async () => {
    const make = (out: number) => (b: Builder, x: Value) =>
      b.op('ConvTranspose', [x, b.weight([8, out, 2, 2]), b.weight([8 * out])], { group: 8, strides: [2, 2] }, 'up');
    expect(await hold(network(8, 16, make(2)))).toEqual(['stem 8']);
    expect(await hold(network(8, 8, make(1)))).toEqual(['stem 8']);
  });

  it('ConvTranspose with one channel per block keeps these', async () => {
    const make = (b: Builder, x: Value) => b.op('ConvTranspose', [x, b.weight([8, 1, 2, 2])], { group: 4 }, 'up');
    expect(await hold(network(8, 4, make))).toEqual(['stem 8 in 4']);
  });

  /** A grouped Conv of `channels` to 12 channels in 2 blocks, whose weight `make` gives. */
  const grouped = (weight: (b: Builder) => Value, opset?: number) =>
    network(8, 12, (b, x) => b.op('Conv', [x, weight(b), b.weight([12])], { group: 2 }, 'grouped'), opset);
  const BLOCKS = ['stem 8 in 2', 'grouped 12 in 2'];

  it('stored weights', async () => {
    expect(await hold(grouped((b) => b.weight([12, 4, 3, 3])))).toEqual(BLOCKS);
  });

  it('dequantised weights: one scale, one per filter, one per input channel', async () => {
    const dequantise = (scales: number, axis?: number) => (b: Builder) => {
      const scale = scales
        ? b.floats(Array.from({ length: scales }, (_, i) => 0.004 + 0.001 * i))
        : b.floats([0.01], []);
      const inputs = [bytes(b, [12, 4, 3, 3], DataType.INT8, 3), scale];
      if (scales === 12) inputs.push(bytes(b, [12], DataType.INT8, 4));
      return b.op('DequantizeLinear', inputs, axis === undefined ? {} : { axis });
    };
    for (const weight of [dequantise(0), dequantise(12, 0)]) {
      const s = grouped(weight);
      expect(await hold(s, false)).toEqual(BLOCKS);
      // The whole numbers themselves are cut.
      const graph = pruneModel(s, new Map([['stem', [0, 5]]])).model.graph;
      const conv = graph.nodes.find((n) => n.name === 'grouped')!;
      expect(conv.inputs[1]!.producer!.inputs[0]!.initializer!.dims).toEqual([12, 1, 3, 3]);
    }
    expect(await hold(grouped(dequantise(4, 1)), false)).toEqual(BLOCKS);
  });

  it('half-precision weights that are cast', async () => {
    const halves = (b: Builder) => {
      const random = seeded(5);
      const bits = Uint16Array.from(
        { length: 12 * 36 },
        () => 0x2800 + Math.floor(random() * 0x800) + (random() < 0.5 ? 0x8000 : 0),
      );
      const w = b.constant(Tensor.fromBytes('h', DataType.FLOAT16, [12, 4, 3, 3], new Uint8Array(bits.buffer)));
      return b.op('Cast', [w], { to: DataType.FLOAT });
    };
    expect(await hold(grouped(halves))).toEqual(BLOCKS);
  });

  for (const opset of [11, 17, 18])
    it(`weights that are computed in another way, opset ${opset}`, async () => {
      const normed = (b: Builder) => {
        const v = b.weight([12, 4, 3, 3]);
        const norm = b.op('Sqrt', [
          opset >= 18
            ? b.op('ReduceMean', [b.mul(v, v), b.ints([1, 2, 3])])
            : b.op('ReduceMean', [b.mul(v, v)], { axes: [1, 2, 3] }),
        ]);
        return b.mul(b.weight([12, 1, 1, 1], 'g'), b.op('Div', [v, norm]));
      };
      expect(await hold(grouped(normed, opset))).toEqual(BLOCKS);
    });
});

describe('DeformConv, held against the gated model', () => {
  const deform = (attributes: Attrs, channels = 8, perGroup = 8) =>
    network(
      channels,
      6,
      (b, x) => {
        const count = (attributes.offset_group as number | undefined) ?? 1;
        const offset = b.conv(x, channels, count * 18, [3, 3], { name: 'offset' });
        const mask = b.op('Sigmoid', [b.conv(x, channels, count * 9, [3, 3], { name: 'mask' })]);
        const w = b.weight([6, perGroup, 3, 3]);
        return b.op(
          'DeformConv',
          [x, w, offset, b.weight([6]), mask],
          { kernel_shape: [3, 3], ...attributes },
          'deform',
        );
      },
      19,
    );

  it('channels go, offsets and masks stay', async () => {
    const s = deform({});
    expect(s.groups.find((g) => g.id === 'offset')!.reason).toBe('moves what DeformConv "deform" sees');
    expect(await hold(s)).toEqual(['stem 8', 'deform 6']);
  });

  it('runs of channels with offsets of their own lose equally many', async () => {
    expect(await hold(deform({ offset_group: 2 }))).toEqual(['stem 8 in 2', 'deform 6']);
    expect(await hold(deform({ offset_group: 2, group: 2 }, 8, 4))).toEqual(['stem 8 in 2', 'deform 6 in 2']);
  });
});
