import stdlibDigamma from '@stdlib/math-base-special-digamma';
import stdlibGammaln from '@stdlib/math-base-special-gammaln';
import stdlibTrigamma from '@stdlib/math-base-special-trigamma';

/**
 * The gamma function's logarithm and its first two derivatives, for positive arguments. From stdlib (ports of FreeBSD's
 * and Boost's), relative error below 1e-13 from 1e-6 to 1e6, also beside the zeros of ln Γ (1 and 2) and ψ (1.4616…).
 */

/** ln Γ(x), x > 0. */
export function logGamma(x: number): number {
  return stdlibGammaln(x);
}

/** ψ(x) = d ln Γ(x) / dx, x > 0. */
export function digamma(x: number): number {
  return stdlibDigamma(x);
}

/** ψ′(x), x > 0. */
export function trigamma(x: number): number {
  return stdlibTrigamma(x);
}
