import type { DeviceName } from '../formats.ts';
import type { Graph, Model, Node } from '../graph/ir.ts';

/** What a provider accepts and then fails to run (onnxruntime 1.30), by device. */
const FAILING: Partial<Record<DeviceName, (node: Node) => boolean>> = {
  // "The Indices output is not supported yet."
  webgpu: (node) => node.op === 'MaxPool' && !!node.outputs[1],
};

/**
 * Names of the nodes of a model that must be kept from a device, although its provider accepts them. Nodes have to have
 * names for that: those without get one.
 */
export function failingNodes(model: Model, device: DeviceName): string[] {
  const fails = FAILING[device];
  if (!fails) return [];
  const visit = (graph: Graph): Node[] =>
    graph.nodes.flatMap((node) => [...(fails(node) ? [node] : []), ...node.subgraphs.flatMap(visit)]);
  return visit(model.graph).map((node, i) => (node.name ||= `secateur_${node.opType}_${i}`));
}
