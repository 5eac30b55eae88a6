/**
 * Ranks from 1, smallest value first; equal values share the mean of their ranks.
 */
export function ranksOf(values: ArrayLike<number>): Float64Array {
  const n = values.length;
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => values[i] - values[j]);
  const out = new Float64Array(n);
  for (let i = 0; i < n;) {
    let end = i + 1;
    while (end < n && values[order[end]] === values[order[i]]) end++;
    for (let j = i; j < end; j++) out[order[j]] = (i + end + 1) / 2;
    i = end;
  }
  return out;
}

/** Pearson's correlation; NaN where one side is constant. */
export function pearson(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const n = a.length;
  let [meanA, meanB] = [0, 0];
  for (let i = 0; i < n; i++) {
    meanA += a[i] / n;
    meanB += b[i] / n;
  }
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    ab += (a[i] - meanA) * (b[i] - meanB);
    aa += (a[i] - meanA) ** 2;
    bb += (b[i] - meanB) ** 2;
  }
  return ab / Math.sqrt(aa * bb);
}

/** Spearman's rank correlation, ties by mean ranks; NaN where one side is constant. */
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return pearson(ranksOf(a), ranksOf(b));
}

/**
 * Kendall's τ-b, which takes ties into account; NaN where one side is constant. O(n log n): pairs in other orders are the
 * inversions of a merge sort (Knight 1966).
 */
export function kendallTauB(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const n = a.length;
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => a[i] - a[j] || b[i] - b[j]);
  const pairs = (n * (n - 1)) / 2;
  const same = (x: ArrayLike<number>) => (i: number, j: number) => x[order[i]] === x[order[j]];
  const tiedA = tiedPairs(n, same(a));
  const tiedBoth = tiedPairs(n, (i, j) => same(a)(i, j) && same(b)(i, j));
  const sorted = Float64Array.from(order, (i) => b[i]);
  const swaps = inversions(sorted, new Float64Array(n), 0, n);
  const tiedB = tiedPairs(n, (i, j) => sorted[i] === sorted[j]);
  return (pairs - tiedA - tiedB + tiedBoth - 2 * swaps) / Math.sqrt((pairs - tiedA) * (pairs - tiedB));
}

/** Pairs of equal elements in a sorted sequence. */
function tiedPairs(n: number, same: (i: number, j: number) => boolean): number {
  let pairs = 0;
  for (let i = 0; i < n;) {
    let end = i + 1;
    while (end < n && same(i, end)) end++;
    pairs += ((end - i) * (end - i - 1)) / 2;
    i = end;
  }
  return pairs;
}

/** Sorts [from, end) and counts the pairs that stood in the wrong order. */
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
