import { isConstantOnly } from '../../graph/edit.ts';
import type { Graph, Node, Value } from '../../graph/ir.ts';
import type { Tensor } from '../../onnx/tensor.ts';

/** Nodes that a constant is computed by, counted anew for every use, above which its uses go on sharing it. */
const UNSHARED_NODES = 16;

/** Gives every use of a constant, or of what is computed from constants by a few nodes, a copy of its own. */
export function unshare(graph: Graph): void {
  const seen = new Map<Value, boolean>();
  // Exporters compute masks by long chains of nodes that are read twice: a copy for every use would double at each step.
  const sizes = new Map<Node, number>();
  const sizeOf = (node: Node) =>
    1 + node.inputs.reduce((sum, v) => sum + (v?.producer ? (sizes.get(v.producer) ?? UNSHARED_NODES) : 0), 0);
  for (const node of graph.nodes) sizes.set(node, sizeOf(node));
  for (const node of [...graph.nodes].reverse()) {
    const out = node.outputs[0];
    if (!out || node.outputs.length !== 1 || node.inputs.length === 0 || !isConstantOnly(out, seen)) continue;
    if (sizes.get(node)! > UNSHARED_NODES) continue;
    for (const use of out.uses.slice(1)) {
      if (use.node.graph !== graph) continue;
      use.node.setInput(use.index, copyOf(node));
    }
  }
  for (const value of [...graph.values.values()]) {
    if (!value.initializer || value.isGraphInput || value.isGraphOutput) continue;
    for (const use of value.uses.slice(1)) {
      if (use.node.graph !== graph) continue;
      const copy = graph.freshValue(value.name, value.type);
      copy.initializer = value.initializer.renamed(copy.name);
      use.node.setInput(use.index, copy);
    }
  }
}

/**
 * Gives every use of a tensor of one number, of a size that is computed, a copy of its own: exporters cut the first states of all layers of an LSTM
 * out of one such tensor, which would couple the layers.
 */
export function unshareFills(graph: Graph): void {
  const constants = new Map<Value, boolean>();
  for (const node of [...graph.nodes]) {
    const out = node.outputs[0]!;
    // What is constant has its copies already, unless it is computed by a long chain.
    if (!isFill(node) || isConstantOnly(out, constants)) continue;
    for (const use of out.uses.slice(1)) {
      if (use.node.graph !== graph) continue;
      use.node.setInput(use.index, copyOf(node));
    }
  }
}

/** Whether a node makes a tensor of one number, of a size that may be computed. */
function isFill(node: Node): boolean {
  if (node.op === 'ConstantOfShape') return true;
  return node.op === 'Expand' && node.inputs[0]?.initializer?.elementCount === 1 && !node.inputs[0].isGraphInput;
}

/** Output of a second node that computes the same, in front of the first. */
function copyOf(node: Node): Value {
  const out = node.outputs[0]!;
  const copy = node.graph.addNode(node.opType, node.inputs, [out.name], { domain: node.domain, before: node });
  for (const [name, attribute] of node.attributes) copy.attributes.set(name, attribute);
  copy.outputs[0]!.type = out.type;
  return copy.outputs[0]!;
}

/** Joins initializers that hold the same tensor, then nodes that compute the same from constants or fill the same shape. In place. */
export function shareConstants(graph: Graph): void {
  const byTensor = new Map<Tensor['storage'], Value>();
  for (const value of [...graph.values.values()]) {
    if (!value.initializer || value.isGraphInput) continue;
    const first = byTensor.get(value.initializer.storage);
    if (!first) byTensor.set(value.initializer.storage, value);
    else if (!value.isGraphOutput) {
      value.replaceUsesWith(first);
      graph.removeValue(value);
    }
  }
  const byInputs = new Map<string, Node>();
  const ids = new Map<Value | null, number>();
  const id = (v: Value | null) => ids.get(v) ?? (ids.set(v, ids.size), ids.size - 1);
  const constants = new Map<Value, boolean>();
  for (const node of [...graph.nodes]) {
    const out = node.outputs[0];
    if (node.outputs.length !== 1 || !out || out.isGraphOutput) continue;
    if (!isFill(node) && !isConstantOnly(out, constants)) continue;
    const attributes = [...node.attributes].map(([k, a]) => `${k}=${attributeKey(a.value)}`).sort();
    const key = [node.op, ...attributes, ...node.inputs.map(id)].join('|');
    const first = byInputs.get(key);
    if (!first) byInputs.set(key, node);
    else {
      node.outputs[0]!.replaceUsesWith(first.outputs[0]!);
      graph.removeNode(node);
    }
  }
}

const objectIds = new WeakMap<object, number>();
let nextObjectId = 0;
function attributeKey(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value) || value instanceof Uint8Array) return [...value].map(attributeKey).join(',');
  let known = objectIds.get(value);
  if (known === undefined) objectIds.set(value, (known = nextObjectId++));
  return `#${known}`;
}
