import { describe, expect, test } from 'vitest';
import { makeDataset } from '../../../src/evaluation/data/dataset.ts';
import type { Dataset } from '../../../src/evaluation/data/index.ts';
import { openSampleLoss } from '../../../src/evaluation/gradients/sample-loss.ts';
import { readOutput, referenceOutputs } from '../../../src/evaluation/metrics/index.ts';
import type { OutputReading } from '../../../src/evaluation/types.ts';
import { cloneModel } from '../../../src/graph/clone.ts';
import type { Model } from '../../../src/graph/ir.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { toFloat32 } from '../../../src/runtime/host-tensor.ts';
import type { TrainingLoss } from '../../../src/training/graph.ts';
import { distillationLoss, labelLoss, squaredLoss } from '../../../src/training/losses.ts';
import { train } from '../../../src/training/train.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { builder } from '../../support/build.ts';
import { clusters, mlp, READING } from './problem.ts';

const data = clusters(12);

/** The value of a loss on some samples of a data set. */
async function valueOf(loss: TrainingLoss, source: Model, dataset: Dataset, samples: number[]): Promise<number> {
  const { model } = cloneModel(source);
  const value = loss.addTo(model);
  model.graph.outputs.push(value);
  const session = await createSession(model);
  const feeds = { ...dataset.feeds(samples), ...loss.feeds(samples) };
  const out = toFloat32((await session.run(feeds, [value.name]))[value.name]);
  await session.release();
  return out[0];
}

async function outputsOf(model: Model, dataset: Dataset, reading: OutputReading = READING) {
  const session = await createSession(model);
  const reference = await referenceOutputs(session, dataset, reading);
  await session.release();
  const { values, stride } = reference.outputs[0];
  const rows = Array.from({ length: dataset.samples }, (_, i) => [...values.subarray(i * stride, (i + 1) * stride)]);
  return { reference, rows };
}

function softmax(z: number[], temperature = 1): number[] {
  const e = z.map((v) => Math.exp(v / temperature));
  const sum = e.reduce((a, b) => a + b);
  return e.map((v) => v / sum);
}

const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const divergence = (p: number[], q: number[]) => p.reduce((s, v, i) => s + v * Math.log(v / q[i]), 0);

describe('losses of a data set', () => {
  const samples = [7, 2, 11, 2, 0];
  const student = mlp('N', 21);
  const teacher = mlp('N', 22);

  test('labels belong to their samples, in any order', async () => {
    const { rows } = await outputsOf(student, data);
    const each = samples.map((i) => -Math.log(softmax(rows[i])[data.labels![i]]));
    expect(await valueOf(labelLoss(data, READING), student, data, samples)).toBeCloseTo(mean(each), 5);
  });

  test('every token has a label', async () => {
    const tokens = makeDataset({
      path: null,
      samples: 3,
      inputs: [
        {
          name: 'x',
          type: 'float32',
          kind: 'rows',
          sampleShape: [2, 4],
          data: Float32Array.from({ length: 24 }, (_, i) => Math.sin(i)),
          dataType: 'float32',
        },
      ],
      labels: { values: Int32Array.of(0, 1, 2, 2, 1, 0), perSample: 2, classes: 3 },
      fingerprint: 'tokens',
      synthetic: false,
      warnings: [],
      batchSize: null,
    });
    const b = builder();
    const model = b.output(b.linear(b.input('x', ['N', 2, 4]), 4, 3)).build();
    const reading = await readOutput(model, tokens);
    expect(reading).toMatchObject({ reading: 'logits', classAxis: 2 });
    const { rows } = await outputsOf(model, tokens, reading);
    const each = [2, 0].flatMap((i) =>
      [0, 1].map((t) => -Math.log(softmax(rows[i].slice(3 * t, 3 * t + 3))[tokens.labels![2 * i + t]])),
    );
    expect(await valueOf(labelLoss(tokens, reading), model, tokens, [2, 0])).toBeCloseTo(mean(each), 5);
  });

  test('distillation mixes the softened divergence with the labels', async () => {
    const { rows } = await outputsOf(student, data);
    const { rows: wanted, reference } = await outputsOf(teacher, data);
    const soft = samples.map((i) => 9 * divergence(softmax(wanted[i], 3), softmax(rows[i], 3)));
    const hard = samples.map((i) => -Math.log(softmax(rows[i])[data.labels![i]]));
    const alone = distillationLoss(data, READING, reference, { temperature: 3 });
    expect(await valueOf(alone, student, data, samples)).toBeCloseTo(mean(soft), 4);
    const mixed = distillationLoss(data, READING, reference, { temperature: 3, labels: 0.25 });
    expect(await valueOf(mixed, student, data, samples)).toBeCloseTo(0.75 * mean(soft) + 0.25 * mean(hard), 4);
    expect(await valueOf(alone, teacher, data, samples)).toBeCloseTo(0, 5);
  });

  test('a subset asks the teacher about its own samples', async () => {
    const { rows: wanted, reference } = await outputsOf(teacher, data);
    const { rows } = await outputsOf(student, data);
    const subset = data.subset([9, 4]);
    const loss = squaredLoss(subset, READING, reference);
    const each = [9, 4].flatMap((i) => rows[i].map((v, k) => (v - wanted[i][k]) ** 2));
    expect(await valueOf(loss, student, subset, [0, 1])).toBeCloseTo(mean(each), 4);
  });

  test('a student comes to answer as its teacher does', async () => {
    const { reference } = await outputsOf(teacher, data);
    const loss = distillationLoss(data, READING, reference, { temperature: 2 });
    const before = await valueOf(loss, student, data, samples);
    const options = { loss, optimiser: { kind: 'adam' as const }, learningRate: 0.02, epochs: 40, batchSize: 6 };
    const { model } = await train(student, data, options);
    expect(await valueOf(loss, model, data, samples)).toBeLessThan(0.05 * before);
  });

  test('losses of single samples, as gradients of gates are taken of, count by their mean', async () => {
    const options = { loss: 'cross-entropy', reading: READING, device: 'cpu' } as const;
    const each = await openSampleLoss(analyseStructure(student), data, options);
    const trained = (loss: TrainingLoss) =>
      train(student, data, { loss, optimiser: { kind: 'sgd' }, learningRate: 0.1, epochs: 2, batchSize: 5 });
    const [a, b] = [await trained(each), await trained(labelLoss(data, READING))];
    a.losses.forEach((loss, i) => expect(loss).toBeCloseTo(b.losses[i], 5));
  });

  test('real targets', async () => {
    const values = Float32Array.from({ length: 12 }, (_, i) => Math.sin(i));
    const x = Float32Array.from({ length: 48 }, (_, i) => Math.cos(i));
    const targets = makeDataset({
      path: null,
      samples: 12,
      inputs: [{ name: 'x', type: 'float32', kind: 'rows', sampleShape: [4], data: x, dataType: 'float32' }],
      labels: { values, perSample: 1, classes: null },
      fingerprint: 'targets',
      synthetic: false,
      warnings: [],
      batchSize: null,
    });
    const b = builder();
    const model = b.output(b.gemm(b.input('x', ['N', 4]), 4, 1)).build();
    const reading = await readOutput(model, targets);
    expect(reading.reading).toBe('regression');
    const { rows } = await outputsOf(model, targets, reading);
    const wanted = mean([3, 5].map((i) => (rows[i][0] - values[i]) ** 2));
    expect(await valueOf(squaredLoss(targets, reading), model, targets, [3, 5])).toBeCloseTo(wanted, 5);
  });
});

describe('losses refuse', () => {
  const unlabelled = makeDataset({
    path: null,
    samples: 2,
    inputs: [],
    labels: null,
    fingerprint: '',
    synthetic: false,
    warnings: [],
    batchSize: null,
  });
  const regression: OutputReading = { output: 'y', reading: 'regression', classAxis: -1 };

  test('labels that are not there, or that no class has', async () => {
    const { reference } = await outputsOf(mlp(), data);
    const usage = expect.objectContaining({ code: 'usage' });
    expect(() => labelLoss(unlabelled, READING)).toThrow(usage);
    expect(() => squaredLoss(unlabelled, READING)).toThrow(usage);
    expect(() => distillationLoss(unlabelled, READING, reference, { labels: 0.5 })).toThrow(usage);
    const b = builder();
    const narrow = b.output(b.op('Identity', [b.gemm(b.input('x', ['N', 4]), 4, 2)], {}, 'y')).build();
    const two = { ...READING, output: narrow.graph.outputs[0].name };
    expect(() => labelLoss(data, two).addTo(narrow)).toThrow(expect.objectContaining({ code: 'bad-data' }));
  });

  test('outputs that are not there, or are no classes', async () => {
    const { reference } = await outputsOf(mlp(), data);
    expect(() => distillationLoss(data, regression, reference)).toThrow(/read as numbers/);
    expect(() => distillationLoss(data, { ...READING, output: 'z' }, reference)).toThrow(/no output z/);
    expect(() => labelLoss(data, { ...READING, output: 'z' }).addTo(mlp())).toThrow(/no output z/);
  });
});
