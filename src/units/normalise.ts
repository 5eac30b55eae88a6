import { cloneModel } from '../graph/clone.ts';
import { allNodes, constantTensor, inlineFunctions, isConstantOnly, removeDeadNodes } from '../graph/edit.ts';
import { inferShapes, type ShapeInfo } from '../graph/shapes/index.ts';
import { Tensor } from '../onnx/tensor.ts';
import type { Graph, Model, Node, Value } from '../graph/ir.ts';

/** Constants with more elements than this are not shapes: they are left to be computed. */
const SHAPE_ELEMENTS = 64;

/**
 * A copy of a model in which the analysis has an easy time, equal in meaning: calls of local functions are opened;
 * Constant nodes are initializers; integers that shape inference knows are constants (so that an attention scale or a
 * channel count that is computed from a shape keeps its original value); every use of a constant has a copy of its own,
 * so that sharing never couples layers (the storage is shared; `shareConstants` joins what stayed equal).
 */
export function normalise(model: Model): { model: Model; shapes: ShapeInfo; origin: (n: Node) => Node | undefined } {
  const clone = cloneModel(model);
  const copies = new Map<Node, Node>();
  for (const node of model.graph.nodes) copies.set(clone.node(node), node);
  const graph = clone.model.graph;
  openFunctions(clone.model);
  dropDefaultedInputs(clone.model);
  constantsToInitializers(graph);
  foldShapes(clone.model, inferShapes(clone.model));
  removeDeadNodes(clone.model);
  unshare(graph);
  return { model: clone.model, shapes: inferShapes(clone.model), origin: (n) => copies.get(n) };
}

/** Puts the bodies of local functions in the place of their calls, and forgets functions that nothing calls any more. */
function openFunctions(model: Model): void {
  if (inlineFunctions(model) === 0) return;
  const called = new Set([model.graph, ...model.functions.map((f) => f.body)].flatMap(allNodes).map((n) => n.op));
  model.functions = model.functions.filter((f) => called.has(f.domain ? `${f.domain}.${f.name}` : f.name));
  // Bodies may name their nodes alike, or not at all; a runtime may refuse two nodes of one name.
  const taken = new Set<string>();
  for (const node of model.graph.nodes) {
    const stem = node.name;
    for (let i = 2; node.name && taken.has(node.name); i++) node.name = `${stem}#${i}`;
    taken.add(node.name);
  }
}

/**
 * Weights that are also listed as inputs become plain initializers, which IR 4 allows: IR version 3 asks for the list,
 * and older exporters went on writing it. Where only some are listed, they are meant as inputs with a default.
 */
function dropDefaultedInputs(model: Model): void {
  const { inputs } = model.graph;
  const listed = new Set(inputs);
  if (model.irVersion >= 4 && !model.graph.initializers.every((v) => listed.has(v))) return;
  for (let i = inputs.length - 1; i >= 0; i--) if (inputs[i].initializer) inputs.splice(i, 1);
  model.irVersion = Math.max(4, model.irVersion);
}

function constantsToInitializers(graph: Graph): void {
  for (const node of [...graph.nodes]) {
    const out = node.outputs[0];
    if (node.op !== 'Constant' || !out || out.isGraphOutput) continue;
    const tensor = constantTensor(out);
    if (!tensor) continue;
    graph.removeNode(node, false);
    setConstant(out, tensor);
  }
}

function setConstant(value: Value, tensor: Tensor): void {
  value.initializer = tensor.renamed(value.name);
  value.producer = null;
  value.producerIndex = -1;
  value.type = { kind: 'tensor', elemType: tensor.dataType, shape: [...tensor.dims] };
}

function foldShapes(model: Model, shapes: ShapeInfo): void {
  const graph = model.graph;
  const constants = new Map<Value, boolean>();
  for (const node of [...graph.nodes]) {
    const out = node.outputs[0];
    if (!out || node.outputs.length !== 1 || out.isGraphOutput || node.subgraphs.length) continue;
    const known = shapes.constant(out);
    const rank = out.type?.shape?.length;
    if (!known || known.length > SHAPE_ELEMENTS || rank === undefined || rank > 1) continue;
    if (isConstantOnly(out, constants)) continue;
    const ints = known.filter((d): d is number => typeof d === 'number');
    if (ints.length !== known.length || (out.type!.elemType !== 7 && out.type!.elemType !== 6)) continue;
    const dims = rank === 0 ? [] : [ints.length];
    const tensor =
      out.type!.elemType === 7
        ? Tensor.fromInt64(out.name, dims, ints)
        : Tensor.fromBytes(out.name, 6, dims, new Uint8Array(Int32Array.from(ints).buffer));
    graph.removeNode(node, false);
    setConstant(out, tensor);
    // Nodes come after what they read: no answer for a later one has been given yet.
    constants.set(out, true);
  }
}

/** Nodes that a constant is computed by, counted anew for every use, above which its uses go on sharing it. */
const UNSHARED_NODES = 16;

function unshare(graph: Graph): void {
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
      const copy = graph.addNode(node.opType, node.inputs, [out.name], { domain: node.domain, before: node });
      for (const [name, attribute] of node.attributes) copy.attributes.set(name, attribute);
      copy.outputs[0]!.type = out.type;
      use.node.setInput(use.index, copy.outputs[0]);
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

/** Joins initializers that hold the same tensor, then nodes that compute the same from constants. In place. */
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
    if (node.outputs.length !== 1 || !out || !isConstantOnly(out, constants) || out.isGraphOutput) continue;
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
