import type { Node } from '../../graph/ir.ts';
import type { Gate } from '../gates/gate.ts';
import { quantised } from '../gates/quantised.ts';
import { describe, type Axis, type Flow } from '../flow.ts';
import { blockDequantise, gatherBlocks, matMulBnb4, matMulNBits } from './blocks.ts';
import { broadcastAxes, conv, gemm, matMul } from './contracting.ts';
import { concat } from './moving.ts';
import { axisIndex, same, type Rule, type Rules } from './rule.ts';

const unknownShape = (node: Node) => `feeds ${describe(node)}, whose shape is not known`;

/**
 * Scales and zero points of an operand: a lone number says nothing of its axes; a vector goes with axis `along`; more
 * axes are aligned with the operand's last ones.
 */
function follow(node: Node, flow: Flow, operand: readonly Axis[], along: number, parameters: readonly number[]): void {
  for (const i of parameters) {
    if (!node.inputs[i]) continue;
    const axes = flow.axes(node, i);
    const shape = flow.shape(node.inputs[i]);
    if (!axes || !shape) {
      operand.forEach((a) => flow.freeze(a, `is quantised by ${describe(node)} with scales of unknown shape`));
      continue;
    }
    axes.forEach((a, k) => {
      const at = axes.length === 1 ? along : operand.length - axes.length + k;
      if (shape[k] !== 1) flow.unite(operand[at] ?? 'is not tracked', a);
    });
  }
}

/** True when these parameters are lone numbers or absent; else the node is a wall. */
function alone(node: Node, flow: Flow, parameters: readonly number[]): boolean {
  const lone = parameters.every((i) => !node.inputs[i] || flow.shape(node.inputs[i])?.every((d) => d === 1));
  if (!lone) flow.barrier(node, `feeds ${describe(node)}, which has several scales`);
  return lone;
}

/** How an operand with that zero point is gated; undefined where it has several zero points. */
function zeroed(node: Node, flow: Flow, zeroPoint: number): Gate | undefined {
  const value = node.inputs[zeroPoint];
  return !value || flow.shape(value)?.every((d) => d === 1) ? quantised(zeroPoint) : undefined;
}

const isLast = (node: Node) => node.int('channels_last', 0) === 1;

/** Where a convolution of whole numbers has its operands. */
interface ConvInputs {
  x: number;
  w: number;
  bias: number;
  zeroPoint: number;
  /** Scale and zero point of the weight, lone or one per filter. */
  perFilter: readonly number[];
  lone: readonly number[];
}

function integerConv(at: ConvInputs): Rule {
  return (node, flow) => {
    const w = flow.axes(node, at.w);
    if (!w || !alone(node, flow, at.lone)) return w ? undefined : flow.barrier(node, unknownShape(node));
    follow(node, flow, w, 0, at.perFilter);
    const gate = zeroed(node, flow, at.zeroPoint);
    conv(node, flow, { x: at.x, w: at.w, bias: at.bias, gate, channelsLast: isLast(node) });
  };
}

/** Where a matrix product of whole numbers has its operands; `a` and `b` list scales and zero points. */
interface ProductInputs {
  x: number;
  w: number;
  bias: number;
  zeroX: number;
  zeroW: number;
  a: readonly number[];
  b: readonly number[];
  lone: readonly number[];
}

function integerProduct(at: ProductInputs, product: typeof matMul): Rule {
  return (node, flow) => {
    const a = flow.axes(node, at.x);
    const b = flow.axes(node, at.w);
    if (!a || !b) return flow.barrier(node, unknownShape(node));
    if (!alone(node, flow, at.lone)) return;
    follow(node, flow, a, node.int('transA', 0) ? a.length - 1 : a.length - 2, at.a);
    follow(node, flow, b, node.int('transB', 0) ? b.length - 2 : b.length - 1, at.b);
    const gates = { gate: zeroed(node, flow, at.zeroX), weightGate: zeroed(node, flow, at.zeroW) };
    product(node, flow, { x: at.x, w: at.w, bias: at.bias, ...gates });
  };
}

/** MatMul and a bias per column, which float operands of com.microsoft.DynamicQuantizeMatMul and the like have. */
const biasedMatMul: typeof matMul = (node, flow, at) => {
  matMul(node, flow, at);
  const out = node.outputs[0] && flow.axesOf(node.outputs[0]);
  const bias = flow.axes(node, at!.bias)?.[0];
  if (out && bias !== undefined) flow.unite(out[out.length - 1], bias);
};

/** The left operand is float, and quantised with its own range, which always holds 0: a closed unit counts as 0. */
const dynamicMatMul: Rule = (node, flow) => {
  const b = flow.axes(node, 1);
  if (!b) return flow.barrier(node, unknownShape(node));
  follow(node, flow, b, b.length - 1, [2, 3]);
  biasedMatMul(node, flow, { x: 0, w: 1, bias: 4 });
};

/** Scale and zero point come from the least and the greatest of all units and 0: closed ones count as 0. */
const dynamicQuantize: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  if (!x) return flow.barrier(node, unknownShape(node));
  x.forEach((_, i) => flow.contract(node, 0, i));
  flow.setAxes(node, 0, x);
  flow.setAxes(node, 1, []);
  flow.setAxes(node, 2, []);
};

/** QuantizeLinear and DequantizeLinear with one scale, one per position of an axis, or one per block along an axis. */
const quantize: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  const scale = flow.axes(node, 1);
  if (!x || !scale) return flow.barrier(node, unknownShape(node));
  if (scale.length > 1) return blockDequantise(node, flow);
  const out = [...x];
  if (scale.length === 1 && node.inputs[1]?.type?.shape?.[0] !== 1) {
    const axis = axisIndex(node.int('axis', 1), x.length);
    if (axis >= out.length) return flow.barrier(node, `feeds ${describe(node)}, whose scales fit no axis`);
    for (let i = 1; i < node.inputs.length; i++) {
      const p = flow.axes(node, i);
      if (p?.length === 1) out[axis] = flow.unite(out[axis], p[0]);
    }
  }
  flow.setAxes(node, 0, out);
};

/** Operands that broadcast, each with a scale and a zero point of its own. */
function quantisedElementwise(operands: readonly number[], lone: readonly number[]): Rule {
  return (node, flow) => {
    if (operands.some((i) => !flow.axes(node, i))) return flow.barrier(node, unknownShape(node));
    if (alone(node, flow, lone)) flow.setAxes(node, 0, broadcastAxes(flow, node, [...operands]));
  };
}

/** One operand in, the same axes out; scales and zero points are lone numbers. */
const quantisedUnary: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  if (!x) return flow.barrier(node, unknownShape(node));
  if (alone(node, flow, [1, 2, 3, 4])) flow.setAxes(node, 0, x);
};

/** A closed unit would have to be −∞, which whole numbers are not: the units along the axis stay. */
const quantisedSoftmax: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  if (!x || !alone(node, flow, [1, 2, 3, 4])) return x ? undefined : flow.barrier(node, unknownShape(node));
  const opset = node.int('opset', 13);
  const axis = axisIndex(node.int('axis', opset < 13 ? 1 : -1), x.length);
  x.forEach((a, i) => {
    if (opset < 13 ? i >= axis : i === axis) flow.freeze(a, `shares a softmax of whole numbers in ${describe(node)}`);
  });
  flow.setAxes(node, 0, x);
};

const quantisedMean: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  if (!x || !alone(node, flow, [1, 2, 3, 4])) return x ? undefined : flow.barrier(node, unknownShape(node));
  const axes = (node.ints('axes') ?? x.map((_, i) => i)).map((a) => axisIndex(a, x.length));
  axes.forEach((i) => flow.freeze(x[i], `is averaged as whole numbers by ${describe(node)}`));
  const kept: Axis[] = node.int('keepdims', 1) ? ['has one position'] : [];
  flow.setAxes(
    node,
    0,
    x.flatMap((a, i) => (axes.includes(i) ? kept : [a])),
  );
};

/** Pools carry batch and channels, wherever these lie, and mix neighbours. */
export function layoutPool(node: Node, flow: Flow, channelsLast: boolean): void {
  const x = flow.axes(node, 0);
  if (!x || x.length < 3) return flow.barrier(node, unknownShape(node));
  const channel = channelsLast ? x.length - 1 : 1;
  const out = x.map((a, i): Axis => {
    if (i === 0 || i === channel) return a;
    flow.freeze(a, `${describe(node)} mixes neighbouring positions`);
    return 'is a spatial axis';
  });
  flow.setAxes(node, 0, out);
}

const quantisedPool: Rule = (node, flow) => {
  if (alone(node, flow, [1, 2, 3, 4])) layoutPool(node, flow, isLast(node));
};

/** Inputs are the scale and the zero point of the result, then a tensor, its scale and zero point for each part. */
const quantisedConcat: Rule = (node, flow) => {
  const parts = node.inputs.flatMap((_, i) => (i >= 2 && i % 3 === 2 ? [i] : []));
  const lone = node.inputs.flatMap((_, i) => (parts.includes(i) ? [] : [i]));
  if (alone(node, flow, lone)) concat(node, flow, parts);
};

/** QAttention contracts the features of its input; what lies inside, heads of whole numbers, stays. */
const quantisedAttention: Rule = (node, flow) => {
  const [x, w] = [flow.axes(node, 0), flow.axes(node, 1)];
  if (x?.length !== 3 || w?.length !== 2) return flow.barrier(node, unknownShape(node));
  flow.unite(x[2], w[0]);
  flow.contract(node, 0, 2, zeroed(node, flow, 6));
  wallExcept(node, flow, `belongs to heads of whole numbers in ${describe(node)}`, [x[2], w[0]]);
};

/** A recurrent layer contracts the features of X with W, which are quantised as in a dynamic product; its states stay. */
const dynamicLstm: Rule = (node, flow) => {
  const [x, w] = [flow.axes(node, 0), flow.axes(node, 1)];
  if (x?.length !== 3 || w?.length !== 3) return flow.barrier(node, unknownShape(node));
  flow.unite(x[2], w[1]);
  flow.contract(node, 0, 2);
  wallExcept(node, flow, `belongs to the quantised states of ${describe(node)}`, [x[2], w[1]]);
};

/** A wall for all axes but these. */
function wallExcept(node: Node, flow: Flow, reason: string, free: readonly Axis[]): void {
  node.inputs.forEach((_, i) => flow.axes(node, i)?.forEach((a) => !free.includes(a) && flow.freeze(a, reason)));
  node.outputs.forEach((v, i) => {
    const shape = v?.type?.shape;
    if (shape)
      flow.setAxes(
        node,
        i,
        shape.map(() => `comes from ${describe(node)}`),
      );
  });
}

const QLINEAR_PRODUCT = { x: 0, w: 3, zeroX: 2, zeroW: 5, a: [1, 2], b: [4, 5] };
const qLinearConv = integerConv({ x: 0, w: 3, bias: 8, zeroPoint: 2, perFilter: [4, 5], lone: [1, 2, 6, 7] });
const MS = 'com.microsoft.';

export const quantisedRules: Rules = {
  ...same(quantize, `QuantizeLinear DequantizeLinear ${MS}QuantizeLinear ${MS}DequantizeLinear`),
  ...same(dynamicQuantize, `DynamicQuantizeLinear ${MS}DynamicQuantizeLinear`),
  ...same(qLinearConv, `QLinearConv ${MS}QLinearConv`),
  ConvInteger: integerConv({ x: 0, w: 1, bias: 4, zeroPoint: 2, perFilter: [3], lone: [2] }),
  QLinearMatMul: integerProduct({ ...QLINEAR_PRODUCT, bias: 8, lone: [6, 7] }, matMul),
  ...same(
    integerProduct({ x: 0, w: 1, bias: 4, zeroX: 2, zeroW: 3, a: [2], b: [3], lone: [] }, matMul),
    `MatMulInteger ${MS}MatMulInteger16`,
  ),
  [`${MS}MatMulIntegerToFloat`]: integerProduct(
    { x: 0, w: 1, bias: 6, zeroX: 4, zeroW: 5, a: [2, 4], b: [3, 5], lone: [] },
    biasedMatMul,
  ),
  [`${MS}QGemm`]: integerProduct({ ...QLINEAR_PRODUCT, bias: 6, lone: [7, 8] }, gemm),
  [`${MS}DynamicQuantizeMatMul`]: dynamicMatMul,
  [`${MS}MatMulNBits`]: matMulNBits,
  ...same(matMulBnb4, `${MS}MatMulBnb4 ${MS}MatMulFpQ4`),
  [`${MS}GatherBlockQuantized`]: gatherBlocks,
  ...same(quantisedElementwise([0, 3], [1, 2, 4, 5, 6, 7]), `${MS}QLinearAdd ${MS}QLinearMul`),
  [`${MS}QLinearWhere`]: quantisedElementwise([0, 1, 4], [2, 3, 5, 6, 7, 8]),
  ...same(quantisedUnary, `${MS}QLinearSigmoid ${MS}QLinearLeakyRelu`),
  [`${MS}QLinearSoftmax`]: quantisedSoftmax,
  [`${MS}QLinearReduceMean`]: quantisedMean,
  ...same(quantisedPool, `${MS}QLinearAveragePool ${MS}QLinearGlobalAveragePool`),
  [`${MS}QLinearConcat`]: quantisedConcat,
  [`${MS}QAttention`]: quantisedAttention,
  [`${MS}DynamicQuantizeLSTM`]: dynamicLstm,
};
