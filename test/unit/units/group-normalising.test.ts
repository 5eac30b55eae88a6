import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import type { Model, Value } from '../../../src/graph/ir.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { pruneModel } from '../../../src/pruning/surgery.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { gateModel, gateRow } from '../../../src/units/gating.ts';
import type { Structure } from '../../../src/units/types.ts';
import { Builder } from '../../support/build.ts';
import { checkInvariant, maxRelDiff, openSession, randomFeeds, randomKeep, seeded } from '../../support/invariant.ts';
import { SHARES, carriesSamples, check, image, openDifference, sizes, verify } from '../../support/verify.ts';

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
