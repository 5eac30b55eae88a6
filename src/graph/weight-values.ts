import type { Node, Value } from './ir.ts';

/** Elements of a weight in row-major order. */
export interface WeightValues {
  dims: readonly number[];
  data: Float32Array;
}

/** Where ops of whole numbers have the scale and zero point of their weight, and along which of its axes these lie. */
const WHOLE: ReadonlyMap<string, { weight: number; scale?: number; zero: number; axis: number }> = new Map([
  ['QLinearConv', { weight: 3, scale: 4, zero: 5, axis: 0 }],
  ['com.microsoft.QLinearConv', { weight: 3, scale: 4, zero: 5, axis: 0 }],
  ['ConvInteger', { weight: 1, zero: 3, axis: 0 }],
  ['QLinearMatMul', { weight: 3, scale: 4, zero: 5, axis: -1 }],
  ['MatMulInteger', { weight: 1, zero: 3, axis: -1 }],
  ['com.microsoft.QGemm', { weight: 3, scale: 4, zero: 5, axis: -1 }],
  ['com.microsoft.MatMulIntegerToFloat', { weight: 1, scale: 3, zero: 5, axis: -1 }],
  ['com.microsoft.DynamicQuantizeMatMul', { weight: 1, scale: 2, zero: 3, axis: -1 }],
]);

/** Weights that hold several numbers in a byte. */
const PACKED = new Set(['com.microsoft.MatMulNBits', 'com.microsoft.MatMulBnb4', 'com.microsoft.QMoE']);

/** The numbers of a node's weight operand, as `weightValues`; of an op of whole numbers (q − zero point) × scale. */
export function operandValues(node: Node, input: number): WeightValues | undefined {
  const value = node.inputs[input];
  const tensor = value && !PACKED.has(node.op) ? weightValues(value) : undefined;
  const at = WHOLE.get(node.op);
  if (!tensor || at?.weight !== input) return tensor;
  const parameter = (i: number | undefined) =>
    i !== undefined && node.inputs[i] ? weightValues(node.inputs[i]) : null;
  const [scale, zero] = [parameter(at.scale), parameter(at.zero)];
  if (scale === undefined || zero === undefined) return undefined;
  const { dims } = tensor;
  const axis = node.int('transB', 0) ? 0 : (at.axis + dims.length) % dims.length;
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const pick = (p: WeightValues | null, i: number, absent: number) =>
    p === null ? absent : p.data[p.data.length === 1 ? 0 : Math.floor(i / inner) % dims[axis]];
  return { dims, data: tensor.data.map((q, i) => (q - pick(zero, i, 0)) * pick(scale, i, 1)) };
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
