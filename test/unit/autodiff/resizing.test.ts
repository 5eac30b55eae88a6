import { describe, expect, it } from 'vitest';
import type { Dim } from '../../../src/graph/ir.ts';
import { builder, type Attrs } from '../../support/build.ts';
import { checkGradient } from '../../support/gradients.ts';

describe('Expand', () => {
  it.each([8, 13])('opset %i', async (opset) => {
    const b = builder({ opset });
    const [x, y] = [b.input('x', ['N', 1, 3]), b.input('y', ['T', 1])];
    const values = [b.op('Expand', [x, b.ints([2, 1, 4, 1])]), b.op('Expand', [y, b.ints([1, 5])])];
    await checkGradient(b.model, values, [x, y], { dims: { T: 3 } });
    await checkGradient(b.model, values[1], [y], { dims: { T: 1 } });
  });
  it('to a shape that is computed', async () => {
    const b = builder();
    const [x, y] = [b.input('x', [1, 1, 3]), b.input('y', ['N', 'T', 1])];
    await checkGradient(b.model, b.op('Expand', [x, b.op('Shape', [y])]), [x], { dims: { T: 4 } });
  });
});

describe('Tile', () => {
  it.each([7, 13])('opset %i', async (opset) => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 3, 'T']);
    await checkGradient(b.model, b.op('Tile', [x, b.ints([1, 2, 3])]), [x], { dims: { T: 2 } });
  });
});

describe('Pad', () => {
  const modes = ['constant', 'reflect', 'edge', 'wrap'];
  const cases: [string, Dim[], number[]][] = [
    ['around a plane', ['N', 2, 4, 3], [0, 0, 1, 2, 0, 0, 2, 1]],
    ['of channels', ['N', 3, 2], [0, 1, 0, 0, 2, 0]],
    ['that crops', ['N', 4, 5], [0, -1, 1, 0, 2, -2]],
    ['of a vector', [5], [2, 3]],
    ['of unknown axes', ['N', 'T', 'U'], [0, 1, 2, 0, 0, 1]],
  ];
  for (const opset of [7, 11, 19])
    for (const mode of modes.filter((m) => m !== 'wrap' || opset >= 19))
      it.each(cases.filter(([, dims]) => opset > 8 || mode === 'constant' || !dims.includes('T')))(
        `${mode}, opset ${opset}: %s`,
        async (_, shape, pads) => {
          const b = builder({ opset });
          const x = b.input('x', shape);
          const y = opset < 11 ? b.op('Pad', [x], { mode, pads }) : b.op('Pad', [x, b.ints(pads)], { mode });
          await checkGradient(b.model, y, [x], { dims: { T: 4, U: 5 } });
        },
      );

  it.each(modes)('%s of some axes, by numbers that are computed', async (mode) => {
    const b = builder({ opset: 19 });
    const [x, y] = [b.input('x', ['N', 'T', 4]), b.input('y', ['N', 'K'])];
    const one = b.op('Shape', [y], { start: 1, end: 2 });
    const pads = b.op('Concat', [one, b.ints([1, 2]), one], { axis: 0 });
    const padded = b.op('Pad', [x, pads, null, b.ints([-1, 1])], { mode });
    await checkGradient(b.model, padded, [x], { dims: { T: 4, K: 1 } });
  });
  it('of the constant', async () => {
    const b = builder();
    const [x, k] = [b.input('x', ['N', 4]), b.floats([0.3], [])];
    await checkGradient(b.model, b.op('Pad', [x, b.ints([0, 2, 0, -1]), k]), [x, k]);
  });
});

describe('Upsample', () => {
  it.each([7, 9])('opset %i', async (opset) => {
    for (const mode of ['nearest', 'linear']) {
      const b = builder({ opset });
      const x = b.input('x', ['N', 2, 3, 4]);
      const scales = [1, 1, 2, 1.5];
      const y =
        opset < 9
          ? b.op('Upsample', [x], { mode, scales: { floats: scales } })
          : b.op('Upsample', [x, b.floats(scales)], { mode });
      await checkGradient(b.model, y, [x]);
    }
  });
});

describe('Resize', () => {
  it.each(['nearest', 'linear'])('%s, opset 10', async (mode) => {
    const b = builder({ opset: 10 });
    const x = b.input('x', ['N', 2, 3, 4]);
    await checkGradient(b.model, b.op('Resize', [x, b.floats([1, 1, 2, 0.5])], { mode }), [x]);
  });

  const where = ['half_pixel', 'pytorch_half_pixel', 'align_corners', 'asymmetric'];
  const rounded = ['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'];
  /** Attributes with the opsets that know them. */
  const ways: [Attrs, number[]][] = [
    ...where.map((w): [Attrs, number[]] => [{ mode: 'linear', coordinate_transformation_mode: w }, [11, 19]]),
    ...where.flatMap((w) =>
      rounded.map((nearest_mode): [Attrs, number[]] => [
        { mode: 'nearest', coordinate_transformation_mode: w, nearest_mode },
        [11, 19],
      ]),
    ),
    [{ mode: 'nearest', coordinate_transformation_mode: 'tf_half_pixel_for_nn' }, [11]],
    [{ mode: 'linear', coordinate_transformation_mode: 'half_pixel_symmetric' }, [19]],
    [{ mode: 'cubic', coordinate_transformation_mode: 'half_pixel' }, [11, 19]],
    [{ mode: 'cubic', cubic_coeff_a: { float: -0.5 }, exclude_outside: 1 }, [11, 19]],
    [{ mode: 'linear', antialias: 1 }, [19]],
    [{ mode: 'cubic', antialias: 1 }, [19]],
  ];
  for (const opset of [11, 19])
    it.each(ways.filter(([, opsets]) => opsets.includes(opset)).map(([attributes]) => attributes))(
      `opset ${opset}: %j`,
      async (attributes) => {
        const b = builder({ opset });
        const x = b.input('x', ['N', 2, 4, 5]);
        const none = opset < 13 ? b.floats([], [0]) : null;
        const values = [
          b.op('Resize', [x, none, b.floats([1, 1, 2, 1.6])], attributes),
          b.op('Resize', [x, none, none, b.ints([2, 2, 3, 7])], attributes),
        ];
        await checkGradient(b.model, values, [x], { elements: 24 });
      },
    );

  it.each([11, 13, 18])('of a crop, opset %i', async (opset) => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 2, 4, 5]);
    const roi = b.floats([0, 0, 0.2, -0.1, 1, 1, 0.9, 1.3]);
    const attributes: Attrs = {
      mode: 'linear',
      coordinate_transformation_mode: 'tf_crop_and_resize',
      extrapolation_value: { float: 3 },
    };
    const y = b.op('Resize', [x, roi, b.floats([1, 1, 1.5, 2])], attributes);
    await checkGradient(b.model, y, [x]);
  });

  it.each(['nearest', 'linear'])('%s of sequences and volumes', async (mode) => {
    const b = builder({ opset: 17 });
    const volume = b.input('volume', ['N', 2, 2, 3, 2]);
    const resized = b.op('Resize', [volume, null, b.floats([1, 1, 2, 1.5, 2])], { mode });
    await checkGradient(b.model, resized, [volume]);
    const sequence = b.input('sequence', ['N', 2, 4]);
    await checkGradient(b.model, b.op('Resize', [sequence, null, b.floats([1, 1, 2])], { mode }), [sequence]);
  });

  it('to the size of another value, along axes that are named', async () => {
    const b = builder({ opset: 18 });
    const [x, y] = [b.input('x', ['N', 2, 'H', 'W']), b.input('y', ['N', 2, 'U', 'V'])];
    const size = b.op('Shape', [y], { start: 2, end: 4 });
    const named = b.op('Resize', [x, null, null, size], { mode: 'linear', axes: [2, 3] });
    const all = b.op('Resize', [x, null, null, b.op('Concat', [b.op('Shape', [x], { end: 2 }), size], { axis: 0 })]);
    const { compared } = await checkGradient(b.model, [named, all], [x], { dims: { H: 3, W: 4, U: 5, V: 6 } });
    expect(compared).toBe(48);
  });
});

describe('CenterCropPad', () => {
  it.each([
    [7, 3],
    [4, 7],
    [3, 8],
  ])('to %i × %i', async (height, width) => {
    const b = builder({ opset: 18 });
    const x = b.input('x', ['N', 5, 6]);
    await checkGradient(b.model, b.op('CenterCropPad', [x, b.ints([height, width])], { axes: [1, 2] }), [x]);
  });
});
