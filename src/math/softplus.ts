/**
 * Positive parameters from unconstrained ones: φ = softplus(θ) = ln(1 + e^θ), with dφ/dθ = sigmoid(θ). Near the
 * identity for large θ, so that steps of an optimiser mean the same everywhere but near 0.
 */

/** ln(1 + e^x), without overflow, and with all digits where it is small. */
export function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

/** 1/(1 + e^−x), the derivative of `softplus`; without overflow. */
export function sigmoid(x: number): number {
  const e = Math.exp(-Math.abs(x));
  return (x >= 0 ? 1 : e) / (1 + e);
}

/** The x with softplus(x) = y, for y > 0. */
export function softplusInverse(y: number): number {
  // ln(e^y − 1) as y + ln(1 − e^−y): no overflow for large y, no cancellation for small y.
  return y + Math.log(-Math.expm1(-y));
}
