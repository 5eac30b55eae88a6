import {
  matmul,
  gemm,
  reduce,
  arg,
  cumSum,
  softmax,
  topK,
  recurrent,
  einsum,
  fused,
  experts,
  batchNorm,
  meanVariance,
  normalise,
  trilu,
} from './mixing.ts';
import {
  castLike,
  transpose,
  reshape,
  flatten,
  squeeze,
  unsqueeze,
  concat,
  slice,
  gather,
  gatherElements,
  gatherND,
  pad,
  resize,
  expand,
  constantOfShape,
  range,
  tile,
  scatterElements,
  split,
} from './moving.ts';
import { quantised } from './quantised.ts';
import { along, broadcast, firstAxis, mixed, type BatchState, type Rule } from './rule.ts';
import { layersRule, numbersRule, positionsRule } from './views.ts';

export { FREE, type BatchState, type SizeEntry } from './rule.ts';

const names = (text: string) => text.trim().split(/\s+/);
const table = (rule: Rule, text: string): [string, Rule][] => names(text).map((name) => [name, rule]);

/** Rules by `node.op`. An operator that is not here is not understood. */
const RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ...table(
    broadcast,
    `Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Celu
     Clip Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN
     LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign
     Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
     com.microsoft.Gelu com.microsoft.BiasGelu com.microsoft.FastGelu com.microsoft.QuickGelu`,
  ),
  ...table(
    firstAxis,
    `Conv ConvTranspose ConvInteger QLinearConv MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool
     InstanceNormalization GroupNormalization LRN SpaceToDepth DepthToSpace com.microsoft.FusedConv com.microsoft.QLinearAveragePool
     com.microsoft.QLinearGlobalAveragePool com.microsoft.GroupNorm`,
  ),
  ...table(
    reduce,
    'ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare',
  ),
  ...table(arg, 'ArgMax ArgMin'),
  ...table(softmax, 'Softmax LogSoftmax Hardmax'),
  ...table(along(-1), 'LpNormalization'),
  ...table(
    normalise,
    'LayerNormalization RMSNormalization SimplifiedLayerNormalization com.microsoft.SimplifiedLayerNormalization',
  ),
  // Scales per channel lie along `axis`; along the samples they could not be constant.
  ...table(along(1), 'QuantizeLinear DequantizeLinear'),
  ...quantised,
  ...table(recurrent, 'LSTM GRU RNN'),
  ...table(
    fused,
    `com.microsoft.Attention com.microsoft.MultiHeadAttention com.microsoft.SkipLayerNormalization com.microsoft.EmbedLayerNormalization
     com.microsoft.SkipSimplifiedLayerNormalization com.microsoft.SkipGroupNorm Attention`,
  ),
  ...table(experts, 'com.microsoft.MoE com.microsoft.QMoE'),
  ['BatchNormalization', batchNorm],
  ['MeanVarianceNormalization', meanVariance],
  ['MatMul', matmul],
  [
    'com.microsoft.FusedMatMul',
    (c) => (c.node.int('transA', 0) || c.node.int('transB', 0) ? mixed('transposed operands') : matmul(c)),
  ],
  ['com.microsoft.MatMulNBits', firstAxis],
  ['Gemm', gemm],
  ['com.microsoft.FusedGemm', gemm],
  ['Transpose', transpose],
  ['Reshape', reshape],
  ['Flatten', flatten],
  ['Squeeze', squeeze],
  ['Unsqueeze', unsqueeze],
  ['Concat', concat],
  ['Split', split],
  ['Slice', slice],
  ['Gather', gather],
  ['GatherElements', gatherElements],
  ['GatherND', gatherND],
  ['ScatterElements', scatterElements],
  ['Pad', pad],
  ['Resize', resize],
  ['Upsample', resize],
  ['CastLike', castLike],
  ['Expand', expand],
  ['ConstantOfShape', constantOfShape],
  ['Range', range],
  ['Tile', tile],
  ['TopK', topK],
  ['Trilu', trilu],
  ['CumSum', cumSum],
  ['Einsum', einsum],
]);

/** The rule of an operator whose operands are of these kinds; undefined when it is not understood. */
export function ruleFor(op: string, kinds: ReadonlySet<BatchState['kind']>): Rule | undefined {
  const ordinary = RULES.get(op);
  if (kinds.has('positions')) return positionsRule(op);
  if (kinds.has('numbers')) return numbersRule(op, ordinary);
  return kinds.has('layers') ? layersRule(op, ordinary) : ordinary;
}
