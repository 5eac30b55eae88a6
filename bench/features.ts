/**
 * Q-FIT on data whose relevant features are known: the median rank of these features (1: most important), by data drawn
 * with several seeds. `npm run bench features [SET …]` prints a table, medians over the seeds. Sets whose features are
 * always the same are explained globally, in every form; switch sets, where they differ from sample to sample, by a
 * selector network too, where it is the mean over samples. 2 000 samples each; the networks stand in test/fixtures/features.
 */
import { join } from 'node:path';
import { explainSamples } from '../src/features/explain.ts';
import { openFeatureModel, type FeatureModel } from '../src/features/feature-model.ts';
import { explainEach } from '../src/features/selector/explain-each.ts';
import { qfitSettings, type QfitSettings } from '../src/features/settings.ts';
import { loadModel } from '../src/graph/load.ts';
import { dirichletMean } from '../src/math/dirichlet.ts';
import { analyseStructure } from '../src/units/analyse.ts';
import { drawFeatureSet, featureSets, median, medianRank, type FeatureSet } from '../test/support/feature-sets.ts';

const SAMPLES = 2000;
const SEEDS = 5;
/** Median ranks that the code of the method's authors reports for its own networks. */
const PUBLISHED: Record<string, string> = { xor: '1.5', 'orange-skin': '2.67', 'nonlinear-additive': '2.56' };

interface Way {
  name: string;
  local: boolean;
  loss: 'cross-entropy' | 'kl';
  given: Partial<QfitSettings>;
}

const WAYS: Way[] = [
  { name: 'global', local: false, loss: 'cross-entropy', given: {} },
  { name: 'global, simplex', local: false, loss: 'cross-entropy', given: { scaling: 'simplex' } },
  { name: 'global, point', local: false, loss: 'cross-entropy', given: { form: 'point' } },
  { name: 'local', local: true, loss: 'kl', given: {} },
  { name: 'local, labels', local: true, loss: 'cross-entropy', given: {} },
];

/** The mean over samples of the median rank of what a sample's label depends on. */
async function meanRank(
  set: FeatureSet,
  x: Float32Array,
  model: FeatureModel,
  { local, given }: Way,
  seed: number,
): Promise<number> {
  const all = Int32Array.from({ length: SAMPLES }, (_, i) => i);
  const settings = qfitSettings(model, SAMPLES, local ? 'selector' : 'global', { ...given, seed });
  let importance: (sample: number) => ArrayLike<number>;
  if (local) {
    const { each } = await explainEach(model, all, settings, 'cpu');
    importance = (i) => dirichletMean(each[i].phi);
  } else {
    const { features } = await explainSamples(model, all, settings);
    const shared = features.map((f) => f.importance);
    importance = () => shared;
  }
  let sum = 0;
  for (const i of all)
    sum += medianRank(importance(i), set.relevant(x.subarray(i * set.features, (i + 1) * set.features)));
  return sum / SAMPLES;
}

const asked = process.argv.slice(2).filter((name) => name in featureSets);
console.log(`median rank of the relevant features, ${SEEDS} seeds (median; smallest to largest)\n`);
for (const name of asked.length > 0 ? asked : Object.keys(featureSets)) {
  const set = featureSets[name];
  const structure = analyseStructure(loadModel(join('test/fixtures/features', `${name}.onnx`)));
  const ideals: number[] = [];
  for (const way of WAYS.filter((w) => set.drawn || !w.local)) {
    const started = performance.now();
    const ranks: number[] = [];
    for (let seed = 0; seed < SEEDS; seed++) {
      const { x, dataset } = drawFeatureSet(set, SAMPLES, seed);
      const model = await openFeatureModel(structure, dataset, {
        reading: { output: 'logits', reading: 'logits', classAxis: 1 },
        loss: way.loss,
        device: 'cpu',
        baseline: 'mean',
      });
      ranks.push(await meanRank(set, x, model, way, seed));
      for (let i = 0; i < SAMPLES; i++)
        ideals.push((set.relevant(x.subarray(i * set.features, (i + 1) * set.features)).length + 1) / 2);
      await model.close();
    }
    const range = `${Math.min(...ranks).toFixed(2)} to ${Math.max(...ranks).toFixed(2)}`;
    const ideal = ideals.reduce((a, b) => a + b, 0) / ideals.length;
    const seconds = (performance.now() - started) / 1000 / SEEDS;
    console.log(
      [
        name.padEnd(20),
        way.name.padEnd(16),
        median(ranks).toFixed(2).padStart(5),
        `(${range})`,
        `ideal ${ideal.toFixed(2)}`,
        `published ${PUBLISHED[name] ?? '–'}`,
        `${seconds.toFixed(1)} s a seed`,
      ].join('  '),
    );
  }
}
