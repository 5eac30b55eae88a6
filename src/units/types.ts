import type { Model, Node } from '../graph/ir.ts';
import type { UnitKind } from '../formats.ts';

/** How closing a unit acts on a consumer's operand (architecture.md, idea 1). */
export type GateMode =
  /** The operand is multiplied by the gate: closed units are 0. */
  | 'multiply'
  /** Closed units become the lowest value (ReduceMax, ArgMax, Softmax over the axis). */
  | 'minus-infinity';

/** One operand of one consumer that a group's gate stands in front of. */
export interface GateSite {
  node: Node;
  /** Input number of `node`. */
  input: number;
  /** Axis of that operand along which the units lie (non-negative). */
  axis: number;
  /** For each position along the axis the unit's index in the group, or −1 where the position is another group's or fixed. */
  units: Int32Array;
  mode: GateMode;
}

/** An axis of a weight, or of any value, that loses positions when units go. */
export interface Group {
  /** Readable and stable: the name of the first layer, made unique. */
  id: string;
  kind: UnitKind;
  size: number;
  /** Nodes that produce the units, in graph order. */
  layers: Node[];
  /** Nodes that contract or mix them, in graph order. */
  consumers: Node[];
  sites: GateSite[];
  prunable: boolean;
  /** Why not, when `prunable` is false. */
  reason?: string;
  /**
   * Units by block, when keep-sets must keep equally many units of each (grouped Conv, GroupNorm).
   * Undefined: any keep-set.
   */
  blocks?: number[][];
  /** Producing weight slices, for magnitude: which positions along `axis` of input `input` of `node` belong to a unit. */
  weights: { node: Node; input: number; axis: number; units: Int32Array }[];
}

/** What the analysis of a graph found. Nodes belong to `model`, an own normalised copy: never edit it. */
export interface Structure {
  model: Model;
  /** In graph order of the first layer. */
  groups: Group[];
  warnings: string[];
}

/** For some groups the sorted indices of units that stay; groups that are not named keep all. */
export type KeepSets = ReadonlyMap<string, readonly number[]>;
