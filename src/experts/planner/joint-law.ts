/**
 * The joint scaling law of dense and mixture-of-experts language models: J. Ludziejewski, M. Pióro, J. Krajewski et al. (2025),
 * Joint MoE Scaling Laws: Mixture of Experts Can Be Memory Efficient, ICML, arXiv:2502.05172. Fitted to more than 280
 * decoders with Switch layers (top-1 routing, every expert as large as the dense layer) on FineWeb-Edu.
 */
import type { FittedRange, ModelFamily } from './family.ts';
import { blocksOf } from './family.ts';

/** Table 3: L = a Ê^δ N^(α + γ ln Ê) + b Ê^ω D^(β + ζ ln Ê) + c. */
export const JOINT_COEFFICIENTS = {
  a: 35.91,
  alpha: -0.1889,
  delta: -0.2285,
  gamma: 0.0098,
  b: 35.98,
  beta: -0.1775,
  omega: 0.5529,
  zeta: -0.0259,
  start: 2.0732,
  max: 290.4521,
  c: 1.3637,
} as const;

/** Root mean square errors of the prediction, in nats: on the runs that were fitted, and on 30 held out (section 5.2). */
export const JOINT_ERROR = { fit: 0.0062, heldOut: 0.0039 };

/** Numbers of experts of the experiments. */
export const JOINT_EXPERTS: readonly number[] = [1, 2, 4, 8, 16, 32];

/**
 * Appendix E. Of runs with fewer tokens than parameters, which were among them, the paper says that they are predicted less
 * well; 80 B tokens for 1.1 B parameters is the other end.
 */
export const JOINT_RANGE: FittedRange = {
  expansion: [1, 32],
  active: [79e6, 2.7e9],
  total: [79e6, 5e9],
  tokens: [0.5e9, 80e9],
  tokensPerParameter: [1, 73],
};

/** The law at a fixed number of experts: L = m N^μ + n D^ν + c. */
export interface ChinchillaForm {
  m: number;
  mu: number;
  n: number;
  nu: number;
  c: number;
}

/**
 * Ê, in which losses are a power law: 1/Ê = 1/(E − 1 + 1/(1/E_start − 1/E_max)) + 1/E_max (equation 4, after A. Clark et al.
 * 2022, arXiv:2202.01169). It is E_start for one expert, and never above E_max.
 */
export function effectiveExperts(experts: number): number {
  const { start, max } = JOINT_COEFFICIENTS;
  return 1 / (1 / (experts - 1 + 1 / (1 / start - 1 / max)) + 1 / max);
}

/** The joint law at `experts` experts a layer (equation 5, Table 4). */
export function chinchillaForm(experts: number): ChinchillaForm {
  const { a, alpha, delta, gamma, b, beta, omega, zeta, c } = JOINT_COEFFICIENTS;
  const effective = effectiveExperts(experts);
  const log = Math.log(effective);
  return { m: a * effective ** delta, mu: alpha + gamma * log, n: b * effective ** omega, nu: beta + zeta * log, c };
}

/**
 * Predicted loss in nats per token (equation 6).
 * @param active parameters that a token passes, embeddings and unembeddings included
 * @param tokens tokens of the training
 * @param experts experts a layer, 1 for a dense model
 */
export function jointLoss(active: number, tokens: number, experts: number): number {
  const { m, mu, n, nu, c } = chinchillaForm(experts);
  return m * active ** mu + n * tokens ** nu + c;
}

/**
 * The parameters and tokens of least loss under 6·N·D = `compute`, in closed form: N = (νn / μm)^(1/(μ+ν)) (F/6)^(ν/(μ+ν)). The
 * paper prints the ratio upside down, as it stands in J. Hoffmann et al. (2022) for exponents without their sign; this form
 * gives its Table 1, and equals the numerical optimum.
 */
export function computeOptimal(experts: number, compute: number): { active: number; tokens: number } {
  const { m, mu, n, nu } = chinchillaForm(experts);
  const product = compute / 6;
  const active = ((nu * n) / (mu * m)) ** (1 / (mu + nu)) * product ** (nu / (mu + nu));
  return { active, tokens: product / active };
}

/** Peak learning rate (equation 8). @param active parameters that a token passes, without embeddings */
export function jointLearningRate(active: number, experts: number): number {
  return Math.exp(8.39 - 0.81 * Math.log(active) - 0.25 * Math.log(experts));
}

/**
 * Decoders with SwiGLU layers of 3 d hidden units, of which every block holds `experts` (appendix A): 4 d² parameters of
 * attention, 9 d² an expert, 2 d V embeddings. Routers are neglected, as in the paper. 6 operations for a parameter and token in
 * training, 2 in use.
 */
export function jointFamily(experts: number, vocabulary: number): ModelFamily {
  const blocks = (width: number, perBlock: number): number => perBlock * blocksOf(width) * width ** 2;
  const embeddings = (width: number): number => 2 * width * vocabulary;
  const active = (width: number): number => embeddings(width) + blocks(width, 13);
  return {
    expansion: experts,
    granularity: 1,
    active,
    total: (width) => embeddings(width) + blocks(width, 4 + 9 * experts),
    trainingFlops: (width) => 6 * active(width),
    inferenceFlops: (width) => 2 * active(width),
    loss: (width, tokens) => jointLoss(active(width), tokens, experts),
    learningRate: (width) => jointLearningRate(blocks(width, 13), experts),
    range: JOINT_RANGE,
  };
}
