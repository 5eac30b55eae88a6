/** Data that jobs work on: opened once per model, specification and state of the files. */
import { statSync } from 'node:fs';
import type { Dataset } from '../../evaluation/data/index.ts';
import { openDataset } from '../../evaluation/data/index.ts';
import { metricsFor, readOutput } from '../../evaluation/metrics/index.ts';
import type { OutputReading } from '../../evaluation/types.ts';
import { SecateurError } from '../../errors.ts';
import type { DataRef, MetricName } from '../../formats.ts';
import type { DataSpec } from '../../protocol.ts';
import type { ProtectedFile } from '../../pruning/export/files.ts';
import { Cache } from './cache.ts';
import type { OpenModel } from './model.ts';
import { fileKey } from './file-key.ts';

export interface OpenData {
  /** Changes when the specification or a file does. */
  key: string;
  /** All samples of the data. */
  all: Dataset;
  /** What ranks and searches see. */
  search: Dataset;
  /** What they do not see; null without data, or with too little to split. */
  holdout: Dataset | null;
  reading: OutputReading;
  /** Metrics that this data allows; the first is the default. */
  metrics: MetricName[];
  warnings: string[];
  /** Of the samples that ranks and searches see. */
  ref: DataRef;
}

/** Fewer samples than this are not split. */
const LEAST_TO_SPLIT = 5;

const datasets = new Cache<OpenData>(3);

/** @throws SecateurError 'bad-data' when the data cannot be read or does not fit the model */
export async function openData(model: OpenModel, spec: DataSpec): Promise<OpenData> {
  if (model.missingData) throw model.missingData;
  const files = [spec.path, spec.holdout].map((path) => (path ? dataKey(path) : ''));
  const key = JSON.stringify([model.key, spec, files]);
  return datasets.get(key, async () => {
    const all = await openDataset(model.structure().model, spec);
    const warnings = [...all.warnings];
    let [search, holdout]: [Dataset, Dataset | null] = [all, null];
    if (spec.path && spec.holdout) {
      // Held-out data is judged on whole; --samples limits what is searched on.
      holdout = await openDataset(model.structure().model, { ...spec, path: spec.holdout, holdout: null });
      if (holdout.fingerprint === all.fingerprint)
        warnings.push('The held-out data is the data itself: its value says nothing about new samples.');
      if ((holdout.labels === null) !== (all.labels === null)) {
        throw new SecateurError(
          'bad-data',
          `${spec.holdout} has ${holdout.labels ? '' : 'no '}labels, but ${spec.path} has ${all.labels ? 'some' : 'none'}.`,
        );
      }
    } else if (spec.path && all.samples >= LEAST_TO_SPLIT) {
      ({ search, holdout } = all.split(spec.seed));
    } else if (spec.path) {
      warnings.push(`The data has only ${all.samples} samples: nothing is held out.`);
    }
    const reading = await readOutput(model.structure().model, all, { output: spec.output }).catch((thrown: unknown) => {
      throw asBadModel(thrown, model.path);
    });
    return {
      key,
      all,
      search,
      holdout,
      reading,
      metrics: metricsFor(all, reading),
      warnings,
      ref: { path: spec.path ?? 'synthetic', fingerprint: all.fingerprint, samples: search.samples },
    };
  });
}

/** A first run that fails tells of the model or its data, not of the job: bad input, unless memory ran out. */
function asBadModel(thrown: unknown, path: string): unknown {
  if (!(thrown instanceof SecateurError) || thrown.code !== 'runtime' || /memory/.test(thrown.message)) return thrown;
  const message = thrown.message.replace('onnxruntime does not run the model', `onnxruntime does not run ${path}`);
  return new SecateurError('bad-model', message, thrown.hint, { cause: thrown });
}

/** The metric that was asked for, or the default. @throws SecateurError 'usage' when the data does not allow it */
export function chooseMetric(data: OpenData, wanted: MetricName | undefined): MetricName {
  if (wanted === undefined) return data.metrics[0];
  if (data.metrics.includes(wanted)) return wanted;
  const why = data.all.labels
    ? `the output '${data.reading.output}' is read as ${data.reading.reading}`
    : 'the data has no labels';
  throw new SecateurError(
    'usage',
    `The metric ${wanted} cannot be measured: ${why}.`,
    `Possible: ${data.metrics.join(', ')}.`,
  );
}

/**
 * The metric for a method that differentiates it. Accuracy and agreement change in steps: cross-entropy and kl stand in for
 * them, and a warning says so. When none is asked for: kl for classes, which asks how far the answers move, whether right
 * or wrong.
 * @throws SecateurError 'usage' when the data does not allow the metric that was asked for
 */
export function chooseSmoothMetric(data: OpenData, wanted: MetricName | undefined, warnings: string[]): MetricName {
  if (wanted === undefined) return data.all.labels && data.metrics.includes('kl') ? 'kl' : data.metrics[0];
  const metric = chooseMetric(data, wanted);
  if (metric !== 'accuracy' && metric !== 'agreement') return metric;
  const instead = metric === 'accuracy' ? 'cross-entropy' : 'kl';
  warnings.push(`The metric ${metric} has no gradient, since it changes in steps: ${instead} is used in its place.`);
  return instead;
}

/** Everything that a job reads, and so never writes to. */
export function protectedFiles(model: OpenModel, spec: DataSpec): ProtectedFile[] {
  return [
    { path: model.path, what: 'the model itself' },
    ...model.external.map((path) => ({ path, what: 'external data of the model' })),
    ...(spec.path ? [{ path: spec.path, what: 'the data' }] : []),
    ...(spec.holdout ? [{ path: spec.holdout, what: 'the held-out data' }] : []),
  ];
}

function dataKey(path: string): string {
  if (!statSync(path, { throwIfNoEntry: false })) throw new SecateurError('bad-data', `There is no file ${path}.`);
  return fileKey(path);
}
