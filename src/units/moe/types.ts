import type { ExpertForm, RouterKind } from '../../formats.ts';
import type { Node, Value } from '../../graph/ir.ts';

export type { ExpertForm, RouterKind };

/** Where a mixture decides which experts a token takes. */
export interface Router {
  /** The layer that computes the logits; null where they come from elsewhere (a graph input of a fused op). */
  node: Node | null;
  /** Its weight, as it stands in the graph: a constant with one axis of as many positions as experts. */
  weight: Value | null;
  /** Axis of `weight` along which the experts lie; −1 when unknown. */
  weightAxis: number;
  /** Scores `[…, experts]` before any activation, the layer's own bias included. */
  logits: Value;
  /** Scores over all experts behind Softmax or Sigmoid; null where only those of the chosen are computed. */
  probabilities: Value | null;
  /** Number of experts that it scores. */
  width: number;
  kind: RouterKind;
  /** Whether the gates of the chosen experts are made to add up to 1. */
  normalised: boolean;
  /** Constant that is added to the scores for choosing only: the gates do not contain it. */
  selectionBias: Value | null;
  /** Numbers of the chosen experts `[…, k]`; null where the graph has no such tensor (fused ops). */
  indices: Value | null;
  /** Gates of the chosen experts `[…, k]`, or of all `[…, experts]`; null where the graph has no such tensor. */
  gates: Value | null;
}

/** A constant that belongs to an expert: as a whole, or one position of one of its axes. */
export interface ExpertWeight {
  /** An initializer, or the output of a Constant. */
  value: Value;
  /** The axis that the experts share the tensor along; null: the whole tensor is this expert's. */
  axis: number | null;
  /** Position along `axis`. */
  index: number;
}

export interface Expert {
  /** Its number as the router counts. */
  index: number;
  /** Nodes that work for it alone, in graph order, those of subgraphs too; empty where experts share all nodes. */
  nodes: Node[];
  weights: ExpertWeight[];
  parameters: number;
  /** Multiply-accumulates for one token. */
  macs: number;
}

/** A feed-forward part that every token passes, beside the routed experts. */
export interface SharedExpert {
  nodes: Node[];
  weights: ExpertWeight[];
  parameters: number;
  macs: number;
}

/** A layer of experts and the router that chooses k of them for every token. */
export interface MixtureOfExperts {
  /** Name of the router's layer as in `inspect` (of a fused op without a router of its own, that of the op). */
  id: string;
  router: Router;
  /** Experts per token; null where it is computed while the model runs. */
  k: number | null;
  /** By index. */
  experts: Expert[];
  shared: SharedExpert[];
  form: ExpertForm;
  /** Nodes that all experts share: batched products, the body of a loop, the fused op. */
  sharedNodes: Node[];
  /** What the tokens are computed from: the input of the router. Null when unknown. */
  tokens: Value | null;
  /** Whole sentences: what about this mixture is not as it should be. */
  problems: string[];
}
