import { dependencies } from '../../graph/edit.ts';
import type { Graph, Node, Value } from '../../graph/ir.ts';

/** The non-linearity that an output ends in. */
export type Ending = 'softmax' | 'log-softmax' | 'sigmoid' | 'none';

/** Ops that change neither the values nor (beyond layout) their order. */
const CARRY = new Set([
  'Identity',
  'Reshape',
  'Flatten',
  'Squeeze',
  'Unsqueeze',
  'Cast',
  'Transpose',
  'Dropout',
  'DequantizeLinear',
  'QuantizeLinear',
]);

/** Walks back from an output to the op that decides how its numbers are to be read. Looks into the branches of If. */
export function endingOf(output: Value): Ending {
  let value: Value = output;
  for (let steps = 0; steps < 64; steps++) {
    const node = value.producer;
    if (!node || (node.domain !== '' && node.domain !== 'ai.onnx')) return 'none';
    switch (node.opType) {
      case 'Softmax':
        return 'softmax';
      case 'LogSoftmax':
        return 'log-softmax';
      case 'Sigmoid':
      case 'HardSigmoid':
        return 'sigmoid';
      case 'Log':
        return node.inputs[0] && endingOf(node.inputs[0]) === 'softmax' ? 'log-softmax' : 'none';
      case 'Exp':
        return node.inputs[0] && endingOf(node.inputs[0]) === 'log-softmax' ? 'softmax' : 'none';
      case 'If':
        return endingOfBranches(node, value.producerIndex);
    }
    const next = node.inputs[0];
    if (!CARRY.has(node.opType) || !next) return 'none';
    value = next;
  }
  return 'none';
}

function endingOfBranches(node: Node, index: number): Ending {
  const endings = node.subgraphs.map((g) => (g.outputs[index] ? endingOf(g.outputs[index]) : 'none'));
  return endings.length > 0 && endings.every((e) => e === endings[0]) ? endings[0] : 'none';
}

/** Longest path in nodes from the inputs to each value. Expects the nodes in topological order. */
export function depths(graph: Graph): Map<Value, number> {
  const depth = new Map<Value, number>();
  for (const node of graph.nodes) {
    let deepest = 0;
    for (const input of dependencies(node)) deepest = Math.max(deepest, depth.get(input) ?? 0);
    for (const output of node.outputs) if (output) depth.set(output, deepest + 1);
  }
  return depth;
}
