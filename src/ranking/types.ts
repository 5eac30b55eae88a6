import type { ActivationSource, MomentSource } from '../evaluation/moments/index.ts';
import type { GateMoments, GradientSubject, LossKind } from '../evaluation/gradients/index.ts';
import type { CoalitionGame, GateLoss } from '../evaluation/types.ts';
import type { GroupRanks, MethodName, ShapleyEstimator, SwitchForm, SwitchScaling } from '../formats.ts';
import type { Group } from '../units/types.ts';

/** Derivatives of the losses of samples with respect to the gates of a group, all of them open. */
export interface GateDerivatives {
  moments: GateMoments;
  /** What was differentiated. */
  loss: LossKind;
  /** Random targets of each sample, or answers that were all taken in turn (`exact`); 1 for labels. */
  draws: number;
  exact: boolean;
}

export interface GradientSource {
  /** What the derivatives are of. */
  lossOf(subject: GradientSubject): LossKind;
  /**
   * @param onProgress told after every run of the backward pass, which all groups of a job share
   * @throws SecateurError 'unsupported' naming the operator that has no gradient rule; 'cancelled'
   */
  derivatives(
    group: Group,
    subject: GradientSubject,
    signal?: AbortSignal,
    onProgress?: (done: number, planned: number) => void,
  ): Promise<GateDerivatives>;
}

/** What a ranking may draw on. Only what the method `needs` has to be there. */
export interface RankContext {
  /** The group as the structure analysis found it (magnitude reads its weights). */
  group: Group;
  /** Its game; see openGame in evaluation/coalitions. */
  game?: CoalitionGame;
  /** The loss as a function of its gates; see openGateLoss in evaluation/gradients. */
  loss?: GateLoss;
  activations?: ActivationSource;
  gradients?: GradientSource;
  /** Second moments of what the group's consumers read. */
  moments?: MomentSource;
}

/** State of an unfinished or finished run of one group, kept in `Ranks.resume` by group id. Plain JSON. */
export interface RankState {
  kind: string;
  [key: string]: unknown;
}

export interface RankOptions {
  seed: number;
  /** Coalitions to evaluate for this group at most; undefined: `defaultBudget`. Enumeration of small groups ignores it. */
  budget?: number;
  /** Stop when the largest standard error is at most so much of the spread of the scores; 0: go on to the budget. */
  tolerance?: number;
  /** How Shapley values are computed; undefined: whatever suits the group and the budget. */
  estimator?: ShapleyEstimator;
  /**
   * Shapley values by permutations of accuracy: a sweep ends when the accuracy is within so much of that of no open unit.
   * Biased; undefined: never.
   */
  truncation?: number;
  /** Dirichlet switch; undefined: 'sampled'. */
  form?: SwitchForm;
  /** Dirichlet switch: how shares become gates; undefined: 'saturating'. */
  scaling?: SwitchScaling;
  /** Dirichlet switch: α₀ of the prior Dir(α₀, …, α₀); undefined: 2. */
  prior?: number;
  /** What an earlier run of the same group, method, seed and data returned as `resume`. */
  resume?: RankState;
}

/** Told after every batch of coalitions, so that a bar moves and a cancel is seen. */
export interface RankProgress {
  /** Coalitions evaluated so far, those of a resumed run included; steps, of methods without a game. */
  evaluations: number;
  /** How many the run will take if it goes to its end. */
  planned: number;
  /** Scores so far; present when they changed since the last call. */
  partial?: GroupRanks;
}

export interface RankOutcome {
  ranks: GroupRanks;
  /** False when the run was cancelled: `ranks` holds what was computed by then. */
  complete: boolean;
  /** To go on later exactly as if the run had not been stopped. */
  resume?: RankState;
}

/** A way to score the units of a group. One file per method; `registry.ts` lists them. */
export interface RankMethod {
  name: MethodName;
  /** For menus: `Shapley value`. */
  label: string;
  /** One sentence for a tooltip. */
  description: string;
  needs: 'game' | 'switch' | 'weights' | 'activations' | 'gradients' | 'moments' | 'nothing';
  /**
   * True when scores of different groups are in one unit (the metric's), so that a plan may compare them as they are;
   * false when a plan has to normalise them per group first.
   */
  comparable: boolean;
  /** Coalitions that a group of `size` units will take at most; 0 for methods without a game. */
  plannedEvaluations(size: number, budget?: number, asked?: Pick<RankOptions, 'estimator' | 'truncation'>): number;
  rank(
    context: RankContext,
    options: RankOptions,
    signal?: AbortSignal,
    onProgress?: (progress: RankProgress) => void,
  ): Promise<RankOutcome>;
}
