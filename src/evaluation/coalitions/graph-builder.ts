import { opsetVersion, type Graph, type Model, type Value } from '../../graph/ir.ts';
import { Tensor } from '../../onnx/tensor.ts';

type AttributeValue = number | readonly number[];

/** Adds nodes to a graph with few words: constants are made where numbers are given, every node gives its first output. */
export class GraphBuilder {
  readonly graph: Graph;
  readonly opset: number;
  private readonly constants = new Map<string, Value>();

  constructor(readonly model: Model) {
    this.graph = model.graph;
    this.opset = opsetVersion(model);
  }

  /** Appends a node; integer attributes only. */
  op(opType: string, inputs: readonly (Value | null)[], attributes: Record<string, AttributeValue> = {}): Value {
    const node = this.graph.addNode(opType, inputs, [`secateur_${opType.toLowerCase()}`]);
    for (const [name, v] of Object.entries(attributes)) {
      if (typeof v === 'number') node.setInt(name, v);
      else node.setInts(name, v);
    }
    return node.outputs[0]!;
  }
  ints(values: readonly number[], dims: readonly number[] = [values.length]): Value {
    const key = `${dims.join()}:${values.join()}`;
    let v = this.constants.get(key);
    // A constant that nothing read may have been cleaned away meanwhile.
    if (!v || this.graph.values.get(v.name) !== v)
      this.constants.set(key, (v = this.constant(Tensor.fromInt64('', dims, values))));
    return v;
  }
  floats(values: Float32Array, dims: readonly number[]): Value {
    return this.constant(Tensor.fromFloat32('', dims, values));
  }
  constant(tensor: Tensor): Value {
    return this.graph.addInitializer('secateur_const', tensor);
  }
  reshape(v: Value, shape: readonly number[] | Value): Value {
    return this.op('Reshape', [v, Array.isArray(shape) ? this.ints(shape) : (shape as Value)]);
  }
  transpose(v: Value, perm: readonly number[]): Value {
    return perm.every((p, i) => p === i) ? v : this.op('Transpose', [v], { perm });
  }
  gather(v: Value, indices: readonly number[], axis: number): Value {
    return this.op('Gather', [v, this.ints(indices)], { axis });
  }
  expand(v: Value, shape: readonly number[] | Value): Value {
    return this.op('Expand', [v, Array.isArray(shape) ? this.ints(shape) : (shape as Value)]);
  }
  concat(parts: readonly Value[], axis: number): Value {
    return parts.length === 1 ? parts[0] : this.op('Concat', parts, { axis });
  }
  cast(v: Value, elemType: number): Value {
    return this.op('Cast', [v], { to: elemType });
  }
  /** Size of one axis as an int64 vector of length 1. */
  size(v: Value, axis: number): Value {
    return this.gather(this.op('Shape', [v]), [axis], 0);
  }
  /** Sum over the last axis, which goes. */
  sumLast(v: Value): Value {
    return this.opset >= 13
      ? this.op('ReduceSum', [v, this.ints([-1])], { keepdims: 0 })
      : this.op('ReduceSum', [v], { axes: [-1], keepdims: 0 });
  }
  /** Mean over the last axis, which goes. */
  meanLast(v: Value): Value {
    return this.opset >= 18
      ? this.op('ReduceMean', [v, this.ints([-1])], { keepdims: 0 })
      : this.op('ReduceMean', [v], { axes: [-1], keepdims: 0 });
  }
  input(name: string, elemType: number, shape: (number | string)[]): Value {
    return this.graph.addInput(name, { kind: 'tensor', elemType, shape });
  }
}
