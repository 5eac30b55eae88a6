import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import type { Dim } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { builder } from '../../support/build.ts';
import { checkGradient } from '../../support/gradients.ts';

const END = 2 ** 31 - 1;
/** starts, ends, axes, steps */
type Cuts = [number[], number[], number[], number[]];

describe('Slice', () => {
  it.each([7, 10, 13])('of known sizes, opset %i', async (opset) => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 5, 6]);
    const cuts: [number[], number[], number[]][] = [
      [[1], [4], [1]],
      [
        [-3, 1],
        [END, -2],
        [1, -1],
      ],
      [
        [0, 2],
        [1, END],
        [1, 2],
      ],
    ];
    const parts = cuts.map(([starts, ends, axes]) =>
      opset < 10
        ? b.op('Slice', [x], { starts, ends, axes })
        : b.op('Slice', [x, b.ints(starts), b.ints(ends), b.ints(axes)]),
    );
    const { double } = await checkGradient(b.model, parts, [x]);
    expect(double).toBe(true);
  });

  const stepped: [string, Dim[], Cuts][] = [
    ['forwards', [2, 7], [[1], [6], [1], [2]]],
    ['backwards', [2, 7], [[-1], [-END], [1], [-1]]],
    ['backwards in steps', [2, 7], [[5], [0], [1], [-2]]],
    [
      'of two axes',
      ['N', 5, 6],
      [
        [4, 0],
        [-END, END],
        [1, 2],
        [-2, 3],
      ],
    ],
    ['of an unknown axis', ['N', 'T'], [[1], [END], [1], [2]]],
    [
      'of two unknown axes',
      ['N', 'T', 'U'],
      [
        [-1, 1],
        [-END, -1],
        [1, 2],
        [-2, 1],
      ],
    ],
    ['at the end of an unknown axis', ['N', 'T'], [[-2], [END], [1], [1]]],
    ['at the start of an unknown axis', ['N', 'T'], [[0], [2], [1], [1]]],
    ['between the ends of an unknown axis', ['N', 'T'], [[1], [-1], [1], [1]]],
  ];
  for (const opset of [10, 13, 18])
    it.each(stepped)(`opset ${opset}: %s`, async (_, shape, cuts) => {
      const b = builder({ opset });
      const x = b.input('x', shape);
      const y = b.op('Slice', [x, ...cuts.map((list) => b.ints(list))]);
      await checkGradient(b.model, y, [x], { dims: { T: 5, U: 4 } });
    });

  it('with bounds that are computed', async () => {
    const b = builder();
    const [x, y] = [b.input('x', ['N', 'T']), b.input('y', ['N', 'U'])];
    const length = b.op('Cast', [b.op('Shape', [y], { start: 1, end: 2 })], { to: DataType.INT32 });
    const cut = b.op('Slice', [x, b.op('Sub', [length, length]), length, b.op('Div', [length, length])]);
    await checkGradient(b.model, cut, [x], { dims: { T: 5, U: 3 } });
  });
});

describe('Compress', () => {
  it.each([11, 13, 18])('opset %i', async (opset) => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 4]);
    const open = b.input('open', ['K'], DataType.BOOL);
    const feeds = { open: new ort.Tensor('bool', [true, false, true], [3]) };
    const values = [b.op('Compress', [x, open], { axis: -1 }), b.op('Compress', [x, open])];
    await checkGradient(b.model, values, [x], { feeds });
  });
});

describe('Trilu', () => {
  it('above and below diagonals', async () => {
    const b = builder();
    const x = b.input('x', ['N', 3, 4]);
    const values = [
      b.op('Trilu', [x]),
      b.op('Trilu', [x, b.ints([1], [])], { upper: 0 }),
      b.op('Trilu', [x, b.ints([-1], [])], { upper: 1 }),
    ];
    await checkGradient(b.model, values, [x]);
  });
});
