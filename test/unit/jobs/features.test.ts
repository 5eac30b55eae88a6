import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Features } from '../../../src/formats.ts';
import type { FeaturesParams, Progress } from '../../../src/protocol.ts';
import { tokenTexts } from '../../../src/engine/jobs/token-texts.ts';
import { saveModel } from '../../../src/graph/save.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Builder } from '../../support/build.ts';
import { drawFeatureSet, featureSets } from '../../support/feature-sets.ts';
import { calib, failure, model, run, scratch, writeNpz } from './jobs.ts';

const device = 'cpu' as const;
const digits = { model, data: { ...calib, samples: 60 }, seed: 1, device, steps: 4, batch: 16 };

const ask = (params: Partial<FeaturesParams>, options?: Parameters<typeof run>[2]): Promise<Features> =>
  run('features', { ...digits, ...params }, options);

/** The data of a set as a file, and the network that was trained on it. */
function setFiles(name: string): Pick<FeaturesParams, 'model' | 'data'> {
  const { x, dataset } = drawFeatureSet(featureSets[name], 400, 3);
  const path = join(scratch(), `${name}.npz`);
  const labels = BigInt64Array.from(dataset.labels!, BigInt);
  writeNpz(path, { x: { dims: [400, 10], data: x }, y: { dims: [400], data: labels } });
  return { model: join(import.meta.dirname, `../../fixtures/features/${name}.onnx`), data: { path, seed: 0 } };
}

test('the features that labels depend on come first, with all that makes the result again', async () => {
  const seen: Progress[] = [];
  const params = { ...setFiles('xor'), seed: 1, device, steps: 60 };
  const report = await run('features', params, { progress: (p) => seen.push(p) });
  const order = [...report.features].sort((a, b) => b.importance - a.importance).map((f) => f.index);
  expect(order.slice(0, 2).sort()).toEqual([0, 1]);
  expect(report).toMatchObject({
    format: 'secateur-features/1',
    method: 'qfit',
    mode: 'global',
    kind: 'columns',
    baseline: 'mean',
    input: 'x',
    loss: 'cross-entropy',
    estimator: 'pathwise',
    scaling: 'max-one',
    prior: 0.1,
    draws: 5,
    steps: 60,
    samples: 400,
    complete: true,
  });
  expect(report.features.reduce((s, f) => s + f.importance, 0)).toBeCloseTo(1, 9);
  expect(report.value.open).toBeLessThan(0.1);
  expect(report.value.closed).toBeGreaterThan(0.4);
  const partial = seen.flatMap((p) => (p.partial && 'features' in p.partial ? [p.partial] : []));
  expect(partial).toHaveLength(60);
  const again = await run('features', params);
  expect(again.phi).toEqual(report.phi);
});

test('patches of a picture: where they lie, what to lay them over, and a choice of them that keeps its distance', async () => {
  const report = await ask({ kind: 'patches', patch: 3, select: 3 });
  const { grid, picture, selected } = report;
  expect(grid!.rows * grid!.columns).toBe(report.features.length);
  expect(picture).toMatchObject({ height: grid!.height, width: grid!.width });
  expect(picture!.pixels).toHaveLength(grid!.height * grid!.width * picture!.channels);
  expect(Math.max(...picture!.pixels)).toBe(255);
  expect(new Set(selected!.indices).size).toBe(3);
  expect(selected!.value).toBeGreaterThan(report.value.open);
});

test('one sample', async () => {
  const report = await ask({ sample: 7, data: calib, steps: 20 });
  expect(report).toMatchObject({ mode: 'local', sample: 7, samples: 1, batch: 1, loss: 'kl' });
  expect((await ask({ sample: 7, data: calib, metric: 'cross-entropy' })).loss).toBe('cross-entropy');
  const other = await ask({ sample: 8, data: calib, steps: 20 });
  expect(other.phi).not.toEqual(report.phi);
  expect(other.picture).not.toEqual(report.picture);
});

test('every sample by a selector network', async () => {
  const files = setFiles('xor');
  const report = await run('features', { ...files, mode: 'local', seed: 1, device, steps: 20, batch: 50 });
  expect(report).toMatchObject({ mode: 'local', samples: 400, phi: null, steps: 20, batch: 50 });
  expect(report.sample).toBeUndefined();
  expect(report.local).toHaveLength(400);
  const [first, second] = report.local!;
  expect(first.importance).not.toEqual(second.importance);
  const mean = report.local!.reduce((s, l) => s + l.importance[3] / 400, 0);
  expect(report.features[3].importance).toBeCloseTo(mean, 9);
  expect(
    (await failure(run('features', { ...files, mode: 'local', against: model, seed: 1, device }))).message,
  ).toMatch(/on one of them/);
});

test('two models and two labels are compared by the divergence of their distributions', async () => {
  const same = await ask({ against: model });
  expect(same.comparison).toMatchObject({ of: 'models', divergence: { forward: 0, backward: 0 }, spearman: 1 });
  const labels = await ask({ compareLabels: [3, 8] });
  expect(labels.name).toBe('label 3');
  expect(labels.comparison!.other.name).toBe('label 8');
  expect(labels.comparison!.divergence!.forward).toBeGreaterThan(0);
  expect(labels.comparison!.divergence!.backward).not.toBe(labels.comparison!.divergence!.forward);
});

test('Shapley values add up to what all features are worth', async () => {
  const report = await run('features', { ...setFiles('orange-skin'), method: 'shapley', seed: 1, device });
  const sum = report.features.reduce((s, f) => s + f.importance, 0);
  expect(sum).toBeCloseTo(report.value.open - report.value.closed, 5);
  expect(report).toMatchObject({ method: 'shapley', estimator: 'exact', phi: null, prior: null, complete: true });
  const order = [...report.features].sort((a, b) => b.importance - a.importance).map((f) => f.index);
  expect(order.slice(0, 4).sort()).toEqual([0, 1, 2, 3]);
});

test('tokens of a sample', async () => {
  const b = new Builder({ seed: 8 });
  const ids = b.input('x', ['N', 4], DataType.INT64);
  const e = b.op('Gather', [b.weight([6, 5], 'table'), ids]);
  b.output(b.gemm(b.flatten(b.op('Tanh', [b.linear(e, 5, 5)])), 20, 3));
  const folder = scratch();
  const file = join(folder, 'tokens.onnx');
  saveModel(b.model, file);
  const path = join(folder, 'tokens.npz');
  writeNpz(path, {
    x: { dims: [3, 4], data: BigInt64Array.from([0, 1, 2, 3, 4, 5, 0, 1, 2, 2, 2, 2].map(BigInt)) },
    y: { dims: [3], data: BigInt64Array.from([0n, 1n, 2n]) },
  });
  const report = await ask({ model: file, data: { path, seed: 0 }, sample: 1 });
  expect(report).toMatchObject({ kind: 'tokens', tokens: ['4', '5', '0', '1'] });
  // A vocabulary beside the model has their texts, unless it lacks one of them.
  const numbers = [4, 5, 0, 1];
  writeFileSync(join(folder, 'vocab.json'), JSON.stringify({ a: 0, Ġb: 1, '\n': 4, d: 5 }));
  expect(tokenTexts(file, null, numbers)).toEqual(['⏎', 'd', 'a', ' b']);
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify({ model: { vocab: ['a', '▁b', 'c', 'd', 'e', 'f'] } }));
  expect(tokenTexts(file, null, numbers)).toEqual(['e', 'f', 'a', ' b']);
  expect(tokenTexts(file, null, [1, 77])).toEqual(['1', '77']);
  writeFileSync(join(folder, 'tokenizer.json'), '{');
  expect(tokenTexts(file, null, numbers)).toEqual(['⏎', 'd', 'a', ' b']);
});

test('a run that is cancelled gives what it has', async () => {
  const abort = new AbortController();
  const report = await ask(
    { steps: 1000 },
    { signal: abort.signal, progress: (p) => p.partial && 'features' in p.partial && abort.abort() },
  );
  expect(report.complete).toBe(false);
  expect(report.steps).toBeLessThan(1000);
  abort.abort();
  expect((await failure(ask({}, { signal: abort.signal }))).code).toBe('cancelled');
});

test('what cannot be done is refused in one sentence', async () => {
  const refused = async (params: Partial<FeaturesParams>): Promise<string> => {
    const error = await failure(ask(params));
    expect(error.code).toBe('usage');
    return error.message;
  };
  expect(await refused({ metric: 'accuracy' })).toMatch(/no loss/);
  expect(await refused({ sample: 5000 })).toMatch(/no sample 5000/);
  expect(await refused({ sample: 1, mode: 'global' })).toMatch(/local mode/);
  expect(await refused({ compareLabels: [3, 77] })).toMatch(/label 77/);
  expect(await refused({ compareLabels: [3, 8], sample: 1 })).toMatch(/global/);
  expect(await refused({ against: model, compareLabels: [3, 8] })).toMatch(/at once/);
  expect(await refused({ spread: 1 })).toMatch(/number of features/);
  expect(await refused({ kind: 'tokens', input: 'nothing' })).toMatch(/no input named/);
  expect(await refused({ select: 10_000 })).toMatch(/cannot be chosen/);
  expect(await refused({ kind: 'columns', select: 2, spread: 1 })).toMatch(/neighbours/);
});
