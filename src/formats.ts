/** The JSON that Secateur prints and writes. A contract: tests, scripts and the webview read it. Types only. */

export type UnitKind =
  | 'channel'
  | 'neuron'
  | 'head'
  | 'head-dim'
  | 'width'
  | 'hidden'
  | 'block'
  | 'expert'
  | 'exit'
  | 'feature'
  /** A whole group, where ranks are of layers. */
  | 'layer';
export type MetricName = 'accuracy' | 'cross-entropy' | 'kl' | 'mse' | 'agreement';
export type DeviceName = 'cpu' | 'webgpu' | 'cuda' | 'dml' | 'coreml';
export type MethodName =
  | 'shapley'
  | 'oracle'
  | 'leave-one-out'
  | 'dirichlet'
  | 'taylor'
  | 'taylor-squared'
  | 'taylor-signed'
  | 'fisher'
  | 'magnitude'
  | 'magnitude-l2'
  | 'activation'
  | 'wanda'
  | 'obs'
  | 'random';

/** How Shapley values are computed. */
export type ShapleyEstimator =
  /** All coalitions. */
  | 'exact'
  /** Permutations with their reverses. */
  | 'antithetic'
  /** Permutations without. */
  | 'permutation'
  /** Weighted least squares on pairs of coalitions drawn by leverage, or by the Shapley kernel. */
  | 'leverage'
  | 'kernel'
  /** All coalitions that lack, or consist of, at most k units: comparable by rank only. */
  | 'removal'
  | 'addition';

/** Whether the loss of the Dirichlet switch is averaged over draws, or taken at the mean of the distribution. */
export type SwitchForm = 'sampled' | 'point';
/** How shares s of the Dirichlet switch, which add up to 1 over n units, become gates: 1 − e^(−n·s), n·s, s / max(s), or s. */
export type SwitchScaling = 'saturating' | 'mean-one' | 'max-one' | 'simplex';

export interface ModelRef {
  path: string;
  sha256: string;
  bytes: number;
}

export interface DataRef {
  /** Path as given, or `synthetic`. */
  path: string;
  /** SHA-256 over the arrays that were read, names included. */
  fingerprint: string;
  samples: number;
}

export interface LayerInfo {
  name: string;
  op: string;
  parameters: number;
  macs: number;
  /** Shape of the first output; a string is a symbolic dim, null unknown. */
  shape: (number | string | null)[] | null;
  /** Bytes of all outputs for one sample; null when a shape is unknown. */
  activationBytes: number | null;
  /** The group whose units this layer produces, if any. */
  group?: string;
}

export interface GroupInfo {
  id: string;
  kind: UnitKind;
  size: number;
  /** Names of the nodes that produce the units; of a group of blocks, the layers that are in them. */
  layers: string[];
  /** Names of the nodes that contract or mix them; of a group of blocks, the node that adds each block, in the order of units. */
  consumers: string[];
  /** Elements of weight tensors that go when all units go (each tensor element once per group). Blocks: of all blocks. */
  parameters: number;
  /** MACs of the layers and consumers that depend on the group's width. */
  macs: number;
  prunable: boolean;
  reason?: string;
  /** Units by block, where a keep-set must keep equally many of each (grouped Conv, GroupNorm). */
  blocks?: number[][];
  /** Sets of units of which one each must stay, where there are any (the outputs of a Split, say). */
  parts?: number[][];
}

export interface PortInfo {
  name: string;
  type: string;
  shape: (number | string | null)[] | null;
}

/** How a graph computes its experts; what later code must cut or measure differs by it. */
export type ExpertForm =
  /** One com.microsoft MoE or QMoE node. */
  | 'fused'
  /** Every expert sees all tokens; gates that are 0 for most mask the results. */
  | 'dense'
  /** Every expert sees the tokens gathered for it; the results are scattered back. */
  | 'gathered'
  /** Every expert lies in a branch of an If. */
  | 'branches'
  /** A Loop or Scan whose turns are the experts, or which looks weights up by turns. */
  | 'loop'
  /** Weights `[experts, …]` in batched products over all experts. */
  | 'stacked'
  /** Weights `[experts, …]` from which every token gathers those of its own experts. */
  | 'lookup';

/** What turns logits into gates: `none` where the logits, or ones, are the gates. */
export type RouterKind = 'softmax-topk' | 'topk-softmax' | 'sigmoid' | 'none';

/** A layer of experts, in `inspect --json`. Names of layers are those of `layers`; others are names of tensors. */
export interface MoeInfo {
  /** Name of the router's layer, or of the fused op. */
  id: string;
  form: ExpertForm;
  /** Experts per token; null where it is computed while the model runs. */
  k: number | null;
  router: {
    /** Null where the scores come from elsewhere. */
    layer: string | null;
    weight: string | null;
    /** Scores `[…, experts]` before any activation. */
    logits: string;
    /** Scores of all experts behind Softmax or Sigmoid, where there are any. */
    probabilities: string | null;
    /** Number of experts that it scores. */
    width: number;
    kind: RouterKind;
    /** Whether the gates of the chosen experts add up to 1. */
    normalised: boolean;
    /** A bias that counts for choosing only. */
    selectionBias: string | null;
    /** Numbers and gates of the chosen experts, where the graph has such tensors. */
    indices: string | null;
    gates: string | null;
  };
  /** `layers` are the expert's own layers with weights; none where all experts share theirs. MACs are for one token. */
  experts: { index: number; layers: string[]; parameters: number; macs: number }[];
  /** Experts that every token passes. */
  shared: { layers: string[]; parameters: number; macs: number }[];
  /** Layers with the weights of all experts. */
  layers: string[];
  /** Whole sentences. */
  problems: string[];
}

/** `inspect --json` */
export interface InspectReport {
  model: ModelRef & { opset: number; irVersion: number; producer: string };
  totals: { parameters: number; macs: number; nodes: number };
  inputs: PortInfo[];
  outputs: PortInfo[];
  layers: LayerInfo[];
  groups: GroupInfo[];
  moe: MoeInfo[];
  exits: unknown[];
  metadata: Record<string, string>;
  /** Share of parameters and MACs that lies in prunable groups, those of blocks aside, 0..1. */
  prunable: { parameters: number; macs: number };
  warnings: string[];
}

/** How the output that the metric reads was understood. */
export type Reading =
  'logits' | 'probabilities' | 'log-probabilities' | 'binary-logit' | 'binary-probability' | 'regression';

/** `evaluate --json` */
export interface EvaluateReport {
  metric: MetricName;
  value: number;
  /** Standard error of the mean over samples, where the metric is a mean. */
  stderr?: number;
  samples: number;
  output: string;
  reading: Reading;
  holdout?: { value: number; stderr?: number; samples: number; perplexity?: number };
  /** exp of the cross-entropy per token, where cross-entropy is measured and every token has a label. */
  perplexity?: number;
  device: DeviceName;
  warnings: string[];
}

export interface UnitScore {
  index: number;
  /** Id of the group, where whole groups are ranked. */
  name?: string;
  score: number;
  /** Standard error of the score; of the method `dirichlet`, the posterior standard deviation of the switch. */
  stderr?: number;
}

/** A best set of units to keep, among all of its size. */
export interface OracleSet {
  keep: number[];
  value: number;
}

/** How much of the oracle sets of one to five units an order finds with its first and its last units, 0..1. */
export interface OracleScore {
  keep: number;
  remove: number;
}

export interface GroupRanks {
  id: string;
  kind: UnitKind;
  layers: string[];
  size: number;
  /** Metric with all units open and with none. */
  value: { full: number; empty: number } | null;
  evaluations: number;
  units: UnitScore[];
  /** Method actually used where it differs from the one asked for: exact enumeration of small groups. */
  estimator?: string;
  /** Which estimator of Shapley values that was, and why it. */
  chosen?: { estimator: ShapleyEstimator; reason: string };
  /** Method `dirichlet`: how it was fitted, and the loss and the divergence from the prior (nats) of the last step. */
  switch?: {
    form: SwitchForm;
    scaling: SwitchScaling;
    prior: number;
    draws: number;
    steps: number;
    gradient: 'point' | 'pathwise' | 'score-function';
    loss: number;
    divergence: number;
  };
  /** Method `oracle`: the best set to keep of each size 1 … n − 1. */
  oracle?: OracleSet[];
  /**
   * True when all intervals score ± 1.96 SE overlap (of the method `dirichlet`: when the data pulled no switch one way or the
   * other): no order is supported by the data.
   */
  noSignal?: boolean;
  seconds: number;
}

/** `*.ranks.json` for one method */
export interface Ranks {
  format: 'secateur-ranks/1';
  model: ModelRef;
  data: DataRef;
  method: MethodName;
  metric: MetricName | null;
  output?: string;
  reading?: Reading;
  seed: number;
  device: DeviceName;
  budget: number;
  tolerance: number;
  seconds: number;
  /** False when the run was cancelled and holds what was computed by then. */
  complete: boolean;
  /**
   * There where whole groups were ranked: `groups` then is one entry, whose units are groups by name. `closing`: the share
   * of its units that a closed layer lacks.
   */
  layers?: { closing: number };
  groups: GroupRanks[];
  /** What is needed to go on with the run: permutation sums per group, by id. */
  resume?: unknown;
  warnings: string[];
}

/** `*.ranks.json` for several methods */
export interface RanksByMethod {
  format: 'secateur-ranks/1';
  methods: Ranks[];
  /** Every two of the methods. */
  agreement?: MethodAgreement[];
}

/** How far two methods agree, by group. */
export interface MethodAgreement {
  methods: [MethodName, MethodName];
  groups: GroupAgreement[];
}

export interface GroupAgreement {
  id: string;
  /** Rank correlations, with ties; null where a method gives all units the same score. */
  spearman: number | null;
  /** Kendall's τ-b. */
  kendall: number | null;
  /** Share of the best k units that both name. */
  topOverlap: number;
  k: number;
  /** Methods whose data supports no order of this group. */
  noSignal?: MethodName[];
  /** Where one of the methods is the oracle: how the other's order does by it. */
  oracle?: OracleScore;
}

export type TargetKind = 'keep-macs' | 'keep-params' | 'keep-units' | 'max-drop';
export type Allocation = 'global' | 'uniform';

export interface PlanGroup {
  id: string;
  /** Sorted unit indices that stay. */
  keep: number[];
  /** Locked by the user: all units stay. */
  frozen?: boolean;
}

/** `*.plan.json` */
export interface Plan {
  format: 'secateur-plan/1';
  model: ModelRef;
  groups: PlanGroup[];
  target: { kind: TargetKind; value: number } | { kind: 'manual' };
  allocation: Allocation | 'manual';
  minKeep: number;
  roundTo: number;
  /** Which ranks it was made from. */
  from: { method: MethodName; metric: MetricName | null; seed: number; data: DataRef } | null;
}

export interface SideReport {
  bytes: number;
  parameters: number;
  macs: number;
  /** Metric on the data that was searched or ranked on. */
  value: number | null;
  /** Metric on held-out data. */
  holdout: number | null;
  /** Median of single-batch runs in milliseconds. */
  latencyMs: number | null;
}

export interface Equivalence {
  /** Worst output of pruned against gated model. */
  maxAbsDiff: number;
  maxRelDiff: number;
  /** max(1e-5, 10 × the same figure of the original between optimisations on and off); fp16 1e-2. */
  tolerance: number;
  samples: number;
}

/** `prune --json` */
export interface PruneReport {
  format: 'secateur-prune/1';
  model: ModelRef;
  data: DataRef;
  metric: MetricName;
  before: SideReport;
  after: SideReport;
  equivalence: Equivalence;
  plan: Plan;
  output: string;
  device: DeviceName;
  seconds: number;
  warnings: string[];
  /** Outputs whose shape shrank with the units (routing probabilities), by name. */
  shrunkOutputs: string[];
  /** How many samples the held-out values stand on; 0 without held-out data. */
  holdoutSamples: number;
  /** Units of each group of the plan before the prune. */
  groupSizes: Record<string, number>;
}

/** `compare --json` */
export interface CompareReport {
  a: SideReport & { path: string };
  b: SideReport & { path: string };
  /** Of `value` and `holdout`; null where the models' outputs allow none. */
  metric: MetricName | null;
  samples: number;
  holdoutSamples: number;
  delta: { [K in keyof SideReport]: number | null };
  /** Samples whose answer differs, where the models answer with a class. */
  changed: { samples: number; share: number; indices: number[] } | null;
  /** Outputs' distance. */
  outputs: { name: string; maxAbsDiff: number; maxRelDiff: number }[];
  layers: {
    name: string;
    op: string;
    a: { parameters: number; macs: number } | null;
    b: { parameters: number; macs: number } | null;
  }[];
  warnings: string[];
}

/** One layer's cost as a product, so that a prediction for any plan takes microseconds. */
export interface CostTerm {
  layer: string;
  /** MACs and parameters per unit of the product of all factors. */
  macs: number;
  parameters: number;
  /** Size of an axis = fixed + Σ over groups of multiplicity × kept units. */
  factors: { fixed: number; groups: { id: string; multiplicity: number }[] }[];
  /**
   * Sets of units that stand for what the layer is computed for, where it goes with residual blocks: there is no cost once
   * all units of any of these sets are gone.
   */
  needs?: { id: string; units: number[] }[];
}

/** One step of a removal order: these units go from that group. */
export interface RemovalStep {
  group: string;
  /** One unit, or as many as rounding and blocks take at a time. */
  units: number[];
  /** The whole model's cost once this and all earlier steps are taken. */
  macsAfter: number;
  parametersAfter: number;
}

/**
 * All cuts of an allocation at once: every prefix is a plan. The plan of a cost target is the first prefix that reaches
 * it, with the last steps taken back where they overshoot.
 */
export interface RemovalOrder {
  /** Cost with nothing removed. */
  macs: number;
  parameters: number;
  steps: RemovalStep[];
}

/** What counts as one input feature. */
export type FeatureKind =
  /** A column of a table. */
  | 'columns'
  /** A pixel, all of its colours together; a square of them. */
  | 'pixels'
  | 'patches'
  /** A colour, or another channel. */
  | 'channels'
  /** A row of an image: a line of a depth sensor. */
  | 'rows'
  /** A position in a sequence. */
  | 'tokens';

/** What a feature is when it is closed: its mean over the data, or 0. */
export type FeatureBaseline = 'mean' | 'zero';

/** How Dirichlet shares become gates: s / max(s), or s as it is (as published). */
export type FeatureScaling = 'max-one' | 'simplex';

export interface FeatureScore {
  /** Position among the features: of pixels and patches, row × columns of the grid + column. */
  index: number;
  name: string;
  /** Dirichlet: mean share, all adding up to 1. Shapley: value in the metric's unit, adding up to all − none open. */
  importance: number;
  /** Dirichlet: standard deviation of the share. Shapley: standard error; null where there is none. */
  sd: number | null;
}

/** Where the features of an image lie. */
export interface FeatureGrid {
  /** Of the image, in pixels. */
  height: number;
  width: number;
  /** Side of a patch in pixels, 1 for pixels; patches at the right and lower edge may be smaller. */
  patch: number;
  /** Features in each direction: rows × columns of them. Kind `rows`: columns is 1. */
  rows: number;
  columns: number;
}

/** A small image to lay a heat map over: the sample, or the mean of the data. */
export interface FeaturePicture {
  height: number;
  width: number;
  /** 1 grey, 3 red, green, blue. */
  channels: 1 | 3;
  /** 0…255, row by row, the colours of a pixel side by side; the image's range is stretched to it. */
  pixels: number[];
}

/** Importance of features for a part of the data, or in one model. */
export interface FeatureExplanation {
  /** What it is of: a path of a model, or `label 3`. */
  name: string;
  samples: number;
  /** One per feature, in the order of `index`. */
  features: FeatureScore[];
  /** Parameters of the Dirichlet distribution; null for Shapley values, and where each sample has its own. */
  phi: number[] | null;
  /** The loss (Q-FIT, smaller is better) or the metric (Shapley) with all features as they are, and with all at the baseline. */
  value: { open: number; closed: number };
}

/** Two explanations of the same features, side by side. */
export interface FeatureComparison {
  /** Two models on the same data, or two groups of the data by their labels. */
  of: 'models' | 'labels';
  /** The second; the first is the report itself. */
  other: FeatureExplanation;
  /** KL(Dir(φ first) ‖ Dir(φ second)) and the other way round, in nats; null for Shapley values. */
  divergence: { forward: number; backward: number } | null;
  /** Rank correlation of the importances; null where one of them has all features equal. */
  spearman: number | null;
}

/** `features --json` */
export interface Features extends FeatureExplanation {
  format: 'secateur-features/1';
  model: ModelRef;
  data: DataRef;
  method: 'qfit' | 'shapley';
  /** One φ for all samples; or one for each: of a single sample, or of all by a selector network. */
  mode: 'global' | 'local';
  /** Local mode of one sample: its number in the data. */
  sample?: number;
  /** Input of the model that the features are of. */
  input: string;
  kind: FeatureKind;
  baseline: FeatureBaseline;
  /** Kinds pixels, patches and rows. */
  grid?: FeatureGrid;
  picture?: FeaturePicture;
  /** Kind tokens in the local mode of one sample: the token at each position, by its number where its text is not known. */
  tokens?: string[];
  /** Local mode by a selector network: the mean share of every feature for each sample, as far as they were kept. */
  local?: { sample: number; importance: number[] }[];
  /** What was minimised (Q-FIT: mean over samples, cross-entropy and kl in nats) or played for (Shapley). */
  loss: MetricName;
  output: string;
  reading: Reading;
  /** Q-FIT: how the gradient was estimated. Shapley: the estimator. */
  estimator: 'point' | 'pathwise' | 'score-function' | ShapleyEstimator;
  /** Q-FIT: α₀ of the prior, what a nat of divergence from it costs, and how shares become gates. */
  prior: number | null;
  klWeight: number | null;
  scaling: FeatureScaling | null;
  /** Draws a step (0 in the point form), steps taken, samples a step; Shapley: evaluations as steps. */
  draws: number;
  steps: number;
  batch: number;
  /**
   * Spatially aware selection: features in the order in which they were chosen, and `value` with these open and the others
   * at the baseline.
   */
  selected?: { spread: number; indices: number[]; value: number };
  comparison?: FeatureComparison;
  seed: number;
  device: DeviceName;
  seconds: number;
  /** False when the run was cancelled and holds what was computed by then. */
  complete: boolean;
  warnings: string[];
}

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
