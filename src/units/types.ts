import type { Model, Node } from '../graph/ir.ts';
import type { UnitKind } from '../formats.ts';
import type { Flow } from './flow.ts';
import type { Gate } from './gates/gate.ts';
import type { ResidualBlock } from './residual.ts';

/** One operand of one consumer that a group's gate stands in front of. */
export interface GateSite {
  node: Node;
  /** Input number of `node`. */
  input: number;
  /** Axis of that operand along which the units lie (non-negative); −1: the operand as a whole is one unit. */
  axis: number;
  /**
   * For each position along the axis the unit's index in the group, or −1 where the position is another group's or fixed.
   * One entry where the operand as a whole is the unit.
   */
  units: Int32Array;
  /** How the consumer is gated; undefined: its operand is multiplied. */
  gate?: Gate;
}

/** All tensor axes that must lose the same units together. */
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
  /** Sets of units of which at least one each must stay, where there are any (the outputs of a Split, say). */
  parts?: number[][];
  /** For each unit an atom of the flow analysis that stands for it. */
  atoms: Int32Array;
  /** Producing weight slices, for magnitude: which positions along `axis` of input `input` of `node` belong to a unit. */
  weights: { node: Node; input: number; axis: number; units: Int32Array }[];
  /** Of a group of kind `block`: the block that each unit is. */
  residuals?: ResidualBlock[];
}

/** What the analysis of a graph found. Nodes belong to `model`, an own normalised copy: never edit it. */
export interface Structure {
  model: Model;
  /** In graph order of the first layer; the group of residual blocks, which produce no units, comes last. */
  groups: Group[];
  warnings: string[];
  /** The dimension flow that the groups come from: axes of values, rewrites for surgery. */
  flow: Flow;
  /** Readable, unique name of a node of `model`, the same as in `inspect`. */
  layerName(node: Node): string;
}

/** For some groups the sorted indices of units that stay; groups that are not named keep all. */
export type KeepSets = ReadonlyMap<string, readonly number[]>;
