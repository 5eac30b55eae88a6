/**
 * The scaling law of fine-grained mixtures of experts: J. Ludziejewski, J. Krajewski, K. Adamczewski et al. (2024), Scaling Laws
 * for Fine-Grained Mixture of Experts, ICML, arXiv:2402.07871. The granularity G says how many times smaller than the dense
 * layer an expert is; a token passes G of G·E experts, so that G changes neither the parameters that it passes nor those that
 * are stored. Fitted to more than 100 decoders with expert-choice routing on C4.
 */
import type { FittedRange, ModelFamily } from './family.ts';
import { blocksOf } from './family.ts';

/** L = c + (g / G^γ + a) / N^α + b / D^β. */
export interface FineGrainedCoefficients {
  a: number;
  alpha: number;
  b: number;
  beta: number;
  g: number;
  gamma: number;
  c: number;
}

/** Table 1 (dense, which is expansion 1, and 64) and Table 8 (16). */
export const FINE_GRAINED_COEFFICIENTS: Readonly<Record<number, FineGrainedCoefficients>> = {
  1: { a: 16.3, alpha: 0.126, b: 26.7, beta: 0.127, g: 0, gamma: 0, c: 0.47 },
  16: { a: 19.64, alpha: 0.124, b: 57.07, beta: 0.169, g: 1.18, gamma: 0.986, c: 0.472 },
  64: { a: 18.1, alpha: 0.115, b: 30.8, beta: 0.147, g: 2.1, gamma: 0.58, c: 0.47 },
};

/** Root mean square errors of the prediction at expansion 64, in nats: on the runs that were fitted, and in validation. */
export const FINE_GRAINED_ERROR = { fit: 0.015, heldOut: 0.019 };

/** Expansion rates E that the law was fitted at; 16 is called preliminary, on a part of the experiments. */
export const FINE_GRAINED_EXPANSIONS = [16, 64] as const;
export type FineGrainedExpansion = (typeof FINE_GRAINED_EXPANSIONS)[number];

export const FINE_GRAINED_GRANULARITIES: readonly number[] = [1, 2, 4, 8, 16, 32, 64];

/** Tables 3, 4 and 7: parameters that a token passes, without embeddings and routers; tokens; granularity. */
const RANGES: Readonly<Record<number, FittedRange>> = {
  1: { active: [3e6, 85e6], tokens: [16e9, 66e9] },
  16: { active: [3e6, 49e6], tokens: [8e9, 66e9], granularity: [1, 16] },
  64: { active: [3e6, 85e6], tokens: [16e9, 130e9], granularity: [1, 16] },
};

/** Operations in training and in use (forward) for a parameter of the layers, and of the routers, and a token (appendix E). */
const LAYER_FLOPS = { training: 6, inference: 2 };
const ROUTER_FLOPS = { training: 14, inference: 6 };

/**
 * Predicted loss in nats per token (equation 9).
 * @param expansion 1 (dense), 16 or 64: the law has no term for it, but coefficients of its own
 * @param parameters all parameters, those of all experts included, without embeddings and routers
 */
export function fineGrainedLoss(expansion: number, parameters: number, tokens: number, granularity: number): number {
  const { a, alpha, b, beta, g, gamma, c } = FINE_GRAINED_COEFFICIENTS[expansion];
  return c + (g / granularity ** gamma + a) / parameters ** alpha + b / tokens ** beta;
}

/**
 * Decoders with two matrices of 4 d hidden units in a layer (section 6.1): 12 d² parameters a block that a token passes,
 * (4 + 8 E) d² that are stored, d·E·G of the router. Operations after equation 10, embeddings left out there.
 */
export function fineGrainedFamily(expansion: number, granularity: number, vocabulary: number): ModelFamily {
  const dense = expansion === 1;
  const layers = (width: number): number => 12 * width ** 2;
  const router = (width: number): number => (dense ? 0 : width * expansion * granularity);
  const flops = (width: number, use: 'training' | 'inference'): number =>
    blocksOf(width) * (layers(width) * LAYER_FLOPS[use] + router(width) * ROUTER_FLOPS[use]);
  const parameters = (width: number): number => blocksOf(width) * width ** 2 * (4 + 8 * expansion);
  return {
    expansion,
    granularity,
    active: (width) => blocksOf(width) * layers(width),
    total: (width) => parameters(width) + blocksOf(width) * router(width) + 2 * width * vocabulary,
    trainingFlops: (width) => flops(width, 'training'),
    inferenceFlops: (width) => flops(width, 'inference'),
    loss: (width, tokens) => fineGrainedLoss(expansion, parameters(width), tokens, granularity),
    routerShare: (width) => router(width) / layers(width),
    range: RANGES[expansion],
  };
}
