import { basename } from 'node:path';
import { openDataset } from '../../evaluation/data/index.ts';
import type { Dataset } from '../../evaluation/data/index.ts';
import type { LossKind } from '../../evaluation/gradients/loss-terms.ts';
import { readOutput } from '../../evaluation/metrics/index.ts';
import type { OutputReading } from '../../evaluation/types.ts';
import { SecateurError } from '../../errors.ts';
import { PointValues } from '../../features/baseline.ts';
import { compareExplanations } from '../../features/compare.ts';
import { meanLoss } from '../../features/data-loss.ts';
import { explainSamples, type Explained, type OnStep } from '../../features/explain.ts';
import { dirichletMean } from '../../math/dirichlet.ts';
import { explainEach, type EachExplained } from '../../features/selector/explain-each.ts';
import { openFeatureModel, type FeatureModel } from '../../features/feature-model.ts';
import { pictureOf } from '../../features/picture.ts';
import { checkSelection, defaultSpread, selectFeatures } from '../../features/select.ts';
import { qfitSettings, type QfitSettings } from '../../features/settings.ts';
import { explainByShapley } from '../../features/shapley.ts';
import type { DeviceName, FeatureExplanation, Features, MetricName } from '../../formats.ts';
import type { FeaturesParams } from '../../protocol.ts';
import type { Structure } from '../../units/types.ts';
import type { JobContext } from './context.ts';
import { checkpoint, part } from './context.ts';
import { chooseMetric, openData, type OpenData } from './data.ts';
import { openModel, type OpenModel } from './model.ts';
import { chooseDevice } from './sessions.ts';
import { TimeLeft } from './time-left.ts';
import { tokenTexts } from './token-texts.ts';

/** Losses that gates can be fitted to and played for. */
const LOSSES: readonly MetricName[] = ['cross-entropy', 'kl', 'mse'];

/** Numbers of the explanations of single samples that a report holds at most. */
const LOCAL_NUMBERS = 200_000;

/** What is explained: a model on some of the samples of its data. */
interface Subject {
  name: string;
  model: FeatureModel;
  samples: Int32Array;
}

/**
 * Importance of input features, by Q-FIT or Shapley values; of two models or of two groups of the data, side by side.
 * When it is cancelled it returns what was computed by then, with `complete: false`.
 */
export async function features(params: FeaturesParams, context: JobContext): Promise<Features> {
  const started = performance.now();
  context.progress({ fraction: 0, note: 'reading model and data' });
  checkParams(params);
  const model = await openModel(params.model);
  await checkpoint(context);
  const data = await openData(model, params.data);
  const loss = chooseLoss(data, params);
  const warnings = [...data.warnings];
  const device = await chooseDevice(params.device, warnings);
  const reference = await model.ref();
  await checkpoint(context);
  const opened: FeatureModel[] = [];
  const open = async (structure: Structure, dataset: Dataset, reading: OutputReading): Promise<FeatureModel> => {
    const found = await openFeatureModel(structure, dataset, {
      reading,
      loss,
      device,
      input: params.input,
      kind: params.kind,
      patch: params.patch,
      baseline: params.baseline ?? 'mean',
      signal: context.signal,
    });
    opened.push(found);
    warnings.push(...found.notes);
    return found;
  };
  try {
    const own = await open(model.structure(), data.all, data.reading);
    // Before hours of work, not after.
    if (params.select !== undefined) checkSelection(own.layout, params.select, params.spread);
    const subjects = await subjectsOf(params, model, own, context, open);
    const settings = qfitSettings(own, subjects[0].samples.length, modeOf(params), params);
    const found: (Explained | EachExplained)[] = [];
    for (const [i, subject] of subjects.entries()) {
      const stage = part(context, i / subjects.length, (i + 1) / subjects.length);
      const title = subjects.length > 1 ? `explaining ${subject.name}` : 'explaining';
      found.push(await explain(subject, params, settings, loss, device, stage, title));
    }
    const [first, other] = found.map((f, i) => explanationOf(subjects[i].name, f));
    const { kind, grid } = own.layout;
    const shapley = params.method === 'shapley';
    return {
      format: 'secateur-features/1',
      model: reference,
      data: { ...data.ref, samples: data.all.samples },
      method: params.method ?? 'qfit',
      mode: modeOf(params) === 'global' ? 'global' : 'local',
      ...(params.sample === undefined ? {} : { sample: params.sample }),
      input: own.input,
      kind,
      baseline: params.baseline ?? 'mean',
      ...(grid ? { grid } : {}),
      ...(await shown(model, own, subjects[0].samples, params, device)),
      ...first,
      ...('each' in found[0] ? { local: localOf(found[0], own.dataset) } : {}),
      loss,
      output: data.reading.output,
      reading: data.reading.reading,
      estimator: found[0].estimator,
      prior: shapley ? null : settings.prior,
      klWeight: shapley ? null : settings.klWeight,
      scaling: shapley ? null : settings.scaling,
      draws: shapley || settings.form === 'point' ? 0 : settings.draws,
      steps: found[0].steps,
      batch: shapley ? subjects[0].samples.length : settings.batch,
      ...(params.select === undefined || context.signal.aborted
        ? {}
        : { selected: await select(subjects[0], found[0], params, context) }),
      ...(other ? { comparison: compareExplanations(params.against ? 'models' : 'labels', first, other) } : {}),
      seed: params.seed,
      device,
      seconds: (performance.now() - started) / 1000,
      complete: !context.signal.aborted && found.length === subjects.length && found.every((f) => f.complete),
      warnings: [...new Set(warnings)],
    };
  } finally {
    for (const found of opened) await found.close();
  }
}

function modeOf({ mode, sample }: FeaturesParams): 'global' | 'sample' | 'selector' {
  if (sample !== undefined) return 'sample';
  return mode === 'local' ? 'selector' : 'global';
}

/** @throws SecateurError 'usage' for a combination that means nothing */
function checkParams({ mode, sample, method, against, compareLabels, select, spread }: FeaturesParams): void {
  const fail = (message: string, hint = ''): never => {
    throw new SecateurError('usage', message, hint);
  };
  if (sample !== undefined && mode === 'global') fail('A single sample is explained in the local mode only.');
  if (against !== undefined && compareLabels)
    fail('Two models and two labels cannot be compared at once.', 'Do one after the other.');
  if (against !== undefined && mode === 'local' && sample === undefined)
    fail('Two models are compared on all samples together, or on one of them.', 'Name it with --sample.');
  if (compareLabels && modeOfLocal(mode, sample)) fail('Labels are compared in the global mode only.');
  if (method === 'shapley' && mode === 'local' && sample === undefined)
    fail('Shapley values in the local mode are of one sample.', 'Name it with --sample.');
  if (spread !== undefined && select === undefined) fail('A spread needs a number of features to choose.');
}

function modeOfLocal(mode: FeaturesParams['mode'], sample: number | undefined): boolean {
  return mode === 'local' || sample !== undefined;
}

/**
 * The metric that was asked for, or the first that a loss can be made of. For single samples it is the divergence from the
 * original's answer in the place of the cross-entropy with the label: what an answer rests on, be it right or wrong.
 */
function chooseLoss(data: OpenData, params: FeaturesParams): LossKind & MetricName {
  const wanted = params.metric;
  if (wanted !== undefined && !LOSSES.includes(wanted))
    throw new SecateurError(
      'usage',
      `The importance of features cannot be measured by ${wanted}: it is no loss with a gradient.`,
      `Choose from ${LOSSES.filter((l) => data.metrics.includes(l)).join(', ')}.`,
    );
  const usual = data.metrics.find((m) => LOSSES.includes(m));
  const own = usual === 'cross-entropy' && modeOf(params) !== 'global' ? 'kl' : usual;
  return chooseMetric(data, wanted ?? own) as LossKind & MetricName;
}

/** What is to be explained: one subject, or two that are compared. */
async function subjectsOf(
  params: FeaturesParams,
  model: OpenModel,
  own: FeatureModel,
  context: JobContext,
  open: (structure: Structure, dataset: Dataset, reading: OutputReading) => Promise<FeatureModel>,
): Promise<Subject[]> {
  const { dataset } = own;
  const all = Int32Array.from({ length: dataset.samples }, (_, i) => i);
  if (params.compareLabels)
    return params.compareLabels.map((label) => ({
      name: `label ${label}`,
      model: own,
      samples: samplesOf(dataset, all, label),
    }));
  const samples = params.sample === undefined ? all : Int32Array.of(positionOf(dataset, params.sample));
  const first = { name: basename(model.path), model: own, samples };
  if (params.against === undefined) return [first];
  const second = await openModel(params.against);
  await checkpoint(context);
  if (second.missingData) throw second.missingData;
  const structure = second.structure();
  const bound = await openDataset(structure.model, { ...params.data, holdout: null });
  const reading = await readOutput(structure.model, bound, { output: params.data.output });
  const other = await open(structure, bound, reading);
  if (other.layout.size !== own.layout.size || other.layout.kind !== own.layout.kind)
    throw new SecateurError(
      'usage',
      `The models have different features: ${own.layout.size} ${own.layout.kind} and ${other.layout.size} ${other.layout.kind}.`,
    );
  return [first, { name: basename(second.path), model: other, samples }];
}

function samplesOf(dataset: Dataset, all: Int32Array, label: number): Int32Array {
  const { labels, labelsPerSample } = dataset;
  if (!labels || labelsPerSample !== 1)
    throw new SecateurError('usage', 'Groups of the data can be compared only where every sample has one label.');
  const samples = all.filter((i) => labels[i] === label);
  if (samples.length === 0) throw new SecateurError('usage', `No sample of the data has the label ${label}.`);
  return samples;
}

/** Position of a sample among those that were read, by its number in the data. */
function positionOf(dataset: Dataset, sample: number): number {
  const at = dataset.ids.indexOf(sample);
  if (at < 0)
    throw new SecateurError(
      'usage',
      `There is no sample ${sample} in the data that were read (${dataset.samples} samples).`,
      'Samples count from 0; with --samples only some of them are read.',
    );
  return at;
}

async function explain(
  { model, samples }: Subject,
  params: FeaturesParams,
  settings: QfitSettings,
  loss: MetricName,
  device: DeviceName,
  context: JobContext,
  title: string,
): Promise<Explained | EachExplained> {
  const timeLeft = new TimeLeft();
  const note = (fraction: number, what: string): string => {
    const left = timeLeft.words(fraction);
    return `${title}: ${what}${left ? `, ${left}` : ''}`;
  };
  if (params.method === 'shapley')
    return explainByShapley(
      model,
      samples,
      { metric: loss, seed: params.seed, budget: params.budget },
      context.signal,
      (evaluations, planned) => {
        const fraction = planned > 0 ? Math.min(1, evaluations / planned) : 0;
        context.progress({ fraction, note: note(fraction, `${evaluations} of at most ${planned} evaluations`) });
      },
    );
  const onStep: OnStep = (step, steps, partial) => {
    const fraction = step / steps;
    context.progress({ fraction, note: note(fraction, `step ${step} of ${steps}`), partial: { features: partial } });
  };
  return modeOf(params) === 'selector'
    ? explainEach(model, samples, settings, device, context.signal, onStep)
    : explainSamples(model, samples, settings, context.signal, onStep);
}

/** Mean shares of as many samples as a report can hold. */
function localOf({ each, features: { length } }: EachExplained, dataset: Dataset): NonNullable<Features['local']> {
  return each
    .slice(0, Math.max(1, Math.floor(LOCAL_NUMBERS / length)))
    .map(({ sample, phi }) => ({ sample: dataset.ids[sample], importance: [...dirichletMean(phi)] }));
}

function explanationOf(name: string, { samples, features: scores, phi, value }: Explained): FeatureExplanation {
  return { name, samples, features: scores, phi, value };
}

async function select(
  { model, samples }: Subject,
  { features: scores }: Explained,
  { select: count, spread, method }: FeaturesParams,
  { signal }: JobContext,
): Promise<NonNullable<Features['selected']>> {
  const used = spread ?? defaultSpread(model.layout);
  const importance = scores.map((f) => f.importance);
  const indices = selectFeatures(model.layout, importance, count!, used);
  const gates = new Float32Array(model.layout.size);
  for (const index of indices) gates[index] = 1;
  const loss = await meanLoss(model, samples, gates, signal);
  return { spread: used, indices, value: method === 'shapley' ? -loss : loss };
}

/** What the editor lays importances over: the sample, or the mean of the samples; the tokens of a sample. */
async function shown(
  model: OpenModel,
  { layout, points, input, dataset }: FeatureModel,
  samples: Int32Array,
  { sample }: FeaturesParams,
  device: DeviceName,
): Promise<Pick<Features, 'picture' | 'tokens'>> {
  if (layout.grid) {
    const values = new PointValues(model.structure().model, dataset, input, points[0], device);
    const sums = new Float64Array(layout.shape.reduce((p, d) => p * d, 1));
    await values.forEach(samples, (row) => row.forEach((v, i) => (sums[i] += v / samples.length)));
    await values.close();
    return { picture: pictureOf(sums, layout.shape) };
  }
  if (layout.kind !== 'tokens' || sample === undefined || points[0].width === null) return {};
  const ids = Array.from(dataset.feeds(samples)[input].data as ArrayLike<number | bigint>, Number);
  return { tokens: tokenTexts(model.path, dataset.path, ids) };
}
