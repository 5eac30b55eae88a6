import { bitsPerElement } from '../onnx/data-type.ts';
import { constantTensor, isConstantOnly } from './edit.ts';
import type { Dim, Graph, Model, Node, Value } from './ir.ts';
import { nodeMacs } from './macs.ts';
import { layerNames } from './names.ts';
import { isParameter, parameterCount } from './parameters.ts';
import { evaluateDim } from './shapes/dims.ts';

export { isParameter, parameterCount } from './parameters.ts';

/** Cost of one node of the main graph; If, Loop, Scan and calls of local functions contain that of their bodies. */
export interface LayerCost {
  node: Node;
  name: string;
  op: string;
  /** Elements of the weights that it is the first to read, constants in between (dequantisation, Identity) included. */
  parameters: number;
  /** Multiply-accumulates for one sample. */
  macs: number;
  /** Shape of the first output; null when not even the rank is known. */
  shape: Dim[] | null;
  /** Bytes of all outputs for one sample, 0 for constants; null when a shape is unknown. */
  activationBytes: number | null;
}

export interface ModelCost {
  parameters: number;
  macs: number;
  layers: LayerCost[];
}

/**
 * Parameters, MACs and activation bytes of a model, per node and in total. Uses the shapes in the values: run
 * inferShapes before.
 *
 * Parameters: elements of weights (parameters.ts), each tensor once, with the first node that reads it. MACs: see
 * macs.ts. One sample: dims that are not fixed (a batch, a sequence length, a height) count 1. A model whose first dim
 * is fixed at B > 1 is counted as the file computes it, for all B samples. Of an If the dearer branch counts; a Loop
 * or Scan counts its body once for every turn, once where their number is not fixed.
 */
export function modelCost(model: Model): ModelCost {
  const names = layerNames(model);
  const counter = new Counter(model);
  const layers = model.graph.nodes.map((node): LayerCost => {
    const { parameters, macs } = counter.node(node);
    return {
      node,
      name: names.get(node) ?? node.name,
      op: node.op,
      parameters,
      macs,
      shape: node.outputs[0]?.type?.shape ?? null,
      activationBytes: counter.activationBytes(node),
    };
  });
  return {
    parameters: layers.reduce((sum, l) => sum + l.parameters, 0),
    macs: layers.reduce((sum, l) => sum + l.macs, 0),
    layers,
  };
}

class Counter {
  private readonly model: Model;
  /** Tensors that were counted, by what holds their elements: copies under other names share it. */
  private readonly counted = new Set<unknown>();
  private readonly constants = new Map<Value, boolean>();
  /** Computed constants whose weights were counted. */
  private readonly visited = new Set<Value>();

  constructor(model: Model) {
    this.model = model;
  }

  node(node: Node): { parameters: number; macs: number } {
    let parameters = 0;
    if (!this.isConstant(node)) for (const v of node.inputs) if (v) parameters += this.parametersBehind(v);
    let macs = nodeMacs(node);
    const bodies = node.subgraphs.map((g) => this.graph(g));
    for (const body of bodies) parameters += body.parameters;
    if (node.op === 'If') macs += Math.max(0, ...bodies.map((b) => b.macs));
    else for (const body of bodies) macs += body.macs * turns(node);
    const f = this.model.functions.find(
      (d) => d.domain === node.domain && d.name === node.opType && d.overload === node.overload,
    );
    if (f) {
      const body = this.graph(f.body);
      parameters += body.parameters;
      macs += body.macs;
    }
    return { parameters, macs };
  }

  private graph(graph: Graph): { parameters: number; macs: number } {
    const sum = { parameters: 0, macs: 0 };
    for (const node of graph.nodes) {
      const one = this.node(node);
      sum.parameters += one.parameters;
      sum.macs += one.macs;
    }
    return sum;
  }

  /** Elements of the weights that a value is made of, as far as they were not counted yet. */
  private parametersBehind(value: Value): number {
    if (value.initializer || value.producer?.op === 'Constant') {
      const tensor = constantTensor(value);
      if (!tensor || this.counted.has(tensor.storage) || !isParameter(value)) return 0;
      this.counted.add(tensor.storage);
      return parameterCount(value);
    }
    let sum = 0;
    const stack = isConstantOnly(value, this.constants) ? [value] : [];
    for (let v = stack.pop(); v; v = stack.pop()) {
      if (v.initializer || v.producer?.op === 'Constant') {
        sum += this.parametersBehind(v);
      } else if (v.producer && !this.visited.has(v)) {
        this.visited.add(v);
        for (const input of v.producer.inputs) if (input) stack.push(input);
      }
    }
    return sum;
  }

  private isConstant(node: Node): boolean {
    return node.outputs.length > 0 && node.outputs.every((v) => !v || isConstantOnly(v, this.constants));
  }

  activationBytes(node: Node): number | null {
    if (this.isConstant(node)) return 0;
    let bytes = 0;
    for (const v of node.outputs) {
      if (!v || (v.uses.length === 0 && !v.isGraphOutput)) continue;
      const type = v.type;
      if (type?.kind !== 'tensor' || !type.shape) return null;
      bytes += Math.ceil(
        (type.shape.reduce<number>((n, d) => n * evaluateDim(d), 1) * bitsPerElement(type.elemType)) / 8,
      );
    }
    return bytes;
  }
}

/** How often a Loop or Scan runs its body, where that is fixed. */
function turns(node: Node): number {
  if (node.op === 'Loop') {
    const count = node.inputs[0] ? constantTensor(node.inputs[0]) : undefined;
    return count && count.elementCount === 1 ? Math.max(0, Math.min(count.toInts()[0], 1e6)) : 1;
  }
  if (node.op !== 'Scan') return 1;
  const scanned = node.inputs[node.inputs.length - 1]?.type?.shape;
  const axes = node.ints('scan_input_axes');
  const axis = axes?.[axes.length - 1] ?? 0;
  const steps = scanned?.[axis < 0 ? axis + scanned.length : axis];
  return typeof steps === 'number' ? steps : 1;
}
