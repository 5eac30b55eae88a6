import type { SwitchScaling } from '../../formats.ts';

export type { SwitchScaling };

/**
 * How a draw of shares s (n of them, Σ s = 1) becomes gates.
 * - `mean-one`: n·s. Gates are 1 on average, as in the network that was trained, where raw shares would shrink all
 *   activations to 1/n. But at gates of 1 a trained network is at its optimum: nothing is gained there by giving a useful
 *   unit more, its variance costs, and what is left over goes to units that do not matter. They then end *above* the
 *   others wherever the loss does not reward amplification.
 * - `saturating`: 1 − e^(−n·s), between 0 and 1 and 0.63 at the mean share. No amplification, and every unit is below what
 *   the network was trained with, so that useful units draw shares from useless ones. (Against labels a unit that makes the
 *   network too sure of itself may still end below one that does nothing.)
 * - `max-one`: s / max(s). No gate exceeds 1, and the largest is 1; for input features.
 * - `simplex`: s as it is, as published (Adamczewski and Park 2021, AISTATS, arXiv 2011.05985).
 */
export function scaleShares(scaling: SwitchScaling, shares: Float64Array): Float64Array {
  if (scaling === 'simplex') return shares.slice();
  if (scaling === 'saturating') return shares.map((s) => -Math.expm1(-shares.length * s));
  const factor = scaling === 'mean-one' ? shares.length : 1 / shares[indexOfLargest(shares)];
  return shares.map((s) => s * factor);
}

/**
 * The gradient with respect to the shares from that with respect to the gates. Of the largest share m, `max-one` also
 * moves all others: ∂(s_i/s_m)/∂s_m = −s_i/s_m². Between equal largest shares the first is taken for m, one of the
 * subgradients.
 */
export function pullBackScaling(
  scaling: SwitchScaling,
  shares: Float64Array,
  gradient: ArrayLike<number>,
): Float64Array {
  if (scaling === 'simplex') return Float64Array.from(gradient);
  const n = shares.length;
  if (scaling === 'mean-one') return Float64Array.from(gradient, (g) => g * n);
  if (scaling === 'saturating') return shares.map((s, i) => gradient[i] * n * Math.exp(-n * s));
  const m = indexOfLargest(shares);
  const pulled = Float64Array.from(gradient, (g) => g / shares[m]);
  let all = 0;
  for (let i = 0; i < n; i++) all += (gradient[i] * shares[i]) / shares[m];
  pulled[m] -= all / shares[m];
  return pulled;
}

function indexOfLargest(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
