import { describe, expect, it } from 'vitest';
import type { Model, Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { normalise } from '../../../src/units/normalise.ts';
import { builder, subgraph, type Builder } from '../../support/build.ts';
import { checkInvariant, maxRelDiff, openSession, randomFeeds, seeded } from '../../support/invariant.ts';
import { loadZoo, zooFeeds, zooModels } from '../../support/zoo.ts';

const ops = (model: Model) => model.graph.nodes.map((n) => n.op);
const count = (model: Model, op: string) => ops(model).filter((o) => o === op).length;
const scalar = (b: Builder, x: number) => b.ints([x], []);
const unsqueeze = (b: Builder, x: Value, axes: number[]) => b.op('Unsqueeze', [x, b.ints(axes)]);

/** Worst difference between a model and its normalised copy in the runtime, over several batch sizes; also the copy. */
async function compare(model: Model, batches = [1, 2, 5]): Promise<Model> {
  const copy = normalise(model).model;
  const [before, after] = [await openSession(model, false), await openSession(copy, false)];
  for (const N of batches) {
    const feeds = randomFeeds(model, seeded(N), { N });
    expect(maxRelDiff(await after.run(feeds), await before.run(feeds))).toBe(0);
  }
  await before.release();
  await after.release();
  return copy;
}

/** All groups of a model that may be pruned are, and the pruned models are the gated ones. */
async function expectPrunable(model: Model, groups: number): Promise<void> {
  const structure = analyseStructure(model);
  expect(structure.groups.filter((g) => g.prunable)).toHaveLength(groups);
  for (const N of [1, 3]) {
    const { results, tolerance } = await checkInvariant(structure, { shares: [0.25, 0.5, 0], dims: { N } });
    for (const r of results) expect(r.diff, r.group).toBeLessThanOrEqual(tolerance);
  }
}

describe('a Gather that takes all elements in order', () => {
  /** Convolution, mean over the image, flattened to one axis, taken at `places`, two layers behind. */
  function pooled(places: (b: Builder, size: Value) => Value, shape: number[] = [-1, 6]): Builder {
    const b = builder({ opset: 18 });
    const x = b.input('x', ['N', 3, 5, 5]);
    const size = b.op('Gather', [b.op('Shape', [x]), scalar(b, 0)]);
    const mean = b.op('ReduceMean', [b.conv(x, 3, 6), b.ints([-1, -2])], { keepdims: 1 });
    const taken = b.op('Gather', [b.reshape(mean, [-1]), places(b, size)], { axis: 0 }, 'as_strided');
    return b.output(b.gemm(b.relu(b.gemm(b.reshape(taken, shape), 6, 7)), 7, 3));
  }
  const rows = (b: Builder, size: Value, step: number) =>
    b.op('Mul', [b.op('Range', [scalar(b, 0), size, scalar(b, 1)]), scalar(b, step)]);
  const upTo = (n: number, step = 1, from = 0) => Array.from({ length: n }, (_, i) => from + step * i);

  it('is a Reshape, or nothing at all', async () => {
    const strided = pooled((b, size) => {
      const channels = b.op('Add', [unsqueeze(b, rows(b, size, 6), [1, 2, 3]), b.ints(upTo(6), [1, 6, 1, 1])]);
      return b.op('Add', [channels, b.op('Add', [b.ints([0], [1, 1, 1, 1]), b.ints([0], [1, 1, 1, 1])])]);
    });
    expect(ops(await compare(strided.build()))).not.toContain('Gather');
    await expectPrunable(strided.build(), 2);

    const split = pooled((b, size) => {
      const outer = b.op('Add', [unsqueeze(b, rows(b, size, 6), [-1]), b.ints([0, 3])]);
      return b.op('Add', [unsqueeze(b, outer, [2]), b.ints(upTo(3))]);
    });
    const copy = await compare(split.build());
    expect(ops(copy)).not.toContain('Gather');
    expect(copy.graph.nodes.find((n) => n.name === 'as_strided')?.op).toBe('Reshape');
    await expectPrunable(split.build(), 2);
  });

  it('is told by numbers that were cast, spread, rearranged and counted otherwise', async () => {
    const ways: ((b: Builder, size: Value) => Value)[] = [
      // As 32-bit integers, shifted and back.
      (b, size) => {
        const from = b.op('Add', [unsqueeze(b, rows(b, size, 6), [1]), b.ints(upTo(6, 1, 9))]);
        const cast = b.op('Cast', [b.op('Sub', [from, scalar(b, 9)])], { to: DataType.INT32 });
        return b.op('Identity', [cast]);
      },
      // Transposed before.
      (b, size) => b.transpose(b.op('Add', [unsqueeze(b, rows(b, size, 6), [0]), b.ints(upTo(6), [6, 1])]), [1, 0]),
      // Spread to all rows before.
      (b, size) => {
        const shape = b.op('Concat', [unsqueeze(b, size, [0]), b.ints([6])], { axis: 0 });
        return b.op('Add', [b.op('Expand', [b.ints(upTo(6)), shape]), unsqueeze(b, rows(b, size, 6), [1])]);
      },
      // In a row, then cut into rows.
      (b, size) => b.reshape(b.op('Range', [scalar(b, 0), b.op('Mul', [size, scalar(b, 6)]), scalar(b, 1)]), [-1, 6]),
    ];
    for (const way of ways) expect(ops(await compare(pooled(way).build()))).not.toContain('Gather');
  });

  it('stays where the numbering is another', async () => {
    const ways: ((b: Builder, size: Value) => Value)[] = [
      // Backwards, shifted in one row, overlapping rows, and a part of each row.
      (b, size) => b.op('Add', [unsqueeze(b, rows(b, size, 6), [1]), b.ints(upTo(6, -1, 5))]),
      (b, size) => b.op('Add', [unsqueeze(b, rows(b, size, 6), [1]), b.ints([0, 1, 2, 3, 5, 4])]),
      (b, size) => b.op('Add', [unsqueeze(b, rows(b, size, 1), [1]), b.ints(upTo(6))]),
      (b, size) => b.op('Add', [unsqueeze(b, rows(b, size, 6), [1]), b.ints([0, 0, 0, 0, 0, 0])]),
    ];
    for (const way of ways) {
      const model = pooled(way).build();
      const copy = await compare(model);
      expect(copy.graph.nodes.find((n) => n.name === 'as_strided')?.op).toBe('Gather');
      expect(analyseStructure(model).groups.find((g) => g.size === 6)?.prunable).toBe(false);
    }
  });

  it('stays where two sizes are open and the shape is another than before', async () => {
    const b = builder({ opset: 18 });
    const x = b.input('x', ['N', 4, 'L']);
    const sizes = b.op('Shape', [x]);
    const [n, l] = [0, 2].map((i) => b.op('Gather', [sizes, scalar(b, i)]));
    const row = b.op('Range', [scalar(b, 0), l, scalar(b, 1)]);
    const starts = b.op('Mul', [b.op('Range', [scalar(b, 0), b.op('Mul', [n, scalar(b, 4)]), scalar(b, 1)]), l]);
    b.output(b.op('Gather', [b.reshape(x, [-1]), b.op('Add', [unsqueeze(b, starts, [1]), row])], {}, 'as_strided'));
    const copy = await compare(b.build());
    expect(copy.graph.nodes.find((n) => n.name === 'as_strided')?.op).toBe('Gather');
  });

  it('keeps random chains of index arithmetic equal', async () => {
    let rewritten = 0;
    for (let seed = 1; seed <= 40; seed++) {
      const random = seeded(seed);
      const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)];
      const b = builder({ opset: 17 });
      const x = b.input('x', ['N', 2, 3]);
      const size = b.op('Gather', [b.op('Shape', [x]), scalar(b, 0)]);
      const places = b.op('Add', [
        unsqueeze(b, rows(b, size, pick([6, 6, 3])), [1, 2]),
        b.op('Add', [
          b.ints(
            pick([
              [0, 3],
              [0, 3],
              [3, 0],
              [0, 1],
            ]),
            [2, 1],
          ),
          b.ints(upTo(3)),
        ]),
      ]);
      let index = b.op('Min', [places, b.op('Sub', [b.op('Size', [x]), scalar(b, 1)])]);
      // Min is not followed.
      if (random() < 0.7) index = places;
      if (random() < 0.3) index = b.reshape(index, pick([[-1, 6], [-1], [-1, 2, 1, 3]]));
      if (random() < 0.3) index = b.op('Cast', [index], { to: DataType.INT32 });
      b.output(b.op('Abs', [b.op('Gather', [b.reshape(x, [-1]), index], { axis: 0 })]));
      const copy = await compare(b.build());
      if (!ops(copy).includes('Gather')) rewritten++;
    }
    expect(rewritten).toBeGreaterThan(5);
    expect(rewritten).toBeLessThan(40);
  });
});

describe('what is taken of joined values', () => {
  /** Two layers joined along `axis`, of which `take` takes something, and an output of its own. */
  function joined(take: (b: Builder, all: Value) => Value, opset = 17, more = false): Model {
    const b = builder({ opset });
    const x = b.input('x', ['N', 4]);
    const two = (name: string) => b.reshape(b.relu(b.gemm(x, 4, 10, name)), [2, -1, 5]);
    const one = (name: string) => b.reshape(b.relu(b.gemm(x, 4, 5, name)), [1, -1, 5]);
    const all = b.concat([two('a'), one('b'), two('c')], 0);
    b.output(b.op('MatMul', [take(b, all), b.weight([5, 3])]));
    if (more) b.output(all);
    return b.build();
  }
  const slice =
    (...rows: number[][]) =>
    (b: Builder, all: Value) =>
      b.op('Slice', [all, ...rows.map((r) => b.ints(r))]);

  it('is taken of the one that it came from', async () => {
    const takes: [(b: Builder, all: Value) => Value, number?][] = [
      [(b, all) => b.op('Gather', [all, scalar(b, -1)], { axis: 0 })],
      [(b, all) => b.op('Gather', [all, scalar(b, 2)], { axis: -3 })],
      [(b, all) => b.op('Gather', [all, b.ints([4, 3, -1], [3])], { axis: 0 })],
      [(b, all) => b.op('Gather', [all, b.ints([0, 1, 1, 0], [2, 2])], { axis: 0 })],
      [slice([2], [3], [0])],
      [slice([-2], [Number.MAX_SAFE_INTEGER], [0])],
      [slice([1], [2], [-3])],
      [slice([3], [5])],
      [slice([0], [2], [0], [2])],
      [(b, all) => b.op('Slice', [all], { starts: [3], ends: [4], axes: [0] }), 9],
      [(b, all) => b.op('Slice', [all], { starts: [-1], ends: [2 ** 31 - 1], axes: [0] }), 9],
      [(b, all) => b.nodes('Split', [all, b.ints([2, 1, 2])], { axis: 0 }, 3)[1]],
    ];
    for (const [take, opset] of takes) {
      const copy = await compare(joined(take, opset));
      expect(ops(copy)).not.toContain('Concat');
      // The joined value may be read elsewhere, too.
      expect(count(await compare(joined(take, opset, true)), 'Concat')).toBe(1);
    }
  });

  it('with 32-bit numbers, and along two axes at once', async () => {
    const int32 = (b: Builder, values: number[]) => b.constant(Tensor.fromInt32('k', [values.length], values));
    const short = (b: Builder, all: Value) =>
      b.op('Slice', [all, int32(b, [4]), int32(b, [2 ** 31 - 1]), int32(b, [0])]);
    expect(ops(await compare(joined(short)))).not.toContain('Concat');

    const b = builder();
    const x = b.input('x', ['N', 6]);
    const parts = ['a', 'b'].map((name) => b.gemm(x, 6, 4, name));
    const taken = b.op('Slice', [b.concat(parts), b.ints([0, 5]), b.ints([1, 8]), b.ints([0, 1]), b.ints([1, 2])]);
    b.output(taken);
    expect(ops(await compare(b.build()))).not.toContain('Concat');
  });

  it('is left where it came from several, or is not known', async () => {
    const takes: ((b: Builder, all: Value) => Value)[] = [
      (b, all) => b.op('Gather', [all, b.ints([1, 2])], { axis: 0 }),
      (b, all) => b.op('Gather', [all, b.ints([2])], { axis: 2 }),
      slice([1], [3], [0]),
      slice([0], [5], [0]),
      slice([4], [2], [0], [-1]),
      slice([0], [1], [1]),
      (b, all) => b.nodes('Split', [all, b.ints([3, 2])], { axis: 0 }, 2)[0],
    ];
    for (const [i, take] of takes.entries()) {
      const b = builder();
      const x = b.input('x', ['N', 4]);
      const one = (name: string, n: number) => b.reshape(b.gemm(x, 4, 5 * n, name), [n, -1, 5]);
      b.output(take(b, b.concat([one('a', 2), one('b', 1), one('c', 2)], 0)));
      expect(ops(await compare(b.build())), String(i)).toContain('Concat');
    }
  });

  it('is the same for random places', async () => {
    let rewritten = 0;
    for (let seed = 1; seed <= 40; seed++) {
      const random = seeded(seed);
      const whole = (low: number, high: number) => low + Math.floor(random() * (high + 1 - low));
      const b = builder({ opset: 18 });
      const x = b.input('x', ['N', 3]);
      const sizes = Array.from({ length: whole(1, 4) }, () => whole(1, 4));
      const size = sizes.reduce((n, d) => n + d, 0);
      const all = b.concat(sizes.map((n) => b.reshape(b.op('MatMul', [x, b.weight([3, 2 * n])]), [-1, n, 2])));
      if (random() < 0.4) {
        const at = whole(-size, size - 1);
        const near = Array.from({ length: whole(1, 2) }, (_, i) => Math.min(at + i, at < 0 ? -1 : size - 1));
        b.output(b.op('Gather', [all, random() < 0.3 ? scalar(b, at) : b.ints(near)], { axis: 1 }));
      } else {
        const [start, end] = [whole(-size - 1, size), whole(-size - 1, size + 2)];
        const step = random() < 0.6 ? 1 : whole(1, 3) * (random() < 0.5 ? 1 : -1);
        b.output(b.op('Slice', [all, b.ints([start]), b.ints([end]), b.ints([1]), b.ints([step])]));
      }
      const copy = await compare(b.build(), [2]);
      if (sizes.length > 1 && !ops(copy).includes('Concat')) rewritten++;
    }
    expect(rewritten).toBeGreaterThan(5);
  });

  it('lets the layers of stacked cells lose units alone', async () => {
    for (const direct of [false, true]) {
      const b = builder();
      const x = b.input('x', ['N', 5, 4]);
      const rows = b.op('Gather', [b.op('Shape', [x]), b.ints([0])]);
      const size = b.concat([b.ints([2]), rows, b.ints([8])], 0);
      const zeros = direct
        ? b.op('ConstantOfShape', [size], { value: Tensor.fromFloat32('', [1], Float32Array.of(0.25)) })
        : b.op('Expand', [b.floats([0.25], []), size]);
      const cut = (i: number) => b.op('Slice', [zeros, b.ints([i]), b.ints([i + 1]), b.ints([0])]);
      const cell = (y: Value, i: number, input: number) =>
        b.nodes(
          'GRU',
          [y, b.weight([1, 24, input]), b.weight([1, 24, 8], 'r', 0.5), b.weight([1, 48], 'b', 0.3), null, cut(i)],
          { hidden_size: 8, linear_before_reset: 1 },
          2,
          `layer${i}`,
        );
      const [y, first] = cell(b.transpose(x, [1, 0, 2]), 0, 4);
      const [, last] = cell(b.op('Squeeze', [y, b.ints([1])]), 1, 8);
      const state = b.op('Gather', [b.concat([first, last], 0), scalar(b, -1)], { axis: 0 });
      b.output(b.gemm(state, 8, 3));
      await compare(b.build());
      await expectPrunable(b.build(), 2);
    }
  });
});

describe('constants that are written into a weight', () => {
  const zeros = (b: Builder, n: number) => b.reshape(b.op('Expand', [b.floats([0]), b.ints([n])]), [n]);

  it('are in the weight', async () => {
    const values = (n: number) => Array.from({ length: n }, (_, i) => i / 7 - 1);
    /** What the weight is added to: rows of any number, or four. */
    type Case = [rows: 'N' | 4, weight: (b: Builder) => Value, opset?: number];
    const cases: Case[] = [
      ['N', (b) => b.op('ScatterND', [b.weight([6]), b.ints([2, 3], [2, 1]), zeros(b, 2)])],
      // Places that are counted.
      [
        'N',
        (b) => {
          const places = b.op('Range', [scalar(b, 2), scalar(b, 4), scalar(b, 1)]);
          const fill = b.op('ConstantOfShape', [b.ints([2])]);
          return b.op('ScatterND', [b.weight([6]), unsqueeze(b, places, [-1]), fill]);
        },
      ],
      [4, (b) => b.op('ScatterND', [b.weight([4, 6]), b.ints([-1, 0], [2, 1]), b.floats(values(12), [2, 6])])],
      [4, (b) => b.op('ScatterND', [b.weight([4, 6]), b.ints([3, -1, 0, 2], [2, 2]), b.floats([7, 8])])],
      ['N', (b) => b.op('ScatterElements', [b.weight([6]), b.ints([5, -6]), b.floats([7, 8])])],
      [
        4,
        (b) => {
          const [places, written] = [b.ints([5, 1, 0, 2], [2, 2]), b.floats([6, 7, 8, 9], [2, 2])];
          return b.op('ScatterElements', [b.weight([4, 6]), places, written], { axis: -1 });
        },
      ],
      [4, (b) => b.op('Scatter', [b.weight([4, 6]), b.ints([3, 1], [1, 2]), b.floats([6, 7], [1, 2])]), 9],
    ];
    for (const [rows, weight, opset] of cases) {
      const b = builder({ opset: opset ?? 17 });
      const x = b.input('x', [rows, 6]);
      b.output(b.add(weight(b), b.op('MatMul', [x, b.weight([6, 6])])));
      expect(ops(await compare(b.build())).filter((op) => op.startsWith('Scatter'))).toEqual([]);
    }
  });

  it('leave the units of the layer free', async () => {
    const b = builder();
    const x = b.input('x', ['N', 4]);
    const bias = b.op('ScatterND', [b.weight([9]), b.ints([3, 4, 5], [3, 1]), zeros(b, 3)]);
    const hidden = b.add(b.op('MatMul', [x, b.weight([4, 9])]), bias);
    b.output(b.gemm(b.relu(hidden), 9, 3));
    await expectPrunable(b.build(), 1);
  });

  it('are computed where something is not known', async () => {
    const weights: ((b: Builder) => Value)[] = [
      // Twice the same place, sums, places that are fed, a weight that may be fed.
      (b) => b.op('ScatterND', [b.weight([6]), b.ints([2, 2], [2, 1]), b.floats([7, 7])]),
      (b) => b.op('ScatterND', [b.weight([6]), b.ints([2, 3], [2, 1]), b.floats([7, 8])], { reduction: 'add' }),
      (b) => b.op('ScatterND', [b.weight([6]), b.input('places', [2, 1], DataType.INT64), b.floats([7, 8])]),
      (b) => {
        const weight = b.weight([6]);
        b.graph.inputs.push(weight);
        return b.op('ScatterND', [weight, b.ints([2, 3], [2, 1]), b.floats([7, 8])]);
      },
    ];
    for (const weight of weights) {
      const b = builder({ opset: 17 });
      const x = b.input('x', ['N', 6]);
      b.output(b.add(x, weight(b)));
      expect(ops(normalise(b.build()).model)).toContain('ScatterND');
    }
  });
});

describe('branches', () => {
  /** Whether the size of an axis is `n`, as torch asks before it squeezes. */
  const isSize = (b: Builder, x: Value, axis: number, n: number) =>
    b.op('Equal', [b.op('Gather', [b.op('Shape', [x]), scalar(b, axis)]), scalar(b, n)]);
  const choose = (b: Builder, condition: Value, yes: (b: Builder) => Value, no: (b: Builder) => Value) =>
    b.op('If', [condition], {
      then_branch: subgraph(b, 'then', (inner) => [yes(inner)]),
      else_branch: subgraph(b, 'else', (inner) => [no(inner)]),
    });

  it('that are always taken are opened, one within the other', async () => {
    const b = builder();
    const x = b.input('x', ['N', 4, 1]);
    const y = choose(
      b,
      isSize(b, x, 2, 1),
      (then) => then.op('Squeeze', [x, then.ints([2])]),
      (other) => other.op('Identity', [x]),
    );
    const hidden = b.relu(b.gemm(y, 4, 6, 'hidden'));
    const z = choose(
      b,
      isSize(b, hidden, 1, 5),
      (then) => then.op('Identity', [hidden]),
      (other) =>
        choose(
          other,
          isSize(other, hidden, 1, 6),
          (then) => then.gemm(hidden, 6, 5, 'inner'),
          (no) => no.gemm(hidden, 6, 3, 'inner'),
        ),
    );
    b.output(b.gemm(b.relu(z), 5, 3));
    const copy = await compare(b.build());
    expect(ops(copy)).not.toContain('If');
    expect(copy.graph.nodes.filter((n) => n.op === 'Gemm').map((n) => n.name)).toContain('inner');
    await expectPrunable(b.build(), 2);
  });

  it('may give back constants, and use one name twice', async () => {
    const b = builder();
    const x = b.input('x', ['N', 4]);
    const known = isSize(b, x, 1, 4);
    const twice = (inner: Builder) => inner.op('Add', [x, inner.floats([1, 2, 3, 4])], {}, 'same');
    const outputs = b.nodes(
      'If',
      [known],
      {
        then_branch: subgraph(b, 'then', (inner) => [twice(inner), inner.floats([5], [1])]),
        else_branch: subgraph(b, 'else', (inner) => [inner.op('Identity', [x]), inner.floats([6], [1])]),
      },
      2,
    );
    const more = choose(b, known, twice, (inner) => inner.op('Identity', [x]));
    b.output(...outputs, more);
    const copy = await compare(b.build());
    expect(ops(copy)).not.toContain('If');
    expect(new Set(copy.graph.nodes.map((n) => n.name)).size).toBe(copy.graph.nodes.length);
  });

  it('of loops keep the number of an iteration as they declare it', async () => {
    const b = builder({ opset: 11 });
    const x = b.input('x', ['N', 4]);
    const body = subgraph(b, 'body', (inner) => {
      const count = inner.input('count', [1], DataType.INT64);
      const go = inner.input('go', [], DataType.BOOL);
      const y = inner.input('y', ['N', 4]);
      const place = inner.op('Squeeze', [count], { axes: [0] });
      return [inner.op('Identity', [go]), inner.op('Add', [y, inner.op('Gather', [x, place], { axis: 0 })])];
    });
    b.output(b.op('Loop', [b.ints([1], []), null, x], { body }));
    await compare(b.build());
  });

  it('that depend on what is fed stay', async () => {
    const b = builder();
    const x = b.input('x', ['N', 4]);
    const hidden = b.gemm(x, 4, 6);
    const y = choose(
      b,
      isSize(b, x, 0, 2),
      (then) => then.relu(hidden),
      (other) => other.op('Tanh', [hidden]),
    );
    b.output(b.gemm(y, 6, 3));
    expect(ops(await compare(b.build()))).toContain('If');
    expect(analyseStructure(b.build()).groups[0].reason).toBe('is read inside If');
  });
});

describe('exports', () => {
  const names = ['swin.', 'swin_v2.', 'convnext.', 'lstm', 'gru', 'rnn.', 'shufflenet_v2.', 'yolo.', 'maxvit.'];
  const entries = zooModels().filter((e) => names.some((name) => e.name.startsWith(name)));
  it.each(entries.map((e) => [e.name, e] as const))('%s', async (name, entry) => {
    const model = loadZoo(name);
    const { model: copy } = normalise(model);
    const [before, after] = [await openSession(model, false), await openSession(copy, false)];
    const open = model.graph.inputs.some((v) => typeof v.type?.shape?.[0] === 'string');
    for (const batch of open ? [1, 3] : [undefined]) {
      const inputs = entry.inputs.map((i) => ({ ...i, shape: [batch ?? i.shape[0], ...i.shape.slice(1)] }));
      const feeds = zooFeeds({ ...entry, inputs });
      expect(maxRelDiff(await after.run(feeds), await before.run(feeds))).toBe(0);
    }
    await before.release();
    await after.release();
  });

  const frozen = (name: string) =>
    analyseStructure(loadZoo(name)).groups.filter((g) => !g.prunable && !/is the model output/.test(g.reason!));
  it.each(['swin.dynamo18', 'swin_v2.dynamo20', 'swin_v2.ts17', 'convnext.dynamo18'])(
    'nothing but the output of %s is frozen',
    (name) => expect(frozen(name)).toEqual([]),
  );

  it.each(entries.filter((e) => /^(lstm|gru|rnn)/.test(e.name)).map((e) => e.name))(
    'the layers of %s lose units alone',
    (name) => {
      const sizes = analyseStructure(loadZoo(name)).groups.flatMap((g) => (g.prunable ? [g.size] : []));
      expect(sizes.filter((size) => size === 10).length).toBeGreaterThanOrEqual(2);
    },
  );
});
