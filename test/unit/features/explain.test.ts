/** Q-FIT on data whose relevant features are known; `npm run bench features` is the full measurement. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { explainSamples } from '../../../src/features/explain.ts';
import { openFeatureModel, type FeatureModel } from '../../../src/features/feature-model.ts';
import { explainEach } from '../../../src/features/selector/explain-each.ts';
import { qfitSettings } from '../../../src/features/settings.ts';
import { featureGame } from '../../../src/features/shapley.ts';
import { loadModel } from '../../../src/graph/load.ts';
import { dirichletMean } from '../../../src/math/dirichlet.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { drawFeatureSet, featureSets, median, medianRank } from '../../support/feature-sets.ts';

interface Opened {
  model: FeatureModel;
  all: Int32Array;
  relevant(sample: number): number[];
}

/** The network of a set, on some of its data. */
async function open(name: string, samples: number, seed: number): Promise<Opened> {
  const set = featureSets[name];
  const { x, dataset } = drawFeatureSet(set, samples, seed);
  const structure = analyseStructure(loadModel(join(import.meta.dirname, `../../fixtures/features/${name}.onnx`)));
  const model = await openFeatureModel(structure, dataset, {
    reading: { output: 'logits', reading: 'logits', classAxis: 1 },
    loss: 'cross-entropy',
    device: 'cpu',
    baseline: 'mean',
  });
  return {
    model,
    all: Int32Array.from({ length: samples }, (_, i) => i),
    relevant: (i) => set.relevant(x.subarray(i * set.features, (i + 1) * set.features)),
  };
}

// Median ranks that the code of the method's authors reports for its own networks.
test.each([
  ['xor', 1.5],
  ['orange-skin', 2.67],
  ['nonlinear-additive', 2.56],
])('%s: the median rank of the relevant features is at most the published %f', async (name, published) => {
  const ranks: number[] = [];
  for (const seed of [11, 12, 13, 14, 15]) {
    const { model, all, relevant } = await open(name, 400, seed);
    const { features, complete } = await explainSamples(
      model,
      all,
      qfitSettings(model, 400, 'global', { seed, steps: 80 }),
    );
    expect(complete).toBe(true);
    ranks.push(
      medianRank(
        features.map((f) => f.importance),
        relevant(0),
      ),
    );
    await model.close();
  }
  expect(median(ranks)).toBeLessThanOrEqual(published);
});

test('where features switch from sample to sample, explanations of each find them better than one of all', async () => {
  const { model, all, relevant } = await open('syn5', 400, 21);
  const meanRank = (importance: (sample: number) => ArrayLike<number>): number =>
    all.reduce((sum, i) => sum + medianRank(importance(i), relevant(i)), 0) / all.length;
  const global = await explainSamples(model, all, qfitSettings(model, 400, 'global', { seed: 1, steps: 80 }));
  const shared = global.features.map((f) => f.importance);
  const settings = qfitSettings(model, 400, 'selector', { seed: 1, steps: 80, batch: 50, draws: 3 });
  const { each } = await explainEach(model, all, settings, 'cpu');
  expect(meanRank((i) => dirichletMean(each[i].phi))).toBeLessThan(meanRank(() => shared) - 0.3);
  await model.close();
});

test('the sampled and the score-function gradient lead to the same features', async () => {
  const { model, all } = await open('xor', 500, 3);
  const settings = qfitSettings(model, 500, 'global', { seed: 4 });
  // The same model, as if an operator had no gradient rule.
  const blind: FeatureModel = Object.create(model, {
    hasGradients: { value: false },
    run: {
      value: (...[samples, gates, options]: Parameters<FeatureModel['run']>) =>
        model.run(samples, gates, { ...options, gradients: false }),
    },
  });
  const found = await explainSamples(blind, all, { ...settings, draws: 64, batch: 10, steps: 100 });
  expect(found.estimator).toBe('score-function');
  const order = [...found.features].sort((a, b) => b.importance - a.importance).map((f) => f.index);
  expect(order.slice(0, 2).sort()).toEqual([0, 1]);
  await expect(explainSamples(blind, all, { ...settings, form: 'point' })).rejects.toMatchObject({
    code: 'unsupported',
  });
  await model.close();
});

test('without a data term every feature ends where the prior is', async () => {
  const { model, all } = await open('xor', 50, 3);
  const settings = qfitSettings(model, 50, 'global', {
    seed: 4,
    klWeight: 1e6,
    steps: 300,
    batch: 1,
    draws: 1,
    prior: 2,
  });
  const { phi } = await explainSamples(model, all, settings);
  for (const p of phi!) expect(p).toBeCloseTo(2, 1);
  await model.close();
});

test('coalitions of features are worth minus the mean loss', async () => {
  const { model, all } = await open('xor', 100, 5);
  const game = featureGame(model, all, 'cross-entropy');
  const coalition = Uint8Array.from({ length: 10 }, (_, i) => (i < 2 ? 1 : 0));
  const [value, full] = await game.evaluate([coalition, new Uint8Array(10).fill(1)]);
  const gates = Float32Array.from({ length: 1000 }, (_, i) => coalition[i % 10]);
  const { losses } = await model.run(all, gates, { gradients: false });
  expect(value).toBeCloseTo(-losses.reduce((s, l) => s + l, 0) / 100, 6);
  expect(full).toBeGreaterThan(-0.1);
  await model.close();
});
