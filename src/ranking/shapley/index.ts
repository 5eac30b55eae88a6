import { requireGame } from '../require.ts';
import type { RankMethod } from '../types.ts';
import { defaultBudget } from './budget.ts';
import { chooseEstimator } from './choose.ts';
import { estimators } from './estimators.ts';

/**
 * The Shapley value of each unit in the game of its group: its mean marginal contribution to the metric over all
 * orders in which units may be opened (Shapley 1953; for pruning Adamczewski, Li, Van Gool, arXiv 2407.15875).
 * Scores are in the metric's unit and add up to v(N) − v(∅) (but for partial values). How they are computed depends on
 * the group and the budget (`chooseEstimator`); the result says how and why.
 */
export const shapley: RankMethod = {
  name: 'shapley',
  label: 'Shapley value',
  description: 'Mean contribution of a unit to the metric over all orders of opening units; exact up to 12 units.',
  needs: 'game',
  comparable: true,
  plannedEvaluations(size, budget = defaultBudget(size), asked = {}) {
    return estimators[chooseEstimator(size, budget, asked).estimator].planned(size, budget);
  },
  async rank(context, options, signal, onProgress) {
    const game = requireGame('shapley', context);
    const n = game.players;
    const chosen = chooseEstimator(n, options.budget ?? defaultBudget(n), options, game.metric);
    const estimator = estimators[chosen.estimator];
    // A state of another estimator has nothing to go on from.
    const resume = options.resume?.kind === estimator.state ? options.resume : undefined;
    const outcome = await estimator.run(context, game, { ...options, resume }, signal, (progress) =>
      onProgress?.(progress.partial ? { ...progress, partial: { ...progress.partial, chosen } } : progress),
    );
    return { ...outcome, ranks: { ...outcome.ranks, chosen } };
  },
};
