import { SecateurError } from '../../errors.ts';
import type { MetricName, ShapleyEstimator } from '../../formats.ts';
import type { RankOptions, RankState } from '../types.ts';
import { EXACT_COALITIONS, isEnumerated } from './budget.ts';

/** Most units of which the enumeration's table is kept. */
const MOST_ENUMERATED = 20;

/** The regression is better than permutations from so many evaluations per unit on (`bench/estimators.ts`). */
export const REGRESSION_FROM = 6;

/** The time for solving grows with the cube of the size: in larger groups it is felt beside that of the coalitions. */
export const MOST_REGRESSED = 256;

export interface Choice {
  estimator: ShapleyEstimator;
  /** A clause for the report. */
  reason: string;
}

/**
 * The estimator for a group: what the user asks for; what an earlier part of the run used; enumeration where all
 * coalitions fit; regression where the budget is large enough for it to be better; permutations otherwise.
 * @throws SecateurError 'usage' for an estimator or a truncation that is not possible here
 */
export function chooseEstimator(
  size: number,
  budget: number,
  options: Pick<RankOptions, 'estimator' | 'truncation' | 'resume'> = {},
  metric?: MetricName,
): Choice {
  const { estimator, truncation, resume } = options;
  if (truncation !== undefined) {
    checkTruncation(truncation, estimator, metric);
    if (estimator === undefined) return { estimator: 'antithetic', reason: 'only permutations can be truncated' };
  }
  if (estimator !== undefined) {
    if (estimator === 'exact' && size > MOST_ENUMERATED)
      throw new SecateurError(
        'usage',
        `The Shapley values of ${size} units cannot be enumerated: that would take 2^${size} evaluations.`,
        `Enumeration goes up to ${MOST_ENUMERATED} units; choose another estimator or none.`,
      );
    return { estimator, reason: 'it was asked for' };
  }
  const begun = resume && begunBy(resume);
  if (begun) return { estimator: begun, reason: 'the run that is gone on with uses it' };
  if (isEnumerated(size, budget))
    return {
      estimator: 'exact',
      reason: `all 2^${size} coalitions are ${2 ** size <= budget ? 'within the budget' : `no more than ${EXACT_COALITIONS}`}`,
    };
  if (budget >= REGRESSION_FROM * size && size <= MOST_REGRESSED)
    return {
      estimator: 'leverage',
      reason: `the budget is at least ${REGRESSION_FROM} evaluations per unit, where the regression has the smaller error`,
    };
  return {
    estimator: 'antithetic',
    reason:
      size > MOST_REGRESSED
        ? `the regression is solved for up to ${MOST_REGRESSED} units`
        : `the budget is below ${REGRESSION_FROM} evaluations per unit, which the regression needs to be better`,
  };
}

/** The estimator that left this state. */
function begunBy(state: RankState): ShapleyEstimator | undefined {
  if (state.kind === 'shapley-exact') return 'exact';
  if (state.kind === 'shapley-pairs') return state.plain === true ? 'permutation' : 'antithetic';
  if (state.kind === 'shapley-regression') return state.design === 'kernel' ? 'kernel' : 'leverage';
  if (state.kind === 'shapley-partial') return state.side === 'addition' ? 'addition' : 'removal';
  return undefined;
}

function checkTruncation(truncation: number, estimator: ShapleyEstimator | undefined, metric?: MetricName): void {
  if (!(truncation >= 0 && Number.isFinite(truncation)))
    throw new SecateurError('usage', `A truncation of ${truncation} is not possible.`, 'Give a number such as 0.02.');
  if (estimator !== undefined && estimator !== 'antithetic' && estimator !== 'permutation')
    throw new SecateurError('usage', `Truncation is for permutations, not for the estimator '${estimator}'.`);
  if (metric !== undefined && metric !== 'accuracy')
    throw new SecateurError(
      'usage',
      `Truncation is for the metric accuracy only, which has a level of chance to stop at, not for ${metric}.`,
    );
}
