import type { CoalitionGame } from '../evaluation/types.ts';
import type { GroupRanks, MetricName, ShapleyEstimator } from '../formats.ts';
import { shapley } from '../ranking/shapley/index.ts';
import type { Group } from '../units/types.ts';
import { meanLoss } from './data-loss.ts';
import type { Explained } from './explain.ts';
import type { FeatureModel } from './feature-model.ts';

/** Coalitions that are asked for at once: each takes runs of its own. */
const OFFERED = 16;

/**
 * The cooperative game over features: a coalition is a set of features that are as they are, the others at the baseline;
 * its value is minus the mean loss.
 */
export function featureGame(model: FeatureModel, samples: Int32Array, metric: MetricName): CoalitionGame {
  const { size } = model.layout;
  return {
    group: model.input,
    players: size,
    samples: samples.length,
    metric,
    preferredBatch: OFFERED,
    async evaluate(coalitions, signal) {
      const values = new Float64Array(coalitions.length);
      for (const [k, coalition] of coalitions.entries())
        values[k] = -(await meanLoss(model, samples, coalition, signal));
      return values;
    },
  };
}

export interface FeatureShapleyOptions {
  metric: MetricName;
  seed: number;
  budget?: number;
}

/**
 * Shapley values of features, by the estimators that units have (`ranking/shapley`): the mean change of minus the loss
 * when a feature is opened, over all orders. They add up to v(all) − v(none).
 * @throws SecateurError 'cancelled' before there is anything to keep; 'usage' for a bad budget; 'runtime'
 */
export async function explainByShapley(
  model: FeatureModel,
  samples: Int32Array,
  { metric, seed, budget }: FeatureShapleyOptions,
  signal?: AbortSignal,
  onProgress?: (evaluations: number, planned: number) => void,
): Promise<Explained> {
  const game = featureGame(model, samples, metric);
  const { ranks, complete } = await shapley.rank(
    { group: groupOf(model), game },
    { seed, budget },
    signal,
    ({ evaluations, planned }) => onProgress?.(evaluations, planned),
  );
  return {
    samples: samples.length,
    features: scoresOf(model.layout.names, ranks),
    phi: null,
    value: { open: ranks.value?.full ?? NaN, closed: ranks.value?.empty ?? NaN },
    estimator: ranks.chosen!.estimator satisfies ShapleyEstimator,
    steps: ranks.evaluations,
    complete,
  };
}

function scoresOf(names: readonly string[], { units }: GroupRanks): Explained['features'] {
  const byIndex = new Map(units.map((u) => [u.index, u]));
  return names.map((name, index) => {
    const unit = byIndex.get(index);
    return { index, name, importance: unit?.score ?? 0, sd: unit?.stderr ?? null };
  });
}

/** Features in the place of a group of units. */
function groupOf(model: FeatureModel): Group {
  const nothing = { layers: [], consumers: [], sites: [], weights: [], atoms: new Int32Array() };
  return { id: model.input, kind: 'feature', size: model.layout.size, prunable: false, ...nothing };
}
