import { constantTensor } from '../../graph/edit.ts';
import type { Node, Value } from '../../graph/ir.ts';
import { type Constants, isLinear, normal, rankOf, weightParameters } from './constants.ts';
import { coneOf } from './results.ts';
import { EACH } from './tags.ts';
import type { Expert, ExpertForm, ExpertWeight, SharedExpert } from './types.ts';
import type { Order, Walk } from './walk.ts';

/** The experts of a finished walk, and how they are written; empty when what it found are none. */
export function expertsOf(walk: Walk, order: Order): { experts: Expert[]; form: ExpertForm; sharedNodes: Node[] } {
  const single = singleExperts(walk, order);
  if (single.length > 1) return { experts: single, form: formOf(walk, single), sharedNodes: [] };
  const stacked = stackedExperts(walk, order);
  const form = walk.loops ? 'loop' : walk.stacks.some((s) => s.lookup) ? 'lookup' : 'stacked';
  const inner = walk.own.get(EACH) ?? [];
  const nodes = new Set([...walk.common.filter((n) => walk.tag(n.outputs[0])?.kind === 'product'), ...inner]);
  for (const { node } of walk.stacks) nodes.add(node);
  return { experts: stacked, form, sharedNodes: inGraphOrder([...nodes], order) };
}

function inGraphOrder(nodes: Node[], order: Order): Node[] {
  const at = (n: Node) => order.position.get(n) ?? Infinity;
  return nodes.sort((a, b) => (at(a) === at(b) ? 0 : at(a) - at(b)));
}

function formOf(walk: Walk, experts: readonly Expert[]): ExpertForm {
  if (walk.ifs) return 'branches';
  const gathers = (n: Node) =>
    /^(NonZero|Compress)$/.test(n.opType) ||
    (/^Gather(ND|Elements)?$/.test(n.opType) && walk.tag(n.inputs[1])?.kind === 'expert' && !walk.tag(n.inputs[0]));
  return experts.some((e) => e.nodes.some(gathers)) ? 'gathered' : 'dense';
}

/** Ops that put an expert's results to what was there before: what they meet is not the expert's. */
const JOINING = /^(Add|Sum|Concat|ScatterND|ScatterElements)$/;

function singleExperts(walk: Walk, order: Order): Expert[] {
  const numbers = new Set([...walk.own.keys(), ...walk.branches.keys()]);
  numbers.delete(EACH);
  return [...numbers]
    .sort((a, b) => a - b)
    .flatMap((index) => {
      const own = walk.own.get(index) ?? [];
      const cone = coneOf([
        ...operands(own, walk),
        ...(walk.branches.get(index) ?? []).map((value) => ({ value, reads: 1 })),
      ]);
      const nodes = inGraphOrder([...new Set([...own, ...cone])], order);
      const weights = unique(nodes.flatMap((n) => weightsOf(n, index, walk)));
      const works = weights.some(isMatrix);
      return works ? [{ index, nodes, weights, ...cost(weights) }] : [];
    });
}

/** Values without a tag that nodes of one expert read; each reading once. */
function operands(nodes: readonly Node[], walk: Walk): { value: Value; reads: number }[] {
  return nodes
    .filter((n) => !JOINING.test(n.opType))
    .flatMap((n) => n.inputs.flatMap((value) => (value && !walk.tag(value) ? [{ value, reads: 1 }] : [])));
}

/** Weights that a node of one expert reads: its own, or its place in what experts share. */
function weightsOf(node: Node, expert: number, walk: Walk): ExpertWeight[] {
  const { constants, width } = walk;
  return node.inputs.flatMap((value, i) => {
    if (!value || !constants.isConstant(value)) return [];
    const found = constants.weights(value);
    const looksUp =
      i === 0 && /^Gather(ND)?$/.test(node.opType) && node.inputs[1] && !constants.isConstant(node.inputs[1]);
    if (!looksUp) return found;
    const axis = node.opType === 'Gather' ? normal(node.int('axis', 0), rankOf(value)) : 0;
    return found.map((w) => (constantTensor(w.value)?.dims[axis] === width ? { ...w, axis, index: expert } : w));
  });
}

function stackedExperts(walk: Walk, order: Order): Expert[] {
  const { constants, width } = walk;
  const at = (n: Node) => order.position.get(n) ?? 0;
  const stacks = [...walk.stacks].sort((a, b) => at(a.node) - at(b.node));
  const tensors = unique(stacks.flatMap((s) => constants.weights(s.weight)));
  const shared = tensors.flatMap(({ value }) => {
    const axis = constantTensor(value)?.dims.indexOf(width) ?? -1;
    return axis < 0 ? [] : [{ value, axis }];
  });
  if (!shared.some((w) => isMatrix({ ...w, index: 0 }))) return [];
  return Array.from({ length: width }, (_, index) => {
    const weights = shared.map((w) => ({ ...w, index }));
    return { index, nodes: [], weights, ...cost(weights) };
  });
}

/** Each tensor, or place in a tensor, once: copies under other names share what they hold. */
function unique(weights: readonly ExpertWeight[]): ExpertWeight[] {
  const seen = new Map<unknown, Set<string>>();
  return weights.filter(({ value, axis, index }) => {
    const holder: unknown = constantTensor(value)?.storage;
    const places = seen.get(holder) ?? new Set();
    seen.set(holder, places);
    const place = `${axis} ${index}`;
    return !places.has(place) && places.add(place);
  });
}

/** Whether an expert's part of a weight has more than one axis longer than 1. */
function isMatrix({ value, axis }: ExpertWeight): boolean {
  const dims = constantTensor(value)?.dims ?? [];
  return dims.filter((d, i) => i !== axis && d > 1).length >= 2;
}

function cost(weights: readonly ExpertWeight[]): { parameters: number; macs: number } {
  const sum = (list: readonly ExpertWeight[]) => list.reduce((n, w) => n + weightParameters(w), 0);
  return { parameters: sum(weights), macs: sum(weights.filter(isMatrix)) };
}

/** Ops between the meeting of the results and a sum with shared experts. */
const PASSED = /^(Identity|Cast|Reshape|Unsqueeze|Squeeze|Transpose|ReduceSum|Flatten|Slice)$/;

/** Layers on the same tokens whose results are added to those of the routed experts. */
export function sharedExperts(
  start: readonly Node[],
  walk: Walk | null,
  tokens: Value | null,
  constants: Constants,
): SharedExpert[] {
  const found = new Map<Node, SharedExpert>();
  const seen = new Set<Node>(start);
  const queue = [...start];
  for (let node = queue.shift(); node && seen.size < 64; node = queue.shift()) {
    let passes = PASSED.test(node.opType) || start.includes(node);
    if (/^(Add|Sum)$/.test(node.opType)) {
      for (const value of node.inputs) {
        const routed = value && (walk?.tag(value) !== undefined || (value.producer && seen.has(value.producer)));
        if (!value || routed || constants.isConstant(value) || !tokens) continue;
        const part = sharedPart(value, tokens, constants);
        if (part) found.set(part.nodes[0], part);
        passes = passes && part !== null ? true : part !== null;
      }
    }
    if (!passes) continue;
    for (const out of node.outputs)
      for (const use of out?.uses ?? [])
        if (!seen.has(use.node) && use.node.graph === node.graph) {
          seen.add(use.node);
          queue.push(use.node);
        }
  }
  return [...found.values()];
}

function sharedPart(value: Value, tokens: Value, constants: Constants): SharedExpert | null {
  const nodes = coneOf([{ value, reads: 1 }]);
  if (!nodes.some(isLinear)) return null;
  const inside = new Set(nodes);
  const root = rootOf(tokens);
  for (const node of nodes)
    for (const input of node.inputs) {
      if (!input || constants.isConstant(input) || (input.producer && inside.has(input.producer))) continue;
      const measure = input.producer && /^(Shape|Gather|Concat|Unsqueeze)$/.test(input.producer.opType);
      if (rootOf(input) !== root && !measure) return null;
    }
  const weights = unique(
    nodes.flatMap((n) => n.inputs.flatMap((v) => (v && constants.isConstant(v) ? constants.weights(v) : []))),
  );
  return weights.some(isMatrix) ? { nodes: nodes.reverse(), weights, ...cost(weights) } : null;
}

/** Tokens as they were before they were laid out otherwise. */
function rootOf(value: Value): Value {
  let current = value;
  for (
    let node = current.producer;
    node && /^(Identity|Cast|Reshape|Flatten|Unsqueeze|Squeeze|Expand|Tile)$/.test(node.opType);
    node = current.producer
  ) {
    if (!node.inputs[0]) break;
    current = node.inputs[0];
  }
  return current;
}
