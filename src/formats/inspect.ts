/** What `inspect` tells of a model. */
import type { ModelRef, UnitKind } from './common.ts';

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
