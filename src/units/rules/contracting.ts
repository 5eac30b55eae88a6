import { isConstantOnly } from '../../graph/edit.ts';
import type { Node, Value } from '../../graph/ir.ts';
import { describe, type Axis, type Flow } from '../flow.ts';
import { sliceBlocks } from '../slicing.ts';
import type { Rules } from './rule.ts';

const SPATIAL = 'is a spatial axis';

/** Spatial axes of a convolution or a pool are mixed with their neighbours: nothing there can go. */
export function fixSpatial(node: Node, flow: Flow, axes: Axis[]): void {
  for (const axis of axes.slice(2)) flow.freeze(axis, `${describe(node)} mixes neighbouring positions`);
}

function outputAxes(node: Node, batch: Axis, channels: Axis): Axis[] | undefined {
  const rank = node.outputs[0]?.type?.shape?.length ?? node.inputs[0]?.type?.shape?.length;
  if (rank === undefined) return undefined;
  return [batch, channels, ...Array<string>(rank - 2).fill(SPATIAL)];
}

/** Axes of a convolution's input and weight, and the first two sizes of the weight; a wall where they are not known. */
function convolved(node: Node, flow: Flow): { x: Axis[]; w: Axis[]; weight: [number, number] } | undefined {
  const x = flow.axes(node, 0);
  const w = flow.axes(node, 1);
  const [first, second] = flow.shape(node.inputs[1]) ?? [];
  if (!x || !w || typeof first !== 'number' || typeof second !== 'number' || x.length < 3) {
    flow.barrier(node, `feeds ${describe(node)}, whose shapes are not known`);
    return undefined;
  }
  return { x, w, weight: [first, second] };
}

/** Sets the output of a convolution: batch, channels (which go with the bias) and spatial axes. */
function setChannels(node: Node, flow: Flow, batch: Axis, channels: Axis): void {
  const out = node.inputs[2] ? flow.unite(channels, flow.axes(node, 2)?.[0] ?? 'is not tracked') : channels;
  const axes = outputAxes(node, batch, out);
  if (axes) flow.setAxes(node, 0, axes);
}

/**
 * Conv. W is [O, I/groups, k…]. Plain: contracts X's channels with W's axis 1, W's axis 0 produces. Depthwise
 * (groups = I) carries. Grouped: contracts block by block; each block must keep equally many channels.
 */
function conv(node: Node, flow: Flow): void {
  const operands = convolved(node, flow);
  if (!operands) return;
  const { x, w, weight } = operands;
  const groups = node.int('group', 1);
  const [outputs, perGroup] = [weight[0], weight[1]];
  const inputs = perGroup * groups;
  fixSpatial(node, flow, x);
  fixSpatial(node, flow, w);
  let out = w[0];
  if (groups === 1) {
    flow.unite(x[1], w[1]);
    flow.contract(node, 0, 1);
    flow.produce(node, 1, 0);
    flow.macs(node, [w[0], w[1]]);
  } else if (perGroup === 1) {
    out = depthwise(node, flow, x[1], w[0], inputs, outputs);
  } else {
    const inLabels = flow.labels(x[1], inputs);
    const outLabels = flow.labels(w[0], outputs);
    flow.freeze(w[1], 'is cut block by block');
    const stored = node.inputs[1]!;
    if (!stored.initializer || stored.isGraphInput) {
      const reason = `passes ${describe(node)}, a grouped convolution whose weights are computed`;
      [inLabels, outLabels].forEach((labels) => flow.freeze(labels, reason));
    }
    flow.blocks.push({ node, labels: inLabels, blocks: groups }, { node, labels: outLabels, blocks: groups });
    flow.contract(node, 0, 1);
    flow.produce(node, 1, 0);
    flow.macs(node, [outLabels, inLabels]);
    flow.weightAxes.set(node.inputs[1]!, [outLabels, inLabels]);
    flow.rewrite(node, (copy, kept) => sliceBlocks(copy, 1, groups, kept.positions(inLabels), inputs));
  }
  setChannels(node, flow, x[0], out);
}

/** Each input channel makes `multiplier` output channels of its own: they go together. */
function depthwise(node: Node, flow: Flow, x: Axis, w: Axis, inputs: number, outputs: number): Axis {
  const multiplier = outputs / inputs;
  const inLabels = flow.labels(x, inputs);
  const expanded = new Int32Array(outputs);
  for (let j = 0; j < outputs; j++) expanded[j] = inLabels[Math.floor(j / multiplier)];
  flow.unite(expanded, w);
  flow.macs(node, [expanded]);
  flow.rewrite(node, (copy, kept) => {
    const group = kept.count(inLabels);
    if (group !== inputs) copy.setInt('group', group);
  });
  return expanded;
}

/** ConvTranspose. W is [I, O/groups, k…]. */
function convTranspose(node: Node, flow: Flow): void {
  const operands = convolved(node, flow);
  if (!operands) return;
  const { x, w, weight } = operands;
  const groups = node.int('group', 1);
  if (groups !== 1 && (weight[1] !== 1 || weight[0] !== groups))
    return flow.barrier(node, `feeds ${describe(node)}, a grouped transposed convolution`);
  fixSpatial(node, flow, x);
  fixSpatial(node, flow, w);
  let out: Axis;
  if (groups === 1) {
    flow.unite(x[1], w[0]);
    flow.contract(node, 0, 1);
    flow.produce(node, 1, 1);
    flow.macs(node, [w[0], w[1]]);
    out = w[1];
  } else {
    out = depthwise(node, flow, x[1], w[0], weight[0], weight[0]);
  }
  setChannels(node, flow, x[0], out);
}

/** Gemm: A[M,K]·B[K,N] + C with optional transposes. */
function gemm(node: Node, flow: Flow): void {
  const a = flow.axes(node, 0);
  const b = flow.axes(node, 1);
  if (a?.length !== 2 || b?.length !== 2)
    return flow.barrier(node, `feeds ${describe(node)}, whose shapes are not known`);
  const kA = node.int('transA', 0) ? 0 : 1;
  const kB = node.int('transB', 0) ? 1 : 0;
  const rows = a[1 - kA];
  let columns = b[1 - kB];
  flow.unite(a[kA], b[kB]);
  contractOne(node, flow, kA, kB);
  produceWeights(node, flow, 1 - kA, 1 - kB);
  const c = flow.axes(node, 2);
  const cShape = node.inputs[2]?.type?.shape;
  if (c && cShape && c.length > 0) {
    if (cShape[c.length - 1] !== 1) columns = flow.unite(columns, c[c.length - 1]);
    if (c.length === 2 && cShape[0] !== 1) flow.unite(rows, c[0]);
  }
  flow.macs(node, [rows, a[kA] instanceof Int32Array ? a[kA] : b[kB], columns]);
  flow.setAxes(node, 0, [rows, columns]);
}

/** MatMul over the last two axes; leading axes broadcast. */
function matMul(node: Node, flow: Flow): void {
  const a = flow.axes(node, 0);
  const b = flow.axes(node, 1);
  if (!a || !b || a.length < 2 || b.length < 2) {
    return flow.barrier(node, `feeds ${describe(node)}, whose shapes are not known`);
  }
  const kA = a.length - 1;
  const kB = b.length - 2;
  flow.unite(a[kA], b[kB]);
  contractOne(node, flow, kA, kB);
  produceWeights(node, flow, a.length - 2, b.length - 1);
  const lead = broadcastAxes(flow, node, [0, 1], 2);
  const [rows, columns] = [a[a.length - 2], b[b.length - 1]];
  flow.macs(node, [...lead, rows, a[kA] instanceof Int32Array ? a[kA] : b[kB], columns]);
  flow.setAxes(node, 0, [...lead, rows, columns]);
}

/** A product that contracts both operands is gated on one: the one that is not a weight. */
function contractOne(node: Node, flow: Flow, kA: number, kB: number): void {
  if (isWeight(node, 0, flow) && !isWeight(node, 1, flow)) flow.contract(node, 1, kB);
  else flow.contract(node, 0, kA);
}

function produceWeights(node: Node, flow: Flow, axisA: number, axisB: number): void {
  if (isWeight(node, 1, flow)) flow.produce(node, 1, axisB);
  else if (isWeight(node, 0, flow)) flow.produce(node, 0, axisA);
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
  const operands = inputs.map((i) => ({
    axes: flow.axes(node, i)?.slice(0, -skip || undefined),
    shape: flow.shape(node.inputs[i]),
  }));
  const rank = Math.max(...operands.map((o) => o.axes?.length ?? 0));
  const result: Axis[] = [];
  for (let fromRight = rank; fromRight >= 1; fromRight--) {
    let out: Axis | undefined;
    let single: Axis = 'has one position';
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

/** Recurrent nets contract the features of X with W; the state stays as it is. */
function recurrent(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  const w = flow.axes(node, 1);
  const reason = `feeds ${describe(node)}`;
  if (x?.length === 3 && w?.length === 3) {
    flow.unite(x[2], w[2]);
    flow.contract(node, 0, 2);
    flow.freeze(x[0], reason);
    flow.freeze(x[1], reason);
    if (x[2] instanceof Int32Array) flow.macs(node, []);
  } else {
    for (const axis of x ?? []) flow.freeze(axis, reason);
  }
  for (let i = 1; i < node.inputs.length; i++) {
    flow
      .axes(node, i)
      ?.forEach((axis, k) => (i === 1 && k === 2 && w?.length === 3 ? undefined : flow.freeze(axis, reason)));
  }
  node.outputs.forEach((value, i) => {
    const shape = value?.type?.shape;
    if (shape)
      flow.setAxes(
        node,
        i,
        shape.map(() => `comes from ${describe(node)}`),
      );
  });
}

export const contracting: Rules = {
  Conv: conv,
  ConvTranspose: convTranspose,
  Gemm: gemm,
  MatMul: matMul,
  LSTM: recurrent,
  GRU: recurrent,
  RNN: recurrent,
};
