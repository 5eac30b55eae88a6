import type { Allocation, TargetKind, UnitKind } from '../../formats.ts';
import type { Group } from '../../units/types.ts';

/** What planning needs to know of a group; `Group` and `GroupInfo` both fit. */
export type PlannableGroup = Pick<Group, 'id' | 'size' | 'prunable' | 'reason' | 'blocks' | 'parts'> & {
  kind?: UnitKind;
  /** Nodes or names of nodes; freeze patterns are matched against them. */
  layers: readonly (string | { name: string })[];
};

export interface PlanTarget {
  kind: TargetKind;
  /** A fraction of the whole model's MACs, parameters or prunable units in (0, 1], or a drop of the metric ≥ 0. */
  value: number;
}

export interface PlanOptions {
  allocation: Allocation;
  /** Share of each group that stays at least, 0 … 1; one unit always stays. */
  minKeep: number;
  /** Kept counts are multiples of this where the group's size allows. */
  roundTo: number;
  /** Ids of groups that keep all units; see `matchGroups` for patterns. */
  frozen: readonly string[];
  /** Which cost a max-drop search makes small, and divides scores by. */
  objective: 'macs' | 'parameters';
}

export const DEFAULT_PLAN_OPTIONS: PlanOptions = {
  allocation: 'global',
  minKeep: 0.25,
  roundTo: 1,
  frozen: [],
  objective: 'macs',
};
