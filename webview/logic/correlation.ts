/** How far two methods agree on the order of a group's units. */
export interface Agreement {
  /** Pearson correlation of the ranks (ties share the mean rank). */
  spearman: number;
  /** Kendall's tau-b. */
  kendall: number;
  /** Share of the best `k` units that both name. */
  topOverlap: number;
  k: number;
}

/** Compares two scores of the same units, by unit. NaN where a method gives all units the same score. */
export function agreement(a: ArrayLike<number>, b: ArrayLike<number>): Agreement {
  const n = a.length;
  const k = Math.max(1, Math.round(n / 4));
  const best = (scores: ArrayLike<number>): Set<number> => new Set(orderOf(scores, n).reverse().slice(0, k));
  const bestOfB = best(b);
  let shared = 0;
  for (const unit of best(a)) if (bestOfB.has(unit)) shared++;
  return { spearman: pearson(ranks(a), ranks(b)), kendall: kendallTau(a, b), topOverlap: shared / k, k };
}

/** Ranks from 1, ties sharing their mean. */
export function ranks(scores: ArrayLike<number>): Float64Array {
  const n = scores.length;
  const order = orderOf(scores, n);
  const out = new Float64Array(n);
  for (let i = 0; i < n;) {
    let end = i + 1;
    while (end < n && scores[order[end]] === scores[order[i]]) end++;
    for (let j = i; j < end; j++) out[order[j]] = (i + end + 1) / 2;
    i = end;
  }
  return out;
}

/** Kendall's tau-b in O(n log n): pairs in other orders are inversions, counted by a merge sort (Knight, 1966). */
export function kendallTau(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const n = a.length;
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => a[i] - a[j] || b[i] - b[j]);
  const pairs = (n * (n - 1)) / 2;
  const tiedA = tiedPairs(n, (i) => a[order[i]]);
  const tiedBoth = tiedPairs(n, (i) => `${a[order[i]]} ${b[order[i]]}`);
  const sorted = Float64Array.from(order, (i) => b[i]);
  const swaps = inversions(sorted, new Float64Array(n), 0, n);
  const tiedB = tiedPairs(n, (i) => sorted[i]);
  return (pairs - tiedA - tiedB + tiedBoth - 2 * swaps) / Math.sqrt((pairs - tiedA) * (pairs - tiedB));
}

function orderOf(scores: ArrayLike<number>, n: number): number[] {
  return Array.from({ length: n }, (_, i) => i).sort((i, j) => scores[i] - scores[j] || j - i);
}

/** Pairs of equal neighbours in a sorted sequence. */
function tiedPairs(n: number, key: (i: number) => unknown): number {
  let pairs = 0;
  for (let i = 0; i < n;) {
    let end = i + 1;
    while (end < n && key(end) === key(i)) end++;
    pairs += ((end - i) * (end - i - 1)) / 2;
    i = end;
  }
  return pairs;
}

/** Sorts [from, end) and counts pairs that stood in the wrong order. */
function inversions(values: Float64Array, room: Float64Array, from: number, end: number): number {
  if (end - from < 2) return 0;
  const middle = (from + end) >> 1;
  let found = inversions(values, room, from, middle) + inversions(values, room, middle, end);
  let left = from;
  let right = middle;
  for (let k = from; k < end; k++) {
    if (left < middle && (right >= end || values[left] <= values[right])) room[k] = values[left++];
    else {
      found += middle - left;
      room[k] = values[right++];
    }
  }
  values.set(room.subarray(from, end), from);
  return found;
}

function pearson(a: Float64Array, b: Float64Array): number {
  const n = a.length;
  const mean = (v: Float64Array): number => v.reduce((s, x) => s + x, 0) / n;
  const [ma, mb] = [mean(a), mean(b)];
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    ab += (a[i] - ma) * (b[i] - mb);
    aa += (a[i] - ma) ** 2;
    bb += (b[i] - mb) ** 2;
  }
  return ab / Math.sqrt(aa * bb);
}
