/** Coalitions that an enumeration may take even if the budget is smaller: all of a group of 12 units. */
export const EXACT_COALITIONS = 4096;

/** First look at the standard errors after so many pairs of permutations. */
export const FIRST_CHECK = 3;

/** Tolerance when none is given: the largest standard error is at most 5 % of the spread of the scores. */
export const DEFAULT_TOLERANCE = 0.05;

/**
 * Budget when none is given: ten pairs of permutations (20 coalitions per unit) up to 2 000 coalitions, and beyond
 * that (groups of more than 333 units) three pairs, the fewest that give usable standard errors.
 */
export function defaultBudget(size: number): number {
  return Math.max(pairEvaluations(size, FIRST_CHECK), Math.min(2000, 20 * size));
}

/** Coalitions that `pairs` pairs take: all prefixes of a permutation and of its reverse, and the full and empty one. */
export function pairEvaluations(size: number, pairs: number): number {
  return 2 + pairs * 2 * (size - 1);
}

/** Whether the group's Shapley values are enumerated: up to 12 units, or more where the budget pays for all subsets. */
export function isEnumerated(size: number, budget: number): boolean {
  return size <= 20 && 2 ** size <= Math.max(budget, EXACT_COALITIONS);
}

/** After how many pairs the standard errors are looked at next: 3, 4, 5, 7, 9, 12, 15, 19, 24, … (a quarter more each time). */
export function nextCheck(pairs: number): number {
  let check = FIRST_CHECK;
  while (check <= pairs) check = Math.max(check + 1, Math.ceil(check * 1.25));
  return check;
}

/** The least that a regression takes: the full and the empty coalition, all pairs of single units, and half as many others. */
export function leastRegression(size: number): number {
  return Math.min(2 ** size, 3 * size + 2);
}

/** What a regression takes at most. */
export function plannedRegression(size: number, budget: number): number {
  return Math.min(2 ** size, 2 + 2 * Math.floor((budget - 2) / 2));
}

/** What permutations take at most: whole pairs (or single sweeps), or less than one pair in blocks of units. */
export function plannedPermutations(size: number, budget: number, sweeps = 2): number {
  const perPair = sweeps * (size - 1);
  if (perPair === 0) return 2;
  const pairs = Math.floor((budget - 2) / perPair);
  return pairs > 0 ? 2 + pairs * perPair : Math.max(2, 2 * Math.floor(budget / 2));
}
