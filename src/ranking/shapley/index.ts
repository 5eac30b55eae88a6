import { requireGame } from '../require.ts';
import type { RankMethod } from '../types.ts';
import { defaultBudget, isEnumerated, plannedShapleyEvaluations } from './budget.ts';
import { enumerateShapley } from './exact.ts';
import { sampleShapley } from './sampling.ts';

/**
 * The Shapley value of each unit in the game of its group: its mean marginal contribution to the metric over all
 * orders in which units may be opened (Shapley 1953; for pruning Adamczewski, Li, Van Gool, arXiv 2407.15875).
 * Scores are in the metric's unit and add up to v(N) − v(∅). Enumerated for small groups, sampled otherwise.
 */
export const shapley: RankMethod = {
  name: 'shapley',
  label: 'Shapley value',
  description: 'Mean contribution of a unit to the metric over all orders of opening units; exact up to 12 units.',
  needs: 'game',
  comparable: true,
  plannedEvaluations: plannedShapleyEvaluations,
  rank(context, options, signal, onProgress) {
    const game = requireGame('shapley', context);
    const exact = isEnumerated(game.players, options.budget ?? defaultBudget(game.players));
    return (exact ? enumerateShapley : sampleShapley)(context, game, options, signal, onProgress);
  },
};
