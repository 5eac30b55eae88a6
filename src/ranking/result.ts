import type { GroupRanks } from '../formats.ts';
import type { Group } from '../units/types.ts';
import { intervalGap, Z95 } from '../math/statistics.ts';
import type { RankOutcome, RankProgress } from './types.ts';

/** Differences of metric values below this share of them are rounding. */
const ROUNDING = 1e-6;

/** What a method found out; `stderr` and `scored` per unit, NaN and 0 where there is nothing. */
export interface Scores {
  scores: ArrayLike<number>;
  stderr?: ArrayLike<number>;
  /** Units that have a score, when not all do (cancelled runs). */
  scored?: (unit: number) => boolean;
  value?: { full: number; empty: number };
  evaluations?: number;
  estimator?: string;
  seconds: number;
}

/** The ranks of a group in the form of `ranks.json`, units in the order of their index. */
export function groupRanks(group: Group, found: Scores): GroupRanks {
  const units = [];
  for (let index = 0; index < group.size; index++) {
    if (found.scored && !found.scored(index)) continue;
    const stderr = found.stderr?.[index];
    units.push({
      index,
      score: found.scores[index],
      ...(stderr !== undefined && Number.isFinite(stderr) ? { stderr } : {}),
    });
  }
  const ranks: GroupRanks = {
    id: group.id,
    kind: group.kind,
    layers: group.layers.map((node) => node.name),
    size: group.size,
    value: found.value ?? null,
    evaluations: found.evaluations ?? 0,
    units,
    seconds: found.seconds,
  };
  if (found.estimator !== undefined) ranks.estimator = found.estimator;
  const silent = noSignal(units, Math.max(Math.abs(found.value?.full ?? 0), Math.abs(found.value?.empty ?? 0)));
  if (silent !== undefined) ranks.noSignal = silent;
  return ranks;
}

/** The end of a method that has all scores at once, without evaluations: its ranks, told to `onProgress` too. */
export function finishedRanks(
  group: Group,
  found: Scores,
  onProgress: ((progress: RankProgress) => void) | undefined,
): RankOutcome {
  const ranks = groupRanks(group, found);
  onProgress?.({ evaluations: 0, planned: 0, partial: ranks });
  return { ranks, complete: true };
}

/**
 * Whether all intervals score ± 1.96 SE share a point, so that no order is supported by the data. With exact scores
 * that is so only when they are all equal, up to the rounding of single precision. Undefined where the method has no
 * standard errors.
 * @param magnitude size of the metric's values, which the rounding is relative to
 */
export function noSignal(units: readonly { score: number; stderr?: number }[], magnitude = 0): boolean | undefined {
  const errors = units.flatMap(({ stderr }) => stderr ?? []);
  if (units.length < 2 || errors.length < units.length) return undefined;
  const scores = units.map(({ score }) => score);
  return intervalGap(scores, errors, Z95) <= ROUNDING * magnitude;
}

/** Seconds since `started` (a `performance.now()` reading), plus those of an earlier part of the run. */
export function secondsSince(started: number, before = 0): number {
  return before + (performance.now() - started) / 1000;
}
