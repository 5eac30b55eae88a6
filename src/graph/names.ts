import type { Model, Node } from './ir.ts';

/**
 * Readable, unique names of the nodes of the main graph: the node's own name, else `Conv_12` after its op and place;
 * repeated names get `#2`, `#3`, … in graph order. Stable for the same file.
 */
export function layerNames(model: Model): Map<Node, string> {
  const names = new Map<Node, string>();
  const taken = new Set<string>();
  model.graph.nodes.forEach((node, i) => {
    const stem = node.name || `${node.opType}_${i}`;
    let name = stem;
    for (let k = 2; taken.has(name); k++) name = `${stem}#${k}`;
    taken.add(name);
    names.set(node, name);
  });
  return names;
}
