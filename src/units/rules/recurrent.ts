import { constantTensor } from '../../graph/edit.ts';
import type { Node, Value } from '../../graph/ir.ts';
import { isFloatType } from '../../onnx/data-type.ts';
import { Tensor } from '../../onnx/tensor.ts';
import { describe, type Axis, type Flow } from '../flow.ts';
import type { Rules } from './rule.ts';

/** Gates of a cell: so many runs of hidden units lie one after the other in W, R and (twice) B. */
const GATES: Record<string, number> = { LSTM: 4, GRU: 3, RNN: 1 };
const PEEPHOLES = 3;

/** Constants with more elements than this are weights, which the analysis does not read. */
const STATE_ELEMENTS = 1 << 16;

/**
 * LSTM, GRU and RNN. W is [directions, gates·hidden, input], R [directions, gates·hidden, hidden], B [directions,
 * 2·gates·hidden], P [directions, 3·hidden]; states and outputs end with the hidden axis. W contracts the features of X and,
 * with R, produces the hidden units; the recurrence contracts them inside the op, where R's last axis is gated. Both
 * directions lose the same units.
 */
function recurrent(node: Node, flow: Flow): void {
  const gates = GATES[node.opType];
  const x = flow.axes(node, 0);
  const w = flow.axes(node, 1);
  const r = flow.axes(node, 2);
  const [input, hidden] = [flow.shape(node.inputs[1])?.[2], flow.shape(node.inputs[2])?.[2]];
  if (x?.length !== 3 || w?.length !== 3 || r?.length !== 3 || typeof input !== 'number' || typeof hidden !== 'number')
    return flow.barrier(node, `feeds ${describe(node)}, whose shapes are not known`);
  for (const axis of [x[0], x[1], w[0], r[0], flow.axes(node, 4)?.[0]]) flow.freeze(axis, `feeds ${describe(node)}`);

  flow.unite(x[2], w[2]);
  flow.contract(node, 0, 2);

  const units = r[2];
  flow.unite(tiled(units, gates), w[1]);
  flow.unite(tiled(units, gates), r[1]);
  uniteWith(flow, node, 3, tiled(units, 2 * gates));
  uniteWith(flow, node, 7, tiled(units, PEEPHOLES));
  for (const state of [5, 6]) initialState(flow, node, state, units);
  flow.produce(node, 1, 1);
  flow.produce(node, 2, 1);
  flow.contract(node, 2, 2);
  flow.macs(node, [w[1], w[2]], input / (input + hidden));
  flow.macs(node, [r[1], units], hidden / (input + hidden));

  setOutputs(node, flow, units);
  if (units instanceof Int32Array)
    flow.rewrite(node, (copy, kept) => {
      if (kept.count(units) < hidden) copy.setInt('hidden_size', kept.count(units));
    });
}

/** The axis, `times` times over. */
function tiled(axis: Axis, times: number): Axis {
  if (!(axis instanceof Int32Array) || times === 1) return axis;
  const labels = new Int32Array(axis.length * times);
  for (let i = 0; i < times; i++) labels.set(axis, i * axis.length);
  return labels;
}

/** Unites the last axis of an operand, where there is one; directions and samples stay. */
function uniteWith(flow: Flow, node: Node, input: number, axis: Axis): void {
  if (!node.inputs[input]) return;
  const axes = flow.axes(node, input) ?? ['is not tracked'];
  axes.slice(0, -1).forEach((other) => flow.freeze(other, `feeds ${describe(node)}`));
  flow.unite(axis, axes[axes.length - 1]);
}

/** The hidden axis is the last one of every output. */
function setOutputs(node: Node, flow: Flow, units: Axis): void {
  node.outputs.forEach((value, i) => {
    const rank = value?.type?.shape?.length;
    if (rank) flow.setAxes(node, i, [...Array<Axis>(rank - 1).fill(`comes from ${describe(node)}`), units]);
  });
}

/**
 * States to start from lose their units too. One that holds the same number everywhere, as exporters write it for a net
 * that starts from nothing, fits any number of units: zeros are left out, which the ops take for zeros; others are cut
 * where they are read. So layers that share such a state stay apart.
 */
function initialState(flow: Flow, node: Node, input: number, units: Axis): void {
  const value = node.inputs[input];
  if (!value) return;
  const number = fillOf(value);
  if (number === undefined) return uniteWith(flow, node, input, units);
  if (!(units instanceof Int32Array)) return;
  flow.rewrite(node, (copy, kept) => {
    const count = kept.count(units);
    if (count === units.length) return;
    copy.setInput(input, number === 0 ? null : cutState(copy, copy.inputs[input]!, count, flow.opset));
    let length = copy.inputs.length;
    while (!copy.inputs[length - 1]) length--;
    copy.truncateInputs(length);
  });
}

/** The first `count` positions along the last axis of a state, read before `reader`. */
function cutState(reader: Node, state: Value, count: number, opset: number): Value {
  const { graph } = reader;
  const stem = `${state.name}_cut`;
  const ints = (n: number) => graph.addInitializer(stem, Tensor.fromInt64('', [1], [n]));
  const modern = opset >= 10;
  const inputs = modern ? [state, ints(0), ints(count), ints(2)] : [state];
  const slice = graph.addNode('Slice', inputs, [stem], { before: reader });
  if (!modern) slice.setInts('starts', [0]).setInts('ends', [count]).setInts('axes', [2]);
  return slice.outputs[0]!;
}

/** Ops that give nothing but elements of their first input. */
const MOVERS = new Set(
  'Expand Identity Reshape Slice Squeeze Unsqueeze Transpose Tile Gather Split Flatten Cast CastLike'.split(' '),
);

/** The number that all elements of a floating-point value are known to be, whatever its shape. */
function fillOf(value: Value): number | undefined {
  const constant = value.isGraphInput ? undefined : constantTensor(value);
  if (constant) return fillOfTensor(constant);
  const node = value.producer;
  if (node?.op === 'ConstantOfShape') {
    const fill = node.attributes.get('value');
    return fill?.kind === 'tensor' ? fillOfTensor(fill.value) : 0;
  }
  if (node?.op === 'Concat') {
    const fills = node.inputs.map((v) => (v ? fillOf(v) : undefined));
    return fills.every((f) => f === fills[0]) ? fills[0] : undefined;
  }
  return node && node.inputs[0] && MOVERS.has(node.op) ? fillOf(node.inputs[0]) : undefined;
}

function fillOfTensor(tensor: Tensor): number | undefined {
  if (tensor.isExternal || tensor.elementCount === 0 || tensor.elementCount > STATE_ELEMENTS) return undefined;
  if (!isFloatType(tensor.dataType)) return undefined;
  const numbers = tensor.toNumbers();
  return numbers.every((x) => x === numbers[0]) ? numbers[0] : undefined;
}

/**
 * com.microsoft.DynamicQuantizeLSTM. W is [directions, input, 4·hidden]: it contracts the features of X. The hidden state is
 * quantised inside, over the range of all units, so that these stay.
 */
function quantized(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  const w = flow.axes(node, 1);
  if (x?.length !== 3 || w?.length !== 3)
    return flow.barrier(node, `feeds ${describe(node)}, whose shapes are not known`);
  flow.unite(x[2], w[1]);
  flow.contract(node, 0, 2);
  const reason = `belongs to the hidden state of ${describe(node)}, which is quantised over all units together`;
  node.inputs.forEach((_, i) =>
    flow.axes(node, i)?.forEach((axis, k) => {
      if (!(i === 0 && k === 2) && !(i === 1 && k === 1)) flow.freeze(axis, reason);
    }),
  );
  flow.produce(node, 1, 2);
  setOutputs(node, flow, reason);
}

export const recurring: Rules = {
  LSTM: recurrent,
  GRU: recurrent,
  RNN: recurrent,
  'com.microsoft.DynamicQuantizeLSTM': quantized,
};
