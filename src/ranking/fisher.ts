import { gradientMethod } from './gradient-scores.ts';
import type { GateDerivatives, RankMethod } from './types.ts';

/** In a few words how the expectation over answers was taken. */
function expectation({ loss, draws, exact }: GateDerivatives): string {
  if (loss === 'projection') return `${draws} random projections per sample`;
  return exact ? `exact over ${draws} answers` : `${draws} answers drawn per sample`;
}

/**
 * ½·E[(∂ log p(y|x)/∂g)²] with y drawn from the model's own distribution: half the diagonal of the Fisher information by
 * gates g, the second-order estimate of the loss (in nats) when the unit alone is closed. Optimal brain damage (LeCun,
 * Denker, Solla 1990) with the Fisher information in place of the Hessian (Theis, Korshunova, Tejani, Huszár 2018, arXiv
 * 1801.05787, who take labels for y). A sample with several answers counts by their mean. Where the output is read as
 * numbers, the Gauss-Newton second derivative of mse stands for it, from random projections rᵀy: E[(∂rᵀy/∂g)²] = ‖∂y/∂g‖².
 */
export const fisher: RankMethod = gradientMethod({
  name: 'fisher',
  label: 'Fisher information',
  description:
    'Second-order estimate of what closing the unit costs, from how much the model’s own answers depend on it.',
  subject: 'distribution',
  score: ({ moments }) => ({ of: moments.square, times: 0.5 }),
  estimator: expectation,
});
