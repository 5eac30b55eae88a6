/** Moments of consumers of every form, and the errors of the elimination, against runs of the consumers themselves. */
import { describe, expect, it } from 'vitest';
import type { Dataset } from '../../../src/evaluation/data/index.ts';
import { columnsOfUnits, MomentRuns, stackedWeights, type LinearRead } from '../../../src/evaluation/moments/index.ts';
import { cloneModel } from '../../../src/graph/clone.ts';
import type { Value } from '../../../src/graph/ir.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { Elimination } from '../../../src/ranking/obs/elimination.ts';
import { rankGroup } from '../../../src/ranking/registry.ts';
import { toFloat32 } from '../../../src/runtime/host-tensor.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import type { Group, Structure } from '../../../src/units/types.ts';
import { builder, type Builder } from '../../support/build.ts';
import { randomDataset } from '../../support/datasets.ts';
import { scoresOf } from './games.ts';

interface Form {
  /** Shape of a sample. */
  sample: number[];
  /** Adds the network; the consumers of the group of 6 units are what gives the outputs. */
  network(b: Builder, x: Value): Value[];
  /** Reads that the consumers' columns come to. */
  reads?: number;
  /** Axis of the outputs that the weights' outputs lie on. */
  channels: number;
  batch?: number;
}

const convolved = (b: Builder, x: Value, rank = 2) => b.relu(b.conv(x, 2, 6, Array<number>(rank).fill(1)));
const dense = (b: Builder, x: Value) => b.relu(b.gemm(x, 5, 6));

const FORMS: Record<string, Form> = {
  'Conv with strides, pads and dilations': {
    sample: [2, 9, 8],
    channels: 1,
    network: (b, x) => [
      b.conv(convolved(b, x), 6, 4, [3, 2], { strides: [2, 1], pads: [2, 0, 1, 1], dilations: [2, 1], bias: 0 }),
    ],
  },
  'Conv that keeps the size, of opset 9': {
    sample: [2, 7, 7],
    channels: 1,
    network: (b, x) => [b.conv(convolved(b, x), 6, 4, 3, { auto_pad: 'SAME_UPPER', strides: [2, 2], bias: 0 })],
  },
  'Conv of one axis': {
    sample: [2, 12],
    channels: 1,
    network: (b, x) => [b.conv(convolved(b, x, 1), 6, 3, [3], { pads: [1, 1], bias: 0 })],
  },
  'Conv of three axes': {
    sample: [2, 4, 4, 3],
    channels: 1,
    network: (b, x) => [b.conv(convolved(b, x, 3), 6, 3, [2, 2, 2], { bias: 0 })],
  },
  'two convolutions of unlike kernels': {
    sample: [2, 6, 6],
    channels: 1,
    reads: 2,
    network: (b, x) => {
      const y = convolved(b, x);
      return [b.conv(y, 6, 4, 3, { pads: [1, 1, 1, 1], bias: 0 }), b.conv(y, 6, 2, 1, { bias: 0 })];
    },
  },
  Gemm: {
    sample: [5],
    channels: 1,
    network: (b, x) => [b.op('Gemm', [dense(b, x), b.weight([6, 4])], { alpha: { float: 0.5 } })],
  },
  'Gemm of a transposed operand': {
    sample: [5],
    channels: 1,
    network: (b, x) => [b.op('Gemm', [b.transpose(dense(b, x), [1, 0]), b.weight([4, 6])], { transA: 1, transB: 1 })],
  },
  'Gemm with the weight in front': {
    sample: [5],
    channels: 0,
    network: (b, x) => [b.op('Gemm', [b.weight([4, 6]), dense(b, x)], { transB: 1 })],
  },
  'MatMul of tokens, three of one value': {
    sample: [4, 5],
    channels: 2,
    network: (b, x) => {
      const y = b.relu(b.linear(x, 5, 6));
      return [3, 2, 4].map((n) => b.op('MatMul', [y, b.weight([6, n])]));
    },
  },
  'MatMul with the weight in front': {
    sample: [2, 7],
    channels: 1,
    network: (b, x) => [b.op('MatMul', [b.weight([4, 6]), convolved(b, x, 1)])],
  },
  'Gemm behind Flatten': {
    sample: [2, 2, 2],
    channels: 1,
    network: (b, x) => [b.op('MatMul', [b.flatten(convolved(b, x)), b.weight([24, 3])])],
  },
  'columns that are none of the group': {
    sample: [5],
    channels: 1,
    network: (b, x) => [b.op('MatMul', [b.concat([b.relu(x), dense(b, x)]), b.weight([11, 3])])],
  },
  'a fixed batch that is filled up': {
    sample: [2, 5, 5],
    channels: 1,
    batch: 8,
    network: (b, x) => [b.conv(convolved(b, x), 6, 4, 3, { bias: 0 })],
  },
};

interface Opened {
  structure: Structure;
  group: Group;
  dataset: Dataset;
  moments: MomentRuns;
}

const SAMPLES = 60;

function open(form: Form, title = ''): Opened {
  const b = builder({ opset: title.includes('opset 9') ? 9 : 17 });
  b.output(...form.network(b, b.input('x', [form.batch ?? 'N', ...form.sample])));
  const structure = analyseStructure(b.build());
  const group = structure.groups.find((g) => g.size === 6 && g.prunable)!;
  const dataset = randomDataset(SAMPLES, form.sample, form.batch ?? null);
  return { structure, group, dataset, moments: new MomentRuns(structure, group, dataset, 'cpu') };
}

/** Outputs of the consumers for all samples, with their weights replaced where `weights` gives others, columns × outputs. */
async function outputs(
  { structure, dataset, moments }: Opened,
  weights?: readonly Float64Array[],
): Promise<Float32Array[]> {
  const clone = cloneModel(structure.model);
  const { reads } = moments.reads;
  reads.forEach((read, i) => weights && replaceWeights(read, weights[i], (v) => clone.value(v)));
  const session = await createSession(clone.model, { device: 'cpu' });
  const parts: number[][] = structure.model.graph.outputs.map(() => []);
  for (const { indices, count } of dataset.batches(null, SAMPLES)) {
    const given = await session.run(dataset.feeds(indices));
    structure.model.graph.outputs.forEach(({ name }, i) => {
      const values = toFloat32(given[name]);
      parts[i].push(...values.subarray(0, (values.length * count) / indices.length));
    });
  }
  await session.release();
  return parts.map((p) => Float32Array.from(p));
}

function replaceWeights(read: LinearRead, weights: Float64Array, copyOf: (v: Value) => Value): void {
  const total = weights.length / read.columns;
  let first = 0;
  for (const { node, weightInput, weight, outputs: own, outputStride, columnStride, scale } of read.consumers) {
    const data = new Float32Array(weight.data.length);
    for (let c = 0; c < read.columns; c++)
      for (let o = 0; o < own; o++) data[o * outputStride + c * columnStride] = weights[c * total + first + o] / scale;
    copyOf(node.inputs[weightInput]!).initializer = Tensor.fromFloat32('w', weight.dims, data);
    first += own;
  }
}

/** Σ over outputs of the mean over rows of (a − b)², of all consumers. */
function squaredError(read: Opened, a: readonly Float32Array[], b: readonly Float32Array[] | null): number {
  return a.reduce((total, values, i) => {
    const output = read.structure.model.graph.outputs[i];
    const consumer = read.moments.reads.reads
      .flatMap((r) => r.consumers)
      .find(({ node }) => node.outputs[0]!.name === output.name)!;
    const sum = values.reduce((s, v, at) => s + (v - (b ? b[i][at] : 0)) ** 2, 0);
    return total + (sum * consumer.outputs) / values.length;
  }, 0);
}

async function eliminations({ moments, group }: Opened, damping: number): Promise<Elimination[]> {
  const { reads } = moments.reads;
  const grams = await moments.moments('gram', reads);
  return Promise.all(
    reads.map((read, i) =>
      Elimination.open(
        { gram: grams[i].second, ...stackedWeights(read), unitColumns: columnsOfUnits(read.units, group.size) },
        damping,
      ),
    ),
  );
}

describe.each(Object.entries(FORMS))('%s', (title, form) => {
  it('reads columns that its weights times them are its output', async () => {
    const opened = open(form, title);
    const { reads, uncovered } = opened.moments.reads;
    expect(uncovered).toEqual([]);
    expect(reads).toHaveLength(form.reads ?? 1);
    expect(reads.flatMap((r) => r.consumers)).toHaveLength(opened.structure.model.graph.outputs.length);
    const grams = await opened.moments.moments('gram', reads);
    // E‖Wx‖² = tr(W E[xxᵀ] Wᵀ)
    let energy = 0;
    reads.forEach((read, i) => {
      const { weights, outputs: width } = stackedWeights(read);
      for (let c = 0; c < read.columns; c++)
        for (let d = 0; d < read.columns; d++)
          for (let o = 0; o < width; o++)
            energy += weights[c * width + o] * weights[d * width + o] * grams[i].second[c * read.columns + d];
    });
    const measured = squaredError(opened, await outputs(opened), null);
    expect(Math.abs(energy / measured - 1)).toBeLessThan(1e-5);
  });

  it('has, refitted, the error that the elimination tells', async () => {
    const opened = open(form, title);
    const layers = await eliminations(opened, 0.01);
    const before = await outputs(opened);
    for (const unit of [2, 5, 0, 3]) {
      layers.forEach((layer) => layer.remove(unit));
      const after = await outputs(
        opened,
        layers.map((layer) => layer.weights),
      );
      const measured = squaredError(opened, after, before);
      const told = layers.reduce((sum, layer) => sum + layer.error, 0);
      expect(Math.abs(told - measured) / measured).toBeLessThan(1e-4);
      expect(measured).toBeGreaterThan(0);
    }
  });
});

describe('the elimination', () => {
  it('leaves the least error that any weights can have, without damping', async () => {
    const opened = open(FORMS.Gemm);
    const [layer] = await eliminations(opened, 0);
    const before = await outputs(opened);
    layer.remove(1);
    layer.remove(4);
    const fitted = squaredError(opened, await outputs(opened, [layer.weights]), before);
    expect(Math.abs(layer.error / fitted - 1)).toBeLessThan(1e-4);
    // A step in any direction that keeps the removed columns at 0 leads up.
    for (const column of [0, 2, 3, 5]) {
      const moved = layer.weights.slice();
      for (let o = 0; o < 4; o++) moved[column * 4 + o] += 0.05 * (o - 0.5);
      expect(squaredError(opened, await outputs(opened, [moved]), before)).toBeGreaterThan(fitted);
    }
  });

  it('foretells what a step costs', async () => {
    const [layer] = await eliminations(open(FORMS.Gemm), 1e-9);
    for (const unit of [3, 0, 5]) {
      const expected = layer.error + layer.loss(unit);
      layer.remove(unit);
      expect(layer.error).toBeCloseTo(expected, 6);
    }
    expect(layer.weights.subarray(0, 4).every((w) => w === 0)).toBe(true);
  });

  it('refuses moments that cannot be inverted', async () => {
    const gram = Float64Array.of(1, 1, 1, 1);
    const layer = { gram, weights: Float64Array.of(1, 2), outputs: 1, unitColumns: [[0], [1]] };
    await expect(Elimination.open({ ...layer, gram: gram.slice() }, 0)).rejects.toMatchObject({ code: 'runtime' });
    const { error } = await Elimination.open({ ...layer, gram: gram.slice() }, 1e-6);
    expect(error).toBe(0);
  });
});

describe('the method obs', () => {
  it('takes silent units first, and a unit that others stand in for before one that nothing replaces', async () => {
    // Units 0 and 1 are alike, 2 is silent, 3 is on its own with smaller weights.
    const b = builder();
    const x = b.input('x', ['N', 3]);
    const w = b.floats([1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [4, 3], 'w');
    const y = b.relu(b.op('Gemm', [x, w], { transB: 1 }, 'layer'));
    b.output(b.op('MatMul', [y, b.floats([2, 2, 9, 1], [4, 1], 'v')], {}, 'reader'));
    const structure = analyseStructure(b.build());
    const group = structure.groups[0];
    const moments = new MomentRuns(structure, group, randomDataset(200, [3]), 'cpu');
    const { ranks } = await rankGroup('obs', { group, moments }, { seed: 0 });
    const [alike, , silent, own] = scoresOf(ranks);
    expect(silent).toBeLessThan(1e-12);
    expect(Math.min(alike, scoresOf(ranks)[1])).toBeLessThan(0.01 * own);
    const { ranks: blind } = await rankGroup('wanda', { group, moments }, { seed: 0 });
    expect(scoresOf(blind)[0]).toBeGreaterThan(scoresOf(blind)[3]);
    expect(scoresOf(blind)[2]).toBe(0);
  });

  it('is the error without a refit where the layers are too wide', async () => {
    const opened = open(FORMS['two convolutions of unlike kernels']);
    const { group, moments } = opened;
    const wide = new Proxy(moments, {
      get: (target, key) => {
        if (key === 'moments') return target.moments.bind(target);
        if (key !== 'reads') return Reflect.get(target, key) as unknown;
        // The same reads, which say that they have more columns than anybody has memory for.
        const reads = target.reads.reads.map((read) => ({ ...read, consumers: read.consumers.map((c) => ({ ...c })) }));
        reads[0].consumers.push({ ...reads[0].consumers[0], outputs: 4e5, scale: 0, outputStride: 0 });
        return { ...target.reads, reads };
      },
    });
    const { ranks } = await rankGroup('obs', { group, moments: wide }, { seed: 0 });
    expect(ranks.estimator).toContain('without refit');
    const before = await outputs(opened);
    for (const unit of [0, 4]) {
      const closed = moments.reads.reads.map((read) => {
        const { weights, outputs: width } = stackedWeights(read);
        read.units.forEach((u, c) => u === unit && weights.fill(0, c * width, (c + 1) * width));
        return weights;
      });
      const measured = squaredError(opened, await outputs(opened, closed), before);
      expect(Math.abs(scoresOf(ranks)[unit] / measured - 1)).toBeLessThan(1e-5);
    }
  });

  it('tells how far it is, to the end and never back', async () => {
    const { group, moments } = open(FORMS['two convolutions of unlike kernels']);
    const told: [number, number][] = [];
    await rankGroup('obs', { group, moments }, { seed: 0 }, undefined, ({ evaluations, planned, partial }) => {
      if (!partial) told.push([evaluations, planned]);
    });
    // Two blocks of 54 columns, one of 6, and 6 units.
    expect(told).toEqual(Array.from({ length: 9 }, (_, i) => [i + 1, 9]));
  });

  it('can be cancelled', async () => {
    const { group, moments } = open(FORMS.Gemm);
    const options = { seed: 0 };
    await expect(rankGroup('obs', { group, moments }, options, AbortSignal.abort())).rejects.toMatchObject({
      code: 'cancelled',
    });
    const controller = new AbortController();
    const late = new Proxy(moments, {
      get: (target, key) =>
        key === 'moments'
          ? async (...args: Parameters<MomentRuns['moments']>) => {
              const given = await target.moments(...args);
              controller.abort();
              return given;
            }
          : (Reflect.get(target, key) as unknown),
    });
    await expect(rankGroup('obs', { group, moments: late }, options, controller.signal)).rejects.toMatchObject({
      code: 'cancelled',
    });
  });

  it('has nothing to say of grouped convolutions and norms', async () => {
    const b = builder();
    const y = b.relu(b.conv(b.input('x', ['N', 2, 5, 5]), 2, 6, 1));
    b.output(b.conv(y, 6, 4, 3, { group: 2 }));
    const structure = analyseStructure(b.build());
    const group = structure.groups.find((g) => g.size === 6)!;
    const moments = new MomentRuns(structure, group, randomDataset(4, [2, 5, 5]), 'cpu');
    expect(moments.reads.uncovered).toHaveLength(1);
    for (const method of ['obs', 'wanda'] as const)
      await expect(rankGroup(method, { group, moments }, { seed: 0 })).rejects.toMatchObject({ code: 'unsupported' });
  });
});
