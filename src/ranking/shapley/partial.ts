import { SecateurError } from '../../errors.ts';
import type { CoalitionGame } from '../../evaluation/types.ts';
import { cancelled, fullCoalition, isCancellation } from '../coalitions.ts';
import { requireFit } from '../require.ts';
import { groupRanks, secondsSince } from '../result.ts';
import type { RankContext, RankOptions, RankOutcome, RankProgress, RankState } from '../types.ts';
import { defaultBudget } from './budget.ts';
import { EvaluationLog, packNumbers, unpackNumbers } from './log.ts';

/** Which coalitions are looked at: those that lack at most k units, or those of at most k units. */
export type Side = 'removal' | 'addition';

interface PartialState extends RankState {
  kind: 'shapley-partial';
  side: Side;
  /** In the order of asking (`packNumbers`). */
  values: string;
  seconds: number;
}

/**
 * Partial (k-restricted) Shapley values (Adamczewski, Li, Van Gool, arXiv 2407.15875): only coalitions near one end are
 * evaluated, all of them, with at most k units removed from the full group or added to the empty one. A score is the mean
 * over these sizes of the mean marginal contribution of the unit, that is the Shapley sum cut off and divided by the
 * weights that are left. k is the largest that the budget pays for; on the removal side k = 1 is leave-one-out, k = n the
 * Shapley value. Nothing is drawn at random, so there is no standard error; the scores are those of other sizes than the
 * Shapley value's and are to be compared with it by rank only.
 *
 * @throws SecateurError 'usage' when the budget does not pay for k = 1
 */
export async function partialShapley(
  side: Side,
  context: RankContext,
  game: CoalitionGame,
  options: RankOptions,
  signal?: AbortSignal,
  onProgress?: (progress: RankProgress) => void,
): Promise<RankOutcome> {
  const started = performance.now();
  const n = game.players;
  const budget = options.budget ?? defaultBudget(n);
  const k = partialOrder(n, budget);
  if (k === 0)
    throw new SecateurError(
      'usage',
      `Partial Shapley values of the ${n} units of group '${context.group.id}' take at least ${n + 2} evaluations, the budget is ${budget}.`,
      'Give a larger budget, or another estimator.',
    );
  const planned = plannedPartial(n, budget);
  const before = readState(options.resume, side);
  const log = new EvaluationLog(game, before && unpackNumbers(before.values));

  // Per size j of what was removed or added: the sum of the values, and for each unit the sum where it is among the j.
  const totals = new Float64Array(n + 1);
  const withUnit: Float64Array[] = [];
  let ends: { full: number; empty: number } | undefined;
  let done = 0;
  const outcome = (complete: boolean): RankOutcome => {
    const seconds = secondsSince(started, before?.seconds);
    const scores = new Float64Array(n);
    for (let size = 1; size <= done; size++) {
      const pairs = binomial(n - 1, size - 1);
      const sign = side === 'removal' ? 1 : -1;
      for (let unit = 0; unit < n; unit++) {
        const without = totals[size - 1] - withUnit[size - 1][unit];
        scores[unit] += (sign * (without - withUnit[size][unit])) / pairs / done;
      }
    }
    const ranks = groupRanks(context.group, {
      scores,
      value: ends,
      evaluations: log.asked,
      estimator: `all coalitions ${side === 'removal' ? `without at most ${done}` : `of at most ${done}`} ${done === 1 ? 'unit' : 'units'}`,
      seconds,
    });
    const resume: PartialState = { kind: 'shapley-partial', side, values: packNumbers(log.values), seconds };
    return { ranks, complete, resume };
  };

  try {
    const [full, empty] = await log.ask(2, (i) => (i === 0 ? fullCoalition(n) : new Uint8Array(n)), signal);
    ends = { full, empty };
    totals[0] = side === 'removal' ? full : empty;
    withUnit[0] = new Float64Array(n);
    for (let size = 1; size <= k; size++) {
      const sums = (withUnit[size] = new Float64Array(n));
      // The other end is known already.
      const chosen = Array.from({ length: size }, (_, i) => i);
      const sets: Int32Array[] = [];
      do sets.push(Int32Array.from(chosen));
      while (nextCombination(chosen, n));
      const values =
        size === n
          ? Float64Array.of(side === 'removal' ? empty : full)
          : await log.ask(
              sets.length,
              (index) => {
                const coalition = side === 'removal' ? fullCoalition(n) : new Uint8Array(n);
                for (const unit of sets[index]) coalition[unit] ^= 1;
                return coalition;
              },
              signal,
              (asked) => onProgress?.({ evaluations: asked, planned }),
            );
      values.forEach((value, index) => {
        totals[size] += value;
        for (const unit of sets[index]) sums[unit] += value;
      });
      done = size;
      if (size < k) onProgress?.({ evaluations: log.asked, planned, partial: outcome(false).ranks });
    }
  } catch (thrown) {
    if (!isCancellation(thrown)) throw thrown;
    if (done === 0) throw cancelled();
    return outcome(false);
  }
  const result = outcome(true);
  onProgress?.({ evaluations: result.ranks.evaluations, planned: result.ranks.evaluations, partial: result.ranks });
  return result;
}

/** The largest k of which all sets of at most k units fit the budget; 0: none. */
export function partialOrder(size: number, budget: number): number {
  let evaluations = 2;
  for (let k = 1; k <= size; k++) {
    evaluations += k === size ? 0 : binomial(size, k);
    if (evaluations > budget) return k - 1;
  }
  return size;
}

/** What partial values take. */
export function plannedPartial(size: number, budget: number): number {
  const k = partialOrder(size, budget);
  let evaluations = 2;
  for (let j = 1; j <= Math.min(k, size - 1); j++) evaluations += binomial(size, j);
  return evaluations;
}

function binomial(n: number, k: number): number {
  let out = 1;
  for (let i = 1; i <= k; i++) out = (out * (n - k + i)) / i;
  return Math.round(out);
}

/** The next combination in lexicographic order, in place; false after the last. */
function nextCombination(chosen: number[], n: number): boolean {
  const k = chosen.length;
  let i = k - 1;
  while (i >= 0 && chosen[i] === n - k + i) i--;
  if (i < 0) return false;
  chosen[i]++;
  for (let j = i + 1; j < k; j++) chosen[j] = chosen[j - 1] + 1;
  return true;
}

function readState(resume: RankState | undefined, side: Side): PartialState | undefined {
  if (resume === undefined || resume.kind !== 'shapley-partial') return undefined;
  const state = resume as PartialState;
  const fits = state.side === side && unpackNumbers(state.values) !== undefined && Number.isFinite(state.seconds);
  return requireFit(state, fits);
}
