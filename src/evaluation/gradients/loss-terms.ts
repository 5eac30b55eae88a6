import type { TypedArray } from '../../runtime/host-tensor.ts';
import type { RowMetric } from '../coalitions/metric-graph.ts';
import { metricTerms } from '../coalitions/terms.ts';
import type { Dataset } from '../data/dataset.ts';
import type { Reference } from '../metrics/index.ts';
import type { OutputReading } from '../types.ts';

/**
 * What the loss of a sample is. Minus the metric of that name: cross-entropy with the labels in nats; kl, the divergence
 * from the original's output in nats; mse, relative to the mean square of the original's outputs, or with real targets to
 * their variance. own-answer: cross-entropy with the original's own top answer.
 */
export type LossKind = 'cross-entropy' | 'kl' | 'mse' | 'own-answer';

/** How losses are computed of an output and the targets of its rows. */
export type LossForm = Exclude<RowMetric, 'match'>;

/** A loss as a weighted sum of means over the positions of a sample, one for each output that is read. */
export interface LossTerm {
  reading: OutputReading;
  form: LossForm;
  weight: number;
  /** One block per sample; `dims` is the shape of the output in a run of `batch` rows. */
  targets(dims: readonly number[], batch: number): TypedArray;
}

/** Whether targets come from the outputs of the original model. */
export function comparesWithOriginal(dataset: Dataset, kind: LossKind, reading: OutputReading): boolean {
  if (kind === 'mse') return !(dataset.labels && reading.reading === 'regression');
  return kind !== 'cross-entropy';
}

/**
 * A loss as terms that a graph can compute.
 * @throws SecateurError 'usage' for a loss that the data or the reading do not allow; from `targets` 'bad-data' for
 * labels that do not fit the output
 */
export function lossTerms(
  dataset: Dataset,
  kind: LossKind,
  reading: OutputReading,
  reference: Reference | undefined,
): LossTerm[] {
  const metric = kind === 'own-answer' ? 'agreement' : kind;
  return metricTerms(dataset, metric, reading, reference).map((term) => ({
    reading: term.reading,
    // The target of a match is a class, as that of a likelihood.
    form: term.metric === 'match' ? 'likelihood' : term.metric,
    // Metrics are losses with the sign changed.
    weight: Math.abs(term.weight),
    targets: (dims, batch) => term.target(dims, batch),
  }));
}
