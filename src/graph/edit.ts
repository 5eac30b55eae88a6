import type { GraphProto } from '../onnx/onnx_pb.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { Tensor as TensorClass } from '../onnx/tensor.ts';
import { DataType } from '../onnx/data-type.ts';
import type { Graph, Model, Node, Value } from './ir.ts';
import { readBy } from './sort.ts';

export { inlineBranch, inlineFunctions } from './inline.ts';
export { readBy, sortTopologically } from './sort.ts';

/** Every graph of a model: main graph, function bodies, and all subgraphs, outer before inner. */
export function allGraphs(model: Model): Graph[] {
  const found: Graph[] = [];
  const visit = (graph: Graph) => {
    found.push(graph);
    for (const node of graph.nodes) node.subgraphs.forEach(visit);
  };
  visit(model.graph);
  for (const f of model.functions) visit(f.body);
  return found;
}

/** Every node of the main graph and its subgraphs, in graph order, outer before inner. */
export function allNodes(graph: Graph): Node[] {
  const found: Node[] = [];
  for (const node of graph.nodes) {
    found.push(node);
    for (const sub of node.subgraphs) found.push(...allNodes(sub));
  }
  return found;
}

/**
 * Constant contents of a value: its initializer, or what a Constant node gives. Undefined otherwise, also for an
 * initializer that is a graph input as well (IR version 4 and later: a caller may feed another value) unless
 * `defaultsToo` (older files list every weight as an input).
 */
export function constantTensor(value: Value | null | undefined, defaultsToo = true): Tensor | undefined {
  if (!value) return undefined;
  if (value.initializer) return defaultsToo || !value.isGraphInput ? value.initializer : undefined;
  const node = value.producer;
  if (node?.opType !== 'Constant' || node.domain !== '') return undefined;
  const [name, a] = [...node.attributes].find(([n]) => n.startsWith('value') || n === 'sparse_value') ?? [];
  switch (a?.kind) {
    case 'tensor':
      return a.value;
    case 'float':
      return TensorClass.fromFloat32(value.name, [], Float32Array.of(a.value));
    case 'floats':
      return TensorClass.fromFloat32(value.name, [a.value.length], Float32Array.from(a.value));
    case 'int':
      return int64Tensor(value.name, [], [a.value]);
    case 'ints':
      return int64Tensor(value.name, [a.value.length], a.value);
    case 'string':
      return new TensorClass(value.name, DataType.STRING, [], { kind: 'strings', values: [a.value] });
    case 'strings':
      return name
        ? new TensorClass(value.name, DataType.STRING, [a.value.length], { kind: 'strings', values: a.value })
        : undefined;
    default:
      return undefined;
  }
}

function int64Tensor(name: string, dims: number[], values: readonly bigint[]): Tensor {
  return TensorClass.fromBytes(name, DataType.INT64, dims, new Uint8Array(BigInt64Array.from(values).buffer));
}

/** True for initializers stored as sparse tensors, whose contents the IR does not hold. */
export function isSparseInitializer(value: Value): boolean {
  const proto = value.graph.proto as GraphProto | undefined;
  return (
    !value.initializer && !value.producer && (proto?.sparseInitializer ?? []).some((t) => t.values?.name === value.name)
  );
}

/**
 * True when nothing that is fed can change the value: computed from constants alone, by ops that give the same result
 * every time. `known` keeps the answers between calls.
 */
export function isConstantOnly(value: Value, known = new Map<Value, boolean>()): boolean {
  // An explicit stack: chains of ten thousands of nodes must not overflow the call stack.
  const stack = [value];
  const visited = new Set<Value>();
  while (stack.length > 0) {
    const v = stack[stack.length - 1];
    const node = v.producer;
    if (known.has(v)) {
      stack.pop();
    } else if (v.initializer || isSparseInitializer(v)) {
      known.set(v, true);
    } else if (!node || node.subgraphs.length > 0 || RANDOM.test(node.opType)) {
      known.set(v, false);
    } else {
      const open = node.inputs.filter((i): i is Value => i !== null && !known.has(i));
      const settled = visited.has(v) || node.inputs.some((i) => i !== null && known.get(i) === false);
      visited.add(v);
      if (open.length > 0 && !settled) stack.push(...open);
      else
        known.set(
          v,
          node.inputs.every((i) => i === null || known.get(i) === true),
        );
    }
  }
  return known.get(value)!;
}

const RANDOM = /^(Random|Multinomial|Bernoulli)/;

/**
 * Removes nodes none of whose outputs is read or is an output of a graph, then values that nothing reads: unused
 * initializers, and graph inputs only where they carry an initializer. Captures by subgraphs count as reads.
 * @returns How many nodes and initializers went.
 */
export function removeDeadNodes(model: Model): { nodes: number; initializers: number } {
  const removed = { nodes: 0, initializers: 0 };
  // Inner graphs first: what they no longer capture may make nodes outside of them dead.
  const graphs = allGraphs(model).reverse();
  const outputs = new Set<Value>(graphs.flatMap((g) => g.outputs));
  const isRead = (v: Value) => v.uses.length > 0 || outputs.has(v);
  for (const graph of graphs) removed.nodes += removeDeadIn(graph, isRead);
  for (const graph of graphs)
    for (const v of [...graph.values.values()]) {
      if (isRead(v) || v.producer) continue;
      if (v.initializer) removed.initializers++;
      else if (graph.inputs.includes(v)) continue;
      graph.removeValue(v);
    }
  return removed;
}

function removeDeadIn(graph: Graph, isRead: (v: Value) => boolean): number {
  const keep: Node[] = [];
  const dead: Node[] = [];
  // Backwards, so that one pass suffices: a node is judged after all of its readers.
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const node = graph.nodes[i];
    if (node.outputs.some((v) => v && isRead(v))) {
      keep.push(node);
    } else {
      dropUses(node);
      dead.push(node);
    }
  }
  graph.nodes = keep.reverse();
  for (const node of dead)
    for (const v of node.outputs) {
      if (!v) continue;
      v.producer = null;
      v.producerIndex = -1;
      if (v.graph.values.get(v.name) === v) v.graph.values.delete(v.name);
    }
  return dead.length;
}

/** Takes the reads of a node that goes, its subgraphs' included, off the use lists. */
function dropUses(node: Node): void {
  node.truncateInputs(0);
  for (const sub of node.subgraphs) for (const inner of allNodes(sub)) inner.truncateInputs(0);
}

/** Values of the main graph and outer scopes that a node depends on directly, each once. */
export function dependencies(node: Node): Set<Value> {
  return new Set(readBy(node));
}
