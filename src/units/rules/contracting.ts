import { isConstantOnly } from '../../graph/edit.ts';
import type { Node, Value } from '../../graph/ir.ts';
import { describe, Tiled, type Axis, type Flow, type WideAxis } from '../flow.ts';
import type { Gate } from '../gates/gate.ts';
import { depthwise, groupedConv, groupedTranspose } from './grouped.ts';
import type { Rules } from './rule.ts';

const SPATIAL = 'is a spatial axis';

/** Which inputs of a convolution or matrix product are what: quantised and fused ops have others between them. */
export interface Operands {
  /** The data, or the left factor. */
  x: number;
  /** The weight, or the right factor. */
  w: number;
  bias: number;
  /** How the op is gated on its data and on its weight, where multiplying is not the way. */
  gate?: Gate;
  weightGate?: Gate;
  /** Data are [batch, space…, channels]; the weight is laid out as ever. */
  channelsLast?: boolean;
}

const PLAIN: Operands = { x: 0, w: 1, bias: 2 };

/** Spatial axes of a convolution or a pool are mixed with their neighbours: nothing there can go. */
export function fixSpatial(node: Node, flow: Flow, axes: Axis[]): void {
  for (const axis of axes.slice(2)) flow.freeze(axis, `${describe(node)} mixes neighbouring positions`);
}

function outputAxes(node: Node, at: Operands, batch: Axis, channels: Axis): Axis[] | undefined {
  const rank = node.outputs[0]?.type?.shape?.length ?? node.inputs[at.x]?.type?.shape?.length;
  if (rank === undefined) return undefined;
  const space = Array<string>(rank - 2).fill(SPATIAL);
  return at.channelsLast ? [batch, ...space, channels] : [batch, channels, ...space];
}

/** Axes of a convolution's data (channels first) and weight, and the first two sizes of the weight; a wall where they are not known. */
function convolved(
  node: Node,
  flow: Flow,
  at: Operands,
): { x: Axis[]; w: Axis[]; weight: [number, number]; channel: number } | undefined {
  const x = flow.axes(node, at.x);
  if (node.int('group', 1) === 1)
    flow.adopt(node, at.w, node.opType.includes('Transpose') ? 0 : 1, x?.[at.channelsLast ? x.length - 1 : 1]);
  const w = flow.axes(node, at.w);
  const [first, second] = flow.shape(node.inputs[at.w]) ?? [];
  if (!x || !w || typeof first !== 'number' || typeof second !== 'number' || x.length < 3) {
    flow.barrier(node, `feeds ${describe(node)}, whose shapes are not known`);
    return undefined;
  }
  const channel = at.channelsLast ? x.length - 1 : 1;
  const ordered = at.channelsLast ? [x[0], x[channel], ...x.slice(1, -1)] : x;
  return { x: ordered, w, weight: [first, second], channel };
}

/** Sets the output of a convolution: batch, channels (which go with the bias) and spatial axes. */
function setChannels(node: Node, flow: Flow, at: Operands, batch: Axis, channels: Axis): void {
  if (batch instanceof Int32Array) flow.macTerms.get(node)?.forEach((term) => term.axes.push(batch));
  const bias = node.inputs[at.bias];
  flow.adopt(node, at.bias, 0, channels);
  const out = bias ? flow.unite(channels, flow.axes(node, at.bias)?.[0] ?? 'is not tracked') : channels;
  const axes = outputAxes(node, at, batch, out);
  if (axes) flow.setAxes(node, 0, axes);
}

/**
 * Conv. W is [O, I/groups, k…]. Plain: contracts X's channels with W's axis 1, W's axis 0 produces. Depthwise
 * (groups = I) carries. Grouped: contracts block by block; each block must keep equally many channels.
 */
export function conv(node: Node, flow: Flow, at: Operands = PLAIN): void {
  const operands = convolved(node, flow, at);
  if (!operands) return;
  const { x, w, weight, channel } = operands;
  const groups = node.int('group', 1);
  const [outputs, perGroup] = [weight[0], weight[1]];
  const inputs = perGroup * groups;
  fixSpatial(node, flow, x);
  fixSpatial(node, flow, w);
  let out = w[0];
  if (groups === 1) {
    flow.unite(x[1], w[1]);
    flow.contract(node, at.x, channel, at.gate);
    flow.produce(node, at.w, 0);
    flow.macs(node, [w[0], w[1]]);
  } else if (perGroup === 1) {
    out = depthwise(node, flow, x[1], w[0], inputs, outputs);
  } else {
    out = groupedConv(node, flow, { ...at, channel }, x[1], w, { groups, inputs, outputs });
  }
  setChannels(node, flow, at, x[0], out);
}

/** ConvTranspose. W is [I, O/groups, k…]. */
export function convTranspose(node: Node, flow: Flow, at: Operands = PLAIN): void {
  const operands = convolved(node, flow, at);
  if (!operands) return;
  const { x, w, weight } = operands;
  const groups = node.int('group', 1);
  fixSpatial(node, flow, x);
  fixSpatial(node, flow, w);
  let out: Axis;
  if (groups === 1) {
    flow.unite(x[1], w[0]);
    flow.contract(node, at.x, 1, at.gate);
    flow.produce(node, at.w, 1);
    flow.macs(node, [w[0], w[1]]);
    out = w[1];
  } else {
    const sizes = { groups, inputs: weight[0], outputs: weight[1] * groups };
    out = groupedTranspose(node, flow, { ...at, channel: 1 }, x[1], w, sizes);
  }
  setChannels(node, flow, at, x[0], out);
}

/** Gemm: A[M,K]·B[K,N] + C with optional transposes. */
export function gemm(node: Node, flow: Flow, at: Operands = PLAIN): void {
  const a = flow.axes(node, at.x);
  const kA = node.int('transA', 0) ? 0 : 1;
  const kB = node.int('transB', 0) ? 1 : 0;
  flow.adopt(node, at.w, kB, a?.[kA]);
  const b = flow.axes(node, at.w);
  if (a?.length !== 2 || b?.length !== 2)
    return flow.barrier(node, `feeds ${describe(node)}, whose shapes are not known`);
  const rows = a[1 - kA];
  let columns = b[1 - kB];
  flow.unite(a[kA], b[kB]);
  contractOne(node, flow, at, kA, kB);
  produceWeights(node, flow, at, 1 - kA, 1 - kB);
  flow.adopt(node, at.bias, (node.inputs[at.bias]?.type?.shape?.length ?? 0) - 1, columns);
  const c = flow.axes(node, at.bias);
  const cShape = node.inputs[at.bias]?.type?.shape;
  if (c && cShape && c.length > 0) {
    if (cShape[c.length - 1] !== 1) columns = flow.unite(columns, c[c.length - 1]);
    if (c.length === 2 && cShape[0] !== 1) flow.unite(rows, c[0]);
  }
  flow.macs(node, [rows, a[kA] instanceof Int32Array ? a[kA] : b[kB], columns]);
  flow.setAxes(node, 0, [rows, columns]);
}

/** MatMul over the last two axes, which fused ones may transpose; leading axes broadcast. */
export function matMul(node: Node, flow: Flow, at: Operands = PLAIN): void {
  const a = flow.wideAxes(node, at.x);
  const rank = node.inputs[at.w]?.initializer?.dims.length ?? 0;
  if (a && rank >= 2)
    flow.adopt(node, at.w, node.int('transB', 0) ? rank - 1 : rank - 2, a[a.length - (node.int('transA', 0) ? 2 : 1)]);
  const b = flow.wideAxes(node, at.w);
  if (!a || !b || a.length < 2 || b.length < 2) {
    return flow.barrier(node, `feeds ${describe(node)}, whose shapes are not known`);
  }
  const [rowA, kA] = node.int('transA', 0) ? [a.length - 1, a.length - 2] : [a.length - 2, a.length - 1];
  const [kB, columnB] = node.int('transB', 0) ? [b.length - 1, b.length - 2] : [b.length - 2, b.length - 1];
  flow.unite(a[kA], b[kB]);
  contractOne(node, flow, at, kA, kB);
  produceWeights(node, flow, at, rowA, columnB);
  const lead = broadcastWide(flow, node, [at.x, at.w], 2);
  const [rows, columns] = [a[rowA], b[columnB]];
  if (!isWeight(node, at.x, flow) && !isWeight(node, at.w, flow)) {
    // Products of two activations are those of an attention.
    lead.forEach((axis) => flow.role(axis, 'head'));
    [a[kA], rows, columns].forEach((axis) => flow.role(axis, 'head-dim'));
  }
  flow.macs(node, [...lead, rows, a[kA] instanceof Int32Array ? a[kA] : b[kB], columns]);
  flow.setAxes(node, 0, [...lead, rows, columns]);
}

/** A product that contracts both operands is gated on one: the one that is not a weight. */
function contractOne(node: Node, flow: Flow, at: Operands, kA: number, kB: number): void {
  if (isWeight(node, at.x, flow) && !isWeight(node, at.w, flow)) flow.contract(node, at.w, kB, at.weightGate);
  else flow.contract(node, at.x, kA, at.gate);
}

function produceWeights(node: Node, flow: Flow, at: Operands, axisA: number, axisB: number): void {
  if (isWeight(node, at.w, flow)) flow.produce(node, at.w, axisB);
  else if (isWeight(node, at.x, flow)) flow.produce(node, at.x, axisA);
}

/** Answers of one analysis, during which the graph does not change: else each would walk back to the model's inputs. */
const constants = new WeakMap<Flow, Map<Value, boolean>>();

/** True when the operand depends on constants alone. */
export function isWeight(node: Node, input: number, flow: Flow): boolean {
  const value = node.inputs[input];
  let known = constants.get(flow);
  if (!known) constants.set(flow, (known = new Map()));
  return !!value && isConstantOnly(value, known);
}

/** Axes of the broadcast of several operands (aligned right), leaving out the last `skip` axes of each. */
export function broadcastAxes(flow: Flow, node: Node, inputs: number[], skip = 0): Axis[] {
  // Reading the axes fixes those of rows × units.
  inputs.forEach((i) => flow.axes(node, i));
  return broadcastWide(flow, node, inputs, skip).map((a) =>
    a instanceof Tiled ? 'is merged with rows of unknown number' : a,
  );
}

/** Weights that broadcast against one computed operand take over its labels. */
function adoptBroadcast(flow: Flow, node: Node, inputs: number[]): void {
  const [computed, ...more] = inputs.filter((i) => node.inputs[i] && !node.inputs[i].initializer);
  if (computed === undefined || more.length > 0) return;
  const axes = flow.wideAxes(node, computed) ?? [];
  for (const i of inputs) {
    const dims = node.inputs[i]?.initializer?.dims ?? [];
    dims.forEach((_, k) => flow.adopt(node, i, k, axes[axes.length - dims.length + k]));
  }
}

/** The same, with axes of rows × units carried. */
export function broadcastWide(flow: Flow, node: Node, inputs: number[], skip = 0): WideAxis[] {
  adoptBroadcast(flow, node, inputs);
  const operands = inputs.map((i) => ({
    axes: flow.wideAxes(node, i)?.slice(0, -skip || undefined),
    shape: flow.shape(node.inputs[i]),
  }));
  const rank = Math.max(...operands.map((o) => o.axes?.length ?? 0));
  const result: WideAxis[] = [];
  for (let fromRight = rank; fromRight >= 1; fromRight--) {
    let out: WideAxis | undefined;
    let single: WideAxis = 'has one position';
    for (const { axes, shape } of operands) {
      if (!axes || !shape || axes.length < fromRight) continue;
      const axis = axes[axes.length - fromRight];
      if (shape[axes.length - fromRight] === 1) {
        single = axis;
        continue;
      }
      out = out === undefined ? axis : flow.unite(out, axis);
    }
    result.push(out ?? single);
  }
  return result;
}

export const contracting: Rules = {
  Conv: conv,
  ConvTranspose: convTranspose,
  Gemm: gemm,
  MatMul: matMul,
};
