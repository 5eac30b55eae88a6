/** Importance of units: `*.ranks.json`. */
import type { DataRef, DeviceName, MethodName, MetricName, ModelRef, Reading, UnitKind } from './common.ts';

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
