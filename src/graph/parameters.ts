import { DataType, isFloatType } from '../onnx/data-type.ts';
import { constantTensor } from './edit.ts';
import type { Node, Use, Value } from './ir.ts';

/** Ops whose input 0 only passes through: what the value means is decided by who reads the result. */
const CARRIERS: ReadonlySet<string> = new Set(
  'Identity Cast CastLike Reshape Transpose Squeeze Unsqueeze Flatten DequantizeLinear QuantizeLinear com.microsoft.DequantizeLinear com.microsoft.QuantizeLinear'.split(
    ' ',
  ),
);

/** Input numbers by op. A map: op names come from files, and `constructor` is one. */
function table(entries: Record<string, readonly number[]>): ReadonlyMap<string, readonly number[]> {
  return new Map(Object.entries(entries));
}

function each(ops: string, inputs: readonly number[]): Record<string, readonly number[]> {
  return Object.fromEntries(ops.split(' ').map((op) => [`com.microsoft.${op}`, inputs]));
}

/** Inputs that are never weights: statistics, scales, zero points, shapes, indices, bounds. */
const ASIDE = table({
  BatchNormalization: [3, 4],
  QLinearConv: [1, 2, 4, 5, 6, 7],
  'com.microsoft.QLinearConv': [1, 2, 4, 5, 6, 7],
  QLinearMatMul: [1, 2, 4, 5, 6, 7],
  'com.microsoft.QGemm': [1, 2, 4, 5, 7, 8],
  ConvInteger: [2, 3],
  MatMulInteger: [2, 3],
  'com.microsoft.MatMulIntegerToFloat': [2, 3, 4, 5],
  'com.microsoft.DynamicQuantizeMatMul': [2, 3],
  'com.microsoft.DynamicQuantizeLSTM': [4, 5, 6, 8, 9, 10, 11],
  'com.microsoft.QAttention': [3, 4, 5, 6, 7, 8],
  'com.microsoft.QLinearAdd': [1, 2, 4, 5, 6, 7],
  'com.microsoft.QLinearMul': [1, 2, 4, 5, 6, 7],
  ...each(
    'QLinearAveragePool QLinearGlobalAveragePool QLinearLeakyRelu QLinearSigmoid QLinearSoftmax QLinearReduceMean',
    [1, 2, 3, 4],
  ),
  'com.microsoft.QLinearWhere': [0, 2, 3, 5, 6, 7, 8],
  'com.microsoft.QLinearConcat': [0, 1, ...Array.from({ length: 64 }, (_, k) => [3 * k + 3, 3 * k + 4]).flat()],
  'com.microsoft.ConvTransposeWithDynamicPads': [2],
  'com.microsoft.MatMulNBits': [2, 3, 4],
  'com.microsoft.MatMulBnb4': [2],
  'com.microsoft.QMoE': [3, 6, 9, 11, 12, 13],
  'com.microsoft.Attention': [3, 4, 5, 6],
  'com.microsoft.MultiHeadAttention': [4, 5, 6, 7, 8, 9],
  'com.microsoft.GroupQueryAttention': [5, 6, 7, 8, 9, 10, 11],
  'com.microsoft.RotaryEmbedding': [1, 2, 3],
  RotaryEmbedding: [1, 2, 3],
  Attention: [3, 4, 5, 6],
  DequantizeLinear: [1, 2],
  QuantizeLinear: [1, 2],
  'com.microsoft.DequantizeLinear': [1, 2],
  'com.microsoft.QuantizeLinear': [1, 2],
  LSTM: [4, 5, 6],
  GRU: [4, 5],
  RNN: [4, 5],
  Gather: [1],
  GatherElements: [1],
  GatherND: [1],
  Clip: [1, 2],
  Pad: [1, 2, 3],
  Resize: [1, 2, 3],
  Upsample: [1],
  Reshape: [1],
  Dropout: [1, 2],
  OneHot: [0, 1, 2],
  Range: [0, 1, 2],
  If: [0],
  Loop: [0, 1],
  Where: [0],
});

/** Weight operands that may hold integers: the elements are quantised weights. */
const QUANTISED = table({
  QLinearConv: [3, 8],
  'com.microsoft.QLinearConv': [3, 8],
  QLinearMatMul: [0, 3],
  'com.microsoft.QGemm': [3, 6],
  ConvInteger: [1],
  MatMulInteger: [0, 1],
  'com.microsoft.MatMulIntegerToFloat': [0, 1],
  'com.microsoft.DynamicQuantizeMatMul': [1],
  'com.microsoft.DynamicQuantizeLSTM': [1, 2],
  'com.microsoft.QAttention': [1],
  'com.microsoft.QLinearAdd': [0, 3],
  'com.microsoft.QLinearMul': [0, 3],
  'com.microsoft.MatMulNBits': [1],
  'com.microsoft.MatMulBnb4': [1],
  'com.microsoft.QMoE': [2, 5, 8],
  DequantizeLinear: [0],
  'com.microsoft.DequantizeLinear': [0],
});

/** A number by itself in arithmetic (an epsilon, an attention scale) is no weight. */
const ARITHMETIC =
  /^(Add|Sub|Mul|Div|Pow|Max|Min|Mod|Sum|Mean|Where|Expand|And|Or|Xor|Equal|Less|LessOrEqual|Greater|GreaterOrEqual)$/;

/**
 * Whether a constant value counts as parameters: elements of weights, biases, scales and shifts of normalizations,
 * embeddings, also quantised. Scales and zero points of quantisation, running statistics, shape constants, indices and
 * lone numbers in arithmetic do not. Decided by the ops that read it, through Identity, Cast, Transpose and the like.
 */
export function isParameter(value: Value): boolean {
  const tensor = constantTensor(value);
  if (!tensor || tensor.dataType === DataType.STRING || tensor.dataType === DataType.BOOL) return false;
  const seen = new Set<Node>();
  return value.uses.some((use) => isWeightUse(use, isFloatType(tensor.dataType), tensor.dims.length, seen));
}

function isWeightUse({ node, index }: Use, float: boolean, rank: number, seen: Set<Node>): boolean {
  if (ASIDE.get(node.op)?.includes(index)) return false;
  if (CARRIERS.has(node.op)) {
    if (seen.has(node)) return false;
    seen.add(node);
    const dequantised =
      float || node.opType === 'DequantizeLinear' || (node.opType === 'Cast' && index === 0 && castsToFloat(node));
    const out = node.outputs[0];
    return index === 0 && !!out?.uses.some((u) => isWeightUse(u, dequantised, rank, seen));
  }
  if (!float) return QUANTISED.get(node.op)?.includes(index) ?? false;
  return !(rank === 0 && ARITHMETIC.test(node.opType));
}

function castsToFloat(node: Node): boolean {
  return isFloatType(node.int('to', 0));
}

/** Logical elements of a weight: of types that pack several into one byte, what they unpack to. */
export function parameterCount(value: Value): number {
  const tensor = constantTensor(value);
  if (!tensor) return 0;
  for (const { node, index } of value.uses) {
    if (node.op === 'com.microsoft.MatMulNBits' && index === 1) return node.int('K', 0) * node.int('N', 0);
    if (node.op === 'com.microsoft.MatMulBnb4' && index === 1) return node.int('K', 0) * node.int('N', 0);
    if (
      node.op === 'com.microsoft.QMoE' &&
      QUANTISED.get(node.op)!.includes(index) &&
      tensor.dataType === DataType.UINT8
    )
      return tensor.elementCount * (8 / node.int('expert_weight_bits', 4));
  }
  return tensor.elementCount;
}
