import type { Reading } from '../../formats.ts';
import { PROBABILITY_FLOOR } from '../../math/probability.ts';

/**
 * How the elements of one sample lie in an output: `outer` × `classes` × `inner`, row-major. Each (outer, inner) pair is
 * a position: one answer (one per sample for a classifier, one per token, one per pixel).
 */
export interface Layout {
  outer: number;
  classes: number;
  inner: number;
}

/** Answers per sample. */
export function positions(layout: Layout): number {
  return layout.outer * layout.inner;
}

/** log(1 + eˣ) without overflow. */
export function softplus(x: number): number {
  return x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x));
}

/** Log-softmax of `count` numbers that lie `stride` apart, from `start` on. */
export function logSoftmax(
  values: ArrayLike<number>,
  start = 0,
  count = values.length,
  stride = 1,
  out = new Float64Array(count),
): Float64Array {
  let max = -Infinity;
  for (let c = 0; c < count; c++) max = Math.max(max, values[start + c * stride]);
  if (max === -Infinity) return out.fill(-Math.log(count));
  let sum = 0;
  for (let c = 0; c < count; c++) sum += Math.exp(values[start + c * stride] - max);
  const log = Math.log(sum);
  for (let c = 0; c < count; c++) out[c] = values[start + c * stride] - max - log;
  return out;
}

/** Natural logarithm of a probability, floored. */
export function logProbability(p: number): number {
  return Math.log(Math.max(p, PROBABILITY_FLOOR));
}

/**
 * Log-probabilities of the answers at one position. Binary readings (one number) give two: of class 0 and of class 1.
 * @param at index of the position's first number; its classes lie `stride` apart
 */
export function logDistribution(
  reading: Reading,
  values: ArrayLike<number>,
  at: number,
  classes: number,
  stride: number,
): Float64Array {
  switch (reading) {
    case 'logits':
      return logSoftmax(values, at, classes, stride);
    case 'probabilities':
      return Float64Array.from({ length: classes }, (_, c) => logProbability(values[at + c * stride]));
    case 'log-probabilities':
      return Float64Array.from({ length: classes }, (_, c) =>
        Math.max(values[at + c * stride], Math.log(PROBABILITY_FLOOR)),
      );
    case 'binary-logit':
      return Float64Array.of(-softplus(values[at]), -softplus(-values[at]));
    case 'binary-probability':
      return Float64Array.of(logProbability(1 - values[at]), logProbability(values[at]));
    case 'regression':
      throw new RangeError('a regression output has no distribution');
  }
}

/** The answer at one position: the first largest class, or 1 where a binary output is above its threshold; −1 for NaN. */
export function topAnswer(
  reading: Reading,
  values: ArrayLike<number>,
  at: number,
  classes: number,
  stride: number,
): number {
  if (reading === 'binary-logit' || reading === 'binary-probability') {
    const v = values[at];
    return Number.isNaN(v) ? -1 : v > (reading === 'binary-logit' ? 0 : 0.5) ? 1 : 0;
  }
  let best = 0;
  for (let c = 0; c < classes; c++) {
    const v = values[at + c * stride];
    if (Number.isNaN(v)) return -1;
    if (v > values[at + best * stride]) best = c;
  }
  return best;
}

/** KL divergence Σ p (log p − log q) in nats of two log-distributions; a class with p = 0 adds nothing. */
export function klDivergence(logP: ArrayLike<number>, logQ: ArrayLike<number>): number {
  let sum = 0;
  for (let c = 0; c < logP.length; c++) {
    const p = Math.exp(logP[c]);
    if (p > PROBABILITY_FLOOR * 2) sum += p * (logP[c] - logQ[c]);
  }
  return sum;
}

/** Mean and its standard error (0 below two values). */
export function meanAndError(values: ArrayLike<number>): { mean: number; stderr: number } {
  const n = values.length;
  let mean = 0;
  for (let i = 0; i < n; i++) mean += values[i];
  mean /= n;
  let squares = 0;
  for (let i = 0; i < n; i++) squares += (values[i] - mean) ** 2;
  return { mean, stderr: n > 1 ? Math.sqrt(squares / (n - 1) / n) : 0 };
}
