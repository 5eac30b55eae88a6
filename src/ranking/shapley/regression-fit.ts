import { inverseOfSymmetric, timesVector } from '../../math/linear.ts';
import type { Pair } from './pair-stream.ts';

export interface Observation extends Pair {
  /** v(S) − v(N∖S). */
  difference: number;
}

export interface Fit {
  scores: Float64Array;
  stderr: Float64Array;
}

/**
 * Shapley values as a weighted least squares fit of v(S) ≈ v(∅) + Σ_{i∈S} φ_i with Σφ = v(N) − v(∅) (Charnes et al. 1988;
 * Lundberg, Lee 2017): with all coalitions it gives them exactly. The constraint is solved exactly, not penalised: with
 * φ = Δ/n + β the rows x = z − |z|/n are orthogonal to 1, and so is β (Musco, Witter 2025). Of a pair S, N∖S with their equal
 * weights only the difference of values counts, so that a pair is one row with the response
 * [v(S) − v(N∖S) − (2|S| − n)/n · Δ] / 2, and whatever is even in S drops out.
 *
 * A row of size s stands for total/drawn rows. Standard errors: the sandwich estimator from the residuals with the
 * leverage correction e²/(1 − h)² (HC3, about the jackknife: MacKinnon, White 1985), times 1 − drawn/total per size, because pairs are
 * drawn without replacement; they are 0 when all pairs were drawn.
 * @param gain v(N) − v(∅)
 * @param drawn pairs of each size among the observations
 * @param total pairs of each size that there are
 */
export function fitPairs(
  observations: readonly Observation[],
  players: number,
  gain: number,
  drawn: ArrayLike<number>,
  total: ArrayLike<number>,
): Fit {
  const n = players;
  const even = gain / n;
  if (n === 1) return { scores: Float64Array.of(gain), stderr: Float64Array.of(0) };
  const weightOf = sizeWeights(n, drawn);
  const responses = observations.map((o) => (o.difference - (2 * o.size - n) * even) / 2);
  const members = observations.map((o) => membersOf(o));

  // Σω x xᵀ = Σω z zᵀ − (a 1ᵀ + 1 aᵀ) + c 1 1ᵀ with a = Σω (s/n) z and c = Σω s²/n².
  const normal = new Float64Array(n * n);
  const shift = new Float64Array(n);
  const right = new Float64Array(n);
  let constant = 0;
  let common = 0;
  observations.forEach(({ size }, k) => {
    const weight = weightOf[size];
    const share = size / n;
    const open = members[k];
    for (const i of open) {
      const row = i * n;
      for (const j of open) normal[row + j] += weight;
      shift[i] += weight * share;
      right[i] += weight * responses[k];
    }
    constant += weight * share * share;
    common += weight * share * responses[k];
  });
  let trace = 0;
  for (let i = 0; i < n; i++) {
    right[i] -= common;
    for (let j = 0; j < n; j++) normal[i * n + j] += constant - (shift[i] + shift[j]);
    trace += normal[i * n + i];
  }
  // The direction of 1, where the rows say nothing, gets an eigenvalue of the size of the others.
  const scale = trace / n / n;
  for (let i = 0; i < normal.length; i++) normal[i] += scale;
  const inverse = inverseOfSymmetric(normal, n);
  const beta = timesVector(inverse, n, right);

  const variance = new Float64Array(n);
  observations.forEach(({ size }, k) => {
    const unseen = 1 - drawn[size] / total[size];
    if (unseen <= 0) return;
    const weight = weightOf[size];
    const direction = project(inverse, n, members[k]);
    let fitted = 0;
    let leverage = 0;
    for (const i of members[k]) {
      fitted += beta[i];
      leverage += direction[i];
    }
    // x·1 = 0 holds for β and for the direction, so that sums over members are products with x.
    const residual = responses[k] - fitted;
    const factor = (weight * residual) ** 2 * (unseen / Math.max(1e-6, 1 - weight * leverage) ** 2);
    for (let i = 0; i < n; i++) variance[i] += factor * direction[i] * direction[i];
  });
  return { scores: beta.map((b) => b + even), stderr: variance.map(Math.sqrt) };
}

/** Weight of a drawn pair by its size: the Shapley kernel of its two coalitions times what the pair stands for. */
function sizeWeights(n: number, drawn: ArrayLike<number>): Float64Array {
  const weights = new Float64Array(drawn.length);
  for (let size = 1; size < weights.length; size++) {
    if (drawn[size] === 0) continue;
    // 1/C(n, s) × total/drawn: total is C(n, s), or half of it where size and complement are the same.
    const each = (2 * size === n ? 0.5 : 1) / drawn[size];
    weights[size] = (2 * each) / (size * (n - size));
  }
  return weights;
}

function membersOf({ open, size }: Pair): Int32Array {
  const members = new Int32Array(size);
  for (let i = 0, at = 0; i < open.length; i++) if (open[i]) members[at++] = i;
  return members;
}

/** H⁻¹ x for x = z − |z|/n; the inverse has 1 as an eigenvector, so that the mean of H⁻¹ z is what −|z|/n takes away. */
function project(inverse: Float64Array, n: number, members: Int32Array): Float64Array {
  const out = new Float64Array(n);
  for (const j of members) {
    const row = j * n;
    for (let i = 0; i < n; i++) out[i] += inverse[row + i];
  }
  const mean = out.reduce((a, b) => a + b, 0) / n;
  for (let i = 0; i < n; i++) out[i] -= mean;
  return out;
}
