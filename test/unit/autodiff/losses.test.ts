import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addGradients } from '../../../src/autodiff/gradient.ts';
import { crossEntropy, divergence, softDistribution, squaredError } from '../../../src/autodiff/losses.ts';
import { emitterFor } from '../../../src/autodiff/emit.ts';
import type { Dim, Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { builder } from '../../support/build.ts';
import { checkGradient, runOutputs } from '../../support/gradients.ts';

/** Log-probabilities of one row of logits. */
function logSoftmax(z: number[]): number[] {
  const top = Math.max(...z);
  const sum = z.reduce((s, v) => s + Math.exp(v - top), 0);
  return z.map((v) => v - top - Math.log(sum));
}

const ROWS = [
  [0.3, -1.2, 2.1],
  [-0.4, 0.8, 0.1],
  [1.7, 0.2, -0.6],
  [0.05, 0.4, -2.2],
];
const LABELS = [2, 0, 0, 1];
const LOGS = ROWS.map(logSoftmax);
const EACH = LABELS.map((label, i) => -LOGS[i][label]);
const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;

const floats = (values: number[], dims: number[]) => new ort.Tensor('float32', Float32Array.from(values), dims);
const ints = (values: number[], dims: number[]) => new ort.Tensor('int64', BigInt64Array.from(values, BigInt), dims);

/** A model with one output x and labels y, to which a loss is added. */
function model(opset: number, shape: Dim[], labels: Dim[]) {
  const b = builder({ opset });
  const x = b.input('x', shape);
  const y = b.input('y', labels, DataType.INT64);
  return { b, x, y, e: emitterFor(b.model, 'loss') };
}

async function valueOf(m: ReturnType<typeof model>, loss: Value, feeds: Record<string, ort.Tensor>): Promise<number[]> {
  return Array.from((await runOutputs(m.b.model, [loss], feeds))[loss.name].data as Float32Array);
}

describe('cross-entropy', () => {
  it.each([9, 11, 13, 18, 21])('of logits with labels, opset %i', async (opset) => {
    const m = model(opset, ['N', 3], ['N']);
    const loss = crossEntropy(m.e, m.x, m.y);
    const feeds = { x: floats(ROWS.flat(), [4, 3]), y: ints(LABELS, [4]) };
    expect((await valueOf(m, loss, feeds))[0]).toBeCloseTo(mean(EACH), 5);
    const { compared } = await checkGradient(m.b.model, loss, [m.x], { feeds });
    expect(compared).toBe(12);
  });

  it('with smoothed labels: the mean over classes counts by their share', async () => {
    const feeds = { x: floats(ROWS.flat(), [4, 3]), y: ints([2, -100, 0, 1], [4]) };
    const m = model(13, ['N', 3], ['N']);
    const loss = crossEntropy(m.e, m.x, m.y, { smoothing: 0.3, ignore: -100 });
    const each = EACH.map((own, i) => 0.7 * own - 0.3 * mean(LOGS[i]));
    expect((await valueOf(m, loss, feeds))[0]).toBeCloseTo(mean([each[0], each[2], each[3]]), 5);
    await checkGradient(m.b.model, loss, [m.x], { feeds });
  });

  it('of every position, as a sum, and with labels that do not count', async () => {
    const feeds = { x: floats(ROWS.flat(), [4, 3]), y: ints([2, -100, 0, -100], [4]) };
    const m = model(13, ['N', 3], ['N']);
    const one = crossEntropy(m.e, m.x, m.y, { ignore: -100 });
    expect((await valueOf(m, one, feeds))[0]).toBeCloseTo((EACH[0] + EACH[2]) / 2, 5);
    await checkGradient(m.b.model, one, [m.x], { feeds });
    const each = crossEntropy(m.e, m.x, m.y, { reduction: 'none', ignore: -100 });
    const values = await valueOf(m, each, feeds);
    [EACH[0], 0, EACH[2], 0].forEach((v, i) => expect(values[i]).toBeCloseTo(v, 5));
    const sum = crossEntropy(m.e, m.x, m.y, { reduction: 'sum' });
    const all = { ...feeds, y: ints(LABELS, [4]) };
    expect((await valueOf(m, sum, all))[0]).toBeCloseTo(4 * mean(EACH), 4);
    await checkGradient(m.b.model, sum, [m.x], { feeds: all });
  });

  it.each([9, 13])('of maps, classes along axis 1, opset %i', async (opset) => {
    const m = model(opset, ['N', 3, 'H', 2], ['N', 'H', 2]);
    // Position (h, w) of the one sample holds row 2·h + w.
    const image = [0, 1, 2].flatMap((k) => ROWS.map((row) => row[k]));
    const feeds = { x: floats(image, [1, 3, 2, 2]), y: ints(LABELS, [1, 2, 2]) };
    const loss = crossEntropy(m.e, m.x, m.y);
    expect((await valueOf(m, loss, feeds))[0]).toBeCloseTo(mean(EACH), 5);
    await checkGradient(m.b.model, loss, [m.x], { feeds });
  });

  it('of tokens, classes along the last axis, labels in one row', async () => {
    const m = model(13, ['N', 'T', 3], ['K']);
    const feeds = { x: floats(ROWS.flat(), [2, 2, 3]), y: ints(LABELS, [4]) };
    const loss = crossEntropy(m.e, m.x, m.y, { classAxis: -1 });
    expect((await valueOf(m, loss, feeds))[0]).toBeCloseTo(mean(EACH), 5);
    await checkGradient(m.b.model, loss, [m.x], { feeds });
  });

  it('of probabilities and of log-probabilities', async () => {
    for (const [reading, values] of [
      ['probabilities', LOGS.flat().map(Math.exp)],
      ['log-probabilities', LOGS.flat()],
    ] as const) {
      const m = model(13, ['N', 3], ['N']);
      const feeds = { x: floats(values, [4, 3]), y: ints(LABELS, [4]) };
      const loss = crossEntropy(m.e, m.x, m.y, { reading });
      expect((await valueOf(m, loss, feeds))[0]).toBeCloseTo(mean(EACH), 5);
      await checkGradient(m.b.model, loss, [m.x], { feeds });
    }
  });

  it('of one number for two classes', async () => {
    const z = [1.3, -0.4, 0.2, -2];
    const truth = [1, 1, 0, 0];
    const wanted = mean(z.map((v, i) => Math.log(1 + Math.exp(truth[i] ? -v : v))));
    for (const [reading, values] of [
      ['binary-logit', z],
      ['binary-probability', z.map((v) => 1 / (1 + Math.exp(-v)))],
    ] as const) {
      const m = model(13, ['N', 1], ['N']);
      const feeds = { x: floats(values, [4, 1]), y: ints(truth, [4]) };
      const loss = crossEntropy(m.e, m.x, m.y, { reading });
      expect((await valueOf(m, loss, feeds))[0]).toBeCloseTo(wanted, 5);
      await checkGradient(m.b.model, loss, [m.x], { feeds });
    }
  });
});

describe('divergence from a reference', () => {
  const reference = [
    [0.5, 0.3, 0.2],
    [0.1, 0.1, 0.8],
    [0.25, 0.7, 0.05],
    [0.9, 0.04, 0.06],
  ];
  const feeds = { x: floats(ROWS.flat(), [4, 3]), p: floats(reference.flat().map(Math.log), [4, 3]) };
  it.each([1, 2.5])('temperature %f', async (temperature) => {
    const b = builder();
    const [x, p] = [b.input('x', ['N', 3]), b.input('p', ['N', 3])];
    const loss = divergence(emitterFor(b.model, 'loss'), x, p, { temperature });
    const rows = ROWS.map((row, i) => {
      const q = logSoftmax(row.map((v) => v / temperature));
      return reference[i].reduce((s, w, k) => s + w * (Math.log(w) - q[k]), 0) * temperature ** 2;
    });
    const result = await runOutputs(b.model, [loss], feeds);
    expect((result[loss.name].data as Float32Array)[0]).toBeCloseTo(mean(rows), 5);
    await checkGradient(b.model, loss, [x], { feeds });
  });
});

describe('a distribution at a temperature', () => {
  const sigmoid = (v: number) => 1 / (1 + Math.exp(-v));
  it.each([
    ['logits', ROWS.flat(), 3],
    ['probabilities', LOGS.flat().map(Math.exp), 3],
    ['log-probabilities', LOGS.flat(), 3],
    ['binary-logit', ROWS.flat(), 2],
    ['binary-probability', ROWS.flat().map(sigmoid), 2],
  ] as const)('is that of the logits, read as %s', async (reading, values, classes) => {
    const b = builder();
    const x = b.input('x', ['N', 3]);
    const soft = softDistribution(emitterFor(b.model, 'loss'), x, 2.5, { reading });
    const rows = classes === 3 ? ROWS : ROWS.flat().map((z) => [0, z]);
    const wanted = rows.flatMap((row) => logSoftmax(row.map((v) => v / 2.5)));
    const out = (await runOutputs(b.model, [soft], { x: floats([...values], [4, 3]) }))[soft.name];
    expect(out.dims.at(-1)).toBe(classes);
    (out.data as Float32Array).forEach((v, i) => expect(v).toBeCloseTo(wanted[i], 5));
  });
});

describe('squared error', () => {
  it('of every element', async () => {
    const b = builder();
    const [x, t] = [b.input('x', ['N', 3]), b.input('t', ['N', 3])];
    const e = emitterFor(b.model, 'loss');
    const loss = squaredError(e, x, t);
    const feeds = { x: floats([1, 2, 3], [1, 3]), t: floats([0, 4, 3], [1, 3]) };
    const result = await runOutputs(b.model, [loss], feeds);
    expect((result[loss.name].data as Float32Array)[0]).toBeCloseTo(5 / 3, 6);
    await checkGradient(b.model, [loss, squaredError(e, x, t, 'none')], [x, t], { feeds });
  });
});

describe('half precision', () => {
  it('is left for the loss, and its gradients are those of float32 but for rounding', async () => {
    const slopes: number[][] = [];
    for (const type of [DataType.FLOAT, DataType.FLOAT16]) {
      const m = model(20, ['N', 3], ['N']);
      const constant = (values: number[], dims: number[]) => m.b.constant(Tensor.fromNumbers('c', type, dims, values));
      const h = m.b.op('MatMul', [m.b.op('Cast', [m.x], { to: type }), constant(ROWS.flat().slice(0, 9), [3, 3])]);
      const bend = m.b.op('HardSwish', [m.b.op('Gelu', [h])]);
      const p = m.b.op('Softmax', [m.b.op('Where', [m.b.op('Greater', [h, constant([0.1], [])]), bend, h])]);
      // An emitter knows the types of what was there when it was made.
      const loss = crossEntropy(emitterFor(m.b.model, 'loss'), p, m.y, { reading: 'probabilities' });
      const gradient = addGradients(m.b.model, loss, [m.x]).gradients.get(m.x)!;
      const feeds = { x: floats(ROWS.flat(), [4, 3]), y: ints(LABELS, [4]) };
      const out = await runOutputs(m.b.model, [gradient], feeds);
      slopes.push(Array.from(out[gradient.name].data as Float32Array));
    }
    const scale = Math.max(...slopes[0].map(Math.abs));
    slopes[0].forEach((g, i) => expect(Math.abs(slopes[1][i] - g) / scale).toBeLessThan(0.01));
  });
});
