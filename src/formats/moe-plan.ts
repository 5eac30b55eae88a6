/** What `plan-moe` predicts. */

/** What a planned language model may cost. */
export interface MoeBudget {
  /** Floating-point operations of the training and of `inferenceTokens` tokens in use. */
  compute: number;
  /** Bytes for the parameters and the cache of keys and values; null without a limit. */
  memory: number | null;
  inferenceTokens: number;
  /** Tokens in the cache, of all sequences together. */
  context: number;
  bytesPerNumber: number;
  vocabulary: number;
  /** Most tokens of training for a parameter that a token passes; null without a limit. */
  maxTokensPerParameter: number | null;
}

export type MoeRangeName = 'expansion' | 'granularity' | 'active' | 'total' | 'tokens' | 'tokensPerParameter';

/** A number outside of what a scaling law was fitted to. */
export interface MoeRange {
  name: MoeRangeName;
  value: number;
  low: number;
  high: number;
}

/** The best model of one number of experts and granularity under a budget, as a scaling law predicts it. */
export interface MoeCandidate {
  /** Experts in a layer, expansion × granularity; 1 is dense. */
  experts: number;
  /** How many times more parameters the experts hold than a token passes. */
  expansion: number;
  /** How many times smaller than the dense layer an expert is, and how many of them a token passes. */
  granularity: number;
  /** Parameters that a token passes, counted as the law does (joint: with embeddings; fine-grained: without them and routers). */
  active: number;
  /** All parameters that are stored. */
  total: number;
  tokens: number;
  /** tokens / active */
  tokensPerParameter: number;
  /** Width of the model, and its blocks: width / 64. Not rounded. */
  width: number;
  blocks: number;
  /** Bytes, with the cache. */
  memory: number;
  /** What keeps the model from the size that compute alone would give it: the memory, or the most tokens for a parameter. */
  limit: 'memory' | 'tokens' | null;
  /** Nats per token. */
  loss: number;
  learningRate?: number;
  /** Multiplications of the routers for each one of the rest of a block. */
  routerShare?: number;
  outside: MoeRange[];
}

/** What one scaling law predicts. Losses of different laws are of different data and do not compare. */
export interface MoeLawPlan {
  law: 'joint' | 'fine-grained';
  source: string;
  /** Root mean square errors of the law, in nats, as published. */
  error: { fit: number; heldOut: number } | null;
  candidates: MoeCandidate[];
  /** Index of the candidate of least loss; null where there is none. */
  best: number | null;
  impossible: { expansion: number; granularity: number; reason: string }[];
}

/** `plan-moe --json` */
export interface MoePlan {
  format: 'secateur-moe-plan/1';
  budget: MoeBudget;
  laws: MoeLawPlan[];
  warnings: string[];
}

/** A language model with routed layers, or a dense one (experts 1). */
export interface MoeShape {
  /** Parameters that a token passes, and all parameters, embeddings included in both. */
  nActive: number;
  nTotal: number;
  /** Experts in a routed layer. */
  experts: number;
  dModel: number;
  blocks: number;
}

/** A model on the chart of the joint law: trained as long as the budget lets it. */
export interface MoePoint {
  experts: number;
  active: number;
  total: number;
  tokens: number;
  tokensPerParameter: number;
  memory: number;
  /** Whether it fits into the memory of the budget. */
  fits: boolean;
  loss: number;
  outside: MoeRange[];
}

/** A model's own place under a budget, and models with the next smaller and larger number of experts. */
export interface MoePlace {
  model: MoePoint;
  /** `same` is what they have in common with the model: parameters that a token passes, or all parameters. */
  neighbours: (MoePoint & { same: 'active' | 'total' })[];
}
