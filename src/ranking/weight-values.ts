import type { Node, Value } from '../graph/ir.ts';

/** Elements of a weight in row-major order. */
export interface WeightValues {
  dims: readonly number[];
  data: Float32Array;
}

/**
 * The numbers behind a weight operand: an initializer, a Constant, or one of them behind Identity, Cast or
 * DequantizeLinear (per tensor, per axis or in blocks). Undefined when it is computed otherwise.
 */
export function weightValues(value: Value): WeightValues | undefined {
  const stored = storedValues(value);
  if (stored) return stored;
  const node = value.producer;
  const source = node?.inputs[0];
  if (!node || !source) return undefined;
  if (node.op === 'Identity' || node.op === 'Cast') return weightValues(source);
  if (node.op === 'DequantizeLinear') return dequantized(node, source);
  return undefined;
}

function storedValues(value: Value): WeightValues | undefined {
  let tensor = value.initializer;
  if (!tensor && value.producer?.op === 'Constant') {
    const attribute = value.producer.attributes.get('value');
    if (attribute?.kind === 'tensor') tensor = attribute.value;
  }
  return tensor ? { dims: tensor.dims, data: tensor.toFloat32() } : undefined;
}

/** (q − zero point) × scale, https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html */
function dequantized(node: Node, source: Value): WeightValues | undefined {
  const quantised = weightValues(source);
  const scale = node.inputs[1] ? weightValues(node.inputs[1]) : undefined;
  const zero = node.inputs[2] ? weightValues(node.inputs[2]) : undefined;
  if (!quantised || !scale || (node.inputs[2] && !zero)) return undefined;
  const { dims } = quantised;
  const index = scaleIndex(node, dims, scale.dims);
  const data = new Float32Array(quantised.data.length);
  for (let i = 0; i < data.length; i++) {
    const s = index(i);
    data[i] = (quantised.data[i] - (zero ? zero.data[s] : 0)) * scale.data[s];
  }
  return { dims, data };
}

/** Maps an element's flat index to the index of its scale. */
function scaleIndex(node: Node, dims: readonly number[], scaleDims: readonly number[]): (flat: number) => number {
  const count = scaleDims.reduce((a, b) => a * b, 1);
  if (count <= 1) return () => 0;
  const axis = (node.int('axis', 1) + dims.length) % dims.length;
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const block = node.int('block_size', 0);
  if (block === 0) return (flat) => Math.floor(flat / inner) % dims[axis];
  return (flat) => {
    const along = Math.floor(flat / inner) % dims[axis];
    const outer = Math.floor(flat / (inner * dims[axis]));
    return (outer * scaleDims[axis] + Math.floor(along / block)) * inner + (flat % inner);
  };
}
