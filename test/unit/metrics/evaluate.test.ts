import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openDataset } from '../../../src/evaluation/data/index.ts';
import { evaluateModel, metricsFor, readOutput, referenceOutputs } from '../../../src/evaluation/metrics/index.ts';
import type { OutputReading } from '../../../src/evaluation/types.ts';
import type { MetricName } from '../../../src/formats.ts';
import type { Dim, Value } from '../../../src/graph/ir.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { Builder } from '../../support/build.ts';
import { counting, npy, npz } from '../data/arrays.ts';

const folder = mkdtempSync(join(tmpdir(), 'secateur-metrics-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

type Labels = { dims: number[]; data: Float32Array | Int32Array };
const ints = (dims: number[], ...values: number[]): Labels => ({ dims, data: Int32Array.from(values) });
const floats = (dims: number[], ...values: number[]): Labels => ({ dims, data: Float32Array.from(values) });

/** A model of one input whose outputs `head` builds, with data. */
async function setUp(
  shape: Dim[],
  dims: number[],
  x: Float32Array,
  y: Labels | null,
  head: (b: Builder, x: Value) => Value | Value[],
) {
  const b = new Builder();
  const made = head(b, b.input('x', shape));
  b.output(...(Array.isArray(made) ? made : [made]));
  const path = join(folder, `${files++}.npz`);
  writeFileSync(path, npz({ x: npy(dims, x), ...(y ? { y: npy(y.dims, y.data) } : {}) }));
  const dataset = await openDataset(b.model, { path, seed: 0 });
  return { model: b.model, dataset };
}

/** Value of the model, against itself scaled by 1 for the reference, under its own reading. */
async function value(set: Awaited<ReturnType<typeof setUp>>, metric: MetricName, output?: string) {
  const reading = await readOutput(set.model, set.dataset, { output });
  const session = await createSession(set.model);
  try {
    return { reading, ...(await evaluateModel(session, set.dataset, { metric, reading })) };
  } finally {
    await session.release();
  }
}

const identity = (b: Builder, x: Value): Value => b.op('Identity', [x], {}, 'y');
/** As in numeric.test.ts. */
const Z = Float32Array.of(2, -1, 0.5, 0.1, 0.2, 0.3, -3, 4, 1, 1, 1, -2);
const R = Float32Array.of(1.5, -0.5, 0.5, 0.3, 0.2, 0.1, -2, 3, 2.5, 1, 0, -2);
const CLASSES = ints([4], 0, 2, 1, 2);

describe('values with labels, against PyTorch 2.13 and scikit-learn', () => {
  const logits = () => setUp(['n', 3], [4, 3], Z, CLASSES, identity);

  test('accuracy: sklearn.metrics.accuracy_score(y, z.argmax(1))', async () => {
    const result = await value(await logits(), 'accuracy');
    expect(result).toMatchObject({
      value: 0.75,
      samples: 4,
      reading: { output: 'y_out', reading: 'logits', classAxis: 1 },
    });
    expect([...result.perSample]).toEqual([1, 1, 1, 0]);
    expect(result.stderr).toBeCloseTo(0.25, 12);
  });
  test('cross-entropy: -F.cross_entropy(z, y), also through Softmax and LogSoftmax', async () => {
    const want = -1.2526114183121875;
    expect((await value(await logits(), 'cross-entropy')).value).toBeCloseTo(want, 6);
    const softmax = await value(await setUp(['n', 3], [4, 3], Z, CLASSES, (b, x) => b.softmax(x)), 'cross-entropy');
    expect(softmax.reading.reading).toBe('probabilities');
    expect(softmax.value).toBeCloseTo(want, 6);
    const log = await value(
      await setUp(['n', 3], [4, 3], Z, CLASSES, (b, x) => b.op('LogSoftmax', [x])),
      'cross-entropy',
    );
    expect(log.reading.reading).toBe('log-probabilities');
    expect(log.value).toBeCloseTo(want, 6);
  });
  test('one logit: F.binary_cross_entropy_with_logits; through Sigmoid the same', async () => {
    const x = Float32Array.of(0.3, -2, 4, -0.1);
    const y = ints([4], 1, 0, 1, 1);
    const raw = await value(await setUp(['n', 1], [4, 1], x, y, identity), 'cross-entropy');
    expect(raw.reading).toMatchObject({ reading: 'binary-logit', classAxis: -1 });
    expect(raw.value).toBeCloseTo(-0.3609574608757201, 6);
    const sigmoid = await setUp(['n', 1], [4, 1], x, y, (b, v) => b.op('Sigmoid', [v]));
    expect((await value(sigmoid, 'cross-entropy')).value).toBeCloseTo(-0.3609574608757201, 6);
    expect(await value(sigmoid, 'accuracy')).toMatchObject({ value: 0.75, reading: { reading: 'binary-probability' } });
  });
  test('one label per token: [n, s, classes]', async () => {
    const tokens = await setUp(
      ['n', 's', 3],
      [2, 2, 3],
      Float32Array.of(1, 2, 3, 0, 1, 0, 5, 1, 0, 2, 2, 3),
      ints([2, 2], 2, 0, 0, 1),
      identity,
    );
    const result = await value(tokens, 'cross-entropy');
    expect(result.reading.classAxis).toBe(2);
    expect(result.value).toBeCloseTo(-0.8838100433349609, 6);
    expect((await value(tokens, 'accuracy')).value).toBe(0.5);
  });
  test('flattened tokens: [n·s, classes]', async () => {
    const tokens = await setUp(
      ['n', 2, 3],
      [2, 2, 3],
      Float32Array.of(1, 2, 3, 0, 1, 0, 5, 1, 0, 2, 2, 3),
      ints([2, 2], 2, 0, 0, 1),
      (b, x) => b.reshape(x, [-1, 3]),
    );
    const result = await value(tokens, 'cross-entropy');
    expect(result.reading.classAxis).toBe(1);
    expect(result.value).toBeCloseTo(-0.8838100433349609, 6);
  });
  test('one label per pixel: [n, classes, h, w]', async () => {
    const pixels = await setUp(
      ['n', 2, 2, 2],
      [1, 2, 2, 2],
      Float32Array.of(1, 0, 0, 3, 0, 2, 1, 1),
      ints([1, 2, 2], 0, 1, 0, 0),
      identity,
    );
    const result = await value(pixels, 'cross-entropy');
    expect(result.reading.classAxis).toBe(1);
    expect(result.value).toBeCloseTo(-0.47009485960006714, 6);
    expect((await value(pixels, 'accuracy')).value).toBe(0.75);
  });
  test('real targets: sklearn.metrics.r2_score - 1', async () => {
    const set = await setUp(['n', 1], [4, 1], Float32Array.of(1, 2.5, -1, 1), floats([4], 1.5, 2, -1, 0.25), identity);
    const result = await value(set, 'mse');
    expect(result.reading.reading).toBe('regression');
    expect(metricsFor(set.dataset, result.reading)).toEqual(['mse']);
    expect(result.value).toBeCloseTo(-0.19596541786743515, 6);
  });
});

describe('comparing with the original', () => {
  /** The original answers R and the other Z on the same samples: the input holds both. */
  async function against(metric: MetricName, y: Labels | null = null) {
    const both = Float32Array.from({ length: 24 }, (_, i) => (i % 6 < 3 ? R : Z)[Math.floor(i / 6) * 3 + (i % 3)]);
    const half = (from: number) => (b: Builder, x: Value) =>
      b.op('Slice', [x, b.ints([from]), b.ints([from + 3]), b.ints([1])], {}, 'y');
    const original = await setUp(['n', 6], [4, 6], both, y, half(0));
    const other = await setUp(['n', 6], [4, 6], both, y, half(3));
    const reading = await readOutput(original.model, original.dataset);
    const first = await createSession(original.model);
    const second = await createSession(other.model);
    const reference = await referenceOutputs(first, original.dataset, reading);
    const self = await evaluateModel(first, original.dataset, { metric, reading, reference });
    const result = await evaluateModel(second, original.dataset, { metric, reading, reference });
    const part = await evaluateModel(second, original.dataset.subset([3, 1]), { metric, reading, reference });
    expect([...part.perSample]).toEqual([result.perSample[3], result.perSample[1]]);
    await first.release();
    await second.release();
    return { self, result };
  }
  test('kl: -F.kl_div(log_softmax(z), log_softmax(r), log_target=True)', async () => {
    const { self, result } = await against('kl');
    expect(self.value).toBeCloseTo(0, 12);
    expect(result.value).toBeCloseTo(-0.17202365022305188, 6);
    expect((await against('kl', CLASSES)).result.value).toBeCloseTo(-0.17202365022305188, 6);
  });
  test('mse: -((z - r)**2).mean() / (r**2).mean()', async () => {
    const { self, result } = await against('mse');
    expect(self.value).toBeCloseTo(0, 12);
    expect(result.value).toBeCloseTo(-0.21481208548268238, 6);
  });
  test('agreement of top answers', async () => {
    const { self, result } = await against('agreement');
    expect(self.value).toBe(1);
    expect([...result.perSample]).toEqual([1, 0, 1, 1]);
  });
});

describe('which output', () => {
  const x = counting(12).map((v) => Math.sin(v));
  const early = (b: Builder, v: Value): Value[] => {
    const hidden = b.relu(b.gemm(v, 3, 3));
    return [
      b.gemm(v, 3, 4, 'early'),
      b.gemm(b.relu(b.gemm(hidden, 3, 3)), 3, 4, 'late'),
      b.op('Sigmoid', [b.gemm(hidden, 3, 1)], {}, 'gate'),
    ];
  };
  test('the deepest whose class axis fits the labels', async () => {
    const set = await setUp(['n', 3], [4, 3], x, ints([4], 0, 3, 2, 1), early);
    expect(await readOutput(set.model, set.dataset)).toEqual({ output: 'late_out', reading: 'logits', classAxis: 1 });
    expect(await readOutput(set.model, set.dataset, { output: 'early_out' })).toMatchObject({ output: 'early_out' });
    const binary = await setUp(['n', 3], [4, 3], x, ints([4], 0, 1, 0, 1), (b, v) => early(b, v).slice(1));
    expect(await readOutput(binary.model, binary.dataset, { output: 'gate_out' })).toMatchObject({
      reading: 'binary-probability',
    });
  });
  test('without labels all float outputs; the deepest leads', async () => {
    const set = await setUp(['n', 3], [4, 3], x, null, early);
    const reading = await readOutput(set.model, set.dataset);
    expect(reading).toMatchObject({ output: 'late_out', reading: 'logits' });
    expect(reading.also!.map((r) => [r.output, r.reading])).toEqual([
      ['gate_out', 'binary-probability'],
      ['early_out', 'logits'],
    ]);
    expect(metricsFor(set.dataset, reading)).toEqual(['mse', 'kl', 'agreement']);
    const probabilities = await setUp(['n', 3], [4, 3], x, null, (b, v) => b.softmax(b.gemm(v, 3, 3)));
    expect(metricsFor(probabilities.dataset, await readOutput(probabilities.model, probabilities.dataset))[0]).toBe(
      'kl',
    );
  });
  test('an output that is not there: the message lists those that are', async () => {
    const set = await setUp(['n', 3], [4, 3], x, null, identity);
    await expect(readOutput(set.model, set.dataset, { output: 'nope' })).rejects.toMatchObject({
      code: 'usage', message: 'The model has no output named nope.', hint: 'Its outputs: y_out (float32 [n, 3]).',
    }); // prettier-ignore
  });
  test('labels that fit no output', async () => {
    const say = async (y: Labels, head = identity): Promise<string> => {
      const set = await setUp(['n', 3], [4, 3], x, y, head);
      return readOutput(set.model, set.dataset).then(
        (r) => `read as ${r.reading}`,
        (e: Error & { code: string }) => `${e.code}: ${e.message}`,
      );
    };
    expect(await say(ints([4], 0, 1, 7, 1))).toBe(
      'bad-data: The label of sample 2 is 7, but the output y_out has the classes 0 to 2.',
    );
    expect(await say(ints([4], 0, -1, 1, 1))).toBe(
      'bad-data: The label of sample 1 is -1, but the output y_out has the classes 0 to 2.',
    );
    expect(await say(floats([4], 0, 1, 0.5, 1))).toBe(
      'bad-data: The labels of a classifier must be whole numbers, but the label of sample 2 is 0.5.',
    );
    expect(await say(ints([4, 2], 0, 1, 0, 1, 0, 1, 0, 1))).toBe(
      'bad-data: The labels (2 per sample, from 0 to 1) fit no output: with 4 samples the model gives y_out [4, 3].',
    );
  });
  test('metrics that the data do not allow', async () => {
    const set = await setUp(['n', 3], [4, 3], x, null, identity);
    await expect(value(set, 'accuracy')).rejects.toMatchObject({
      code: 'usage',
      message: 'The metric accuracy needs labels, and the data have none.',
    });
    const numbers = await setUp(['n', 1], [4, 1], x.slice(0, 4), floats([4], 0.5, 1, 2, 3), identity);
    await expect(value(numbers, 'cross-entropy')).rejects.toMatchObject({ code: 'usage' });
  });
  test('labels of other data are checked as well', async () => {
    const set = await setUp(['n', 3], [4, 3], x, ints([4], 0, 1, 2, 0), identity);
    const other = await setUp(['n', 3], [4, 3], x, ints([4], 0, 5, 2, 0), identity);
    const reading = await readOutput(set.model, set.dataset);
    const session = await createSession(set.model);
    await expect(evaluateModel(session, other.dataset, { metric: 'accuracy', reading })).rejects.toMatchObject({
      code: 'bad-data',
      message: expect.stringContaining('The label of sample 1 is 5'),
    });
    await expect(
      evaluateModel(session, set.dataset, { metric: 'accuracy', reading }, AbortSignal.abort()),
    ).rejects.toMatchObject({ code: 'cancelled' });
    await session.release();
  });
  test('outputs that do not go with the samples are left out, or refused', async () => {
    const loss = (b: Builder, v: Value): Value => b.op('ReduceMean', [v], { keepdims: 0 });
    const beside = await setUp(['n', 3], [4, 3], x, null, (b, v) => [loss(b, v), b.softmax(v)]);
    const reading = await readOutput(beside.model, beside.dataset);
    expect(reading).toMatchObject({ reading: 'probabilities' });
    expect(reading.also).toBeUndefined();
    const alone = await setUp(['n', 3], [4, 3], x, null, loss);
    await expect(readOutput(alone.model, alone.dataset)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('No output goes with the samples: for 4 of them the model gives'),
    });
  });
  test('a fixed batch: padding rows do not count', async () => {
    const set = await setUp([3, 3], [4, 3], Z, CLASSES, identity);
    const result = await value(set, 'cross-entropy');
    expect(result.perSample).toHaveLength(4);
    expect(result.value).toBeCloseTo(-1.2526114183121875, 6);
  });
  test('a model without a batch axis', async () => {
    const set = await setUp([3], [4, 3], Z, CLASSES, identity);
    const result = await value(set, 'cross-entropy');
    expect(result.reading).toMatchObject({ classAxis: 0 } satisfies Partial<OutputReading>);
    expect(result.value).toBeCloseTo(-1.2526114183121875, 6);
  });
});
