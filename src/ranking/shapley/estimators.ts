import type { CoalitionGame } from '../../evaluation/types.ts';
import type { ShapleyEstimator } from '../../formats.ts';
import type { RankContext, RankOptions, RankOutcome, RankProgress } from '../types.ts';
import { plannedPermutations, plannedRegression } from './budget.ts';
import { enumerateShapley } from './exact.ts';
import { partialShapley, plannedPartial } from './partial.ts';
import { regressShapley } from './regression.ts';
import { sampleShapley } from './sampling.ts';

/** One way to compute the Shapley values of a game. */
export interface Estimator {
  /** Coalitions that it asks for at most. */
  planned(size: number, budget: number): number;
  run(
    context: RankContext,
    game: CoalitionGame,
    options: RankOptions,
    signal?: AbortSignal,
    onProgress?: (progress: RankProgress) => void,
  ): Promise<RankOutcome>;
  /** `kind` of the states that it can go on from. */
  state: string;
}

const regression = (design: Parameters<typeof regressShapley>[0]): Estimator => ({
  planned: plannedRegression,
  run: (...job) => regressShapley(design, ...job),
  state: 'shapley-regression',
});

const partial = (side: Parameters<typeof partialShapley>[0]): Estimator => ({
  planned: plannedPartial,
  run: (...job) => partialShapley(side, ...job),
  state: 'shapley-partial',
});

export const estimators: Readonly<Record<ShapleyEstimator, Estimator>> = {
  exact: { planned: (size) => 2 ** size, run: enumerateShapley, state: 'shapley-exact' },
  antithetic: { planned: plannedPermutations, run: sampleShapley, state: 'shapley-pairs' },
  permutation: {
    planned: (size, budget) => plannedPermutations(size, budget, 1),
    run: (context, game, options, signal, onProgress) =>
      sampleShapley(context, game, options, signal, onProgress, true),
    state: 'shapley-pairs',
  },
  leverage: regression('leverage'),
  kernel: regression('kernel'),
  removal: partial('removal'),
  addition: partial('addition'),
};
