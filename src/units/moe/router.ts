import { constantTensor } from '../../graph/edit.ts';
import type { Node, Value } from '../../graph/ir.ts';
import { type Constants, isLinear, normal, rankOf } from './constants.ts';
import type { Router, RouterKind } from './types.ts';
import type { Walk } from './walk.ts';

/** Nodes between a choice and the layer that computes its scores are no more than this. */
const MAX_STEPS = 80;

/** A layer whose outputs are scores of experts. */
export interface Scores {
  node: Node;
  weight: Value | null;
  weightAxis: number;
  /** With the layer's bias. */
  logits: Value;
  axis: number;
  width: number;
  /** What the layer reads. */
  tokens: Value | null;
}

/** The layer whose `width` outputs a value was computed from; null when there is none nearby. */
export function scoresBehind(value: Value, width: number, constants: Constants): Scores | null {
  const seen = new Set<Node>();
  const queue: Value[] = [value];
  for (let v = queue.shift(); v && seen.size < MAX_STEPS; v = queue.shift()) {
    const node = v.producer;
    if (!node || seen.has(node) || node.graph !== value.graph) continue;
    seen.add(node);
    const layer = isLinear(node) ? scoresOf(node, width, constants) : null;
    if (layer) return layer;
    if (!isLinear(node)) for (const input of node.inputs) if (input && !constants.isConstant(input)) queue.push(input);
  }
  return null;
}

function scoresOf(node: Node, width: number, constants: Constants): Scores | null {
  const out = node.outputs[0];
  const shape = out?.type?.shape;
  const axis = node.opType === 'Conv' ? 1 : (shape?.length ?? 0) - 1;
  const operand = node.inputs.findIndex((v) => v && (rankOf(v) ?? 0) >= 2 && constants.isConstant(v));
  if (!out || shape?.[axis] !== width || operand < 0) return null;
  const stored = constants.weights(node.inputs[operand]!)[0];
  const weight = stored?.value ?? node.inputs[operand];
  const dims = weight ? (constantTensor(weight)?.dims ?? []) : [];
  const tokens = node.inputs.find((v) => v && !constants.isConstant(v)) ?? null;
  // A square weight leaves the choice to how the op reads it.
  const rows = node.opType === 'Conv' || node.int('transB', 0) === 1 || operand === 0;
  const weightAxis = rows ? dims.indexOf(width) : dims.lastIndexOf(width);
  return { node, weight, weightAxis, logits: biased(out, constants), axis, width, tokens };
}

/** The sum with a layer's bias, where nothing else reads what the layer gives. */
function biased(value: Value, constants: Constants): Value {
  const uses = value.uses.filter((u) => u.node.opType !== 'Shape');
  const node = uses.length === 1 && !value.isGraphOutput ? uses[0].node : undefined;
  const other = node?.inputs[1 - uses[0].index];
  const out = node?.outputs[0];
  if (node?.opType !== 'Add' || !other || !out || !constants.isConstant(other)) return value;
  return rankOf(other) === 1 ? out : value;
}

/** What a finished walk says of its router. */
export function describeRouter(scores: Scores, walk: Walk): Router {
  const { constants } = walk;
  const acts = walk.common.filter((n) => /^(Softmax|Sigmoid)$/.test(n.opType) && isRead(n));
  const before = acts.find((n) => openAxis(n.inputs[0], walk));
  const behind = acts.find((n) => isChosen(n.inputs[0], walk));
  const normaliser = walk.common.find((n) => n.opType === 'Div' && dividesBySum(n, walk));
  const softened = behind?.opType === 'Softmax';
  const pick = normaliser ?? behind ?? picked(walk);
  return {
    node: scores.node,
    weight: scores.weight,
    weightAxis: scores.weightAxis,
    logits: scores.logits,
    probabilities: before?.outputs[0] ?? null,
    width: scores.width,
    kind: kindOf(before, behind),
    normalised: normaliser !== undefined || softened,
    selectionBias: selectionBias(scores, walk),
    indices: walk.indices,
    gates: pick ? scaled(pick.outputs[0]!, constants) : null,
  };
}

function kindOf(before: Node | undefined, behind: Node | undefined): RouterKind {
  if (before) return before.opType === 'Softmax' ? 'softmax-topk' : 'sigmoid';
  if (behind) return behind.opType === 'Softmax' ? 'topk-softmax' : 'sigmoid';
  return 'none';
}

/** Whether anything but Shape reads a node. */
function isRead(node: Node): boolean {
  return !!node.outputs[0]?.uses.some((u) => u.node.opType !== 'Shape');
}

/** Scores of all experts, chosen or not. */
function openAxis(value: Value | null, walk: Walk): boolean {
  const tag = walk.tag(value);
  return tag?.kind === 'axis' && !tag.chosen;
}

/** Scores of the chosen, or of all with those of the others closed. */
function isChosen(value: Value | null, walk: Walk): boolean {
  const tag = walk.tag(value);
  return tag?.kind === 'slots' || (tag?.kind === 'axis' && tag.chosen);
}

/** Ops that a sum passes before something is divided by it. */
const PASSING = /^(Add|Max|Clip|Unsqueeze|Squeeze|Reshape|Cast|Expand|Identity|Transpose)$/;

/** Whether a node divides gates by their sum over the experts. */
function dividesBySum(node: Node, walk: Walk): boolean {
  const isGate = (v: Value | null | undefined) => {
    const kind = walk.tag(v)?.kind;
    return kind === 'slots' || kind === 'axis';
  };
  if (!isGate(node.inputs[0])) return false;
  let value: Value | null | undefined = node.inputs[1];
  for (let step = 0; value && step < 6; step++) {
    const maker: Node | null = value.producer;
    if (!maker || !walk.tag(value)) return false;
    if (/^Reduce(Sum|L1)$/.test(maker.opType)) return isGate(maker.inputs[0]);
    if (!PASSING.test(maker.opType)) return false;
    value = maker.inputs.find((v) => walk.tag(v));
  }
  return false;
}

/** The node that first gives gates of the chosen alone. */
function picked(walk: Walk): Node | undefined {
  const isGates = (n: Node) => walk.tag(n.outputs[0])?.kind === 'slots' && isRead(n);
  const gathered = walk.common.find((n) => /^Gather(Elements|ND)?$/.test(n.opType) && isGates(n));
  const largest = walk.common.find((n) => /^(TopK|ReduceMax)$/.test(n.opType) && isGates(n));
  return gathered ?? largest;
}

/** Gates times constants, as far as nothing else reads them in between. */
function scaled(value: Value, constants: Constants): Value {
  let current = value;
  for (;;) {
    const use = current.uses.length === 1 && !current.isGraphOutput ? current.uses[0] : undefined;
    const other = use?.node.inputs[1 - use.index];
    const out = use?.node.outputs[0];
    if (use?.node.opType !== 'Mul' || !other || !out || !constants.isConstant(other)) return current;
    current = out;
  }
}

/** A constant that is added on the way from the scores to the choice, beside the way to the gates. */
function selectionBias(scores: Scores, walk: Walk): Value | null {
  const { constants } = walk;
  const seen = new Set<Value>();
  const queue = [walk.chooser?.inputs[0] ?? null];
  for (let value = queue.shift(); value !== undefined; value = queue.shift()) {
    if (!value || value === scores.logits || seen.has(value) || !walk.tag(value)) continue;
    seen.add(value);
    const node = value.producer;
    if (!node) continue;
    const constant = node.inputs.find((v) => v && constants.isConstant(v) && v.type?.shape?.includes(scores.width));
    if (node.opType === 'Add' && constant) return constants.weights(constant)[0]?.value ?? constant;
    queue.push(...node.inputs);
  }
  return null;
}

/** Axis of the scores that a node chooses along, and their number; undefined when it does not choose, or it is unknown. */
export function choice(node: Node): { value: Value; width: number } | undefined {
  const value = node.inputs[0];
  const shape = value?.type?.shape;
  if (!value || !shape || shape.length === 0) return undefined;
  const axis = choosingAxis(node);
  const width = axis === undefined ? undefined : shape[normal(axis, shape.length)];
  return typeof width === 'number' && width >= 2 ? { value, width } : undefined;
}

function choosingAxis(node: Node): number | undefined {
  if (node.domain !== '' && node.domain !== 'ai.onnx') return undefined;
  switch (node.opType) {
    case 'TopK':
    case 'Hardmax':
      return node.int('axis', -1);
    case 'ArgMax':
      return node.int('axis', 0);
    case 'ReduceMax':
      // Only the score that equals the largest one makes it a choice.
      return node.outputs[0]?.uses.some((u) => u.node.opType === 'Equal') ? -1 : undefined;
    default:
      return undefined;
  }
}
