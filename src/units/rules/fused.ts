import type { Node } from '../../graph/ir.ts';
import { describe, type Axis, type Flow } from '../flow.ts';
import { broadcastAxes, conv, convTranspose, gemm, matMul, type Operands } from './contracting.ts';
import { layoutPool } from './quantised.ts';
import { axisIndex, same, type Rule, type Rules } from './rule.ts';

/** What optimised files hold in place of several ops: their parts' rules, one after the other. */

const unknownShape = (node: Node) => `feeds ${describe(node)}, whose shape is not known`;

/** Unites the axes of the first output with those of an operand that is added to it. */
function addTo(node: Node, flow: Flow, input: number): void {
  const out = node.outputs[0] && flow.axesOf(node.outputs[0]);
  const added = flow.axes(node, input);
  const shape = flow.shape(node.inputs[input]);
  if (!node.inputs[input]) return;
  if (!out || !added || !shape || added.length > out.length) return flow.barrier(node, unknownShape(node));
  added.forEach((a, i) => shape[i] !== 1 && flow.unite(out[out.length - added.length + i], a));
}

/** A convolution, the sum with another tensor of its output's shape, an activation. */
function fusedConv(channelsLast: boolean): Rule {
  return (node, flow) => {
    conv(node, flow, { x: 0, w: 1, bias: 2, channelsLast });
    addTo(node, flow, 3);
  };
}

/** MatMul with transposes of the last two axes, a factor, and perhaps a bias per column and an activation. */
function fusedMatMul(bias?: number): Rule {
  return (node, flow) => {
    if (node.int('transBatchA', 0) || node.int('transBatchB', 0))
      return flow.barrier(node, `is moved among the batches of ${describe(node)}`);
    matMul(node, flow);
    if (bias !== undefined) addTo(node, flow, bias);
  };
}

const PADS: Operands = { x: 0, w: 1, bias: 3 };

/** Operands that broadcast. */
function elementwise(operands: readonly number[]): Rule {
  return (node, flow) => {
    const present = operands.filter((i) => node.inputs[i]);
    if (present.some((i) => !flow.axes(node, i))) return flow.barrier(node, unknownShape(node));
    const out = broadcastAxes(flow, node, present);
    node.outputs.forEach((_, i) => flow.setAxes(node, i, out));
  };
}

/** The first half times gelu of the second: position i goes with position i of the other half. */
const splitGelu: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  const bias = flow.axes(node, 1)?.[0];
  if (!x || bias === undefined) return flow.barrier(node, unknownShape(node));
  const last = flow.unite(x[x.length - 1], bias);
  let half: Axis = last;
  if (last instanceof Int32Array) {
    half = last.subarray(0, last.length / 2);
    flow.unite(half, last.subarray(last.length / 2));
  }
  flow.setAxes(node, 0, [...x.slice(0, -1), half]);
};

/** Softmax of a sum: what it works along stays, other axes go with the bias where that has them. */
const biasSoftmax: Rule = (node, flow) => {
  if (!flow.axes(node, 0) || !flow.axes(node, 1)) return flow.barrier(node, unknownShape(node));
  const out = broadcastAxes(flow, node, [0, 1]);
  const axis = axisIndex(node.int('axis', 1), out.length);
  out.slice(axis).forEach((a) => flow.freeze(a, `shares a softmax in ${describe(node)}`));
  flow.setAxes(node, 0, out);
};

/** Ops that are left whole, and why. */
const wall =
  (reason: (node: Node) => string): Rule =>
  (node, flow) =>
    flow.barrier(node, reason(node));

const MS = 'com.microsoft.';
const NHWC = 'com.ms.internal.nhwc.';
const names = (domain: string, ops: string) =>
  ops
    .split(/\s+/)
    .map((op) => domain + op)
    .join(' ');

export const fused: Rules = {
  [`${MS}FusedConv`]: fusedConv(false),
  ...same(fusedConv(true), `${MS}NhwcConv ${MS}NhwcFusedConv ${NHWC}Conv`),
  ...same(
    (node, flow) => layoutPool(node, flow, true),
    `${MS}NhwcMaxPool ${names(NHWC, 'MaxPool AveragePool GlobalAveragePool GlobalMaxPool')}`,
  ),
  [`${MS}ConvTransposeWithDynamicPads`]: (node, flow) => convTranspose(node, flow, PADS),
  [`${MS}FusedGemm`]: (node, flow) => gemm(node, flow),
  ...same(fusedMatMul(), names(MS, 'FusedMatMul TransposeMatMul FusedMatMulActivation')),
  [`${MS}GemmFastGelu`]: fusedMatMul(2),
  ...same(elementwise([0, 1, 2]), names(MS, 'BiasAdd BiasDropout GatedAdd')),
  [`${MS}BiasSplitGelu`]: splitGelu,
  [`${MS}BiasSoftmax`]: biasSoftmax,
  ...same(
    wall((node) => `is laid out in blocks of channels by ${describe(node)}`),
    names(
      'com.microsoft.nchwc.',
      'Conv MaxPool AveragePool GlobalMaxPool GlobalAveragePool Upsample ReorderInput ReorderOutput',
    ),
  ),
  ...same(
    wall((node) => `is transformed to or from frequencies by ${describe(node)}`),
    `${MS}Rfft ${MS}Irfft`,
  ),
  ...same(
    wall((node) => `makes up the positions of heads in ${describe(node)}`),
    `${MS}GatedRelativePositionBias ${MS}RelativePositionBias`,
  ),
};
