import type { CoalitionGame } from '../../evaluation/types.ts';
import { Rng } from '../../math/random.ts';
import { RunningVector, spread } from '../../math/statistics.ts';
import type { RunningState } from '../../math/statistics.ts';
import { cancelled, evaluateInBatches, fullCoalition, isCancellation } from '../coalitions.ts';
import { requireFit, requireSeed } from '../require.ts';
import { groupRanks, secondsSince } from '../result.ts';
import type { RankContext, RankOptions, RankOutcome, RankProgress, RankState } from '../types.ts';
import { DEFAULT_TOLERANCE, defaultBudget, nextCheck, plannedPermutations } from './budget.ts';
import { truncatedSweeps } from './truncation.ts';

interface SamplingState extends RankState {
  kind: 'shapley-pairs';
  /** Single permutations instead of antithetic pairs. */
  plain?: true;
  /** Evaluations so far, where truncation makes them fewer than the sweeps have. */
  spent?: number;
  truncation?: number;
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
 *
 * With `options.truncation` sweeps end early (`truncatedSweeps`), and the budget is what they really take.
 * @param plain single permutations instead of antithetic pairs: a yardstick; a *pair* below is then one permutation
 */
export async function sampleShapley(
  context: RankContext,
  game: CoalitionGame,
  options: RankOptions,
  signal?: AbortSignal,
  onProgress?: (progress: RankProgress) => void,
  plain = false,
): Promise<RankOutcome> {
  const started = performance.now();
  const { group } = context;
  const n = game.players;
  const budget = options.budget ?? defaultBudget(n);
  const tolerance = options.tolerance ?? DEFAULT_TOLERANCE;
  const coarse = budget - 2 < (plain ? 1 : 2) * (n - 1);
  const single = plain && !coarse;
  const truncation = coarse ? undefined : options.truncation;
  const sweepsPerPair = single ? 1 : 2;
  const cuts = coarse ? blockCuts(n, Math.max(1, Math.floor(budget / 2))) : allCuts(n);
  const perPair = sweepsPerPair * cuts.length;
  // Whole pairs only, and only what is sure to stay within the budget.
  const affordable = (): number => (coarse || perPair === 0 ? 1 - sums.count : Math.floor((budget - spent) / perPair));
  const planned = plannedPermutations(n, budget, sweepsPerPair);

  const before = coarse ? undefined : readState(options, n, plain);
  let rng = before ? Rng.fromState(before.rng) : Rng.from(options.seed, group.id);
  const sums = before ? RunningVector.fromState(before.sums) : new RunningVector(n);
  let ends = before ? { full: before.full, empty: before.empty } : undefined;
  let spent = before?.spent ?? 2 + sums.count * perPair;

  const outcome = (complete: boolean): RankOutcome => {
    const seconds = secondsSince(started, before?.seconds);
    const ranks = groupRanks(group, {
      scores: sums.mean,
      stderr: sums.standardError(),
      value: ends,
      evaluations: spent,
      estimator: coarse
        ? `one pair of sweeps in ${cuts.length + 1} blocks of units: the budget is below one pair of permutations`
        : words(sums.count, single, truncation),
      seconds,
    });
    if (coarse) return { ranks, complete };
    const resume: SamplingState = {
      kind: 'shapley-pairs',
      ...(single ? { plain: true as const } : {}),
      ...(truncation === undefined ? {} : { truncation, spent }),
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
    while (affordable() > 0 && !settled()) {
      // Several pairs in flight, but never past the next check: nothing that was evaluated is thrown away.
      const fitting = Math.max(1, Math.floor(game.preferredBatch / Math.max(1, perPair)) || 1);
      const pairs = Math.min(fitting, affordable(), nextCheck(sums.count) - sums.count);
      const next = Rng.fromState(rng.state());
      const orders = Array.from({ length: pairs }, () => next.permutation(n));
      const coalition = (index: number): Uint8Array =>
        prefixCoalition(orders[Math.floor(index / perPair)], cuts, index % perPair);
      let values: Float64Array;
      if (truncation === undefined) {
        values = await evaluateInBatches(game, pairs * perPair, coalition, signal, (count) =>
          onProgress?.({ evaluations: spent + count, planned }),
        );
        spent += values.length;
      } else {
        const steps = cuts.length;
        // The sweep of a permutation goes down its prefixes, that of its reverse down their complements.
        const place = (sweep: number, step: number): number =>
          sweep * steps + (sweep % sweepsPerPair === 0 ? steps - 1 - step : step);
        const swept = await truncatedSweeps(
          game,
          pairs * sweepsPerPair,
          steps,
          (sweep, step) => coalition(place(sweep, step)),
          ends.empty,
          truncation,
          signal,
        );
        values = new Float64Array(swept.values.length);
        swept.values.forEach((value, i) => (values[place(Math.floor(i / steps), i % steps)] = value));
        spent += swept.evaluations;
      }
      orders.forEach((order, p) =>
        sums.add(pairMeans(order, cuts, values.subarray(p * perPair, (p + 1) * perPair), ends!, single)),
      );
      rng = next;
      if (affordable() > 0 && !settled()) onProgress?.({ evaluations: spent, planned, partial: outcome(false).ranks });
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

function words(count: number, plain: boolean, truncation: number | undefined): string {
  const drawn = plain
    ? `${count} ${count === 1 ? 'permutation' : 'permutations'}`
    : `${count} antithetic ${count === 1 ? 'pair' : 'pairs'} of permutations`;
  return truncation === undefined ? drawn : `${drawn}, sweeps cut off within ${truncation} of none open: biased`;
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

/** For each unit the mean of its marginal contribution in a permutation and, unless `plain`, in the reverse; in blocks, an equal share. */
function pairMeans(
  order: Int32Array,
  cuts: Int32Array,
  values: Float64Array,
  ends: { full: number; empty: number },
  plain: boolean,
): Float64Array {
  const n = order.length;
  const count = cuts.length;
  const means = new Float64Array(n);
  for (let block = 0; block <= count; block++) {
    const from = block === 0 ? 0 : cuts[block - 1];
    const to = block === count ? n : cuts[block];
    const before = block === 0 ? ends.empty : values[block - 1];
    const after = block === count ? ends.full : values[block];
    if (plain) {
      for (let i = from; i < to; i++) means[order[i]] = (after - before) / (to - from);
      continue;
    }
    // In the reverse the block enters after all that follow it here.
    const beforeReversed = block === count ? ends.empty : values[count + block];
    const afterReversed = block === 0 ? ends.full : values[count + block - 1];
    const share = (after - before + (afterReversed - beforeReversed)) / 2 / (to - from);
    for (let i = from; i < to; i++) means[order[i]] = share;
  }
  return means;
}

function readState({ resume, seed, truncation }: RankOptions, n: number, plain: boolean): SamplingState | undefined {
  if (resume === undefined || resume.kind !== 'shapley-pairs') return undefined;
  const state = resume as SamplingState;
  const numbers = (list: unknown, length: number): boolean =>
    Array.isArray(list) && list.length === length && list.every((x) => Number.isFinite(x));
  const fits =
    (state.plain ?? false) === plain &&
    state.truncation === truncation &&
    (truncation === undefined || Number.isFinite(state.spent)) &&
    numbers(state.rng, 4) &&
    Number.isFinite(state.full) &&
    Number.isFinite(state.empty) &&
    Number.isFinite(state.seconds) &&
    Number.isInteger(state.sums?.count) &&
    numbers(state.sums.mean, n) &&
    numbers(state.sums.squares, n);
  requireFit(state, fits);
  requireSeed(state, seed);
  return state;
}
