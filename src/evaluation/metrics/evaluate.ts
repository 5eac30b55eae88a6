import { SecateurError } from '../../errors.ts';
import type { MetricName } from '../../formats.ts';
import { type HostTensor, toFloat32 } from '../../runtime/host-tensor.ts';
import type { Session } from '../../runtime/session.ts';
import type { Dataset } from '../data/dataset.ts';
import { countedPositions, countedScale, IGNORED_LABEL, isClass } from '../data/labels.ts';
import type { OutputReading } from '../types.ts';
import { runBatches } from './batches.ts';
import { layoutOf } from './layout.ts';
import { meanAndError, positions } from './numeric.ts';
import { outOfRange } from './reading.ts';
import { comparedOutputs, type Reference, type ReferenceOutput } from './reference.ts';
import {
  accuracyOf,
  agreementOf,
  divergenceOf,
  logLikelihoodOf,
  type SampleOutput,
  squaredError,
} from './sample-metrics.ts';

export interface EvaluateOptions {
  metric: MetricName;
  reading: OutputReading;
  /** Outputs of the original model: needed by kl, agreement, and mse without labels. */
  reference?: Reference;
}

export interface Evaluation {
  /** Mean over samples, oriented so that larger is better. */
  value: number;
  /** Standard error of that mean over samples. */
  stderr: number;
  samples: number;
  /** The metric of each sample, in the order of the dataset. */
  perSample: Float64Array;
}

/**
 * Value of a model on data.
 *
 * - accuracy: share of right top answers
 * - cross-entropy: −mean cross-entropy in nats
 * - kl: −KL(original ‖ model) in nats, over the outputs that are distributions
 * - mse: −MSE relative to the mean square of the original's outputs; with real targets −MSE / variance of the targets
 * - agreement: share of top answers equal to the original's
 *
 * A sample with several answers (tokens, pixels) counts by their mean; several outputs count alike. Where some positions
 * are ignored (IGNORED_LABEL), the value is the mean over all positions that count, in all metrics but mse.
 * @throws SecateurError 'cancelled'; 'bad-data' for labels that the output has no class for; 'usage' for a metric that
 * the data do not allow; 'runtime'
 */
export async function evaluateModel(
  session: Session,
  dataset: Dataset,
  { metric, reading, reference }: EvaluateOptions,
  signal?: AbortSignal,
): Promise<Evaluation> {
  const measure = sampleMeasure(dataset, metric, reading, reference);
  const perSample = new Float64Array(dataset.samples);
  await runBatches(session, dataset, measure.outputs, signal, (results, batch, done) => {
    perSample.set(measure.batch(results, batch.indices.length, batch.count, done), done);
  });
  const { mean, stderr } = meanAndError(perSample);
  const counts = metric === 'mse' ? null : countedPositions(dataset.labels, dataset.labelsPerSample);
  return {
    value: mean,
    stderr: counts ? ratioError(perSample, mean, counts) : stderr,
    samples: dataset.samples,
    perSample,
  };
}

/** Standard error of a mean over positions of which samples have different numbers (the ratio estimator's). */
function ratioError(perSample: Float64Array, mean: number, counts: Int32Array): number {
  const scale = countedScale(counts, 1);
  return meanAndError(perSample.map((v, i) => v - mean * counts[i] * scale)).stderr;
}

/** A metric bound to data: what to fetch, and what each sample of a batch is worth. */
export interface Measure {
  outputs: string[];
  /** Values of the first `count` of `rows` rows; the first is sample number `first` of the dataset. */
  batch(results: Record<string, HostTensor>, rows: number, count: number, first: number): Float64Array;
}

/** The metric of evaluateModel, for callers that run the model in their own way. @throws SecateurError 'usage', 'internal' */
export function sampleMeasure(
  dataset: Dataset,
  metric: MetricName,
  reading: OutputReading,
  reference?: Reference,
): Measure {
  if (metric === 'accuracy' || metric === 'cross-entropy') return labelMeasure(dataset, metric, reading);
  if (metric === 'mse' && dataset.labels && reading.reading === 'regression') return targetMeasure(dataset, reading);
  if (!reference) throw new SecateurError('internal', `The metric ${metric} needs the outputs of the original model.`);
  return referenceMeasure(dataset, metric, reading, reference);
}

/**
 * The labels of a data set for a metric that compares classes.
 * @throws SecateurError 'usage' when there are none, or the output is not read as classes
 */
export function labelsFor(
  dataset: Dataset,
  metric: 'accuracy' | 'cross-entropy',
  reading: OutputReading,
): NonNullable<Dataset['labels']> {
  if (!dataset.labels)
    throw new SecateurError(
      'usage',
      `The metric ${metric} needs labels, and the data have none.`,
      'Use kl, mse or agreement.',
    );
  if (reading.reading === 'regression')
    throw new SecateurError(
      'usage',
      `The metric ${metric} needs a classifier, but the output ${reading.output} is read as numbers.`,
      'Use mse.',
    );
  return dataset.labels;
}

/** The sentence for an output that gives another number of answers per sample than there are labels. */
export function wrongCount(reading: OutputReading, answers: number, labels: number): SecateurError {
  return new SecateurError(
    'bad-data',
    `The output ${reading.output} gives ${answers} answers per sample, but the data have ${labels} labels.`,
  );
}

function labelMeasure(dataset: Dataset, metric: 'accuracy' | 'cross-entropy', reading: OutputReading): Measure {
  const { labelsPerSample } = dataset;
  const labels = labelsFor(dataset, metric, reading);
  const one = metric === 'accuracy' ? accuracyOf : logLikelihoodOf;
  const scale = countedScale(countedPositions(labels, labelsPerSample), labelsPerSample);
  return {
    outputs: [reading.output],
    batch(results, rows, count, first) {
      const tensor = results[reading.output];
      const layout = layoutOf(tensor.dims, rows, reading);
      if (positions(layout) !== labelsPerSample) throw wrongCount(reading, positions(layout), labelsPerSample);
      const binary = reading.reading.startsWith('binary');
      checkRange(
        labels,
        first * labelsPerSample,
        count * labelsPerSample,
        labelsPerSample,
        binary ? 2 : layout.classes,
        reading.output,
      );
      const values = toFloat32(tensor);
      const stride = values.length / rows;
      return Float64Array.from(
        { length: count },
        (_, s) =>
          scale *
          one({ reading: reading.reading, values, at: s * stride, layout }, labels, (first + s) * labelsPerSample),
      );
    },
  };
}

function checkRange(
  labels: ArrayLike<number>,
  from: number,
  count: number,
  per: number,
  classes: number,
  output: string,
): void {
  for (let i = from; i < from + count; i++)
    if (!isClass(labels[i], classes, per)) throw outOfRange(labels[i], Math.floor(i / per), classes, output);
}

function targetMeasure(dataset: Dataset, reading: OutputReading): Measure {
  const targets = dataset.labels!;
  const per = dataset.labelsPerSample;
  const { mean } = meanAndError(targets);
  let variance = 0;
  for (const t of targets) variance += (t - mean) ** 2;
  const scale = variance > 0 ? variance / targets.length : Math.max(mean * mean, 1e-12);
  return {
    outputs: [reading.output],
    batch(results, rows, count, first) {
      const values = toFloat32(results[reading.output]);
      const stride = values.length / rows;
      if (stride !== per)
        throw new SecateurError(
          'bad-data',
          `The output ${reading.output} gives ${stride} numbers per sample, but the data have ${per} targets.`,
        );
      return Float64Array.from(
        { length: count },
        (_, s) => -squaredError(values, s * stride, targets, (first + s) * per, per) / scale,
      );
    },
  };
}

function referenceMeasure(
  dataset: Dataset,
  metric: 'kl' | 'mse' | 'agreement',
  reading: OutputReading,
  reference: Reference,
): Measure {
  const compared = comparedOutputs(reference, metric, reading);
  const { labels, labelsPerSample } = dataset;
  const counted = metric === 'mse' ? null : countedPositions(labels, labelsPerSample);
  const scale = countedScale(counted, labelsPerSample);
  return {
    outputs: compared.map((o) => o.reading.output),
    batch(results, rows, count, first) {
      const sum = new Float64Array(count);
      // Outputs that report routing shrink with the experts: beside the main output they are left out then.
      const sameSize = (o: ReferenceOutput): boolean => results[o.reading.output].data.length / rows === o.stride;
      const usable = compared.filter((o) => o.reading.output === reading.output || sameSize(o));
      for (const output of usable) {
        const values = toFloat32(results[output.reading.output]);
        const stride = values.length / rows;
        if (stride !== output.stride)
          throw new SecateurError(
            'unsupported',
            `The output ${output.reading.output} has ${stride} numbers per sample, the original's has ${output.stride}: they cannot be compared.`,
            'Choose another output with --output.',
          );
        const dims = results[output.reading.output].dims;
        for (let s = 0; s < count; s++) {
          const block = reference.block(dataset.ids[first + s]) * stride;
          const from = (first + s) * labelsPerSample;
          const counts = counted ? (p: number) => labels![from + p] !== IGNORED_LABEL : undefined;
          sum[s] += (scale * compare(metric, output, dims, rows, values, s * stride, block, counts)) / usable.length;
        }
      }
      return sum;
    },
  };
}

function compare(
  metric: 'kl' | 'mse' | 'agreement',
  reference: ReferenceOutput,
  dims: readonly number[],
  rows: number,
  values: Float32Array,
  at: number,
  block: number,
  counts?: (position: number) => boolean,
): number {
  if (metric === 'mse')
    return -squaredError(values, at, reference.values, block, reference.stride) / Math.max(reference.power, 1e-30);
  const layout = layoutOf(dims, rows, reference.reading);
  const reading = reference.reading.reading;
  const mine: SampleOutput = { reading, values, at, layout };
  const theirs: SampleOutput = { reading, values: reference.values, at: block, layout };
  return metric === 'kl' ? -divergenceOf(mine, theirs, counts) : agreementOf(mine, theirs, counts);
}
