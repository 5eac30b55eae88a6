import { SecateurError } from '../../errors.ts';
import type { CoalitionGame } from '../../evaluation/types.ts';
import { Rng } from '../../math/random.ts';
import { RunningVector, spread } from '../../math/statistics.ts';
import type { RunningState } from '../../math/statistics.ts';
import { cancelled, evaluateInBatches, fullCoalition, isCancellation } from '../coalitions.ts';
import { requireFit } from '../require.ts';
import { groupRanks, secondsSince } from '../result.ts';
import type { RankContext, RankOptions, RankOutcome, RankProgress, RankState } from '../types.ts';
import { DEFAULT_TOLERANCE, defaultBudget, nextCheck, pairEvaluations, plannedShapleyEvaluations } from './budget.ts';

interface SamplingState extends RankState {
  kind: 'shapley-pairs';
  seed: number;
  rng: number[];
  full: number;
  empty: number;
  sums: RunningState;
  seconds: number;
}

/**
 * Shapley values by antithetic permutation sampling (Castro et al. 2009; Mitchell et al. 2022): a permutation and its
 * reverse form a pair. Sweeping the prefixes of a permutation gives each unit one marginal contribution, and these
 * telescope, so that the scores add up to v(N) − v(∅) whatever was drawn. The standard error of a score comes from
 * the pair means, which are independent; it speaks of the sampling of permutations, not of the choice of data.
 *
 * A pair costs 2(n − 1) coalitions besides the full and the empty one, which are evaluated once; a coalition that
 * turns up twice is evaluated and counted twice. The run stops at the budget, or when at one of the checks
 * (`nextCheck`) the largest standard error is at most `tolerance` × (highest − lowest score). Permutations are drawn and added up in one
 * order, so that the numbers depend on the seed alone, not on batches, cancelling or resuming.
 *
 * With a budget that does not reach one pair (below 2n), one pair of *coarse* sweeps is taken: the units enter in
 * blocks of equal size and each block's contribution is shared equally in it. Scores then still add up to
 * v(N) − v(∅) but are blurred towards the mean and carry no standard error; the estimator says so.
 */
export async function sampleShapley(
  context: RankContext,
  game: CoalitionGame,
  options: RankOptions,
  signal?: AbortSignal,
  onProgress?: (progress: RankProgress) => void,
): Promise<RankOutcome> {
  const started = performance.now();
  const { group } = context;
  const n = game.players;
  const budget = options.budget ?? defaultBudget(n);
  const tolerance = options.tolerance ?? DEFAULT_TOLERANCE;
  const maxPairs = Math.floor((budget - 2) / (2 * (n - 1)));
  const cuts = maxPairs > 0 ? allCuts(n) : blockCuts(n, Math.max(1, Math.floor(budget / 2)));
  const coarse = maxPairs < 1;
  const planned = plannedShapleyEvaluations(n, budget);

  const before = coarse ? undefined : readState(options.resume, n, options.seed);
  let rng = before ? Rng.fromState(before.rng) : Rng.from(options.seed, group.id);
  const sums = before ? RunningVector.fromState(before.sums) : new RunningVector(n);
  let ends = before ? { full: before.full, empty: before.empty } : undefined;

  const outcome = (complete: boolean): RankOutcome => {
    const seconds = secondsSince(started, before?.seconds);
    const ranks = groupRanks(group, {
      scores: sums.mean,
      stderr: sums.standardError(),
      value: ends,
      evaluations: 2 + sums.count * 2 * cuts.length,
      estimator: coarse
        ? `one pair of sweeps in ${cuts.length + 1} blocks of units: the budget is below one pair of permutations`
        : `${sums.count} antithetic ${sums.count === 1 ? 'pair' : 'pairs'} of permutations`,
      seconds,
    });
    if (coarse) return { ranks, complete };
    const resume: SamplingState = {
      kind: 'shapley-pairs',
      seed: options.seed,
      rng: rng.state(),
      ...ends!,
      sums: sums.state(),
      seconds,
    };
    return { ranks, complete, resume };
  };
  const settled = (): boolean => {
    if (tolerance <= 0 || sums.count < 2 || nextCheck(sums.count - 1) !== sums.count) return false;
    return Math.max(...sums.standardError()) <= tolerance * spread(sums.mean);
  };

  try {
    if (!ends) {
      const [full, empty] = await evaluateInBatches(
        game,
        2,
        (i) => (i === 0 ? fullCoalition(n) : new Uint8Array(n)),
        signal,
      );
      ends = { full, empty };
    }
    const target = coarse ? 1 : maxPairs;
    while (sums.count < target && !settled()) {
      // Several pairs in flight, but never past the next check: nothing that was evaluated is thrown away.
      const fitting = Math.max(1, Math.floor(game.preferredBatch / Math.max(1, 2 * cuts.length)) || 1);
      const pairs = Math.min(fitting, target - sums.count, nextCheck(sums.count) - sums.count);
      const next = Rng.fromState(rng.state());
      const orders = Array.from({ length: pairs }, () => next.permutation(n));
      const perPair = 2 * cuts.length;
      const done = pairEvaluationsSoFar(sums.count, cuts.length);
      const values = await evaluateInBatches(
        game,
        pairs * perPair,
        (index) => prefixCoalition(orders[Math.floor(index / perPair)], cuts, index % perPair),
        signal,
        (count) => onProgress?.({ evaluations: done + count, planned }),
      );
      orders.forEach((order, p) =>
        sums.add(pairMeans(order, cuts, values.subarray(p * perPair, (p + 1) * perPair), ends!)),
      );
      rng = next;
      if (sums.count < target && !settled())
        onProgress?.({
          evaluations: pairEvaluationsSoFar(sums.count, cuts.length),
          planned,
          partial: outcome(false).ranks,
        });
    }
  } catch (thrown) {
    if (!isCancellation(thrown)) throw thrown;
    if (sums.count === 0) throw cancelled();
    return outcome(false);
  }
  const result = outcome(true);
  onProgress?.({ evaluations: result.ranks.evaluations, planned: result.ranks.evaluations, partial: result.ranks });
  return result;
}

function pairEvaluationsSoFar(pairs: number, cuts: number): number {
  return pairEvaluations(cuts + 1, pairs);
}

/** Positions 1 … n − 1 of a permutation after which a prefix is evaluated: all of them. */
function allCuts(n: number): Int32Array {
  return Int32Array.from({ length: n - 1 }, (_, i) => i + 1);
}

/** The inner borders of `blocks` blocks of nearly equal size. */
function blockCuts(n: number, blocks: number): Int32Array {
  return Int32Array.from({ length: blocks - 1 }, (_, i) => Math.round(((i + 1) * n) / blocks));
}

/**
 * Coalition number `index` of a pair: the first half are the prefixes of the permutation at each cut, the second half
 * their complements, which are the prefixes of the reversed permutation.
 */
function prefixCoalition(order: Int32Array, cuts: Int32Array, index: number): Uint8Array {
  const forward = index < cuts.length;
  const cut = cuts[forward ? index : index - cuts.length];
  const coalition = new Uint8Array(order.length);
  if (forward) for (let i = 0; i < cut; i++) coalition[order[i]] = 1;
  else for (let i = cut; i < order.length; i++) coalition[order[i]] = 1;
  return coalition;
}

/** For each unit the mean of its marginal contribution in a permutation and in the reverse; in blocks, an equal share. */
function pairMeans(
  order: Int32Array,
  cuts: Int32Array,
  values: Float64Array,
  ends: { full: number; empty: number },
): Float64Array {
  const n = order.length;
  const count = cuts.length;
  const means = new Float64Array(n);
  for (let block = 0; block <= count; block++) {
    const from = block === 0 ? 0 : cuts[block - 1];
    const to = block === count ? n : cuts[block];
    const before = block === 0 ? ends.empty : values[block - 1];
    const after = block === count ? ends.full : values[block];
    // In the reverse the block enters after all that follow it here.
    const beforeReversed = block === count ? ends.empty : values[count + block];
    const afterReversed = block === 0 ? ends.full : values[count + block - 1];
    const share = (after - before + (afterReversed - beforeReversed)) / 2 / (to - from);
    for (let i = from; i < to; i++) means[order[i]] = share;
  }
  return means;
}

function readState(resume: RankState | undefined, n: number, seed: number): SamplingState | undefined {
  if (resume === undefined || resume.kind !== 'shapley-pairs') return undefined;
  const state = resume as SamplingState;
  const numbers = (list: unknown, length: number): boolean =>
    Array.isArray(list) && list.length === length && list.every((x) => Number.isFinite(x));
  const fits =
    numbers(state.rng, 4) &&
    Number.isFinite(state.full) &&
    Number.isFinite(state.empty) &&
    Number.isFinite(state.seconds) &&
    Number.isInteger(state.sums?.count) &&
    numbers(state.sums.mean, n) &&
    numbers(state.sums.squares, n);
  requireFit(state, fits);
  if (state.seed !== seed)
    throw new SecateurError(
      'usage',
      `The saved ranking was made with seed ${state.seed}, not ${seed}.`,
      'Resume with the same seed, or rank anew.',
    );
  return state;
}
