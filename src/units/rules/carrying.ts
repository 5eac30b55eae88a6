import type { Node } from '../../graph/ir.ts';
import { describe, type Axis, type Flow } from '../flow.ts';
import { broadcastWide, fixSpatial } from './contracting.ts';
import { followSizes } from '../shape-operand.ts';
import { axisIndex, same, type Rules } from './rule.ts';

/** One operand in, the same axes out. */
function unary(node: Node, flow: Flow): void {
  const axes = flow.wideAxes(node, 0);
  if (!axes) return flow.barrier(node, `feeds ${describe(node)}, whose shape is not known`);
  for (let i = 1; i < node.inputs.length; i++)
    flow.axes(node, i)?.forEach((a) => flow.freeze(a, `is a parameter of ${describe(node)}`));
  node.outputs.forEach((_, i) => flow.setAxes(node, i, axes));
}

/** CastLike: the second operand gives its type alone. */
function castLike(node: Node, flow: Flow): void {
  const axes = flow.axes(node, 0);
  if (axes) flow.setAxes(node, 0, axes);
  else flow.barrier(node, `feeds ${describe(node)}, whose shape is not known`);
}

/** Several operands that broadcast against each other. */
function elementwise(node: Node, flow: Flow): void {
  const inputs = node.inputs.flatMap((v, i) => (v ? [i] : []));
  if (inputs.some((i) => !flow.wideAxes(node, i))) {
    return flow.barrier(node, `feeds ${describe(node)}, whose shapes are not known`);
  }
  flow.setAxes(node, 0, broadcastWide(flow, node, inputs));
}

/** Pools carry batch and channels and mix neighbours. */
function pool(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  if (!x || x.length < 2) return flow.barrier(node, `feeds ${describe(node)}, whose shape is not known`);
  fixSpatial(node, flow, x);
  const axes = [x[0], x[1], ...Array<string>(x.length - 2).fill('is a spatial axis')];
  node.outputs.forEach((_, i) => flow.setAxes(node, i, axes));
  // Indices count through all channels of a sample.
  if (node.opType === 'MaxPool' && node.outputs[1]?.uses.length) {
    flow.freeze(x[1], `${describe(node)} numbers positions across channels`);
  }
}

/** Resize and Upsample: scales and sizes apply to spatial axes only; others are carried where their size stays. */
function resize(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  const before = flow.shape(node.inputs[0]);
  const after = flow.shape(node.outputs[0]);
  if (!x || !before || !after) return flow.barrier(node, `feeds ${describe(node)}, whose shape is not known`);
  const out = x.map((a, i): Axis => {
    if (
      a instanceof Int32Array &&
      (before[i] !== after[i] || node.string('coordinate_transformation_mode', '') === 'tf_crop_and_resize')
    ) {
      flow.freeze(a, `is resized by ${describe(node)}`);
      return `is resized by ${describe(node)}`;
    }
    return i < 2 ? a : 'is a spatial axis';
  });
  fixSpatial(node, flow, x);
  flow.setAxes(node, 0, out);
  // A `sizes` operand names the channel count too, unless the attribute `axes` says of which axes it speaks.
  const named = node.ints('axes');
  if (node.inputs[3] && !named) followSizes(node, flow, 3, out, (labels, kept) => kept.count(labels));
  else if (node.inputs[3])
    for (const axis of named!) flow.freeze(x[axisIndex(axis, x.length)], `is resized by ${describe(node)}`);
}

/**
 * Pad: carried. Along units a constant adds positions that stay for ever (a shortcut that is widened with zeros); other
 * modes, and negative pads, would fill in or cut units.
 */
function pad(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  if (!x) return flow.barrier(node, `feeds ${describe(node)}, whose shape is not known`);
  const pads = node.ints('pads') ?? flow.constantInts(node, 1);
  const axes = (node.inputs[3] ? flow.constantInts(node, 3) : x.map((_, i) => i))?.map((a) => axisIndex(a, x.length));
  if (!pads || !axes || pads.length !== 2 * axes.length) {
    return flow.barrier(node, `feeds ${describe(node)}, whose pads are not constant`);
  }
  const out = [...x];
  axes.forEach((axis, i) => {
    const [before, after] = [pads[i], pads[i + axes.length]];
    if (before === 0 && after === 0) return;
    const reason = `is padded by ${describe(node)}`;
    const labels = out[axis];
    if (labels instanceof Int32Array && before >= 0 && after >= 0 && node.string('mode', 'constant') === 'constant') {
      out[axis] = Int32Array.of(...flow.labels(reason, before), ...labels, ...flow.labels(reason, after));
      return;
    }
    flow.freeze(labels, reason);
    out[axis] = reason;
  });
  flow.setAxes(node, 0, out);
}

const UNARY = `Relu LeakyRelu Elu Selu Celu ThresholdedRelu Sigmoid HardSigmoid HardSwish Swish Mish Tanh Softplus Softsign Erf Exp Log Sqrt
  Reciprocal Abs Neg Sign Floor Ceil Round Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Not IsNaN IsInf Identity Cast Clip
  Gelu Dropout BitwiseNot BitCast Shrink ScaledTanh ParametricSoftplus Affine com.microsoft.Gelu com.microsoft.QuickGelu
  com.microsoft.ScaledSiLU`;
const ELEMENTWISE = `Add Sub Mul Div Pow Mod Max Min Mean Sum PRelu Where And Or Xor Equal Less LessOrEqual Greater GreaterOrEqual
  BitShift BitwiseAnd BitwiseOr BitwiseXor SwiGLU com.microsoft.BiasGelu com.microsoft.FastGelu`;

export const carrying: Rules = {
  ...same(unary, UNARY),
  ...same(elementwise, ELEMENTWISE),
  ...same(pool, 'MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool'),
  ...same(resize, 'Resize Upsample'),
  CastLike: castLike,
  Pad: pad,
};
