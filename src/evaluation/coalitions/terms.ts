import { SecateurError } from '../../errors.ts';
import type { MetricName } from '../../formats.ts';
import type { TypedArray } from '../../runtime/host-tensor.ts';
import type { Dataset } from '../data/dataset.ts';
import { countedPositions, countedScale, IGNORED_LABEL, isClass } from '../data/labels.ts';
import { labelsFor, wrongCount } from '../metrics/evaluate.ts';
import { logDistribution, positions, topAnswer } from '../metrics/numeric.ts';
import { outOfRange } from '../metrics/reading.ts';
import { comparedOutputs, type Reference } from '../metrics/reference.ts';
import type { OutputReading } from '../types.ts';
import { rowLayout, type RowMetric } from './metric-graph.ts';

/** A metric as a weighted sum of row metrics, one per output. Larger is better. */
export interface Term {
  reading: OutputReading;
  metric: RowMetric;
  weight: number;
  /** What `width` numbers per sample a row is compared with; `dims` is the output's shape with a batch of `batch`. */
  target(dims: readonly number[], batch: number): TypedArray;
}

/** Log-probabilities below this count as this, so that p log p stays a number. */
const LOWEST_LOG = -100;
/** A logarithm whose exponential is 0 in float32, and finite, so that their product is 0. */
const NO_PROBABILITY = -1e4;

/**
 * The metrics of evaluateModel as terms that a graph can compute.
 * @throws SecateurError 'usage', 'bad-data' as evaluateModel does
 */
export function metricTerms(
  dataset: Dataset,
  metric: MetricName,
  reading: OutputReading,
  reference?: Reference,
): Term[] {
  if (metric === 'accuracy' || metric === 'cross-entropy') return [labelTerm(dataset, metric, reading)];
  if (metric === 'mse' && dataset.labels && reading.reading === 'regression') return [targetTerm(dataset, reading)];
  if (!reference) throw new SecateurError('internal', `The metric ${metric} needs the outputs of the original model.`);
  const compared = comparedOutputs(reference, metric, reading);
  const { labels, labelsPerSample } = dataset;
  const counted = metric === 'mse' ? null : countedPositions(labels, labelsPerSample);
  const scale = countedScale(counted, labelsPerSample);
  const counts = (sample: number, position: number): boolean =>
    !counted || labels![sample * labelsPerSample + position] !== IGNORED_LABEL;
  return compared.map((o): Term => {
    const share = 1 / compared.length;
    const block = (sample: number) => reference.block(dataset.ids[sample]) * o.stride;
    if (metric === 'mse') {
      return {
        reading: o.reading,
        metric: 'squared',
        weight: -share / Math.max(o.power, 1e-30),
        target: () => {
          const all = new Float32Array(dataset.samples * o.stride);
          for (let i = 0; i < dataset.samples; i++)
            all.set(o.values.subarray(block(i), block(i) + o.stride), i * o.stride);
          return all;
        },
      };
    }
    return {
      reading: o.reading,
      metric: metric === 'kl' ? 'divergence' : 'match',
      weight: (metric === 'kl' ? -share : share) * scale,
      target: (dims, batch) =>
        referenceTarget(
          metric === 'kl' ? 'kl' : 'agreement',
          dataset.samples,
          o.reading,
          o.values,
          o.stride,
          block,
          rowLayoutInner(dims, batch, o.reading),
          counts,
        ),
    };
  });
}

function labelTerm(dataset: Dataset, metric: 'accuracy' | 'cross-entropy', reading: OutputReading): Term {
  const { labelsPerSample } = dataset;
  const labels = labelsFor(dataset, metric, reading);
  return {
    reading,
    metric: metric === 'accuracy' ? 'match' : 'likelihood',
    weight: countedScale(countedPositions(labels, labelsPerSample), labelsPerSample),
    target: (dims, batch) => {
      const layout = rowLayout(dims, batch, reading);
      if (layout.positions !== labelsPerSample) throw wrongCount(reading, layout.positions, labelsPerSample);
      const classes = reading.reading.startsWith('binary') ? 2 : layout.classes;
      return BigInt64Array.from(labels as ArrayLike<number> as number[], (label, i) => {
        if (!isClass(label, classes, labelsPerSample))
          throw outOfRange(label, Math.floor(i / labelsPerSample), classes, reading.output);
        return BigInt(label);
      });
    },
  };
}

function targetTerm(dataset: Dataset, reading: OutputReading): Term {
  const targets = dataset.labels!;
  let mean = 0;
  for (const t of targets) mean += t / targets.length;
  let variance = 0;
  for (const t of targets) variance += (t - mean) ** 2;
  const scale = variance > 0 ? variance / targets.length : Math.max(mean * mean, 1e-12);
  return {
    reading,
    metric: 'squared',
    weight: -1 / scale,
    target: (dims, batch) => {
      const per = dims.reduce((p, d) => p * d, 1) / batch;
      if (per !== dataset.labelsPerSample)
        throw new SecateurError(
          'bad-data',
          `The output ${reading.output} gives ${per} numbers per sample, but the data have ${dataset.labelsPerSample} targets.`,
        );
      return Float32Array.from(targets as ArrayLike<number> as number[]);
    },
  };
}

/** Positions lie as outer × classes × inner in one sample of an output. */
export function rowLayoutInner(dims: readonly number[], batch: number, reading: OutputReading) {
  const { positions: all, classes } = rowLayout(dims, batch, reading);
  const inner = reading.classAxis < 0 ? 1 : dims.slice(reading.classAxis + 1).reduce((p, d) => p * d, 1);
  return { outer: all / inner, classes, inner };
}

function referenceTarget(
  metric: 'kl' | 'agreement',
  samples: number,
  { reading }: OutputReading,
  values: Float32Array,
  stride: number,
  block: (sample: number) => number,
  layout: { outer: number; classes: number; inner: number },
  counts: (sample: number, position: number) => boolean,
): TypedArray {
  const each = positions(layout);
  const width = reading.startsWith('binary') ? 2 : layout.classes;
  const out = metric === 'kl' ? new Float32Array(samples * each * width) : new BigInt64Array(samples * each);
  for (let i = 0; i < samples; i++) {
    if (values.length < block(i) + stride) throw new SecateurError('internal', 'The reference outputs are too short.');
    for (let p = 0; p < each; p++) {
      if (!counts(i, p)) {
        // No answer is this one, and no probability is left: the position adds nothing.
        if (out instanceof BigInt64Array) out[i * each + p] = BigInt(IGNORED_LABEL);
        else out.fill(NO_PROBABILITY, (i * each + p) * width, (i * each + p + 1) * width);
        continue;
      }
      const start = block(i) + Math.floor(p / layout.inner) * layout.classes * layout.inner + (p % layout.inner);
      if (out instanceof BigInt64Array)
        out[i * each + p] = BigInt(topAnswer(reading, values, start, layout.classes, layout.inner));
      else
        out.set(
          logDistribution(reading, values, start, layout.classes, layout.inner).map((v) => Math.max(v, LOWEST_LOG)),
          (i * each + p) * width,
        );
    }
  }
  return out;
}
