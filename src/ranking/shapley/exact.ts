import type { CoalitionGame } from '../../evaluation/types.ts';
import { cancelled, coalitionOf, evaluateInBatches, isCancellation } from '../coalitions.ts';
import { requireFit } from '../require.ts';
import { groupRanks, secondsSince } from '../result.ts';
import type { RankContext, RankOptions, RankOutcome, RankProgress, RankState } from '../types.ts';

interface ExactState extends RankState {
  kind: 'shapley-exact';
  /** By bit mask (bit i: unit i is open); null where not yet evaluated. */
  values: (number | null)[];
  seconds: number;
}

/**
 * Shapley values by enumeration of all 2^n coalitions. They are taken in the order of sizes 0, n, 1, n − 1, 2, …, so
 * that a cancelled run still holds for every unit the marginal contributions to small and to large coalitions; its
 * scores are then the mean over those sizes that are there, and its estimator says `partial enumeration`.
 */
export async function enumerateShapley(
  context: RankContext,
  game: CoalitionGame,
  options: RankOptions,
  signal?: AbortSignal,
  onProgress?: (progress: RankProgress) => void,
): Promise<RankOutcome> {
  const started = performance.now();
  const n = game.players;
  const values = new Float64Array(2 ** n).fill(NaN);
  const before = readState(options.resume, n);
  before?.values.forEach((value, mask) => (values[mask] = value ?? NaN));
  const todo = masksBySize(n).filter((mask) => Number.isNaN(values[mask]));
  const already = values.length - todo.length;

  const outcome = (complete: boolean): RankOutcome => {
    const seconds = secondsSince(started, before?.seconds);
    const { scores, scored } = shapleyFromTable(values, n);
    const ranks = groupRanks(context.group, {
      scores,
      scored: (unit) => scored[unit] === 1,
      stderr: complete ? new Float64Array(n) : undefined,
      value: { full: values[values.length - 1], empty: values[0] },
      evaluations: values.reduce((sum, v) => sum + (Number.isNaN(v) ? 0 : 1), 0),
      estimator: complete ? 'exact' : 'partial enumeration',
      seconds,
    });
    const resume: ExactState = {
      kind: 'shapley-exact',
      values: [...values].map((v) => (Number.isNaN(v) ? null : v)),
      seconds,
    };
    return complete ? { ranks, complete } : { ranks, complete, resume };
  };
  const known = (): boolean => !Number.isNaN(values[0]) && !Number.isNaN(values[values.length - 1]);

  try {
    let reported = performance.now();
    await evaluateInBatches(
      game,
      todo.length,
      (index) => coalitionOf(todo[index], n),
      signal,
      (done, chunk) => {
        for (let i = 0; i < done; i++) values[todo[i]] = chunk[i];
        // Scores of a half-filled table take a while themselves: a few times a second is enough.
        const now = performance.now();
        const show = known() && now - reported > 300 && done < todo.length;
        if (show) reported = now;
        onProgress?.({
          evaluations: already + done,
          planned: values.length,
          ...(show ? { partial: outcome(false).ranks } : {}),
        });
      },
    );
  } catch (thrown) {
    if (!isCancellation(thrown)) throw thrown;
    if (!known()) throw cancelled();
    return outcome(false);
  }
  const result = outcome(true);
  onProgress?.({ evaluations: values.length, planned: values.length, partial: result.ranks });
  return result;
}

/**
 * Shapley values from the table of coalition values by bit mask: the mean over the sizes 0 … n − 1 of the mean
 * marginal contribution of the unit to coalitions of that size without it. Where entries are NaN the means are over
 * what is there; `scored` is 0 for units without any pair.
 */
export function shapleyFromTable(values: Float64Array, n: number): { scores: Float64Array; scored: Uint8Array } {
  const scores = new Float64Array(n);
  const scored = new Uint8Array(n);
  const sizes = popCounts(n);
  for (let unit = 0; unit < n; unit++) {
    const sums = new Float64Array(n);
    const counts = new Float64Array(n);
    const bit = 1 << unit;
    for (let mask = 0; mask < values.length; mask++) {
      if (mask & bit) continue;
      const marginal = values[mask | bit] - values[mask];
      if (Number.isNaN(marginal)) continue;
      sums[sizes[mask]] += marginal;
      counts[sizes[mask]]++;
    }
    let present = 0;
    for (let size = 0; size < n; size++) {
      if (counts[size] === 0) continue;
      scores[unit] += sums[size] / counts[size];
      present++;
    }
    if (present > 0) {
      scores[unit] /= present;
      scored[unit] = 1;
    }
  }
  return { scores, scored };
}

function masksBySize(n: number): number[] {
  const sizes = popCounts(n);
  const bySize: number[][] = Array.from({ length: n + 1 }, () => []);
  sizes.forEach((size, mask) => bySize[size].push(mask));
  const order: number[] = [];
  for (let low = 0, high = n; low <= high; low++, high--) {
    order.push(...bySize[low]);
    if (high > low) order.push(...bySize[high]);
  }
  return order;
}

function popCounts(n: number): Uint8Array {
  const counts = new Uint8Array(2 ** n);
  for (let mask = 1; mask < counts.length; mask++) counts[mask] = counts[mask >> 1] + (mask & 1);
  return counts;
}

function readState(resume: RankState | undefined, n: number): ExactState | undefined {
  if (resume === undefined || resume.kind !== 'shapley-exact') return undefined;
  const state = resume as ExactState;
  const fits =
    Array.isArray(state.values) &&
    state.values.length === 2 ** n &&
    state.values.every((v) => v === null || Number.isFinite(v)) &&
    Number.isFinite(state.seconds);
  return requireFit(state, fits);
}
