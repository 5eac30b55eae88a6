import type { Node, Value } from '../../graph/ir.ts';
import { bitsPerElement, dataTypeName } from '../../onnx/data-type.ts';
import { Tensor } from '../../onnx/tensor.ts';
import { describe, type Axis, type Flow } from '../flow.ts';
import type { Gate } from '../gates/gate.ts';
import { sliceBlocks } from '../slicing.ts';

/** Where a grouped convolution has its data and its weight, and which axis of the data are the channels. */
interface Place {
  x: number;
  w: number;
  channel: number;
  gate?: Gate;
}

/**
 * Grouped Conv, W [O, I/groups, k…]: each block of output channels contracts its own block of input channels, and every
 * block must keep equally many of both. Stored weights are cut block by block; what is computed in another way than
 * element by element is cut while running.
 * @param x channels of the data
 * @param w axes of the weight
 * @returns the output channels
 */
export function groupedConv(node: Node, flow: Flow, at: Place, x: Axis, w: readonly Axis[], sizes: Sizes): Axis {
  const { groups, inputs, outputs } = sizes;
  const inLabels = flow.labels(x, inputs);
  const outLabels = flow.labels(w[0], outputs);
  flow.freeze(w[1], 'is cut block by block');
  flow.blocks.push({ node, labels: inLabels, blocks: groups }, { node, labels: outLabels, blocks: groups });
  flow.contract(node, at.x, at.channel, at.gate);
  flow.produce(node, at.w, 0);
  flow.macs(node, [outLabels, inLabels]);
  const stored = storedWeight(node, at.w);
  const weight = stored?.node.inputs[stored.input];
  const type = weight?.initializer?.dataType;
  if (type !== undefined && bitsPerElement(type) % 8 !== 0)
    flow.freeze(inLabels, `passes ${describe(node)}, whose weight is stored as packed ${dataTypeName(type)}`);
  if (weight) flow.weightAxes.set(weight, [outLabels, inLabels]);
  flow.rewrite(node, (copy, kept) => {
    const keep = kept.positions(inLabels);
    if (keep.length === inputs) return;
    const source = storedWeight(copy, at.w);
    if (source) sliceBlocks(source.node, source.input, groups, keep, inputs);
    else cutWhileRunning(copy, at.w, groups, keep, inputs, flow.opset);
  });
  return outLabels;
}

export interface Sizes {
  groups: number;
  /** Channels in all groups together. */
  inputs: number;
  outputs: number;
}

/** Each input channel makes `multiplier` output channels of its own: they go together. */
export function depthwise(node: Node, flow: Flow, x: Axis, w: Axis, inputs: number, outputs: number): Axis {
  const inLabels = flow.labels(x, inputs);
  const expanded = spread(inLabels, outputs / inputs);
  flow.unite(expanded, w);
  flow.macs(node, [expanded]);
  countGroups(node, flow, inLabels);
  return expanded;
}

/**
 * Grouped ConvTranspose, W [I, O/groups, k…]: a block of input channels makes its own O/groups output channels. Input
 * channels go in equal numbers from each block; of the output channels those of equal place in all blocks go together.
 * @returns the output channels
 */
export function groupedTranspose(node: Node, flow: Flow, at: Place, x: Axis, w: readonly Axis[], sizes: Sizes): Axis {
  const { groups, inputs, outputs } = sizes;
  const inLabels = flow.labels(x, inputs);
  flow.unite(inLabels, w[0]);
  if (inputs === groups) {
    // One input channel per block: it goes with all that it makes.
    flow.freeze(w[1], `is made by every channel of ${describe(node)}`);
    const expanded = spread(inLabels, outputs / inputs);
    flow.macs(node, [inLabels]);
    countGroups(node, flow, inLabels);
    return expanded;
  }
  flow.blocks.push({ node, labels: inLabels, blocks: groups });
  flow.contract(node, at.x, at.channel, at.gate);
  flow.macs(node, [inLabels, w[1]]);
  if (!(w[1] instanceof Int32Array)) return `is the only channel of its block in ${describe(node)}`;
  flow.produce(node, at.w, 1);
  const out = new Int32Array(outputs);
  for (let b = 0; b < groups; b++) out.set(w[1], b * w[1].length);
  return out;
}

/** Every label `times` times in a row. */
function spread(labels: Int32Array, times: number): Int32Array {
  return Int32Array.from({ length: labels.length * times }, (_, i) => labels[Math.floor(i / times)]);
}

/** As many groups as there are channels. */
function countGroups(node: Node, flow: Flow, channels: Int32Array): void {
  flow.rewrite(node, (copy, kept) => {
    const group = kept.count(channels);
    if (group !== channels.length) copy.setInt('group', group);
  });
}

const ELEMENT_BY_ELEMENT = new Set(['DequantizeLinear', 'QuantizeLinear', 'Cast', 'CastLike', 'Identity']);

/**
 * The initializer whose elements, each by itself, become those of an operand: itself, or what is dequantised or cast, with
 * scales that do not lie along the axis of input channels. Undefined where there is none.
 */
function storedWeight(node: Node, input: number): { node: Node; input: number } | undefined {
  for (;;) {
    const value: Value | null = node.inputs[input];
    if (!value || value.isGraphInput) return undefined;
    if (value.initializer) return { node, input };
    const maker: Node | null = value.producer;
    if (!maker || !ELEMENT_BY_ELEMENT.has(maker.opType) || value.uses.length !== 1) return undefined;
    const scale = maker.opType.endsWith('Linear') ? maker.inputs[1]?.type?.shape : [];
    const perFilter = scale?.length === 1 && maker.int('axis', 1) === 0;
    if (!scale || !(perFilter || scale.every((d) => d === 1))) return undefined;
    [node, input] = [maker, 0];
  }
}

/** Cuts axis 1 of a computed weight: every block of axis 0 takes its own columns. */
function cutWhileRunning(
  node: Node,
  input: number,
  groups: number,
  keep: Int32Array,
  inputs: number,
  opset: number,
): void {
  const { graph } = node;
  const value = node.inputs[input]!;
  const stem = `${value.name}_blocks`;
  const perBlock = inputs / groups;
  const stems = Array.from({ length: groups }, () => stem);
  const split = graph.addNode('Split', [value], stems, { before: node }).setInt('axis', 0);
  if (opset >= 18) split.setInt('num_outputs', groups);
  const parts = split.outputs.map((block, b) => {
    const own = [...keep].flatMap((p) => (Math.floor(p / perBlock) === b ? [p - b * perBlock] : []));
    const indices = graph.addInitializer(stem, Tensor.fromInt64('', [own.length], own));
    return graph.addNode('Gather', [block, indices], [stem], { before: node }).setInt('axis', 1).outputs[0]!;
  });
  node.setInput(input, graph.addNode('Concat', parts, [stem], { before: node }).setInt('axis', 0).outputs[0]!);
}
