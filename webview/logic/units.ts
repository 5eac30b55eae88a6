import type { GroupRanks, UnitScore } from '../../src/formats.ts';

/** z of a two-sided 95 % interval. */
export const Z95 = 1.96;

/** What `stderr` of a score is, and how many of it a whisker reaches to each side. */
export interface Whiskers {
  reach: number;
  /** A posterior standard deviation: how widely the unit's gate may vary, not how sure its score is. */
  posterior: boolean;
}

/** Standard errors: 95 % intervals. */
export const ERRORS: Whiskers = { reach: Z95, posterior: false };
export const POSTERIOR: Whiskers = { reach: 1, posterior: true };

/** Of the scores of a group: only the Dirichlet switch has posteriors. */
export function whiskersOf(ranks: GroupRanks): Whiskers {
  return ranks.switch ? POSTERIOR : ERRORS;
}

/** Units by score, best first; ties by index. */
export function sortUnits(units: readonly UnitScore[]): UnitScore[] {
  return [...units].sort((a, b) => b.score - a.score || a.index - b.index);
}

/** True when the 95 % interval of a score covers zero: the data does not say that the unit matters. */
export function coversZero(u: UnitScore): boolean {
  return u.stderr !== undefined && Math.abs(u.score) <= Z95 * u.stderr;
}

/** Range of scores and whiskers, zero always in it. */
export function scoreDomain(units: readonly UnitScore[], { reach } = ERRORS): [number, number] {
  let low = 0;
  let high = 0;
  for (const u of units) {
    if (!Number.isFinite(u.score)) continue;
    const half = reach * (u.stderr ?? 0);
    low = Math.min(low, u.score - half);
    high = Math.max(high, u.score + half);
  }
  return low === high ? [0, 1] : [low, high];
}

/** All intervals overlap: no order is supported. Uses the engine's verdict where there is one. */
export function hasNoSignal(ranks: GroupRanks): boolean {
  if (ranks.noSignal !== undefined) return ranks.noSignal;
  if (whiskersOf(ranks).posterior) return false;
  if (ranks.units.length < 2 || ranks.units.some((u) => u.stderr === undefined)) return false;
  let lowestTop = Infinity;
  let highestBottom = -Infinity;
  for (const u of ranks.units) {
    lowestTop = Math.min(lowestTop, u.score + Z95 * (u.stderr ?? 0));
    highestBottom = Math.max(highestBottom, u.score - Z95 * (u.stderr ?? 0));
  }
  return highestBottom <= lowestTop;
}

/** Largest finite |score| over groups: the one colour scale of a method. */
export function largestScore(groups: readonly GroupRanks[]): number {
  let largest = 0;
  for (const g of groups) {
    for (const u of g.units) if (Number.isFinite(u.score)) largest = Math.max(largest, Math.abs(u.score));
  }
  return largest;
}

/** A name whose end always shows. Returns what may shrink and what may not. */
export function splitName(name: string, tail = 14): { head: string; tail: string } {
  if (name.length <= 8) return { head: name, tail: '' };
  const kept = Math.min(tail, name.length >> 1);
  return { head: name.slice(0, name.length - kept), tail: name.slice(name.length - kept) };
}
