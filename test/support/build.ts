import { Graph, type Dim, type Model, type Node, type Value } from '../../src/graph/ir.ts';
import { parseModel } from '../../src/graph/load.ts';
import { serializeModel } from '../../src/graph/save.ts';
import { DataType } from '../../src/onnx/data-type.ts';
import { Tensor } from '../../src/onnx/tensor.ts';

type Attr =
  number | bigint | string | readonly number[] | Tensor | Graph | { float: number } | { floats: readonly number[] };
export type Attrs = Record<string, Attr>;

/** Seeded uniform numbers in [-1, 1) for weights (mulberry32). */
export function numbers(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1;
  };
}

/** A model in the making: every method adds a node (named after its op and number) and gives its first output. */
export class Builder {
  readonly graph: Graph;
  readonly model: Model;
  private readonly next: () => number;
  private counter = 0;

  constructor(options: { seed?: number; opset?: number; graph?: Graph } = {}) {
    this.next = numbers(options.seed ?? 1);
    this.graph = options.graph ?? new Graph('test');
    this.model = {
      irVersion: 8,
      opsets: new Map([['', options.opset ?? 17]]),
      producer: 'test',
      metadata: new Map(),
      graph: this.graph,
      functions: [],
    };
  }

  /** A graph input; strings are symbolic dims. */
  input(name: string, shape: Dim[], elemType: number = DataType.FLOAT): Value {
    return this.graph.addInput(name, { kind: 'tensor', elemType, shape });
  }
  output(...values: Value[]): this {
    this.graph.outputs.push(...values);
    return this;
  }
  /** A weight of random numbers, about `scale` in size. */
  weight(dims: number[], name = 'w', scale?: number): Value {
    const count = dims.reduce((a, b) => a * b, 1);
    const fan = Math.max(1, count / Math.max(1, dims[0]));
    const s = scale ?? 1.5 / Math.sqrt(fan);
    const data = Float32Array.from({ length: count }, () => this.next() * s);
    return this.graph.addInitializer(name, Tensor.fromFloat32(name, dims, data));
  }
  floats(values: readonly number[], dims: number[] = [values.length], name = 'c'): Value {
    return this.graph.addInitializer(name, Tensor.fromFloat32(name, dims, Float32Array.from(values)));
  }
  ints(values: readonly number[], dims: number[] = [values.length], name = 'k'): Value {
    return this.graph.addInitializer(name, Tensor.fromInt64(name, dims, values));
  }
  constant(tensor: Tensor): Value {
    return this.graph.addInitializer(tensor.name || 'c', tensor);
  }

  /** Any node; `op` may carry a domain: `com.microsoft.Gelu`. Gives all of its outputs. */
  nodes(op: string, inputs: (Value | null)[], attrs: Attrs = {}, outputs = 1, name?: string): Value[] {
    const dot = op.lastIndexOf('.');
    const opType = op.slice(dot + 1);
    const domain = dot < 0 ? '' : op.slice(0, dot);
    if (domain && !this.model.opsets.has(domain)) this.model.opsets.set(domain, 1);
    const title = name ?? `${opType.toLowerCase()}${++this.counter}`;
    const stems = Array.from({ length: outputs }, (_, i) => (outputs === 1 ? `${title}_out` : `${title}_out${i}`));
    const node = this.graph.addNode(opType, inputs, stems, { name: title, domain });
    for (const [key, value] of Object.entries(attrs)) setAttr(node, key, value);
    return node.outputs as Value[];
  }
  op(op: string, inputs: (Value | null)[], attrs: Attrs = {}, name?: string): Value {
    return this.nodes(op, inputs, attrs, 1, name)[0];
  }

  /** Convolution with random weights; `kernel` is one number for all axes or one per axis. */
  conv(
    x: Value,
    inChannels: number,
    outChannels: number,
    kernel: number | number[] = [3, 3],
    attrs: Attrs & { bias?: number; name?: string } = {},
  ): Value {
    const { bias = 1, name, ...rest } = attrs;
    const k = typeof kernel === 'number' ? [kernel, kernel] : kernel;
    const group = typeof rest.group === 'number' ? rest.group : 1;
    const title = (name as string | undefined) ?? `conv${++this.counter}`;
    const w = this.weight([outChannels, inChannels / group, ...k], `${title}.weight`);
    const inputs = bias ? [x, w, this.weight([outChannels], `${title}.bias`, 0.3)] : [x, w];
    return this.op('Conv', inputs, { kernel_shape: k, ...rest }, title);
  }
  /** Gemm with transB = 1, as torch exports Linear. */
  gemm(x: Value, inFeatures: number, outFeatures: number, name = `fc${++this.counter}`): Value {
    const w = this.weight([outFeatures, inFeatures], `${name}.weight`);
    return this.op('Gemm', [x, w, this.weight([outFeatures], `${name}.bias`, 0.3)], { transB: 1 }, name);
  }
  /** MatMul and Add. */
  linear(x: Value, inFeatures: number, outFeatures: number, name = `linear${++this.counter}`): Value {
    const w = this.weight([inFeatures, outFeatures], `${name}.weight`);
    const y = this.op('MatMul', [x, w], {}, name);
    return this.op('Add', [y, this.weight([outFeatures], `${name}.bias`, 0.3)], {}, `${name}.add`);
  }
  /** Batch normalization with random, positive variances. */
  bn(x: Value, channels: number, name = `bn${++this.counter}`): Value {
    const positive = (stem: string) =>
      this.floats(
        Array.from({ length: channels }, () => 1 + 0.5 * this.next()),
        [channels],
        `${name}.${stem}`,
      );
    const inputs = [
      x,
      positive('gamma'),
      this.weight([channels], `${name}.beta`, 0.3),
      this.weight([channels], `${name}.mean`, 0.3),
      positive('var'),
    ];
    return this.op('BatchNormalization', inputs, {}, name);
  }
  relu(x: Value): Value {
    return this.op('Relu', [x]);
  }
  add(a: Value, b: Value): Value {
    return this.op('Add', [a, b]);
  }
  mul(a: Value, b: Value): Value {
    return this.op('Mul', [a, b]);
  }
  concat(values: Value[], axis = 1): Value {
    return this.op('Concat', values, { axis });
  }
  maxPool(x: Value, kernel = 2, stride = kernel): Value {
    return this.op('MaxPool', [x], { kernel_shape: [kernel, kernel], strides: [stride, stride] });
  }
  globalPool(x: Value): Value {
    return this.op('GlobalAveragePool', [x]);
  }
  flatten(x: Value, axis = 1): Value {
    return this.op('Flatten', [x], { axis });
  }
  reshape(x: Value, shape: number[]): Value {
    return this.op('Reshape', [x, this.ints(shape, [shape.length], 'shape')]);
  }
  transpose(x: Value, perm: number[]): Value {
    return this.op('Transpose', [x], { perm });
  }
  softmax(x: Value, axis = -1): Value {
    return this.op('Softmax', [x], { axis });
  }

  /** The model as it would come from a file: written and read again. */
  build(): Model {
    return parseModel(this.bytes());
  }
  bytes(): Uint8Array {
    return serializeModel(this.model);
  }
}

/** Starts a model; default opset 17, seed 1. */
export function builder(options: { seed?: number; opset?: number } = {}): Builder {
  return new Builder(options);
}

/** A subgraph for If, Loop or Scan: pass it as an attribute. Values of the outer builder may be used inside. */
export function subgraph(outer: Builder, name: string, make: (inner: Builder) => Value[]): Graph {
  const owner = { graph: outer.graph } as Node;
  const graph = new Graph(name, owner);
  const inner = new Builder({ graph, seed: 7 });
  inner.output(...make(inner));
  return graph;
}

function setAttr(node: Node, key: string, value: Attr): void {
  if (typeof value === 'string') node.setString(key, value);
  else if (typeof value === 'bigint') node.setInt(key, value);
  else if (typeof value === 'number') {
    if (Number.isInteger(value)) node.setInt(key, value);
    else node.setFloat(key, value);
  } else if (value instanceof Tensor) node.attributes.set(key, { kind: 'tensor', value });
  else if (value instanceof Graph) {
    value.owner = node;
    node.attributes.set(key, { kind: 'graph', value });
  } else if ('float' in value) node.setFloat(key, (value as { float: number }).float);
  else if ('floats' in value)
    node.attributes.set(key, { kind: 'floats', value: [...(value as { floats: number[] }).floats] });
  else node.setInts(key, value as readonly number[]);
}
