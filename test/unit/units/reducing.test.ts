import { describe, expect, it } from 'vitest';
import type { Value } from '../../../src/graph/ir.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { Builder, type Attrs } from '../../support/build.ts';
import { checkInvariant } from '../../support/invariant.ts';

/** A layer of `c` channels, `make` over them, and readers; every prunable group is held against the gated model. */
async function check(make: (b: Builder, x: Value) => Value, opset: number, c = 8): Promise<number[]> {
  const b = new Builder({ opset });
  const x = b.conv(b.input('x', ['N', 3, 4, 4]), 3, c, [3, 3], { pads: [1, 1, 1, 1], name: 'stem' });
  b.output(make(b, x));
  const s = analyseStructure(b.build());
  expect(s.warnings).toEqual([]);
  const { results, tolerance } = await checkInvariant(s, { shares: [0.25, 0.5, 0.01], seed: 5 });
  for (const r of results) expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(tolerance);
  return s.groups.filter((g) => g.prunable).map((g) => g.size);
}

const REDUCTIONS =
  'ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSumExp'.split(' ');

describe('reductions over units, held against the gated model', () => {
  for (const op of REDUCTIONS) {
    for (const opset of [8, 11, 13, 18]) {
      it(`${op}, opset ${opset}`, async () => {
        const operand = opset >= 18 || (op === 'ReduceSum' && opset >= 13);
        const reduce = (b: Builder, x: Value, axes: number[], keepdims: number) =>
          operand ? b.op(op, [x, b.ints(axes)], { keepdims }) : b.op(op, [x], { axes, keepdims });
        // The result is the model's output, which keeps its name.
        expect(await check((b, x) => reduce(b, b.op('Tanh', [x]), [1], 0), opset)).toEqual([8]);
        // The result goes back into the graph, over units and positions at once.
        const inner = (b: Builder, x: Value) =>
          b.conv(b.op('Mul', [x, b.op('Sigmoid', [reduce(b, b.op('Tanh', [x]), [-3, 2], 1)])]), 8, 3, [1, 1]);
        expect(await check(inner, opset)).toEqual([8]);
      });
    }
  }

  it('a mean over the units of two layers side by side', async () => {
    const sizes = await check((b, x) => {
      const y = b.conv(b.relu(x), 8, 6, [1, 1], { name: 'second' });
      return b.op('ReduceMean', [b.concat([x, y], 1)], { axes: [1], keepdims: 1 });
    }, 13);
    expect(sizes).toEqual([8, 6]);
  });

  it('Softmax, LogSoftmax and CumSum over units', async () => {
    for (const [op, attributes] of [
      ['Softmax', { axis: 1 }],
      ['LogSoftmax', { axis: 1 }],
    ] as [string, Attrs][])
      expect(await check((b, x) => b.conv(b.op(op, [x], attributes), 8, 3, [1, 1]), 13)).toEqual([8]);
    const sum = (b: Builder, x: Value) => b.conv(b.op('CumSum', [x, b.ints([1], [])]), 8, 3, [1, 1]);
    expect(await check(sum, 13)).toEqual([8]);
  });

  it('keeps what is numbered or sorted', async () => {
    expect(await check((b, x) => b.op('ArgMax', [x], { axis: 1 }), 13)).toEqual([]);
  });
});
