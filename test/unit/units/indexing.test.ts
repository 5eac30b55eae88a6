import { describe, expect, it } from 'vitest';
import type { Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import type { Structure } from '../../../src/units/types.ts';
import { Builder, type Attrs } from '../../support/build.ts';
import { checkInvariant } from '../../support/invariant.ts';

const C = 8;

interface Options {
  opset?: number;
  /** The second layer is a 1×1 convolution unless it is told not to be there. */
  last?: boolean;
}

/**
 * A layer of 8 channels over 4×4 places, `make` over them, a 1×1 convolution; every prunable group is held against the
 * gated model.
 */
async function check(
  make: (b: Builder, x: Value) => Value,
  channels: number | undefined,
  options: Options = {},
): Promise<Structure> {
  const b = new Builder({ opset: options.opset ?? 17 });
  const stem = b.conv(b.input('x', ['N', 3, 4, 4]), 3, C, [3, 3], { pads: [1, 1, 1, 1], name: 'stem' });
  const made = make(b, stem);
  b.output(channels === undefined ? made : b.conv(made, channels, 3, [1, 1], { name: 'last' }));
  const s = analyseStructure(b.build());
  expect(s.warnings).toEqual([]);
  const { results, tolerance } = await checkInvariant(s, { shares: [0.25, 0.5, 0.01], seed: 5 });
  for (const r of results) expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(tolerance);
  return s;
}

const sizes = (s: Structure) => s.groups.filter((g) => g.prunable).map((g) => g.size);
const bools = (b: Builder, values: number[]) =>
  b.constant(Tensor.fromBytes('mask', DataType.BOOL, [values.length], Uint8Array.from(values)));

describe('picking units by number, held against the gated model', () => {
  it('Gather: a row, one channel, channels in rows, computed numbers', async () => {
    const row = (b: Builder, x: Value) => b.op('Gather', [x, b.ints([7, 0, 2, 2, -3])], { axis: 1 });
    expect(sizes(await check(row, 5))).toEqual([8]);
    // The channel that is picked stays, the others may go.
    const one = (b: Builder, x: Value) =>
      b.add(x, b.op('Unsqueeze', [b.op('Gather', [x, b.ints([3], [])], { axis: 1 }), b.ints([1])]));
    expect(sizes(await check(one, 8))).toEqual([7]);
    const rows = (b: Builder, x: Value) => {
      const picked = b.op('Gather', [x, b.ints([1, 6, 6, 5], [2, 2])], { axis: 1 });
      return b.concat([x, b.reshape(picked, [0, 4, 4, 4])]);
    };
    expect(sizes(await check(rows, 12))).toEqual([5]);
    const computed = (b: Builder, x: Value) => {
      const at = b.op('Cast', [b.op('Sigmoid', [b.op('ReduceMax', [x], { keepdims: 0 })])], { to: DataType.INT64 });
      return b.op('Gather', [x, b.op('Unsqueeze', [at, b.ints([0])])], { axis: 1 });
    };
    expect((await check(computed, 1)).groups[0].reason).toMatch(/is looked up by Gather/);
  });

  it('a table that is looked up produces its width', async () => {
    const b = new Builder();
    const ids = b.input('ids', ['N', 5], DataType.INT64);
    b.output(b.linear(b.relu(b.op('Gather', [b.weight([10, 8], 'table', 1), ids], {}, 'embed')), 8, 3, 'last'));
    const s = analyseStructure(b.build());
    const { results, tolerance } = await checkInvariant(s);
    for (const r of results) expect(r.diff).toBeLessThanOrEqual(tolerance);
    expect(sizes(s)).toEqual([8]);
  });

  it('Slice with steps and backwards', async () => {
    const sliced = (starts: number[], ends: number[], axes: number[], steps: number[]) => (b: Builder, x: Value) =>
      b.op('Slice', [x, b.ints(starts), b.ints(ends), b.ints(axes), b.ints(steps)]);
    expect(sizes(await check(sliced([-1], [-(2 ** 40)], [1], [-1]), 8))).toEqual([8]);
    expect(sizes(await check(sliced([1], [8], [1], [2]), 4))).toEqual([8]);
    expect(sizes(await check(sliced([6, 0, 0], [0, 4, 4], [1, 2, 3], [-2, 2, 2]), 3))).toEqual([8]);
    const both = (b: Builder, x: Value) => {
      const even = sliced([0], [100], [1], [2])(b, x);
      return b.concat([b.mul(even, sliced([1], [100], [1], [2])(b, x)), x]);
    };
    expect(sizes(await check(both, 12))).toEqual([4]);
  });

  it('Split into uneven parts by num_outputs', async () => {
    const split = (b: Builder, x: Value) => {
      const [p, q, r] = b.nodes('Split', [x], { axis: 1, num_outputs: 3 }, 3);
      return b.concat([b.relu(r), q, b.op('Tanh', [p])]);
    };
    expect(sizes(await check(split, 8, { opset: 18 }))).toEqual([8]);
  });

  it('GatherElements and ScatterElements along other axes', async () => {
    const gathered = (b: Builder, x: Value) => {
      const [, at] = b.nodes('TopK', [x, b.ints([2])], { axis: 3 }, 2);
      return b.op('GatherElements', [x, at], { axis: 3 });
    };
    expect(sizes(await check(gathered, 8))).toEqual([8]);
    const along = (b: Builder, x: Value) => {
      const at = b.op('Cast', [b.op('Sigmoid', [x])], { to: DataType.INT64 });
      return b.op('GatherElements', [x, at], { axis: 1 });
    };
    expect(sizes(await check(along, 8))).toEqual([]);
    const scattered = (b: Builder, x: Value) => {
      const [top, at] = b.nodes('TopK', [x, b.ints([2])], { axis: 3 }, 2);
      return b.op('ScatterElements', [x, at, b.op('Neg', [top])], { axis: 3 });
    };
    expect(sizes(await check(scattered, 8))).toEqual([8]);
  });

  it('GatherND and ScatterND: what the numbers do not name is carried', async () => {
    const at = [0, 1, 2, 3, 1, 1];
    const gathered = (b: Builder, x: Value) => {
      const last = b.transpose(x, [2, 3, 0, 1]);
      const picked = b.op('GatherND', [last, b.ints(at, [3, 2])]);
      return b.op('Unsqueeze', [b.transpose(picked, [1, 2, 0]), b.ints([3])]);
    };
    expect(sizes(await check(gathered, 8))).toEqual([8]);
    const scattered = (b: Builder, x: Value) => {
      const places = b.transpose(x, [2, 3, 0, 1]);
      const updates = b.op('Neg', [b.op('GatherND', [places, b.ints(at, [3, 2])])]);
      return b.transpose(b.op('ScatterND', [places, b.ints(at, [3, 2]), updates]), [2, 3, 0, 1]);
    };
    expect(sizes(await check(scattered, 8))).toEqual([8]);
    const channels = (b: Builder, x: Value) => {
      const first = b.transpose(x, [1, 0, 2, 3]);
      return b.transpose(b.op('GatherND', [first, b.ints([5, 1], [2, 1])]), [1, 0, 2, 3]);
    };
    expect((await check(channels, 2)).groups[0].reason).toMatch(/is looked up by GatherND/);
  });

  it('Compress by a constant condition', async () => {
    const compressed = (b: Builder, x: Value) =>
      b.concat([x, b.op('Compress', [x, bools(b, [1, 0, 0, 1, 1, 0, 1, 0])], { axis: 1 })]);
    expect(sizes(await check(compressed, 12))).toEqual([8]);
    const shorter = (b: Builder, x: Value) => b.op('Compress', [x, bools(b, [1, 0, 1])], { axis: 1 });
    expect((await check(shorter, 2)).groups[0].reason).toMatch(/is selected by Compress/);
  });
});

describe('arranging, sampling and making up', () => {
  it('SpaceToDepth, DepthToSpace and ReverseSequence', async () => {
    const deep = (b: Builder, x: Value) => b.op('SpaceToDepth', [x], { blocksize: 2 });
    expect(sizes(await check(deep, 32))).toEqual([8]);
    const back = (b: Builder, x: Value) => b.op('DepthToSpace', [b.relu(deep(b, x))], { blocksize: 2 });
    expect(sizes(await check(back, 8))).toEqual([8]);
    const reversed = (b: Builder, x: Value) => {
      const rows = b.transpose(x, [2, 3, 0, 1]);
      const y = b.op('ReverseSequence', [rows, b.ints([1, 2, 3, 4])], { time_axis: 0, batch_axis: 1 });
      return b.transpose(y, [2, 3, 0, 1]);
    };
    expect(sizes(await check(reversed, 8))).toEqual([8]);
  });

  it('Trilu, OneHot and masks', async () => {
    const mask = (b: Builder, x: Value) => b.op('Trilu', [x], { upper: 0 });
    expect(sizes(await check(mask, 8))).toEqual([8]);
    const masked = (b: Builder, x: Value) => {
      const on = b.op('Greater', [x, b.floats([0.1], [])]);
      return b.op('Where', [on, x, b.op('Mul', [x, b.weight([1, 8, 1, 1], 'slope')])]);
    };
    expect(sizes(await check(masked, 8))).toEqual([8]);
    const oneHot = (b: Builder, x: Value) => {
      const at = b.op('ArgMax', [x], { axis: 3, keepdims: 0 });
      return b.op('OneHot', [at, b.ints([4], []), b.floats([0, 1])], { axis: -1 });
    };
    expect(sizes(await check(oneHot, 8))).toEqual([8]);
  });

  it('RoiAlign, MaxRoiPool and GridSample carry channels', async () => {
    const rois = [0, 0, 3, 3, 1, 1, 3, 2];
    const align = (b: Builder, x: Value) =>
      b.op('RoiAlign', [x, b.floats(rois, [2, 4]), b.ints([0, 1])], { output_height: 2, output_width: 2 });
    expect(sizes(await check(align, 8))).toEqual([8]);
    const pool = (b: Builder, x: Value) =>
      b.op('MaxRoiPool', [x, b.floats([0, 0, 0, 3, 3, 1, 1, 1, 3, 2], [2, 5])], { pooled_shape: [2, 2] });
    expect(sizes(await check(pool, 8))).toEqual([8]);
    const sample = (b: Builder, x: Value) => {
      const grid = b.op('Tanh', [b.op('Slice', [b.transpose(x, [0, 2, 3, 1]), b.ints([0]), b.ints([2]), b.ints([2])])]);
      return b.op('GridSample', [x, b.op('Slice', [grid, b.ints([0]), b.ints([2]), b.ints([3])])], {});
    };
    // What names the places is used whole.
    expect(sizes(await check(sample, 8))).toEqual([6]);
  });

  it('CenterCropPad of space, with the channels named too', async () => {
    const crop = (target: number[], attrs: Attrs) => (b: Builder, x: Value) =>
      b.op('CenterCropPad', [x, b.ints(target)], attrs);
    expect(sizes(await check(crop([8, 2, 6], { axes: [1, 2, 3] }), 8, { opset: 18 }))).toEqual([8]);
    expect(sizes(await check(crop([2, 2], { axes: [2, 3] }), 8, { opset: 18 }))).toEqual([8]);
    expect(sizes(await check(crop([6], { axes: [1] }), 6, { opset: 18 }))).toEqual([]);
  });

  it('walls name the op', async () => {
    const wall = async (op: string, make: (b: Builder, x: Value) => Value, channels?: number) => {
      const s = await check(make, channels);
      expect(s.groups[0].prunable, op).toBe(false);
      expect(s.groups[0].reason).toContain(op);
    };
    await wall('NonZero', (b, x) => b.op('NonZero', [b.relu(x)]));
    await wall('Unique', (b, x) => b.op('Unique', [b.op('Floor', [x])], { axis: 1 }));
    await wall('EyeLike', (b, x) => b.op('EyeLike', [b.op('ReduceSum', [x, b.ints([2, 3])], { keepdims: 0 })]));
    await wall('RandomUniformLike', (b, x) =>
      b.op('Mul', [b.op('RandomUniformLike', [x], { seed: { float: 1 } }), b.floats([0])]),
    );
    await wall(
      // The pool's numbers count through all channels.
      'MaxPool',
      (b, x) => {
        const [y, at] = b.nodes('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2] }, 2);
        return b.op('MaxUnpool', [y, at], { kernel_shape: [2, 2], strides: [2, 2] });
      },
      8,
    );
  });
});

describe('rare ops', () => {
  it('DeformConv, also with offset groups', async () => {
    for (const groups of [1, 2]) {
      const deform = (b: Builder, x: Value) => {
        const offsets = b.conv(b.op('Tanh', [x]), 8, groups * 18, [3, 3], { pads: [1, 1, 1, 1], name: 'offsets' });
        const inputs = [x, b.weight([6, 8, 3, 3]), offsets, b.weight([6], 'bias')];
        const attrs = { kernel_shape: [3, 3], pads: [1, 1, 1, 1], offset_group: groups };
        return b.op('DeformConv', inputs, attrs, 'deform');
      };
      const s = await check(deform, 6, { opset: 19 });
      expect(sizes(s)).toEqual([8, 6]);
      expect(s.groups[0].blocks?.length).toBe(groups > 1 ? 2 : undefined);
    }
  });

  it('Col2Im: the places of a channel go together', async () => {
    const fold = (b: Builder, x: Value) => {
      const columns = b.reshape(b.conv(x, 8, 24, [1, 1], { name: 'columns' }), [0, 24, 16]);
      return b.op('Col2Im', [columns, b.ints([8, 8]), b.ints([2, 2])], { strides: [2, 2] });
    };
    expect(sizes(await check(fold, 6, { opset: 18 }))).toEqual([8, 6]);
  });

  it('Hardmax over units, DFT beside them', async () => {
    const hard = (b: Builder, x: Value) => b.op('Hardmax', [x], { axis: 1 });
    expect(sizes(await check(hard, 8))).toEqual([8]);
    const frequencies = (b: Builder, x: Value) => {
      const y = b.op('DFT', [b.op('Unsqueeze', [x, b.ints([4])])], { axis: 3 });
      return b.op('ReduceSum', [b.op('Abs', [y]), b.ints([4])], { keepdims: 0 });
    };
    expect(sizes(await check(frequencies, 8))).toEqual([8]);
  });
});

describe('padding, repeating and joining along units', () => {
  it('a shortcut that is widened with zeros: what was added stays', async () => {
    const widened = (b: Builder, x: Value) => {
      const small = b.op('Slice', [x, b.ints([0, 0]), b.ints([4, 4]), b.ints([2, 3]), b.ints([2, 2])]);
      const wide = b.op('Pad', [small, b.ints([0, 2, 0, 0, 0, 2, 0, 0])]);
      const y = b.conv(b.relu(x), 8, 12, [3, 3], { pads: [1, 1, 1, 1], strides: [2, 2], name: 'main' });
      return b.relu(b.add(y, wide));
    };
    const s = await check(widened, 12);
    expect(sizes(s)).toEqual([8]);
    expect(s.groups[0].layers.map((n) => n.name)).toEqual(['stem', 'main']);
    const alone = (b: Builder, x: Value) => b.op('Pad', [x, b.ints([0, 1, 0, 0, 0, 1, 0, 0]), b.floats([0.5], [])]);
    expect(sizes(await check(alone, 10))).toEqual([8]);
    const mirrored = (b: Builder, x: Value) => b.op('Pad', [x, b.ints([0, 1, 0, 0, 0, 1, 0, 0])], { mode: 'reflect' });
    expect((await check(mirrored, 10)).groups[0].reason).toMatch(/is padded by Pad/);
  });

  it('Tile along units and along space, Expand over a new axis', async () => {
    const tiled = (b: Builder, x: Value) => b.op('Tile', [x, b.ints([1, 2, 1, 3])]);
    expect(sizes(await check(tiled, 16))).toEqual([8]);
    const expanded = (b: Builder, x: Value) => {
      const mean = b.op('ReduceMean', [x], { axes: [2, 3], keepdims: 1 });
      return b.add(x, b.op('Expand', [mean, b.ints([1, 8, 4, 4])]));
    };
    expect(sizes(await check(expanded, 8))).toEqual([8]);
  });

  it('units joined with channels that stay', async () => {
    const joined = (b: Builder, x: Value) => {
      const coordinates = b.op('Expand', [
        b.weight([1, 2, 4, 4], 'places'),
        b.op('Shape', [b.op('Slice', [x, b.ints([0]), b.ints([2]), b.ints([1])])]),
      ]);
      return b.concat([b.op('Tanh', [coordinates]), x]);
    };
    const s = await check(joined, 10);
    expect(sizes(s).reduce((a, n) => a + n, 0)).toBeGreaterThanOrEqual(6);
  });
});
