import { SecateurError } from '../errors.ts';
import type { Graph, Node, Value } from './ir.ts';

/** Values that a node reads: its inputs, and what its subgraphs capture from scopes outside of them. */
export function readBy(node: Node): Value[] {
  const found = node.inputs.filter((v): v is Value => v !== null);
  for (const sub of node.subgraphs) captured(sub, new Set([sub]), found);
  return found;
}

function captured(graph: Graph, inside: Set<Graph>, found: Value[]): void {
  const visit = (v: Value | null) => {
    if (v && !inside.has(v.graph)) found.push(v);
  };
  for (const node of graph.nodes) {
    node.inputs.forEach(visit);
    for (const sub of node.subgraphs) captured(sub, new Set([...inside, sub]), found);
  }
  graph.outputs.forEach(visit);
}

/**
 * Puts the nodes of one graph (not of its subgraphs) into an order in which each comes after what it reads, keeping
 * the present order wherever it allows that.
 * @throws SecateurError 'bad-model' when the graph has a cycle.
 */
export function sortTopologically(graph: Graph): void {
  const sorted: Node[] = [];
  const state = new Map<Node, 'open' | 'done'>();
  for (const root of graph.nodes) {
    if (state.has(root)) continue;
    // An explicit stack: chains of ten thousands of nodes must not overflow the call stack.
    const stack: { node: Node; inputs: Node[]; next: number }[] = [];
    const push = (node: Node) => {
      state.set(node, 'open');
      stack.push({ node, inputs: producersIn(graph, node), next: 0 });
    };
    push(root);
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      if (top.next < top.inputs.length) {
        const input = top.inputs[top.next++];
        const seen = state.get(input);
        if (seen === 'open')
          throw new SecateurError('bad-model', `The graph has a cycle through node "${input.name || input.opType}".`);
        if (seen === undefined) push(input);
      } else {
        state.set(top.node, 'done');
        sorted.push(top.node);
        stack.pop();
      }
    }
  }
  graph.nodes = sorted;
}

function producersIn(graph: Graph, node: Node): Node[] {
  const found: Node[] = [];
  for (const v of readBy(node)) if (v.producer && v.producer.graph === graph) found.push(v.producer);
  return found;
}
