import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterAll, describe, expect, test } from 'vitest';
import { openDataset, openDatasets } from '../../../src/evaluation/data/index.ts';
import type { Dim, Model } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { TensorProtoSchema } from '../../../src/onnx/onnx_pb.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { Builder } from '../../support/build.ts';
import { counting, npy, npz } from './arrays.ts';

const folder = mkdtempSync(join(tmpdir(), 'secateur-data-'));
afterAll(() => rmSync(folder, { recursive: true }));
const write = (name: string, bytes: Uint8Array | string): string => {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, bytes);
  return path;
};

/** A model that passes its inputs on. */
function model(inputs: Record<string, Dim[] | [Dim[], number]>): Model {
  const b = new Builder();
  for (const [name, spec] of Object.entries(inputs)) {
    const typed = Array.isArray(spec[0]);
    const x = b.input(name, typed ? (spec[0] as Dim[]) : (spec as Dim[]), typed ? (spec[1] as number) : DataType.FLOAT);
    b.output(b.op('Identity', [x]));
  }
  return b.model;
}

const labels = (...values: number[]): Uint8Array => npy([values.length], BigInt64Array.from(values, BigInt));
const xy = (samples = 5): Uint8Array =>
  npz({ x: npy([samples, 2], counting(samples * 2)), y: labels(...Array.from({ length: samples }, (_, i) => i % 3)) });
const rejects = (promise: Promise<unknown>, code: string, message: string | RegExp) =>
  expect(promise).rejects.toMatchObject({
    name: 'SecateurError',
    code,
    message: typeof message === 'string' ? message : expect.stringMatching(message),
  });

describe('matching arrays with inputs', () => {
  test('x and y', async () => {
    const data = await openDataset(model({ input: ['n', 2] }), { path: write('xy.npz', xy()), seed: 0 });
    expect(data).toMatchObject({
      samples: 5,
      labelsPerSample: 1,
      classes: 3,
      synthetic: false,
      batchSize: null,
      warnings: [],
    });
    expect(data.labels).toEqual(Int32Array.of(0, 1, 2, 0, 1));
    expect(data.feeds([3, 0])).toEqual({ input: { type: 'float32', dims: [2, 2], data: Float32Array.of(6, 7, 0, 1) } });
    expect(data.labelsOf([4, 2])).toEqual(Int32Array.of(1, 2));
  });
  test('by name, whatever the punctuation; types are converted', async () => {
    const path = write(
      'names.npz',
      npz({
        input_ids_0: npy([2, 3], Int32Array.of(1, 2, 3, 4, 5, 6)),
        mask: npy([2, 3], new Float64Array(6).fill(1)),
      }),
    );
    const data = await openDataset(
      model({ 'input_ids:0': [['n', 's'], DataType.INT64], mask: [['n', 's'], DataType.BOOL] }),
      { path, seed: 0 },
    );
    expect(data.feeds([1])).toEqual({
      'input_ids:0': { type: 'int64', dims: [1, 3], data: BigInt64Array.of(4n, 5n, 6n) },
      mask: { type: 'bool', dims: [1, 3], data: Uint8Array.of(1, 1, 1) },
    });
    expect(data.labels).toBeNull();
  });
  test('the only array that fits', async () => {
    const path = write(
      'single.npz',
      npz({ other: npy([4, 7], counting(28)), pictures: npy([4, 2], counting(8)), target: labels(0, 1, 0, 1) }),
    );
    const data = await openDataset(model({ input: ['n', 2] }), { path, seed: 0 });
    expect(data.feeds([1]).input.data).toEqual(Float32Array.of(2, 3));
    expect(data.labels).toEqual(Int32Array.of(0, 1, 0, 1));
  });
  test('an array alone, flat rows, channels last', async () => {
    const alone = await openDataset(model({ input: ['n', 1, 2, 3] }), {
      path: write('flat.npy', npy([2, 6], counting(12))),
      seed: 0,
    });
    expect(alone.feeds([1]).input).toEqual({
      type: 'float32',
      dims: [1, 1, 2, 3],
      data: Float32Array.of(6, 7, 8, 9, 10, 11),
    });
    expect(alone.warnings).toEqual(['Array x of shape [2, 6] is fed as [2, 1, 2, 3].']);
    const last = await openDataset(model({ input: ['n', 3, 2, 2] }), {
      path: write('last.npy', npy([1, 2, 2, 3], counting(12))),
      seed: 0,
    });
    expect([...(last.feeds([0]).input.data as Float32Array)]).toEqual([0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
    expect(last.warnings[0]).toContain('they were moved');
  });
  test('one sample without its batch axis', async () => {
    const data = await openDataset(model({ input: [1, 2, 3] }), {
      path: write('one.npy', npy([2, 3], counting(6))),
      seed: 0,
    });
    expect(data).toMatchObject({ samples: 1, batchSize: 1 });
    expect(data.feeds([0]).input.dims).toEqual([1, 2, 3]);
  });
  test('a model without a batch axis runs sample by sample', async () => {
    const data = await openDataset(model({ input: [2, 3] }), {
      path: write('whole.npy', npy([4, 2, 3], counting(24))),
      seed: 0,
    });
    expect(data).toMatchObject({ samples: 4, batchSize: 1 });
    expect(data.feeds([2]).input).toEqual({
      type: 'float32',
      dims: [2, 3],
      data: Float32Array.of(12, 13, 14, 15, 16, 17),
    });
  });
  test('constants, also with a batch axis', async () => {
    const wanted = { x: ['n', 2] as Dim[], t: [] as Dim[], state: [2, 'n', 3] as Dim[] };
    const data = await openDataset(model(wanted), {
      path: write('c.npz', xy()),
      seed: 0,
      constants: { t: 0.5, state: 2 },
    });
    const feeds = data.feeds([0, 1, 2]);
    expect(feeds.t).toEqual({ type: 'float32', dims: [], data: Float32Array.of(0.5) });
    expect(feeds.state).toEqual({ type: 'float32', dims: [2, 3, 3], data: new Float32Array(18).fill(2) });
    await rejects(
      openDataset(model(wanted), { path: write('c.npz', xy()), seed: 0, constants: { q: 1 } }),
      'usage',
      'The model has no input named q.',
    );
  });
  test('an initializer that is also an input needs no data', async () => {
    const b = new Builder();
    const x = b.input('x', ['n', 2]);
    const w = b.weight([2, 2]);
    b.graph.inputs.push(w);
    b.output(b.op('MatMul', [x, w]));
    const data = await openDataset(b.model, { path: write('w.npz', xy()), seed: 0 });
    expect(data.inputs.map((i) => i.name)).toEqual(['x']);
  });
  test('8-bit pixels for a float input are fed as they are, and that is said', async () => {
    const data = await openDataset(model({ x: ['n', 2] }), {
      path: write('u8.npz', npz({ x: npy([1, 2], Uint8Array.of(7, 255)) })),
      seed: 0,
    });
    expect(data.feeds([0]).x.data).toEqual(Float32Array.of(7, 255));
    expect(data.warnings).toEqual([
      'Array x holds 8-bit integers; they are fed as the numbers 0…255, without scaling.',
    ]);
  });
  test('columns of a table: one matrix, or one input each', async () => {
    const path = write('t.csv', 'a,b,label\n1,2,cat\n3,4,ant\n');
    const matrix = await openDataset(model({ input: ['n', 2] }), { path, seed: 0 });
    expect(matrix.feeds([1]).input.data).toEqual(Float32Array.of(3, 4));
    expect(matrix.labels).toEqual(Int32Array.of(1, 0));
    expect(matrix.classNames).toEqual(['ant', 'cat']);
    const columns = await openDataset(model({ a: ['n', 1], b: ['n', 1] }), { path, seed: 0 });
    expect(columns.feeds([1]).b).toMatchObject({ dims: [1, 1], data: Float32Array.of(4) });
    await rejects(
      openDataset(model({ input: ['n', 5] }), { path, seed: 0 }),
      'bad-data',
      /array x has the shape \[2, 2\], which does not fit the model's input input of shape \[n, 5\]/,
    );
  });
  test('a folder of arrays', async () => {
    write('arrays/x.npy', npy([2, 2], counting(4)));
    write('arrays/labels.npy', labels(1, 0));
    const data = await openDataset(model({ input: ['n', 2] }), { path: join(folder, 'arrays'), seed: 0 });
    expect(data.labels).toEqual(Int32Array.of(1, 0));
  });
});

describe('labels', () => {
  const open = (array: Uint8Array, outputs?: Dim[]) => {
    const m = model({ x: ['n', 2] });
    if (outputs) m.graph.outputs[0].type = { kind: 'tensor', elemType: DataType.FLOAT, shape: outputs };
    return openDataset(m, { path: write('labels.npz', npz({ x: npy([2, 2], counting(4)), targets: array })), seed: 0 });
  };
  test('one per token, one-hot, real targets', async () => {
    expect(await open(npy([2, 3], Int32Array.of(0, 1, 2, 3, 4, 5)))).toMatchObject({ labelsPerSample: 3, classes: 6 });
    const hot = npy([2, 3], Float32Array.of(0, 0, 1, 1, 0, 0));
    expect(await open(hot, ['n', 3])).toMatchObject({ labelsPerSample: 1, classes: 3, labels: Int32Array.of(2, 0) });
    expect(await open(hot)).toMatchObject({ labelsPerSample: 3 });
    expect(await open(npy([2, 1], Float32Array.of(0.5, 2)))).toMatchObject({
      labelsPerSample: 1,
      classes: null,
      labels: Float32Array.of(0.5, 2),
    });
  });
  test('wrong count and NaN are errors', async () => {
    await rejects(open(labels(0, 1, 2)), 'bad-data', /targets has 3 labels \(shape \[3\]\) for 2 samples/);
    await rejects(open(npy([2], Float32Array.of(0.5, NaN))), 'bad-data', /targets is NaN at \[1\]/);
  });
});

describe('data that cannot be used', () => {
  const m = model({ x: ['n', 2] });
  test('inputs that the data lack are named, with what to do', async () => {
    const two = model({ x: ['n', 2], attention_mask: [['n', 's'], DataType.INT64] });
    const promise = openDataset(two, { path: write('lack.npz', xy()), seed: 0 });
    await rejects(promise, 'bad-data', /has no array for the model's input attention_mask \[n, s\]\.$/);
    await expect(promise).rejects.toMatchObject({ hint: expect.stringContaining('--input attention_mask=value') });
  });
  test('shapes that do not fit: both are told', async () => {
    const path = write('misfit.npz', npz({ x: npy([3, 5], counting(15)) }));
    await rejects(
      openDataset(m, { path, seed: 0 }),
      'bad-data',
      `${path}: array x has the shape [3, 5], which does not fit the model's input x of shape [n, 2].`,
    );
  });
  test('NaN and infinity: array and first index are told', async () => {
    const bad = (v: number) => write('nan.npz', npz({ x: npy([2, 2], Float32Array.of(0, 1, 2, v)) }));
    await rejects(
      openDataset(m, { path: bad(NaN), seed: 0 }),
      'bad-data',
      /array x is NaN \(not a number\) at \[1, 1\]\.$/,
    );
    await rejects(openDataset(m, { path: bad(-Infinity), seed: 0 }), 'bad-data', /array x is infinite at \[1, 1\]\.$/);
    const half = write('half.npz', npz({ x: npy([1, 2], Uint16Array.of(0, 0x7c00)) }));
    await rejects(openDataset(m, { path: half, seed: 0 }), 'bad-data', /array x is infinite at \[0, 1\]/);
  });
  test('numbers that the input cannot hold', async () => {
    const ids = model({ x: [['n', 2], DataType.UINT8] });
    await rejects(
      openDataset(ids, { path: write('i.npz', npz({ x: npy([1, 2], Int32Array.of(1, 256)) })), seed: 0 }),
      'bad-data',
      /array x is 256, which does not fit the model's uint8, at \[0, 1\]/,
    );
    await rejects(
      openDataset(ids, { path: write('i.npz', npz({ x: npy([1, 2], Float32Array.of(1, 0.5)) })), seed: 0 }),
      'bad-data',
      /array x is 0.5, but the model wants integers \(uint8\), at \[0, 1\]/,
    );
  });
  test('samples that differ in number, none, an unknown kind, no file', async () => {
    const two = model({ a: ['n', 2], b: ['n', 2] });
    const path = write('differ.npz', npz({ a: npy([3, 2], counting(6)), b: npy([2, 2], counting(4)) }));
    await rejects(openDataset(two, { path, seed: 0 }), 'bad-data', /array b has 2 samples, but a has 3/);
    await rejects(
      openDataset(m, { path: write('none.npz', npz({ x: npy([0, 2], counting(0)) })), seed: 0 }),
      'bad-data',
      /array x has no samples/,
    );
    await rejects(
      openDataset(m, { path: write('data.parquet', 'x'), seed: 0 }),
      'bad-data',
      /is of a kind that Secateur does not read/,
    );
    await rejects(openDataset(m, { path: join(folder, 'nowhere.npz'), seed: 0 }), 'bad-data', /There is no data at/);
    await rejects(
      openDataset(m, { path: write('xy.npz', xy()), seed: 0, samples: 0 }),
      'usage',
      /must be a positive integer/,
    );
  });
  test('inputs that are no numbers', async () => {
    await rejects(
      openDataset(model({ text: [['n'], DataType.STRING] }), { path: write('xy.npz', xy()), seed: 0 }),
      'unsupported',
      "The model's input text is string, which Secateur cannot feed.",
    );
  });
});

describe('samples', () => {
  const m = model({ x: ['n', 2] });
  const path = write('many.npz', xy(50));

  test('the same seed takes the same samples; fewer are the first of more', async () => {
    const a = await openDataset(m, { path, seed: 1, samples: 10 });
    const b = await openDataset(m, { path, seed: 1, samples: 20 });
    const c = await openDataset(m, { path, seed: 2, samples: 10 });
    expect([...b.ids].slice(0, 10)).toEqual([...a.ids]);
    expect([...c.ids]).not.toEqual([...a.ids]);
    expect(a.labels).toEqual(Int32Array.from(a.ids, (id) => id % 3));
    expect((a.feeds([4]).x.data as Float32Array)[0]).toBe(a.ids[4] * 2);
    expect(a.fingerprint).toBe(c.fingerprint);
    expect(a.fingerprint).toMatch(/^[0-9a-f]{64}$/);
  });
  test('the fingerprint changes with a number, a name, a shape', async () => {
    const print = async (arrays: Record<string, Uint8Array>) =>
      (await openDataset(m, { path: write('f.npz', npz(arrays)), seed: 0 })).fingerprint;
    const base = await print({ x: npy([4, 2], counting(8)) });
    expect(await print({ x: npy([4, 2], counting(8)) })).toBe(base);
    expect(
      await print({
        x: npy(
          [4, 2],
          counting(8).map((v) => v + (v === 7 ? 1 : 0)),
        ),
      }),
    ).not.toBe(base);
    expect(await print({ input: npy([4, 2], counting(8)) })).not.toBe(base);
    expect(await print({ x: npy([4, 1, 2], counting(8)) })).not.toBe(base);
  });
  test('80/20 without a hold-out file; each sample on one side', async () => {
    const { search, holdout, own } = await openDatasets(m, { path, seed: 3 });
    expect([search.samples, holdout.samples, own]).toEqual([40, 10, false]);
    expect([...search.ids, ...holdout.ids].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(holdout.labels).toEqual(Int32Array.from(holdout.ids, (id) => id % 3));
    const again = await openDatasets(m, { path, seed: 3 });
    expect(again.search.ids).toEqual(search.ids);
  });
  test('a hold-out file is judged on whole', async () => {
    const { search, holdout, own } = await openDatasets(m, { path, seed: 3, holdout: write('hold.npz', xy(7)) });
    expect([search.samples, holdout.samples, own]).toEqual([50, 7, true]);
    const bare = write('bare.npz', npz({ x: npy([3, 2], counting(6)) }));
    await rejects(
      openDatasets(m, { path, seed: 3, holdout: bare }),
      'bad-data',
      /bare.npz has no labels, but .*many.npz has/,
    );
  });
  test('a fixed batch is filled up; only the real rows count', async () => {
    const fixed = await openDataset(model({ x: [4, 2] }), { path: write('five.npz', xy(5)), seed: 0 });
    expect(fixed.batchSize).toBe(4);
    const batches = fixed.batches(null, 100);
    expect(batches.map((b) => [...b.indices])).toEqual([
      [0, 1, 2, 3],
      [4, 4, 4, 4],
    ]);
    expect(batches.map((b) => b.count)).toEqual([4, 1]);
    const free = await openDataset(m, { path: write('five.npz', xy(5)), seed: 0 });
    expect(free.batches([4, 3, 2], 2).map((b) => [...b.indices])).toEqual([[4, 3], [2]]);
  });
});

describe('synthetic inputs', () => {
  test('floats are normal, tokens stay below the rows of their table, the warning is plain', async () => {
    const b = new Builder();
    const ids = b.input('ids', ['n', 's'], DataType.INT64);
    const x = b.input('x', ['n', 100]);
    const mask = b.input('attention_mask', ['n', 's'], DataType.INT64);
    b.output(b.op('Gather', [b.weight([6, 3]), ids]), b.op('Identity', [x]), b.op('Identity', [mask]));
    const data = await openDataset(b.model, { path: null, seed: 5 });
    expect(data).toMatchObject({ synthetic: true, samples: 64, labels: null, path: null });
    expect(data.warnings[0]).toBe('No data: synthetic inputs, compares outputs only.');
    expect(data.warnings.join()).toContain('Input ids [n, s] leaves its size open: [16] was taken.');
    const all = Int32Array.from({ length: 64 }, (_, i) => i);
    const feeds = data.feeds(all);
    const tokens = [...(feeds.ids.data as BigInt64Array)];
    expect(new Set(tokens)).toEqual(new Set([0n, 1n, 2n, 3n, 4n, 5n]));
    expect(new Set(feeds.attention_mask.data as BigInt64Array)).toEqual(new Set([0n, 1n]));
    const normal = feeds.x.data as Float32Array;
    const mean = normal.reduce((a, v) => a + v, 0) / normal.length;
    const variance = normal.reduce((a, v) => a + v * v, 0) / normal.length - mean ** 2;
    // 6 400 numbers: standard errors 0.0125 and 0.0177.
    expect(Math.abs(mean)).toBeLessThan(0.05);
    expect(Math.abs(variance - 1)).toBeLessThan(0.07);
    const again = await openDataset(b.model, { path: null, seed: 5 });
    expect(again.feeds(all)).toEqual(feeds);
  });
  test('fixed shapes, states, scalars', async () => {
    const fixed = await openDataset(model({ x: [8, 2] }), { path: null, seed: 0, samples: 16 });
    expect(fixed).toMatchObject({ batchSize: 8, samples: 16 });
    const state = await openDataset(model({ x: ['n', 2], h: [2, 'n', 4], t: [] }), { path: null, seed: 0 });
    expect(state.feeds([0, 1]).h).toEqual({ type: 'float32', dims: [2, 2, 4], data: new Float32Array(16) });
    expect(state.feeds([0, 1]).t.data).toEqual(Float32Array.of(1));
    expect(state.warnings).toHaveLength(3);
    const whole = await openDataset(model({ x: [1, 2], h: [2, 1, 4] }), { path: null, seed: 0, samples: 3 });
    expect(whole.batchSize).toBe(1);
    expect(whole.feeds([2]).h.dims).toEqual([2, 1, 4]);
  });
});

describe('ONNX test data', () => {
  const tensor = (dims: number[], values: Float32Array): Uint8Array =>
    toBinary(
      TensorProtoSchema,
      create(TensorProtoSchema, {
        name: 'x',
        dims: dims.map(BigInt),
        dataType: 1,
        rawData: new Uint8Array(values.buffer),
      }),
    );

  test('sets that are batches become rows; others are runs of their own', async () => {
    for (const [set, rows] of [
      [0, 2],
      [1, 3],
    ])
      write(
        `rows/test_data_set_${set}/input_0.pb`,
        tensor(
          [rows, 2],
          counting(rows * 2).map((v) => v + 10 * set),
        ),
      );
    const rows = await openDataset(model({ x: ['n', 2] }), { path: join(folder, 'rows'), seed: 0 });
    expect(rows.samples).toBe(5);
    expect(rows.feeds([4]).x).toEqual({ type: 'float32', dims: [1, 2], data: Float32Array.of(14, 15) });
    for (const set of [0, 1])
      write(
        `runs/test_data_set_${set}/input_0.pb`,
        tensor(
          [3, 2],
          counting(6).map((v) => v + 10 * set),
        ),
      );
    const runs = await openDataset(model({ x: [3, 2] }), { path: join(folder, 'runs'), seed: 0 });
    expect(runs).toMatchObject({ samples: 2, batchSize: 1 });
    expect(runs.feeds([1]).x).toMatchObject({ dims: [3, 2], data: counting(6).map((v) => v + 10) });
    const session = await createSession(model({ x: [3, 2] }));
    expect(Object.values(await session.run(runs.feeds([1])))[0].data).toEqual(counting(6).map((v) => v + 10));
    await session.release();
  });
  test('missing and damaged tensors are named', async () => {
    const two = model({ x: ['n', 2], z: ['n', 2] });
    await rejects(
      openDataset(two, { path: join(folder, 'rows'), seed: 0 }),
      'bad-data',
      /test_data_set_0 has no input_1.pb for the model's input z/,
    );
    write('bad/test_data_set_0/input_0.pb', Uint8Array.of(255, 255, 255));
    await rejects(
      openDataset(model({ x: ['n', 2] }), { path: join(folder, 'bad'), seed: 0 }),
      'bad-data',
      /input_0.pb is not a readable tensor/,
    );
  });
});
