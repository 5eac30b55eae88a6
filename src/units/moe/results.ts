import { readBy } from '../../graph/edit.ts';
import type { Node, Value } from '../../graph/ir.ts';
import { type Constants, isLinear, normal, rankOf } from './constants.ts';

/** Ops that change how results lie, not what they are. */
const SHAPING = /^(Identity|Cast|Reshape|Unsqueeze|Squeeze|Transpose|Expand|Flatten)$/;

/** The results of all experts that were put side by side along `axis`, one each; undefined when they were not. */
export function branchesOf(value: Value, axis: number, width: number): Value[] | undefined {
  let place = axis;
  let current = value;
  for (let step = 0; step < 8; step++) {
    const node: Node | null = current.producer;
    if (!node) return undefined;
    if (node.opType === 'Concat') {
      const along = normal(node.int('axis', 0), rankOf(current));
      return along === place && node.inputs.length === width ? node.inputs.filter((v) => v !== null) : undefined;
    }
    const source = node.inputs[0];
    if (!source || !SHAPING.test(node.opType)) return undefined;
    if (node.opType === 'Transpose') place = node.ints('perm')?.[place] ?? place;
    else if (rankOf(source) !== rankOf(current)) place = source.type?.shape?.indexOf(width) ?? -1;
    current = source;
  }
  return undefined;
}

/**
 * Nodes that only work towards `seeds` (read by `readers`), found backwards: every reader of what they give is one of
 * them or of `readers`. So what experts share is left out, tokens and router among it.
 */
export function coneOf(seeds: readonly { value: Value; reads: number }[]): Node[] {
  const open = new Map<Node, number>();
  const found: Node[] = [];
  const stack = seeds.map((s) => ({ ...s }));
  for (let seed = stack.pop(); seed; seed = stack.pop()) {
    const node = seed.value.producer;
    if (!node) continue;
    const left = (open.get(node) ?? readsOf(node)) - seed.reads;
    open.set(node, left);
    if (left !== 0) continue;
    found.push(node);
    for (const value of readBy(node)) stack.push({ value, reads: 1 });
  }
  return found;
}

/** How often the outputs of a node are read; infinitely often where one is an output of its graph. */
function readsOf(node: Node): number {
  return node.outputs.reduce((sum, v) => sum + (v ? (v.isGraphOutput ? Infinity : v.uses.length) : 0), 0);
}

/** Weights `[experts, …]` of batched products that lie behind results of all experts. */
export function stacksBehind(value: Value, width: number, constants: Constants): { node: Node; weight: Value }[] {
  const nodes = coneOf([{ value, reads: value.uses.length }]);
  const operands = nodes.flatMap((node) =>
    node.inputs.flatMap((weight) => {
      const shape = weight?.type?.shape;
      const perExpert = !!shape && shape.length >= 2 && shape.slice(0, -1).includes(width);
      return weight && perExpert && constants.isConstant(weight) ? [{ node, weight, rank: shape.length }] : [];
    }),
  );
  return operands.some((o) => o.rank >= 3 && isLinear(o.node)) ? operands : [];
}
