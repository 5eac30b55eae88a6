import type { Node } from '../../graph/ir.ts';
import { describe, type Axis, type Flow } from '../flow.ts';
import type { Gate } from '../gates/gate.ts';
import * as gates from '../gates/normalisation.ts';
import { broadcastAxes } from './contracting.ts';
import { axisIndex, same, type Rule, type Rules } from './rule.ts';

const unknownShape = (node: Node) => `feeds ${describe(node)}, whose shape is not known`;

/** The units along some axes of input 0 are seen together. */
function contractTogether(node: Node, flow: Flow, axes: readonly number[], gate: Gate): void {
  const x = flow.axes(node, 0)!;
  for (const axis of axes) if (x[axis] instanceof Int32Array) flow.contract(node, 0, axis, gate);
}

/** A parameter loses what its axis loses; that of an axis without units stays whole. */
function along(flow: Flow, axis: Axis, parameter: Axis): Axis {
  const united = flow.unite(axis, parameter);
  return typeof axis === 'string' ? axis : united;
}

/** Parameters that broadcast to the operand (aligned right) lose what it loses; undefined when a shape is not known. */
function withParameters(node: Node, flow: Flow, x: readonly Axis[], inputs: readonly number[]): Axis[] | undefined {
  const out = [...x];
  for (const i of inputs) {
    if (!node.inputs[i]) continue;
    const rank = node.inputs[i].initializer?.dims.length ?? 0;
    for (let k = 0; k < rank; k++) flow.adopt(node, i, k, x[x.length - rank + k]);
    const axes = flow.axes(node, i);
    const shape = flow.shape(node.inputs[i]);
    if (!axes || !shape || axes.length > x.length) return undefined;
    axes.forEach((axis, k) => {
      const at = x.length - axes.length + k;
      if (shape[k] !== 1) out[at] = along(flow, out[at], axis);
    });
  }
  return out;
}

/** One parameter per channel: they go with it. */
function perChannel(node: Node, flow: Flow, channels: Axis, inputs: readonly number[]): Axis {
  return inputs.reduce((all, i) => {
    if (!node.inputs[i]) return all;
    return along(flow, all, flow.axes(node, i)?.[0] ?? `feeds ${describe(node)}, whose parameters are not known`);
  }, channels);
}

/** BatchNormalization: one scale, bias, mean and variance per channel. */
function batchNorm(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  if (!x || x.length < 2) return flow.barrier(node, unknownShape(node));
  // Opset 7 and 8 with spatial = 0 normalise each position of a sample alone: [C, H, W].
  for (let i = 1; i < 5; i++) if (node.inputs[i]?.initializer?.dims.length === 1) flow.adopt(node, i, 0, x[1]);
  if ([1, 2, 3, 4].some((i) => flow.axes(node, i)?.length !== 1))
    return flow.barrier(node, `feeds ${describe(node)}, whose parameters are not one per channel`);
  const channels = perChannel(node, flow, x[1], [1, 2, 3, 4]);
  flow.setAxes(node, 0, [x[0], channels, ...x.slice(2)]);
  node.outputs.forEach((value, i) => i > 0 && value && flow.setAxes(node, i, [channels]));
}

/**
 * InstanceNormalization normalises each channel alone over its positions: carried. Positions may carry units too: a
 * GroupNorm is often written as one over [N, groups, channels of a group · positions].
 */
function instanceNorm(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  if (!x || x.length < 3) return flow.barrier(node, unknownShape(node));
  const epsilon = node.float('epsilon', 1e-5);
  const positions = x.slice(2).map((_, i) => i + 2);
  contractTogether(node, flow, positions, gates.instanceNorm({ epsilon }));
  flow.setAxes(node, 0, [x[0], perChannel(node, flow, x[1], [1, 2]), ...x.slice(2)]);
}

/** Where the inputs and outputs of a layer normalisation are; it runs over all axes from `axis` on. */
interface LayerForm extends Omit<gates.LayerNorm, 'axis' | 'epsilon'> {
  epsilon?: number;
  /** The last axis, whatever `axis` says. */
  lastAxis?: boolean;
  /** Output that gives the operand and its addends summed. */
  sum?: number;
}

/** Normalisation over all axes from one on: scale and bias go with the units, so do operands that are added first. */
function layerNorm(form: LayerForm): Rule {
  return (node, flow) => {
    const addends = (form.addends ?? []).filter((i) => node.inputs[i]);
    const x = flow.axes(node, 0);
    const rank = x?.length ?? 0;
    const parameters = [form.scale, form.bias].filter((i) => i !== undefined);
    if (!x || addends.some((i) => (flow.axes(node, i)?.length ?? Infinity) > rank))
      return flow.barrier(node, unknownShape(node));
    const summed = addends.length ? broadcastAxes(flow, node, [0, ...addends]) : x;
    const out = withParameters(node, flow, summed, parameters);
    if (!out || out.length !== rank) return flow.barrier(node, `feeds ${describe(node)}, whose parameters do not fit`);
    const axis = form.lastAxis ? rank - 1 : axisIndex(node.int('axis', -1), rank);
    const epsilon = node.float('epsilon', form.epsilon ?? 1e-5);
    const axes = x.slice(axis).map((_, i) => axis + i);
    contractTogether(node, flow, axes, gates.layerNorm({ ...form, axis, epsilon }));
    const statistics = out.map((a, i): Axis => (i < axis ? a : 'has one position'));
    node.outputs.forEach((v, i) => {
      if (v?.type?.shape) flow.setAxes(node, i, i === 0 || i === form.sum ? out : statistics);
    });
  };
}

/** EmbedLayerNormalization: tables of words, positions and segments produce the units, their sum is normalised. */
function embedLayerNorm(node: Node, flow: Flow): void {
  const ids = flow.axes(node, 0);
  const tables = [2, 3, 4].filter((i) => node.inputs[i]);
  if (ids?.length !== 2 || tables.some((i) => flow.axes(node, i)?.length !== 2))
    return flow.barrier(node, unknownShape(node));
  const embedded = tables.map((i) => flow.axes(node, i)![1]).reduce((a, b) => flow.unite(a, b));
  const features = perChannel(node, flow, embedded, [5, 6]);
  for (const i of tables) flow.produce(node, i, 1);
  if (features instanceof Int32Array)
    flow.contract(node, 2, 1, gates.embedLayerNorm({ epsilon: node.float('epsilon', 1e-12) }));
  flow.setAxes(node, 0, [...ids, features]);
  if (node.outputs[1]) flow.setAxes(node, 1, [ids[0]]);
  flow.setAxes(node, 2, [...ids, features]);
}

/** Where a group normalisation has what. */
interface GroupForm {
  groups: (node: Node) => number;
  last: (node: Node) => boolean;
  perGroup: (node: Node, flow: Flow) => boolean;
  silu: (node: Node) => boolean;
  /** Name of the attribute that counts the groups. */
  attribute: string;
  addends?: number[];
}

/**
 * Normalisation over groups of channels and all positions: each group must keep equally many channels, and the number
 * of groups stays. A group of one channel is an instance normalisation, whose groups are as many as its channels.
 */
function groupNorm(form: GroupForm): Rule {
  return (node, flow) => {
    const x = flow.axes(node, 0);
    const axis = form.last(node) ? (x?.length ?? 0) - 1 : 1;
    const channels = flow.shape(node.inputs[0])?.[axis];
    const count = form.groups(node);
    const addends = (form.addends ?? []).filter((i) => node.inputs[i]);
    if (!x || x.length < 2 || typeof channels !== 'number' || addends.some((i) => !flow.axes(node, i)))
      return flow.barrier(node, unknownShape(node));
    const perGroup = form.perGroup(node, flow) && count !== channels;
    const out = [...x];
    for (const i of addends) addChannels(node, flow, i, axis, out);
    if (!perGroup) out[axis] = perChannel(node, flow, out[axis], [1, 2]);
    out.forEach((a, i) => {
      if (i !== 0 && i !== axis) flow.freeze(a, `is normalised together with its channels by ${describe(node)}`);
    });
    const labels = out[axis];
    if (labels instanceof Int32Array && count === channels) {
      flow.rewrite(node, (copy, kept) => copy.setInt(form.attribute, kept.count(labels)));
    } else if (labels instanceof Int32Array) {
      flow.blocks.push({ node, labels, blocks: count });
      const epsilon = node.float('epsilon', 1e-5);
      const [last, silu] = [form.last(node), form.silu(node)];
      const gate = { channels, groups: count, last, perGroup, silu, epsilon, addends };
      contractTogether(node, flow, [axis], gates.groupNorm(gate));
    }
    node.outputs.forEach((_, i) => flow.setAxes(node, i, out));
  };
}

/** Operand `input` is added to x: of its shape, or one value per sample and channel, or per channel. */
function addChannels(node: Node, flow: Flow, input: number, axis: number, out: Axis[]): void {
  const axes = flow.axes(node, input)!;
  const shape = flow.shape(node.inputs[input])!;
  const places = axes.length === out.length ? out.map((_, i) => i) : axes.length === 2 ? [0, axis] : [axis];
  axes.forEach((a, i) => {
    const at = places[places.length - axes.length + i];
    if (at === undefined) flow.freeze(a, `is added by ${describe(node)} in a form that is not understood`);
    else if (shape[i] !== 1) out[at] = flow.unite(out[at], a);
  });
}

/** MeanVarianceNormalization over given axes. */
function meanVariance(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  // Before opset 9 the attributes were other ones.
  if (!x || flow.opset < 9) return flow.barrier(node, unknownShape(node));
  const axes = [...new Set(node.ints('axes', [0, 2, 3]).map((a) => axisIndex(a, x.length)))].sort((a, b) => a - b);
  contractTogether(node, flow, axes, gates.meanVariance(axes));
  flow.setAxes(node, 0, x);
}

/** LpNormalization: each unit is divided by the length of all. */
function lpNorm(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  if (!x) return flow.barrier(node, unknownShape(node));
  const axis = axisIndex(node.int('axis', -1), x.length);
  flow.contract(node, 0, axis, gates.lpNorm(axis, node.int('p', 2)));
  flow.setAxes(node, 0, x);
}

/** LRN divides a channel by its neighbours, which would be other ones. */
function localResponse(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  if (!x) return flow.barrier(node, unknownShape(node));
  flow.freeze(
    x[1],
    `is normalised by ${describe(node)} over windows of channels, which would reach over other neighbours`,
  );
  flow.setAxes(node, 0, x);
}

const onnxGroups: GroupForm = {
  groups: (node) => node.int('num_groups', 1),
  last: () => false,
  // Opset 18 to 20 have one scale per group.
  perGroup: (_, flow) => flow.opset < 21,
  silu: () => false,
  attribute: 'num_groups',
};

const microsoftGroups: GroupForm = {
  groups: (node) => node.int('groups', 1),
  last: (node) => node.int('channels_last', 1) !== 0,
  perGroup: () => false,
  silu: (node) => node.int('activation', 0) === 1,
  attribute: 'groups',
};

const centred: LayerForm = { centre: true, scale: 1, bias: 2, mean: 1, inverse: 2 };
const rootMeanSquare: LayerForm = { centre: false, scale: 1, inverse: 1 };
const SKIP = { epsilon: 1e-12, lastAxis: true, inverse: 2, sum: 3 };

export const normalising: Rules = {
  ...same(layerNorm(centred), 'LayerNormalization com.microsoft.LayerNormalization'),
  ...same(
    layerNorm(rootMeanSquare),
    'RMSNormalization SimplifiedLayerNormalization com.microsoft.SimplifiedLayerNormalization',
  ),
  'com.microsoft.SkipLayerNormalization': layerNorm({
    ...SKIP,
    centre: true,
    scale: 2,
    bias: 3,
    mean: 1,
    addends: [1, 4],
  }),
  'com.microsoft.SkipSimplifiedLayerNormalization': layerNorm({ ...SKIP, centre: false, scale: 2, addends: [1, 3] }),
  'com.microsoft.EmbedLayerNormalization': embedLayerNorm,
  GroupNormalization: groupNorm(onnxGroups),
  'com.microsoft.GroupNorm': groupNorm(microsoftGroups),
  'com.microsoft.SkipGroupNorm': groupNorm({ ...microsoftGroups, addends: [3, 4] }),
  BatchNormalization: batchNorm,
  InstanceNormalization: instanceNorm,
  MeanVarianceNormalization: meanVariance,
  LpNormalization: lpNorm,
  LRN: localResponse,
};
