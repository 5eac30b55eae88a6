import { digamma, logGamma, trigamma } from './gamma.ts';

/**
 * The Dirichlet distribution Dir(φ) over shares s ≥ 0 with Σ s = 1. Parameters φ_i > 0 are plain arrays; φ₀ = Σ φ_i.
 * Formulas: Kotz, Balakrishnan, Johnson (2000), Continuous Multivariate Distributions 1, chapter 49.
 */

/** φ₀, the concentration. */
export function concentration(phi: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < phi.length; i++) sum += phi[i];
  return sum;
}

/** E[s_i] = φ_i/φ₀. */
export function dirichletMean(phi: ArrayLike<number>): Float64Array {
  const total = concentration(phi);
  return Float64Array.from(phi, (p) => p / total);
}

/** Var[s_i] = m_i(1 − m_i)/(φ₀ + 1), with m the mean. */
export function dirichletVariance(phi: ArrayLike<number>): Float64Array {
  const total = concentration(phi);
  return Float64Array.from(phi, (p) => ((p / total) * ((total - p) / total)) / (total + 1));
}

/** ln B(φ) = Σ ln Γ(φ_i) − ln Γ(φ₀). */
export function logBeta(phi: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < phi.length; i++) sum += logGamma(phi[i]);
  return sum - logGamma(concentration(phi));
}

/** Differential entropy with respect to the first n − 1 shares, in nats. */
export function dirichletEntropy(phi: ArrayLike<number>): number {
  const total = concentration(phi);
  let entropy = logBeta(phi) + (total - phi.length) * digamma(total);
  for (let i = 0; i < phi.length; i++) entropy -= (phi[i] - 1) * digamma(phi[i]);
  return entropy;
}

/**
 * ln of the density at shares s, with respect to the first n − 1 shares.
 * @param logShares ln s_i; logarithms since shares of small parameters are too small to be held
 */
export function dirichletLogDensity(phi: ArrayLike<number>, logShares: ArrayLike<number>): number {
  let sum = -logBeta(phi);
  for (let i = 0; i < phi.length; i++) sum += (phi[i] - 1) * logShares[i];
  return sum;
}

/** The score ∂ ln density / ∂φ_i = ψ(φ₀) − ψ(φ_i) + ln s_i; its mean over draws is 0. */
export function dirichletScore(phi: ArrayLike<number>, logShares: ArrayLike<number>): Float64Array {
  const whole = digamma(concentration(phi));
  return Float64Array.from(phi, (p, i) => whole - digamma(p) + logShares[i]);
}

/**
 * KL(Dir(φ) ‖ Dir(α)) in nats: ln B(α) − ln B(φ) + Σ (φ_i − α_i)(ψ(φ_i) − ψ(φ₀)). Never negative; 0 only for φ = α.
 * Absolute error about 1e-15 times the largest ln Γ among the terms. It compares two posteriors over the same units or
 * features, and holds one near its prior.
 */
export function dirichletKl(phi: ArrayLike<number>, alpha: ArrayLike<number>): number {
  const total = concentration(phi);
  const whole = digamma(total);
  let sum = logGamma(total) - logGamma(concentration(alpha));
  for (let i = 0; i < phi.length; i++) {
    if (phi[i] === alpha[i]) continue;
    sum += logGamma(alpha[i]) - logGamma(phi[i]) + (phi[i] - alpha[i]) * digamma(phi[i]);
  }
  sum -= (total - concentration(alpha)) * whole;
  return Math.max(0, sum);
}

/** ∂KL(Dir(φ) ‖ Dir(α))/∂φ_i = (φ_i − α_i)ψ′(φ_i) − (φ₀ − α₀)ψ′(φ₀), with φ₀ and α₀ the two concentrations. */
export function dirichletKlGradient(phi: ArrayLike<number>, alpha: ArrayLike<number>): Float64Array {
  const total = concentration(phi);
  const common = (total - concentration(alpha)) * trigamma(total);
  return Float64Array.from(phi, (p, i) => (p - alpha[i]) * trigamma(p) - common);
}

/** The gradient with respect to φ of a function of the mean m = φ/φ₀, from its gradient g with respect to m: (g_j − Σ g_i m_i)/φ₀. */
export function pullBackMean(phi: ArrayLike<number>, gradient: ArrayLike<number>): Float64Array {
  const total = concentration(phi);
  let inner = 0;
  for (let i = 0; i < phi.length; i++) inner += (gradient[i] * phi[i]) / total;
  return Float64Array.from(phi, (_, j) => (gradient[j] - inner) / total);
}
