import { logGammaDrawDerivative } from './gamma-gradient.ts';
import { sampleLogGamma } from './gamma-sampling.ts';
import type { Rng } from './random.ts';

/** A draw of shares from Dir(φ), with all that its derivatives need. */
export interface DirichletDraw {
  /** s, non-negative, adds up to 1. */
  shares: Float64Array;
  /** ln s, finite also where s is 0 for being too small to be held. */
  logShares: Float64Array;
  /** ln z of the independent Gamma draws z_i ~ Gamma(φ_i, 1) with s = z/Σz. */
  logGammas: Float64Array;
}

/** Draws from Dir(φ) as normalised Gamma draws, all in logarithms: no 0/0 however small the parameters are. */
export function sampleDirichlet(rng: Rng, phi: ArrayLike<number>): DirichletDraw {
  const logGammas = new Float64Array(phi.length);
  for (let i = 0; i < phi.length; i++) logGammas[i] = sampleLogGamma(rng, phi[i]);
  return normalise(logGammas);
}

/** The draw that Gamma draws with these logarithms make. */
export function normalise(logGammas: Float64Array): DirichletDraw {
  let largest = -Infinity;
  for (const log of logGammas) largest = Math.max(largest, log);
  let sum = 0;
  for (const log of logGammas) sum += Math.exp(log - largest);
  const logSum = largest + Math.log(sum);
  const logShares = logGammas.map((log) => log - logSum);
  return { shares: logGammas.map((log) => Math.exp(log - largest) / sum), logShares, logGammas };
}

/** d ln z_j / dφ_j of each Gamma draw, by implicit reparameterisation. */
export function drawDerivatives(phi: ArrayLike<number>, draw: DirichletDraw): Float64Array {
  return draw.logGammas.map((log, j) => logGammaDrawDerivative(phi[j], log));
}

/** The Jacobian of a draw, row by row: ∂s_i/∂φ_j = s_i (δ_ij − s_j) d ln z_j/dφ_j at index i·n + j. */
export function drawJacobian(phi: ArrayLike<number>, draw: DirichletDraw): Float64Array {
  const n = phi.length;
  const { shares } = draw;
  const slopes = drawDerivatives(phi, draw);
  const jacobian = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) jacobian[i * n + j] = shares[i] * ((i === j ? 1 : 0) - shares[j]) * slopes[j];
  return jacobian;
}

/**
 * The pathwise gradient: that of f(s(φ)) with respect to φ from g = ∂f/∂s at one draw, without the Jacobian:
 * d ln z_j/dφ_j · s_j (g_j − Σ g_i s_i). Its mean over draws is the gradient of E[f(s)].
 */
export function pullBackDraw(phi: ArrayLike<number>, draw: DirichletDraw, gradient: ArrayLike<number>): Float64Array {
  const { shares, logGammas } = draw;
  let inner = 0;
  for (let i = 0; i < shares.length; i++) inner += gradient[i] * shares[i];
  return shares.map((s, j) => {
    const outer = s * (gradient[j] - inner);
    // A share of 0 moves nothing, and most draws of small parameters are such.
    return outer === 0 ? 0 : outer * logGammaDrawDerivative(phi[j], logGammas[j]);
  });
}
