import { SecateurError } from '../../errors.ts';
import type { LossBatch } from '../../evaluation/types.ts';
import { pullBackDraw, type DirichletDraw } from '../../math/dirichlet-sampling.ts';
import { dirichletMean, dirichletScore, pullBackMean } from '../../math/dirichlet.ts';
import { pullBackScaling, scaleShares, type SwitchScaling } from './scaling.ts';

/** A model whose units are multiplied by gates, as a loss to be minimised. */
export interface SwitchLoss {
  /** Number of gates. */
  readonly size: number;
  /**
   * @param gates row-major, `count` rows of `size`
   * @param step number of the optimisation step, 0, 1, 2, …: which batch of data to take. Every row on the same batch
   */
  evaluate(gates: Float64Array, count: number, step: number, signal?: AbortSignal): Promise<LossBatch>;
}

/** An estimate of E_q[loss] or of the loss at the mean of q, and of its gradient with respect to φ. */
export interface Estimate {
  loss: number;
  gradient: Float64Array;
  estimator: 'point' | 'pathwise' | 'score-function';
}

/**
 * The loss at the mean of Dir(φ).
 * @throws SecateurError 'unsupported' when the model has no gradients
 */
export async function estimateAtMean(
  loss: SwitchLoss,
  phi: Float64Array,
  scaling: SwitchScaling,
  step: number,
  signal?: AbortSignal,
): Promise<Estimate> {
  const shares = dirichletMean(phi);
  const { losses, gradients } = checked(
    await loss.evaluate(scaleShares(scaling, shares), 1, step, signal),
    1,
    loss.size,
  );
  if (!gradients)
    throw new SecateurError(
      'unsupported',
      'The point form of the Dirichlet switch needs gradients, which this model does not have.',
      'Use the sampled form: losses are enough for it.',
    );
  const gradient = pullBackMean(phi, pullBackScaling(scaling, shares, gradients));
  return { loss: losses[0], gradient, estimator: 'point' };
}

/**
 * The mean loss over draws from Dir(φ). With gradients the estimate is pathwise (implicit reparameterisation of the
 * Gamma draws), else by the score function with the mean loss of the other draws as baseline.
 * @throws SecateurError 'usage' for a single draw without gradients: there is no baseline
 */
export async function estimateFromDraws(
  loss: SwitchLoss,
  phi: Float64Array,
  draws: readonly DirichletDraw[],
  scaling: SwitchScaling,
  step: number,
  signal?: AbortSignal,
): Promise<Estimate> {
  const n = loss.size;
  const gates = new Float64Array(draws.length * n);
  draws.forEach((draw, k) => gates.set(scaleShares(scaling, draw.shares), k * n));
  const { losses, gradients } = checked(await loss.evaluate(gates, draws.length, step, signal), draws.length, n);
  return {
    loss: losses.reduce((sum, l) => sum + l, 0) / draws.length,
    ...(gradients
      ? { gradient: pathwiseGradient(phi, draws, scaling, gradients), estimator: 'pathwise' }
      : { gradient: scoreFunctionGradient(phi, draws, losses), estimator: 'score-function' }),
  };
}

/** Mean over draws of (∂gates/∂φ)ᵀ ∂loss/∂gates: Figurnov, Mohamed, Mnih (2018), arXiv 1805.08498. */
export function pathwiseGradient(
  phi: Float64Array,
  draws: readonly DirichletDraw[],
  scaling: SwitchScaling,
  gradients: Float64Array,
): Float64Array {
  const n = phi.length;
  const mean = new Float64Array(n);
  draws.forEach((draw, k) => {
    const outer = pullBackScaling(scaling, draw.shares, gradients.subarray(k * n, (k + 1) * n));
    pullBackDraw(phi, draw, outer).forEach((g, i) => (mean[i] += g / draws.length));
  });
  return mean;
}

/**
 * Mean over draws of (loss − baseline) ∂ ln q/∂φ (Williams 1992; leave-one-out baseline: Kool, van Hoof, Welling 2019).
 * Unbiased, and needs no gradient of the loss, but noisier by far: some 32 draws a step and more.
 */
export function scoreFunctionGradient(
  phi: Float64Array,
  draws: readonly DirichletDraw[],
  losses: Float64Array,
): Float64Array {
  const count = draws.length;
  if (count < 2)
    throw new SecateurError(
      'usage',
      'This model has no gradients, so that the Dirichlet switch needs at least 2 draws a step.',
      'Give more, such as 32.',
    );
  const total = losses.reduce((sum, l) => sum + l, 0);
  const mean = new Float64Array(phi.length);
  draws.forEach((draw, k) => {
    const advantage = losses[k] - (total - losses[k]) / (count - 1);
    dirichletScore(phi, draw.logShares).forEach((g, i) => (mean[i] += (advantage * g) / count));
  });
  return mean;
}

function checked(batch: LossBatch, count: number, size: number): LossBatch {
  const { losses, gradients } = batch;
  if (losses.length !== count || (gradients && gradients.length !== count * size))
    throw new SecateurError(
      'internal',
      `The loss gave ${losses.length} values and ${gradients?.length ?? 'no'} derivatives for ${count} × ${size} gates.`,
    );
  const bad = losses.find((l) => !Number.isFinite(l)) ?? gradients?.find((g) => !Number.isFinite(g));
  if (bad !== undefined)
    throw new SecateurError(
      'runtime',
      `The loss of the gated model, or its gradient, is ${bad}, not a finite number.`,
      'Check the data for infinities, or choose another method.',
    );
  return batch;
}
