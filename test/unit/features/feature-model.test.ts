import { afterEach, describe, expect, test } from 'vitest';
import { makeDataset, type Dataset, type DatasetParts } from '../../../src/evaluation/data/dataset.ts';
import type { OutputReading } from '../../../src/evaluation/types.ts';
import { openFeatureModel, type FeatureModel, type FeatureModelOptions } from '../../../src/features/feature-model.ts';
import { featureOfElements } from '../../../src/features/layout.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { Builder, numbers } from '../../support/build.ts';

const logits: OutputReading = { output: '', reading: 'logits', classAxis: 1 };
const opened: FeatureModel[] = [];
afterEach(async () => {
  for (const model of opened.splice(0)) await model.close();
});

function floats(count: number, seed = 5): Float32Array {
  const next = numbers(seed);
  return Float32Array.from({ length: count }, () => 2 * next() + 0.3);
}

function data(
  samples: number,
  input: Partial<DatasetParts['inputs'][number]>,
  batchSize: number | null = null,
): Dataset {
  const shape = input.sampleShape!;
  const elements = shape.reduce((p, d) => p * d, 1);
  return makeDataset({
    path: null,
    samples,
    inputs: [
      {
        name: 'x',
        type: 'float32',
        kind: 'rows',
        sampleShape: shape,
        data: floats(samples * elements),
        dataType: 'float32',
        ...input,
      },
    ],
    labels: { values: Int32Array.from({ length: samples }, (_, i) => i % 3), perSample: 1, classes: 3 },
    fingerprint: `made ${samples} ${shape.join()} ${batchSize}`,
    synthetic: false,
    warnings: [],
    batchSize,
  });
}

async function open(b: Builder, dataset: Dataset, options: Partial<FeatureModelOptions> = {}): Promise<FeatureModel> {
  const reading = { ...logits, output: b.graph.outputs[0].name };
  const model = await openFeatureModel(analyseStructure(b.model), dataset, {
    reading,
    loss: 'cross-entropy',
    device: 'cpu',
    baseline: 'mean',
    ...options,
  });
  opened.push(model);
  return model;
}

/** Cross-entropy of every sample, from the outputs of a model that nothing was done to. */
async function lossesOf(b: Builder, dataset: Dataset): Promise<number[]> {
  const session = await createSession(b.model);
  const losses: number[] = [];
  for (let i = 0; i < dataset.samples; i++) {
    const { indices } = dataset.batches([i], 1)[0];
    const out = (await session.run(dataset.feeds(indices)))[b.graph.outputs[0].name];
    const row = Array.from((out.data as Float32Array).subarray(0, 3));
    losses.push(Math.log(row.reduce((s, v) => s + Math.exp(v), 0)) - row[dataset.labels![i]]);
  }
  await session.release();
  return losses;
}

/** A picture model: two convolutions, so that every pixel counts. */
function pictures(batch: number | string = 'N'): Builder {
  const b = new Builder({ seed: 3 });
  const x = b.input('x', [batch, 2, 5, 7]);
  const h = b.op('Tanh', [b.conv(x, 2, 4, 3, { pads: [1, 1, 1, 1] })]);
  return b.output(b.gemm(b.flatten(h), 4 * 35, 3));
}

describe('gates on pictures', () => {
  test.each(['patches', 'pixels', 'channels', 'rows', 'columns'] as const)(
    '%s: open gates change nothing, closed ones put the mean in place',
    async (kind) => {
      const b = pictures();
      const dataset = data(4, { sampleShape: [2, 5, 7] });
      const model = await open(b, dataset, { kind, patch: kind === 'patches' ? 3 : undefined });
      const { size } = model.layout;
      const all = [0, 1, 2, 3];
      const mixed = Float32Array.from({ length: 4 * size }, (_, i) => ((i * 7) % 3 === 0 ? 0 : i % 2 ? 1 : 0.4));
      const [whole, part] = [new Float32Array(4 * size).fill(1), mixed];
      expectClose((await model.run(all, whole, { gradients: false })).losses, await lossesOf(b, dataset));
      // By hand: elements between what they are and the mean over samples.
      const map = featureOfElements(model.layout);
      const x = dataset.feeds(all).x.data as Float32Array;
      const changed = x.map((v, at) => {
        const [sample, element] = [Math.floor(at / 70), at % 70];
        const mean = all.reduce((s, i) => s + x[i * 70 + element] / 4, 0);
        return mean + part[sample * size + map[element]] * (v - mean);
      });
      const other = data(4, { sampleShape: [2, 5, 7], data: changed });
      expectClose((await model.run(all, part, { gradients: false })).losses, await lossesOf(b, other));
    },
  );

  test('gradients equal central differences, also of samples that stand in a batch of fixed size', async () => {
    for (const batch of ['N', 2]) {
      const dataset = data(4, { sampleShape: [2, 5, 7] }, batch === 2 ? 2 : null);
      const model = await open(pictures(batch), dataset, { kind: 'patches', patch: 3, baseline: 'zero' });
      await expectGradients(model, [0, 3, 1]);
    }
  });
});

test('samples that depend on their company are run one at a time', async () => {
  const b = new Builder({ seed: 4 });
  const x = b.input('x', [2, 4]);
  const centred = b.op('Sub', [x, b.op('ReduceMean', [x], { axes: [0], keepdims: 1 })]);
  b.output(b.gemm(b.op('Tanh', [b.gemm(b.add(x, centred), 4, 6)]), 6, 3));
  const dataset = data(4, { sampleShape: [4] }, 2);
  const model = await open(b, dataset);
  expect(model.notes.join()).toMatch(/one at a time/);
  const { losses } = await model.run([0, 1, 2, 3], new Float32Array(16).fill(1), { gradients: true });
  expectClose(losses, await lossesOf(b, dataset));
  await expectGradients(model, [2, 0]);
});

test('integers are gated behind their cast', async () => {
  const b = new Builder({ seed: 6 });
  const x = b.input('x', ['N', 3], DataType.UINT8);
  b.output(b.gemm(b.op('Cast', [x], { to: DataType.FLOAT }), 3, 3));
  const values = Uint8Array.from([1, 2, 3, 4, 5, 6]);
  const dataset = data(2, { sampleShape: [3], type: 'uint8', dataType: 'uint8', data: values });
  const model = await open(b, dataset, { baseline: 'zero' });
  expect(model.layout.kind).toBe('columns');
  await expectGradients(model, [0, 1]);
});

test('tokens are gated at their embedding, closed ones are the mean one', async () => {
  const b = new Builder({ seed: 8 });
  const ids = b.input('x', ['N', 4], DataType.INT64);
  const table = b.weight([6, 5], 'table');
  const e = b.op('Gather', [table, ids]);
  b.output(b.gemm(b.flatten(b.op('Tanh', [b.linear(e, 5, 5)])), 20, 3));
  const tokens = BigInt64Array.from([0n, 1n, 2n, 3n, 4n, 5n, 0n, 0n]);
  const dataset = data(2, { sampleShape: [4], type: 'int64', dataType: 'int64', data: tokens });
  const model = await open(b, dataset);
  expect([model.layout.kind, model.layout.size]).toEqual(['tokens', 4]);
  const { losses } = await model.run([0, 1], new Float32Array(8).fill(1), { gradients: false });
  expectClose(losses, await lossesOf(b, dataset));
  // All closed: every position is the same, whatever the sample.
  const none = await model.run([0, 0], new Float32Array(8), { gradients: false });
  const rows = table.initializer!.toFloat32();
  const mean = Array.from({ length: 5 }, (_, d) => [...tokens].reduce((s, t) => s + rows[Number(t) * 5 + d] / 8, 0));
  const other = new Builder({ seed: 8 });
  const unused = other.input('x', ['N', 4], DataType.INT64);
  other.weight([6, 5], 'table');
  const fixed = other.floats(Array.from({ length: 6 }, () => mean).flat(), [6, 5]);
  other.output(
    other.gemm(other.flatten(other.op('Tanh', [other.linear(other.op('Gather', [fixed, unused]), 5, 5)])), 20, 3),
  );
  const [first] = await lossesOf(other, dataset);
  expectClose(none.losses, [first, first]);
  await expectGradients(model, [1, 0]);
});

test('an operator without a gradient rule leaves the losses', async () => {
  const b = new Builder({ seed: 9 });
  const x = b.input('x', ['N', 4]);
  b.output(b.gemm(b.op('Det', [b.reshape(b.gemm(x, 4, 16), [0, 4, 2, 2])]), 4, 3));
  const dataset = data(3, { sampleShape: [4] });
  const model = await open(b, dataset);
  expect(model.hasGradients).toBe(false);
  expect(model.notes.join()).toMatch(/Det/);
  const { losses, gradients } = await model.run([0, 1, 2], new Float32Array(12).fill(1), { gradients: true });
  expect(gradients).toBeUndefined();
  expectClose(losses, await lossesOf(b, dataset));
});

test('steps have a gradient of 0 everywhere, which says nothing: losses are left', async () => {
  const b = new Builder({ seed: 9 });
  const x = b.input('x', ['N', 4]);
  const steps = b.op('Cast', [b.op('Greater', [x, b.floats([0.1, 0.2, 0.3, 0.4])])], { to: DataType.FLOAT });
  b.output(b.gemm(steps, 4, 3));
  const model = await open(b, data(3, { sampleShape: [4] }));
  expect(model.hasGradients).toBe(false);
  expect(model.notes.join()).toMatch(/decision trees/);
  const { gradients } = await model.run([0], new Float32Array(4).fill(1), { gradients: true });
  expect(gradients).toBeUndefined();
});

test('inputs that cannot be gated, and unknown ones, are refused', async () => {
  const b = new Builder({ seed: 6 });
  const x = b.input('x', ['N', 3], DataType.INT64);
  b.output(b.gemm(b.op('Cast', [b.op('Equal', [x, b.ints([1, 2, 3])])], { to: DataType.FLOAT }), 3, 3));
  const dataset = data(2, { sampleShape: [3], type: 'int64', dataType: 'int64', data: new BigInt64Array(6) });
  await expect(open(b, dataset)).rejects.toMatchObject({ code: 'unsupported' });
  await expect(open(pictures(), data(2, { sampleShape: [2, 5, 7] }), { input: 'y' })).rejects.toMatchObject({
    code: 'usage',
  });
});

function expectClose(got: ArrayLike<number>, wanted: ArrayLike<number>): void {
  expect(got.length).toBe(wanted.length);
  for (let i = 0; i < wanted.length; i++) expect(got[i]).toBeCloseTo(wanted[i], 4);
}

/** Gradients at gates between 0 and 1 against central differences of the losses. */
async function expectGradients(model: FeatureModel, samples: number[]): Promise<void> {
  const { size } = model.layout;
  const next = numbers(11);
  const gates = Float64Array.from({ length: samples.length * size }, () => 0.6 + 0.3 * next());
  const { gradients } = await model.run(samples, gates, { gradients: true });
  const h = 1e-2;
  for (let feature = 0; feature < size; feature++) {
    const shifted = async (by: number) => {
      const moved = gates.map((g, i) => (i % size === feature ? g + by : g));
      return (await model.run(samples, moved, { gradients: false })).losses;
    };
    const [up, down] = [await shifted(h), await shifted(-h)];
    samples.forEach((_, r) => {
      const wanted = (up[r] - down[r]) / (2 * h);
      expect(Math.abs(gradients![r * size + feature] - wanted)).toBeLessThan(2e-3 * Math.max(1, Math.abs(wanted)));
    });
  }
}
