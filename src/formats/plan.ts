/** Plans, what they are made of, and what pruning and comparing report. */
import type { DataRef, DeviceName, MethodName, MetricName, ModelRef } from './common.ts';

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
