import type { OracleScore, OracleSet } from '../../formats.ts';

/** Values that differ by less than this share of their size are equal: single precision is not more exact. */
const ROUNDING = 1e-6;

export interface Oracle {
  /** The best set to keep of every size 1 … n − 1; of equal ones the first. */
  sets: OracleSet[];
  /** For each unit the mean over the sizes of the share of best sets that hold it. */
  scores: Float64Array;
}

/**
 * Oracle sets and Oracle rank (Adamczewski, Li, Van Gool, arXiv 2407.15875): for each size the coalition with the highest
 * value, and how often a unit is in them. Where several sets of a size are equally good, each has an equal part.
 * @param values by bit mask, bit i: unit i is open
 */
export function oracleSets(values: Float64Array, players: number): Oracle {
  const best = new Float64Array(players + 1).fill(-Infinity);
  let magnitude = 0;
  for (let mask = 0; mask < values.length; mask++) {
    const size = bitCount(mask);
    best[size] = Math.max(best[size], values[mask]);
    magnitude = Math.max(magnitude, Math.abs(values[mask]));
  }
  const slack = ROUNDING * magnitude;
  const counts = new Float64Array(players + 1);
  const holding = Array.from({ length: players + 1 }, () => new Float64Array(players));
  const first: number[] = [];
  for (let mask = 0; mask < values.length; mask++) {
    const size = bitCount(mask);
    if (values[mask] < best[size] - slack) continue;
    if (counts[size]++ === 0) first[size] = mask;
    for (let unit = 0; unit < players; unit++) if ((mask >> unit) & 1) holding[size][unit]++;
  }
  const sets: OracleSet[] = [];
  const scores = new Float64Array(players);
  for (let size = 1; size < players; size++) {
    const keep = Array.from({ length: players }, (_, i) => i).filter((unit) => (first[size] >> unit) & 1);
    sets.push({ keep, value: values[first[size]] });
    for (let unit = 0; unit < players; unit++) scores[unit] += holding[size][unit] / counts[size] / (players - 1);
  }
  // A group of one unit has no choice to make.
  if (players === 1) scores[0] = 1;
  return { sets, scores };
}

/** Sizes of the oracle sets that an order is scored by, as in the paper. */
const SCORED_SIZES = 5;

/**
 * Scores an order of units by the oracle sets of the sizes o = 1 … 5: of the best sets to keep, Σ|set ∩ first o| / Σo;
 * of the best sets to remove, Σ|set ∩ last o| / Σo. Both are 1 for an order that finds every one of these sets.
 * @param order units, most important first
 * @param sets as `oracleSets` gives them
 */
export function scoreAgainstOracle(order: readonly number[], sets: readonly OracleSet[]): OracleScore {
  const n = order.length;
  const sizes = Math.min(SCORED_SIZES, n - 1);
  const all = (sizes * (sizes + 1)) / 2;
  if (all === 0) return { keep: 1, remove: 1 };
  let [keep, remove] = [0, 0];
  for (const set of sets) {
    const kept = new Set(set.keep);
    const size = kept.size;
    if (size <= sizes) keep += order.slice(0, size).filter((unit) => kept.has(unit)).length;
    if (n - size <= sizes) remove += order.slice(size).filter((unit) => !kept.has(unit)).length;
  }
  return { keep: keep / all, remove: remove / all };
}

function bitCount(mask: number): number {
  let count = 0;
  for (let m = mask; m > 0; m &= m - 1) count++;
  return count;
}
