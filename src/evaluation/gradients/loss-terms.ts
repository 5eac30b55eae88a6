import type { TypedArray } from '../../runtime/host-tensor.ts';
import { rowLayout, targetOf, type RowMetric } from '../coalitions/metric-graph.ts';
import { metricTerms, type Term } from '../coalitions/terms.ts';
import type { Dataset } from '../data/dataset.ts';
import type { Reference } from '../metrics/index.ts';
import type { OutputReading } from '../types.ts';
import { ownDistribution, projections } from './own-targets.ts';

/**
 * What the loss of a sample is.
 * - cross-entropy, kl, mse: minus the metric of that name: cross-entropy with the labels in nats; divergence from the
 *   original's output in nats; squared error relative to the mean square of the original's outputs, or with real targets
 *   to their variance
 * - own-answer: cross-entropy with the original's own top answer, in nats
 * - own-distribution: cross-entropy with answers of the original's own distribution, in nats
 * - projection: random combinations of the output's numbers, whose squared derivatives are second derivatives of mse
 */
export type LossKind = 'cross-entropy' | 'kl' | 'mse' | 'own-answer' | 'own-distribution' | 'projection';

/** How losses are computed of an output and the targets of its rows; product: the numbers times the targets. */
export type LossForm = Exclude<RowMetric, 'match'> | 'product';

/** A loss as a weighted sum of means over the positions of a sample, one for each output that is read. */
export interface LossTerm {
  reading: OutputReading;
  form: LossForm;
  weight: number;
  /** The targets, once the shape of the output is known: `dims` in a run of `batch` rows. */
  bind(dims: readonly number[], batch: number): LossTargets;
}

/** What the rows of a term are compared with. */
export interface LossTargets {
  /** How many targets a sample has, one for each of so many runs: 1 unless they are drawn or taken in turn. */
  draws: number;
  /** False where they are drawn at random. */
  exact: boolean;
  /** The numbers or classes of one sample. */
  of(sample: number, draw: number): TypedArray;
  /** What a draw counts in sums over draws of squared derivatives. */
  weight(sample: number, draw: number): number;
}

/** Whether targets come from the outputs of the original model. */
export function comparesWithOriginal(dataset: Dataset, kind: LossKind, reading: OutputReading): boolean {
  if (kind === 'mse' || kind === 'projection') return !(dataset.labels && reading.reading === 'regression');
  return kind !== 'cross-entropy';
}

/**
 * A loss as terms that a graph can compute.
 * @param seed of targets that are drawn
 * @throws SecateurError 'usage' for a loss that the data or the reading do not allow; from `bind` 'bad-data' for labels
 * that do not fit the output
 */
export function lossTerms(
  dataset: Dataset,
  kind: LossKind,
  reading: OutputReading,
  reference: Reference | undefined,
  seed: number,
): LossTerm[] {
  if (kind === 'own-distribution') return [ownDistribution(dataset, reading, reference!, seed)];
  if (kind === 'projection') return projections(dataset, reading, reference, seed);
  const metric = kind === 'own-answer' ? 'agreement' : kind;
  return metricTerms(dataset, metric, reading, reference).map(lossTerm);
}

/** A metric with its sign changed; the target of a match is a class, as that of a likelihood. */
function lossTerm(term: Term): LossTerm {
  const { reading } = term;
  const form = term.metric === 'match' ? 'likelihood' : term.metric;
  return {
    reading,
    form,
    weight: Math.abs(term.weight),
    bind(dims, batch) {
      const all = term.target(dims, batch);
      const { width } = targetOf(form, reading.reading, rowLayout(dims, batch, reading));
      return {
        draws: 1,
        exact: true,
        of: (sample) => all.subarray(sample * width, (sample + 1) * width),
        weight: () => 1,
      };
    },
  };
}
