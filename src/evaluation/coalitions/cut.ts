import { readBy } from '../../graph/edit.ts';
import type { Model, Node, Value } from '../../graph/ir.ts';

/** Which part of a gated graph depends on its gates. */
export interface Cut {
  /** Nodes that depend on a gate: the suffix. */
  dependent: Set<Node>;
  /** Nodes that depend on nothing that is fed. */
  constant: Set<Node>;
  /** What the suffix, or an output, reads of the rest: graph inputs and values that the prefix computes. */
  crossing: Set<Value>;
}

/** Cuts a graph between what depends on `gates` (graph inputs) and what does not. Captures by subgraphs count as reads. */
export function cutAtGates(model: Model, gates: ReadonlySet<Value>): Cut {
  const graph = model.graph;
  const dependent = new Set<Node>();
  const constant = new Set<Node>();
  const crossing = new Set<Value>();
  const isConstant = (v: Value) => v.initializer !== null || (v.producer !== null && constant.has(v.producer));
  const follows = (v: Value) => gates.has(v) || (v.producer !== null && dependent.has(v.producer));
  const cross = (v: Value) => {
    if (!follows(v) && !isConstant(v)) crossing.add(v);
  };
  for (const node of graph.nodes) {
    const reads = readBy(node);
    if (reads.some(follows)) {
      dependent.add(node);
      reads.forEach(cross);
    } else if (reads.every(isConstant) && !/^(Random|Multinomial|Bernoulli)/.test(node.opType)) constant.add(node);
  }
  graph.outputs.forEach(cross);
  return { dependent, constant, crossing };
}
