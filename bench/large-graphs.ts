import { ftruncateSync, openSync, closeSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Node, Value } from '../src/graph/ir.ts';
import { serializeReferencing } from '../src/graph/save.ts';
import { DataType } from '../src/onnx/data-type.ts';
import { identify, type FileIdentity } from '../src/onnx/source.ts';
import { Tensor } from '../src/onnx/tensor.ts';
import { TensorField } from '../src/onnx/wire.ts';
import { Builder, type Attrs } from '../test/support/build.ts';

/**
 * Graphs of a wanted number of nodes at the widths of real networks. All weights lie in one file of zeros without
 * blocks on the disk: the analysis reads none of them.
 */
export const KINDS = ['cnn', 'transformer', 'quantised'] as const;
export type Kind = (typeof KINDS)[number];

const LARGEST_WEIGHT = 64 << 20;

class Net extends Builder {
  private readonly zeros: FileIdentity;
  private names = 0;
  constructor(zeros: FileIdentity) {
    super();
    this.zeros = zeros;
  }
  /** A weight of which only type and shape matter; small ones are in the model file, as exporters do it. */
  zero(dims: number[], type: number = DataType.FLOAT): Value {
    const name = `weight${++this.names}`;
    const elements = dims.reduce((a, b) => a * b, 1);
    const length = elements * (type === DataType.INT8 || type === DataType.UINT8 ? 1 : 4);
    if (length <= 512) return this.constant(Tensor.fromBytes(name, type, dims, new Uint8Array(length)));
    const ranges = [{ file: this.zeros, offset: 0, length }];
    return this.constant(new Tensor(name, type, dims, { kind: 'file', field: TensorField.RAW, ranges }));
  }
  convolve(x: Value, from: number, to: number, k: number, attrs: Attrs = {}): Value {
    const groups = typeof attrs.group === 'number' ? attrs.group : 1;
    const pads = Array<number>(4).fill((k - 1) / 2);
    return this.op('Conv', [x, this.zero([to, from / groups, k, k])], { kernel_shape: [k, k], pads, ...attrs });
  }
  norm(x: Value, channels: number): Value {
    return this.op('BatchNormalization', [x, ...Array.from({ length: 4 }, () => this.zero([channels]))]);
  }
  convBnRelu(x: Value, from: number, to: number, k: number, attrs: Attrs = {}): Value {
    return this.relu(this.norm(this.convolve(x, from, to, k, attrs), to));
  }
  dense(x: Value, from: number, to: number): Value {
    return this.op('Add', [this.zero([to]), this.op('MatMul', [x, this.zero([from, to])])]);
  }
}

/** Writes a graph of about `nodes` nodes into `folder` and gives its path. */
export function writeGraph(kind: Kind, nodes: number, folder: string): string {
  const zeros = path.join(folder, 'zeros.bin');
  const fd = openSync(zeros, 'a');
  ftruncateSync(fd, LARGEST_WEIGHT);
  closeSync(fd);
  const net = new Net(identify(zeros));
  BUILDERS[kind](net, nodes);
  const file = path.join(folder, `${kind}-${nodes}.onnx`);
  writeFileSync(file, serializeReferencing(net.model, folder));
  return file;
}

const BUILDERS: Record<Kind, (net: Net, nodes: number) => void> = {
  cnn: (net, nodes) => {
    let x = net.convBnRelu(net.input('image', ['N', 3, 224, 224]), 3, 64, 3);
    let width = 64;
    const stages = [64, 128, 256, 512];
    for (let block = 0; net.graph.nodes.length < nodes; block++) {
      const wanted = stages[Math.min(3, Math.floor((4 * net.graph.nodes.length) / nodes))];
      if (wanted !== width) x = net.convBnRelu(x, width, wanted, 1, { strides: [2, 2] });
      width = wanted;
      if (block % 3 === 0) x = bottleneck(net, x, width);
      else if (block % 3 === 1) x = shuffleUnit(net, x, width);
      else x = denseBlock(net, x, width);
    }
    net.output(net.op('Gemm', [net.flatten(net.globalPool(x)), net.zero([1000, width])], { transB: 1 }));
  },
  transformer: (net, nodes) => {
    const width = 768;
    let x = net.input('tokens', ['N', 'T', width]);
    while (net.graph.nodes.length < nodes) {
      x = net.add(x, attention(net, layerNorm(net, x, width), width, 12));
      const h = gelu(net, net.dense(layerNorm(net, x, width), width, 4 * width));
      x = net.add(x, net.dense(h, 4 * width, width));
    }
    net.output(net.dense(layerNorm(net, x, width), width, 1000));
  },
  quantised: (net, nodes) => {
    let x = quantised(net, net.input('image', ['N', 3, 56, 56]), 3, 128);
    while (net.graph.nodes.length < nodes) {
      const inner = requantise(net, quantised(net, x, 128, 128));
      x = requantise(net, net.relu(net.add(x, requantise(net, quantised(net, inner, 128, 128)))));
    }
    net.output(net.op('Gemm', [net.flatten(net.globalPool(x)), net.zero([1000, 128])], { transB: 1 }));
  },
};

/** A residual block with squeeze and excitation. */
function bottleneck(net: Net, x: Value, width: number): Value {
  const inner = width / 2;
  let y = net.convBnRelu(x, width, inner, 1);
  y = net.convBnRelu(y, inner, inner, 3);
  y = net.norm(net.convolve(y, inner, width, 1), width);
  const squeezed = net.relu(net.convolve(net.globalPool(y), width, width / 16, 1));
  const gate = net.op('Sigmoid', [net.convolve(squeezed, width / 16, width, 1)]);
  return net.relu(net.add(x, net.mul(y, gate)));
}

/** Half of the channels goes through a depthwise branch, then both halves are shuffled. */
function shuffleUnit(net: Net, x: Value, width: number): Value {
  const half = width / 2;
  const [a, b] = net.nodes('Split', [x, net.ints([half, half])], { axis: 1 }, 2);
  let y = net.convBnRelu(b, half, half, 1);
  y = net.norm(net.convolve(y, half, half, 3, { group: half }), half);
  y = net.concat([a, net.convBnRelu(y, half, half, 1)]);
  const split = net.op('Reshape', [y, net.ints([0, 2, half, -1])]);
  const mixed = net.transpose(split, [0, 2, 1, 3]);
  return net.op('Reshape', [mixed, net.op('Shape', [x])]);
}

function denseBlock(net: Net, x: Value, width: number): Value {
  const growth = width / 4;
  const parts = [x];
  for (let i = 0; i < 3; i++) {
    const all = parts.length === 1 ? x : net.concat(parts);
    parts.push(net.convBnRelu(all, width + i * growth, growth, 3));
  }
  return net.convBnRelu(net.concat(parts), width + 3 * growth, width, 1);
}

/** As exporters write it before opset 17. */
function layerNorm(net: Net, x: Value, width: number): Value {
  const mean = net.op('ReduceMean', [x], { axes: [-1] });
  const centred = net.op('Sub', [x, mean]);
  const variance = net.op('ReduceMean', [net.op('Pow', [centred, net.floats([2], [])])], { axes: [-1] });
  const deviation = net.op('Sqrt', [net.add(variance, net.floats([1e-5], []))]);
  return net.add(net.mul(net.op('Div', [centred, deviation]), net.zero([width])), net.zero([width]));
}

function gelu(net: Net, x: Value): Value {
  const erf = net.op('Erf', [net.op('Div', [x, net.floats([Math.SQRT2], [])])]);
  return net.mul(net.mul(x, net.add(erf, net.floats([1], []))), net.floats([0.5], []));
}

/** Heads by Reshape to sizes that are computed while running, as torch exports them. */
function attention(net: Net, x: Value, width: number, heads: number): Value {
  const dim = (index: number) => {
    const size = net.op('Gather', [net.op('Shape', [x]), net.ints([index], [])], { axis: 0 });
    return net.op('Unsqueeze', [size, net.ints([0])]);
  };
  const split = net.concat([dim(0), dim(1), net.ints([heads]), net.ints([width / heads])], 0);
  const head = (perm: number[]) => net.transpose(net.op('Reshape', [net.dense(x, width, width), split]), perm);
  const [q, k, v] = [head([0, 2, 1, 3]), head([0, 2, 3, 1]), head([0, 2, 1, 3])];
  const scores = net.op('Div', [net.op('MatMul', [q, k]), net.floats([Math.sqrt(width / heads)], [])]);
  const mixed = net.transpose(net.op('MatMul', [net.softmax(scores), v]), [0, 2, 1, 3]);
  const joined = net.op('Reshape', [mixed, net.concat([dim(0), dim(1), net.ints([width])], 0)]);
  return net.dense(joined, width, width);
}

const scale = (net: Net) => net.floats([0.02], []);
const zeroPoint = (net: Net) => net.constant(Tensor.fromBytes('zero_point', DataType.UINT8, [], Uint8Array.of(128)));

function requantise(net: Net, x: Value): Value {
  const q = net.op('QuantizeLinear', [x, scale(net), zeroPoint(net)]);
  return net.op('DequantizeLinear', [q, scale(net), zeroPoint(net)]);
}

/** Conv with int8 weights of one scale per channel, int32 bias, and ReLU. */
function quantised(net: Net, x: Value, from: number, to: number): Value {
  const weight = net.op('DequantizeLinear', [net.zero([to, from, 3, 3], DataType.INT8), net.zero([to])], { axis: 0 });
  const bias = net.op('DequantizeLinear', [net.zero([to], DataType.INT32), net.zero([to])], { axis: 0 });
  return net.relu(net.op('Conv', [x, weight, bias], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }));
}

/** Nodes of a graph by operator, the most frequent first. */
export function operators(nodes: readonly Node[]): string {
  const counts = new Map<string, number>();
  for (const n of nodes) counts.set(n.op, (counts.get(n.op) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  return sorted.map(([op, n]) => `${op} ${n}`).join(', ');
}
