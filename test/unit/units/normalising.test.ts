import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import type { Dim, Model, Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { pruneModel } from '../../../src/pruning/surgery.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { freeBatch } from '../../../src/units/batch-axis.ts';
import { gateModel, gateRow } from '../../../src/units/gating.ts';
import type { Structure } from '../../../src/units/types.ts';
import { Builder, type Attrs } from '../../support/build.ts';
import { checkInvariant, maxRelDiff, openSession, randomFeeds, randomKeep, seeded } from '../../support/invariant.ts';

const SHARES = [0.25, 0.5, 0.01];

/** Prunable groups by size; each is held against the gated model, which with open gates is the model itself. */
async function verify(model: Model, options: { tolerance?: number; optimise?: boolean } = {}): Promise<Structure> {
  const s = analyseStructure(model);
  expect(s.warnings).toEqual([]);
  const { optimise = true } = options;
  const { results, tolerance } = await checkInvariant(s, { shares: SHARES, seed: 5, optimise });
  for (const r of results)
    expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(options.tolerance ?? tolerance);
  expect(await openDifference(s, optimise), 'with open gates').toBeLessThanOrEqual(options.tolerance ?? 3e-6);
  expect(carriesSamples(s), 'the gated model takes samples side by side').toBe(true);
  return s;
}

const sizes = (s: Structure) => s.groups.filter((g) => g.prunable).map((g) => g.size);
const check = async (b: Builder, out: Value, options = {}) => sizes(await verify(b.output(out).build(), options));

/** The gated model with all gates open, against the model. */
async function openDifference(s: Structure, optimise: boolean): Promise<number> {
  const gated = gateModel(
    s,
    s.groups.filter((g) => g.prunable).map((g) => g.id),
  );
  const feeds = randomFeeds(s.model, seeded(3));
  const gates = Object.fromEntries(
    gated.gates.map((g) => [g.input.name, new ort.Tensor('float32', gateRow(g.size, undefined), [1, g.size])]),
  );
  const [a, b] = [await openSession(gated.model, optimise), await openSession(s.model, optimise)];
  const difference = maxRelDiff(await a.run({ ...feeds, ...gates }), await b.run(feeds));
  await a.release();
  await b.release();
  return difference;
}

/** Whether the proof of the evaluator follows the samples through what gates add. */
function carriesSamples(s: Structure): boolean {
  const gated = gateModel(
    s,
    s.groups.filter((g) => g.prunable).map((g) => g.id),
  );
  const inputs = s.model.graph.inputs.map((v) => [v.name, v.type!.shape!.slice(1) as number[]] as const);
  const rows = new Map(gated.gates.map((g) => [g.input.name, [g.size]]));
  const { proof } = freeBatch(gated.model, new Map(inputs), { rows });
  if (!proof.carried) throw new Error(proof.reason);
  return proof.carried;
}

/** A builder, and the output of a layer of `c` neurons: [N, 5, c]. */
function tokens(opset: number, c = 8, shape: Dim[] = ['N', 5, 6]): { b: Builder; x: Value; input: Value } {
  const b = new Builder({ opset });
  const input = b.input('x', shape);
  return { b, x: b.linear(input, 6, c, 'stem'), input };
}

/** A builder, and the output of a convolution with `c` channels: [N, c, 4, 4]. */
function image(opset: number, c = 8): { b: Builder; x: Value } {
  const b = new Builder({ opset });
  return { b, x: b.conv(b.input('x', ['N', 3, 4, 4]), 3, c, [3, 3], { pads: [1, 1, 1, 1], name: 'stem' }) };
}

describe('layer normalisations over units, held against the gated model', () => {
  const scale = (b: Builder, c: number) => b.weight([c], 'scale', 1);
  const bias = (b: Builder, c: number) => b.weight([c], 'bias', 0.4);

  for (const [op, opset, parameters] of [
    ['LayerNormalization', 17, 2],
    ['LayerNormalization', 21, 1],
    ['RMSNormalization', 23, 1],
    ['SimplifiedLayerNormalization', 13, 1],
    ['SimplifiedLayerNormalization', 17, 1],
  ] as const) {
    it(`${op} with ${parameters} parameters, opset ${opset}`, async () => {
      const { b, x } = tokens(opset);
      const inputs = [x, scale(b, 8), ...(parameters > 1 ? [bias(b, 8)] : [])];
      expect(await check(b, b.linear(b.op(op, inputs, { epsilon: 1e-3, axis: -1 }), 8, 3))).toEqual([8]);
    });
  }

  it('the statistics too, which become outputs of the model', async () => {
    const { b, x } = tokens(17);
    const [y, mean, inverse] = b.nodes('LayerNormalization', [x, scale(b, 8), bias(b, 8)], {}, 3);
    b.output(mean, b.op('Neg', [inverse]));
    expect(await check(b, b.linear(y, 8, 3))).toEqual([8]);
  });

  it('over [C, H, W], where the channels are the units, and over [H, W]', async () => {
    for (const [axis, dims] of [
      [1, [8, 4, 4]],
      [-3, [4, 4]],
      [2, [4, 4]],
      [2, [1, 4]],
    ] as const) {
      const { b, x } = image(17);
      const inputs = [x, b.weight([...dims], 'scale', 1), b.weight([...dims], 'bias', 0.4)];
      const y = b.op('LayerNormalization', inputs, { axis });
      expect(await check(b, b.conv(y, 8, 3, [1, 1]))).toEqual([8]);
    }
  });

  it('in half precision', async () => {
    const b = new Builder({ opset: 17 });
    const half = (x: Value) => b.op('Cast', [x], { to: DataType.FLOAT16 });
    const x = b.input('x', ['N', 5, 6], DataType.FLOAT16);
    const stem = b.op('MatMul', [x, half(b.weight([6, 16], 'w'))], {}, 'stem');
    const y = b.op('LayerNormalization', [stem, half(scale(b, 16)), half(bias(b, 16))]);
    const out = b.op('MatMul', [b.op('Gelu', [y], {}), half(b.weight([16, 3], 'v'))]);
    b.model.opsets.set('', 20);
    expect(await check(b, out, { tolerance: 1e-2 })).toEqual([16]);
  });

  it('in double precision', async () => {
    const b = new Builder({ opset: 17 });
    const double = (x: Value) => b.op('Cast', [x], { to: DataType.DOUBLE });
    const x = double(b.linear(b.input('x', ['N', 5, 6]), 6, 8, 'stem'));
    const y = b.op('LayerNormalization', [x, double(scale(b, 8)), double(bias(b, 8))]);
    expect(await check(b, b.linear(b.op('Cast', [y], { to: DataType.FLOAT }), 8, 3))).toEqual([8]);
  });

  it('over two layers side by side', async () => {
    const { b, x, input } = tokens(17);
    const both = b.concat([x, b.linear(input, 6, 4, 'second')], -1);
    const y = b.op('LayerNormalization', [both, scale(b, 12), bias(b, 12)]);
    expect(await check(b, b.linear(y, 12, 3))).toEqual([8, 4]);
  });

  it('keeps scale and bias in step with an operand that is fixed', async () => {
    const b = new Builder({ opset: 17 });
    const x = b.input('x', ['N', 5, 6]);
    const y = b.op('LayerNormalization', [x, scale(b, 6), bias(b, 6)]);
    expect(await check(b, b.linear(b.relu(b.linear(y, 6, 8)), 8, 3))).toEqual([8]);
  });
});

describe('layer normalisations that add first', () => {
  for (const simplified of [false, true]) {
    const op = `com.microsoft.${simplified ? 'SkipSimplifiedLayerNormalization' : 'SkipLayerNormalization'}`;
    const inputs = (b: Builder, x: Value, skip: Value, bias: boolean) => [
      x,
      skip,
      b.weight([8], 'gamma', 1),
      ...(simplified ? [] : [b.weight([8], 'beta', 0.4)]),
      ...(bias ? [b.weight([8], 'bias', 0.4)] : []),
    ];
    for (const opset of [13, 18]) {
      it(`${op}, opset ${opset}`, async () => {
        const { b, x, input } = tokens(opset);
        const skip = b.linear(input, 6, 8, 'skip');
        const y = b.op(op, inputs(b, x, skip, false), { epsilon: 1e-3 });
        expect(await check(b, b.linear(y, 8, 3))).toEqual([8]);
      });
    }
    it(`${op} with bias, a skip that broadcasts and the sum`, async () => {
      const { b, x } = tokens(17);
      const skip = b.weight([1, 5, 8], 'positions', 1);
      const [y, , , sum] = b.nodes(op, inputs(b, x, skip, true), { epsilon: 1e-3 }, 4);
      y.producer!.setOutput(1, null);
      y.producer!.setOutput(2, null);
      const next = b.add(sum, b.linear(b.relu(b.linear(y, 8, 12)), 12, 8));
      expect(await check(b, b.linear(b.op('Sigmoid', [next]), 8, 3))).toEqual([8, 12]);
    });
  }

  it('EmbedLayerNormalization: the tables produce the units', async () => {
    for (const parts of [2, 3]) {
      const b = new Builder({ opset: 17 });
      const ids = b.input('ids', ['N', 5], DataType.INT32);
      const tables = [b.weight([4, 8], 'words', 1), b.weight([5, 8], 'positions', 1)];
      const third = parts === 3 ? b.weight([4, 8], 'segments', 1) : null;
      const rest = [b.weight([8], 'gamma', 1), b.weight([8], 'beta', 0.4)];
      const segments = parts === 3 ? b.input('segments', ['N', 5], DataType.INT32) : null;
      const op = 'com.microsoft.EmbedLayerNormalization';
      const outputs = parts === 3 ? 3 : 2;
      const [y, , sum] = b.nodes(op, [ids, segments, ...tables, third, ...rest], { epsilon: 1e-3 }, outputs);
      const out = b.linear(y, 8, 3);
      expect(await check(b, sum ? b.add(out, b.linear(sum, 8, 3)) : out)).toEqual([8]);
    }
  });
});

describe('normalisations over groups of channels', () => {
  for (const opset of [18, 21]) {
    it(`GroupNormalization keeps equally many channels of each group, opset ${opset}`, async () => {
      const { b, x } = image(opset, 12);
      const n = opset < 21 ? 3 : 12;
      const inputs = [x, b.weight([n], 'scale', 1), b.weight([n], 'bias', 0.4)];
      const y = b.op('GroupNormalization', inputs, { num_groups: 3, epsilon: 1e-3 });
      const s = await verify(b.output(b.conv(b.relu(y), 12, 3, [1, 1])).build());
      expect(sizes(s)).toEqual([12]);
      expect(s.groups[0].blocks?.map((block) => block.length)).toEqual([4, 4, 4]);
    });
    it(`GroupNormalization with one channel per group or one group, opset ${opset}`, async () => {
      for (const groups of [1, 8]) {
        const { b, x } = image(opset, 8);
        const n = opset < 21 ? groups : 8;
        const inputs = [x, b.weight([n], 'scale', 1), b.weight([n], 'bias', 0.4)];
        const y = b.op('GroupNormalization', inputs, { num_groups: groups });
        const s = await verify(b.output(b.conv(b.relu(y), 8, 3, [1, 1])).build());
        expect(sizes(s)).toEqual([8]);
        expect(s.groups[0].blocks).toBeUndefined();
      }
    });
  }

  it('GroupNormalization over two layers side by side', async () => {
    const { b, x } = image(21, 8);
    const both = b.concat([x, b.conv(b.relu(x), 8, 4, [1, 1], { name: 'second' })]);
    const y = b.op('GroupNormalization', [both, b.weight([12], 's', 1), b.weight([12], 'b')], { num_groups: 3 });
    expect(await check(b, b.conv(y, 12, 3, [1, 1]))).toEqual([12]);
  });

  for (const opset of [11, 17, 18]) {
    it(`a GroupNorm written as InstanceNormalization, opset ${opset}`, async () => {
      const { b, x } = image(opset, 12);
      const ones = b.floats([1, 1, 1]);
      const zeros = b.floats([0, 0, 0]);
      const normal = b.op('InstanceNormalization', [b.reshape(x, [0, 3, -1]), ones, zeros], { epsilon: 1e-3 });
      const back = b.op('Reshape', [normal, b.op('Shape', [x])]);
      const y = b.add(b.mul(back, b.weight([12, 1, 1], 'scale', 1)), b.weight([12, 1, 1], 'bias'));
      // The same channel of each group goes; where the analysis tells the parts of an axis apart, whole groups do too.
      expect(await check(b, b.conv(b.relu(y), 12, 3, [1, 1]))).toContain(4);
    });
  }
});

describe('normalisations of images of any size', () => {
  /** Channels of an image whose height and width are known only while running. */
  function anyImage(opset: number): { b: Builder; x: Value } {
    const b = new Builder({ opset });
    return { b, x: b.conv(b.input('x', ['N', 3, 'H', 'W']), 3, 12, [3, 3], { pads: [1, 1, 1, 1], name: 'stem' }) };
  }
  const verifyAny = async (b: Builder, out: Value) => {
    const s = analyseStructure(b.output(out).build());
    const { results, tolerance } = await checkInvariant(s, { shares: SHARES, seed: 5 });
    for (const r of results) expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(tolerance);
    expect(await openDifference(s, true)).toBeLessThanOrEqual(3e-6);
    return sizes(s);
  };

  it('GroupNormalization', async () => {
    const { b, x } = anyImage(21);
    const inputs = [x, b.weight([12], 's', 1), b.weight([12], 'b')];
    const y = b.op('GroupNormalization', inputs, { num_groups: 3 });
    expect(await verifyAny(b, b.conv(b.relu(y), 12, 3, [1, 1]))).toEqual([12]);
  });

  it('a GroupNorm written as InstanceNormalization loses whole groups', async () => {
    const { b, x } = anyImage(17);
    const flat = b.op('InstanceNormalization', [b.reshape(x, [0, 3, -1]), b.floats([1, 1, 1]), b.floats([0, 0, 0])]);
    const back = b.op('Reshape', [flat, b.op('Shape', [x])]);
    const y = b.add(b.mul(back, b.weight([12, 1, 1], 's', 1)), b.weight([12, 1, 1], 'b'));
    expect(await verifyAny(b, b.conv(b.relu(b.add(x, y)), 12, 3, [1, 1]))).toEqual([3]);
  });
});

describe('group normalisations of com.microsoft, which only GPUs run', () => {
  /** Puts plain operators in their place, made by InstanceNormalization, so that any device can run the model. */
  function lower(model: Model): Model {
    const { graph } = model;
    for (const node of [...graph.nodes]) {
      if (!/GroupNorm$/.test(node.op)) continue;
      const add = (op: string, inputs: Value[], ints: Record<string, readonly number[]> = {}): Value => {
        const made = graph.addNode(op, inputs, ['lowered'], { before: node });
        for (const [name, value] of Object.entries(ints)) made.setInts(name, value);
        if (op === 'InstanceNormalization') made.setFloat('epsilon', node.float('epsilon', 1e-5));
        return made.outputs[0]!;
      };
      const constant = (values: number[]) =>
        graph.addInitializer('k', Tensor.fromFloat32('', [values.length], Float32Array.from(values)));
      const shape = (v: Value, dims: number[]) =>
        add('Reshape', [v, graph.addInitializer('s', Tensor.fromInt64('', [dims.length], dims))]);
      const groups = node.int('groups', 1);
      const last = node.int('channels_last', 1) !== 0;
      const [input, gamma, beta, skip, bias] = node.inputs as Value[];
      const spread = skip?.type!.shape!.length === 2 ? shape(skip, last ? [0, 1, 1, -1] : [0, -1, 1, 1]) : skip;
      let sum = skip ? add('Add', [input, spread]) : input;
      if (bias) sum = add('Add', [sum, last ? bias : shape(bias, [-1, 1, 1])]);
      const first = last ? add('Transpose', [sum], { perm: [0, 3, 1, 2] }) : sum;
      const ones = constant(Array<number>(groups).fill(1));
      const zeros = constant(Array<number>(groups).fill(0));
      const normal = add('InstanceNormalization', [shape(first, [0, groups, -1]), ones, zeros]);
      const back = add('Reshape', [normal, add('Shape', [first])]);
      const scaled = add('Mul', [back, shape(gamma, [-1, 1, 1])]);
      let y = add('Add', [scaled, shape(beta, [-1, 1, 1])]);
      if (node.int('activation', 0)) y = add('Mul', [y, add('Sigmoid', [y])]);
      node.outputs[0]!.replaceUsesWith(last ? add('Transpose', [y], { perm: [0, 2, 3, 1] }) : y);
      node.outputs[1]?.replaceUsesWith(sum);
      graph.removeNode(node);
    }
    return model;
  }

  /** Group sizes; the pruned model is held against the gated one, and that with open gates against the model. */
  async function checkLowered(model: Model): Promise<Structure> {
    const s = analyseStructure(model);
    const random = seeded(4);
    const feeds = randomFeeds(model, random);
    const run = async (m: Model, gates: Record<string, ort.Tensor> = {}) => {
      const session = await openSession(lower(m));
      const outputs = await session.run({ ...feeds, ...gates });
      await session.release();
      return outputs;
    };
    for (const group of s.groups.filter((g) => g.prunable)) {
      for (const share of [1, ...SHARES]) {
        const keep = share === 1 ? group.atoms.map((_, i) => i) : randomKeep(group, share, random);
        const gated = gateModel(s, [group.id]);
        const row = new ort.Tensor('float32', gateRow(group.size, [...keep]), [1, group.size]);
        const expected = await run(pruneModel(s, new Map([[group.id, [...keep]]])).model);
        const difference = maxRelDiff(await run(gated.model, { [gated.gates[0].input.name]: row }), expected);
        expect(difference, `${group.id} keeping ${keep.length}`).toBeLessThanOrEqual(1e-5);
      }
    }
    expect(carriesSamples(s)).toBe(true);
    return s;
  }

  for (const activation of [0, 1]) {
    it(`GroupNorm with channels last and first, activation ${activation}`, async () => {
      for (const last of [1, 0]) {
        const { b, x } = image(17, 12);
        const inputs = [last ? b.transpose(x, [0, 2, 3, 1]) : x, b.weight([12], 'g', 1), b.weight([12], 'b', 0.4)];
        const attributes = { groups: 3, activation, channels_last: last, epsilon: 1e-3 };
        const y = b.op('com.microsoft.GroupNorm', inputs, attributes);
        b.output(b.conv(last ? b.transpose(y, [0, 3, 1, 2]) : y, 12, 3, [1, 1]));
        const s = await checkLowered(b.build());
        expect(sizes(s)).toEqual([12]);
        expect(s.groups[0].blocks?.length).toBe(3);
      }
    });
  }

  it('SkipGroupNorm with one value per channel or the whole operand, with bias and the sum', async () => {
    for (const perChannel of [true, false]) {
      const b = new Builder({ opset: 17 });
      const input = b.input('x', ['N', 3, 4, 4]);
      const last = (v: Value) => b.transpose(v, [0, 2, 3, 1]);
      const x = last(b.conv(input, 3, 8, [3, 3], { pads: [1, 1, 1, 1], name: 'stem' }));
      const skip = perChannel
        ? b.gemm(b.flatten(b.globalPool(input)), 3, 8, 'skip')
        : last(b.conv(input, 3, 8, [1, 1], { name: 'skip' }));
      const inputs = [x, b.weight([8], 'g', 1), b.weight([8], 'b', 0.4), skip, b.weight([8], 'bias', 0.4)];
      const attributes = { groups: 2, activation: 1, channels_last: 1 };
      const [y, sum] = b.nodes('com.microsoft.SkipGroupNorm', inputs, attributes, 2);
      b.output(b.conv(b.transpose(b.add(y, sum), [0, 3, 1, 2]), 8, 3, [1, 1]));
      expect(sizes(await checkLowered(b.build()))).toEqual([8]);
    }
  });
});

describe('rows of coalitions', () => {
  it('each row of gates is for its own sample', async () => {
    const layer = tokens(17);
    layer.b.output(layer.b.linear(layer.b.op('LayerNormalization', [layer.x, layer.b.weight([8], 'g', 1)], {}), 8, 3));
    const group = image(21);
    const inputs = [group.x, group.b.weight([8], 's', 1), group.b.weight([8], 'b')];
    group.b.output(
      group.b.conv(group.b.op('GroupNormalization', inputs, { num_groups: 2 }), 8, 3, [1, 1], { name: 'out' }),
    );
    for (const { b } of [layer, group]) {
      const s = analyseStructure(b.build());
      const gated = gateModel(s, [s.groups[0].id]);
      const feeds = randomFeeds(s.model, seeded(2));
      const rows = [
        [0, 1, 5, 6],
        [2, 3, 4, 7],
      ].map((keep) => gateRow(8, keep));
      const session = await openSession(gated.model);
      const name = gated.gates[0].input.name;
      const gates = (list: Float32Array[]) =>
        new ort.Tensor('float32', Float32Array.from(list.flatMap((row) => [...row])), [list.length, 8]);
      const [together] = Object.values(await session.run({ ...feeds, [name]: gates(rows) }));
      const half = together.data.length / 2;
      for (const [i, row] of rows.entries()) {
        const [alone] = Object.values(await session.run({ ...feeds, [name]: gates([row]) }));
        const part = (t: ort.Tensor) => [...(t.data as Float32Array)].slice(i * half, (i + 1) * half);
        part(together).forEach((v, k) => expect(v).toBeCloseTo(part(alone)[k], 5));
      }
      await session.release();
    }
  });
});

describe('normalisations of other kinds', () => {
  for (const opset of [8, 13, 22]) {
    it(`BatchNormalization and InstanceNormalization carry their channels, opset ${opset}`, async () => {
      const { b, x } = image(opset);
      const inputs = [b.bn(x, 8), b.weight([8], 'scale', 1), b.weight([8], 'bias')];
      const y = b.relu(b.op('InstanceNormalization', inputs, { epsilon: 1e-3 }));
      expect(await check(b, b.conv(y, 8, 3, [1, 1]))).toEqual([8]);
    });
  }

  for (const opset of [7, 13, 22]) {
    it(`LpNormalization, opset ${opset}`, async () => {
      for (const p of [1, 2]) {
        const { b, x } = image(opset);
        expect(await check(b, b.conv(b.op('LpNormalization', [x], { axis: 1, p }), 8, 3, [1, 1]))).toEqual([8]);
      }
    });
  }

  for (const opset of [9, 13]) {
    it(`MeanVarianceNormalization, opset ${opset}`, async () => {
      const { b, x } = image(opset);
      const y = b.op('MeanVarianceNormalization', [x], { axes: [0, 1, 2, 3] });
      // It normalises over the samples too: not for many rows.
      const s = analyseStructure(b.output(b.conv(y, 8, 3, [1, 1])).build());
      const { results, tolerance } = await checkInvariant(s, { shares: SHARES });
      expect(results.length).toBe(SHARES.length + 1);
      for (const r of results) expect(r.diff).toBeLessThanOrEqual(tolerance);
      expect(await openDifference(s, true)).toBeLessThanOrEqual(3e-6);
      const carried = image(opset);
      const plain = carried.b.op('MeanVarianceNormalization', [carried.x], { axes: [0, 2, 3] });
      const t = analyseStructure(carried.b.output(carried.b.conv(plain, 8, 3, [1, 1])).build());
      for (const r of (await checkInvariant(t, { shares: SHARES })).results)
        expect(r.diff).toBeLessThanOrEqual(tolerance);
    });
  }

  it('LRN fixes the channels, and says why', () => {
    const { b, x } = image(13);
    const s = analyseStructure(b.output(b.conv(b.op('LRN', [x], { size: 3 }), 8, 3, [1, 1])).build());
    expect(s.groups[0].reason).toMatch(/normalised by LRN .* over windows of channels.* other neighbours/);
  });
});

describe('normalisations written as plain operators', () => {
  /** x − mean, over sqrt(mean square + ε), as exporters without LayerNormalization write it. */
  function decomposed(b: Builder, x: Value, axes: number[], centre: boolean, opset: number): Value {
    const mean = (v: Value) =>
      opset >= 18 ? b.op('ReduceMean', [v, b.ints(axes)], {}) : b.op('ReduceMean', [v], { axes });
    const centred = centre ? b.op('Sub', [x, mean(x)]) : x;
    const variance = mean(b.op('Pow', [centred, b.floats([2], [])]));
    const deviation = b.op('Sqrt', [b.add(variance, b.floats([1e-3], []))]);
    return centre ? b.op('Div', [centred, deviation]) : b.mul(centred, b.op('Div', [b.floats([1], []), deviation]));
  }

  for (const opset of [11, 18]) {
    for (const centre of [true, false]) {
      it(`${centre ? 'LayerNorm' : 'RMSNorm'}, opset ${opset}, also over two layers side by side`, async () => {
        const one = tokens(opset);
        const y = one.b.mul(decomposed(one.b, one.x, [-1], centre, opset), one.b.weight([8], 'scale', 1));
        expect(await check(one.b, one.b.linear(one.b.add(y, one.b.weight([8], 'bias')), 8, 3))).toEqual([8]);
        const two = tokens(opset);
        const both = two.b.concat([two.x, two.b.linear(two.input, 6, 4, 'second')], 2);
        expect(await check(two.b, two.b.linear(decomposed(two.b, both, [-1], centre, opset), 12, 3))).toEqual([8, 4]);
      });
      it(`${centre ? 'LayerNorm' : 'RMSNorm'} over several axes, opset ${opset}`, async () => {
        const { b, x } = image(opset);
        const y = b.mul(decomposed(b, x, [1, -2, 3], centre, opset), b.weight([8, 1, 1], 'scale', 1));
        expect(await check(b, b.conv(y, 8, 3, [1, 1]))).toEqual([8]);
      });
    }
  }
});

describe('blocks', () => {
  const norm = (b: Builder, x: Value, c: number, name: string) =>
    b.op('LayerNormalization', [x, b.weight([c], `${name}.g`, 1), b.weight([c], `${name}.b`, 0.4)], {}, name);
  const mlp = (b: Builder, x: Value, c: number, hidden: number, name: string) =>
    b.linear(b.relu(b.linear(x, c, hidden, `${name}.up`)), hidden, c, `${name}.down`);

  it('the width of a residual stream with pre-norm is one group', async () => {
    const { b, x } = tokens(17);
    let y = x;
    for (let i = 0; i < 2; i++) y = b.add(y, mlp(b, norm(b, y, 8, `norm${i}`), 8, 12, `mlp${i}`));
    expect(await check(b, b.linear(norm(b, y, 8, 'last'), 8, 3))).toEqual([8, 12, 12]);
  });

  it('the width of a residual stream with post-norm is one group', async () => {
    const { b, x } = tokens(17);
    let y = x;
    for (let i = 0; i < 2; i++) y = norm(b, b.add(y, mlp(b, y, 8, 12, `mlp${i}`)), 8, `norm${i}`);
    expect(await check(b, b.linear(y, 8, 3))).toEqual([8, 12, 12]);
  });

  it('a ConvNeXt block with channels last', async () => {
    const { b, x } = image(17);
    const depthwise = b.conv(x, 8, 8, [3, 3], { group: 8, pads: [1, 1, 1, 1], name: 'dw' });
    const inner = mlp(b, norm(b, b.transpose(depthwise, [0, 2, 3, 1]), 8, 'norm'), 8, 12, 'mlp');
    const scaled = b.mul(inner, b.weight([8], 'layer_scale', 1));
    const y = b.add(x, b.transpose(scaled, [0, 3, 1, 2]));
    expect(await check(b, b.conv(y, 8, 3, [1, 1]))).toEqual([8, 12]);
  });

  for (const form of ['GroupNormalization', 'InstanceNormalization']) {
    it(`a U-Net block with ${form}`, async () => {
      const { b, x } = image(21);
      const group = (v: Value, c: number, attributes: Attrs = {}) => {
        if (form === 'GroupNormalization')
          return b.op(form, [v, b.weight([c], 'g', 1), b.weight([c], 'b')], { num_groups: 2, ...attributes });
        const flat = b.op(form, [b.reshape(v, [0, 2, -1]), b.floats([1, 1]), b.floats([0, 0])]);
        const back = b.op('Reshape', [flat, b.op('Shape', [v])]);
        return b.add(b.mul(back, b.weight([c, 1, 1], 'g', 1)), b.weight([c, 1, 1], 'b'));
      };
      const silu = (v: Value) => b.mul(v, b.op('Sigmoid', [v]));
      const conv = (v: Value, i: number, o: number, name: string) =>
        b.conv(v, i, o, [3, 3], { pads: [1, 1, 1, 1], name });
      const inner = conv(silu(group(conv(silu(group(x, 8)), 8, 12, 'a'), 12)), 12, 8, 'b');
      const up = b.concat([b.add(x, inner), conv(x, 8, 4, 'side')]);
      const y = conv(silu(group(up, 12)), 12, 6, 'c');
      const found = await check(b, b.conv(b.relu(y), 6, 3, [1, 1]));
      // A group of channels per stage, or two where whole groups of the norm may go as well.
      if (form === 'GroupNormalization') expect(found.length).toBe(3);
      else expect(found.length).toBeGreaterThanOrEqual(3);
    });
  }
});
