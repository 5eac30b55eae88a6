import { Tensor } from '../onnx/tensor.ts';
import type { Node, Value } from '../graph/ir.ts';
import { describe, type Axis, type Flow, type Kept } from './flow.ts';
import type { Labels } from './atoms.ts';

type Entry = number | { labels: Labels };

/**
 * Lets some entries of a shape operand (Expand's shape, Resize's sizes) follow the axes that they are the sizes of; the
 * others stay, also those that are computed while running.
 * @param axes per entry of the operand the axis that it is the size of
 * @param size what stands in the place of an axis of units in a pruned model
 */
export function followSizes(
  node: Node,
  flow: Flow,
  input: number,
  axes: readonly Axis[],
  size: (labels: Labels, kept: Kept) => number,
): void {
  const labels = axes.filter((a) => a instanceof Int32Array);
  if (labels.length === 0) return;
  const shape = flow.constantInts(node, input);
  flow.rewrite(node, (copy, kept) => {
    if (labels.every((a) => kept.count(a) === a.length)) return;
    const { graph } = copy;
    const stem = `${copy.outputs[0]!.name}_shape`;
    const ints = (v: number[]) => graph.addInitializer(stem, Tensor.fromInt64('', [v.length], v));
    const sizes = axes.map((a) => (a instanceof Int32Array ? size(a, kept) : 0));
    if (shape) {
      copy.setInput(input, ints(shape.map((d, i) => (axes[i] instanceof Int32Array ? sizes[i] : d))));
      return;
    }
    const add = (op: string, value: Value, other: Value) =>
      graph.addNode(op, [value, other], [stem], { before: copy }).outputs[0]!;
    const others = add('Mul', copy.inputs[input]!, ints(axes.map((a) => (a instanceof Int32Array ? 0 : 1))));
    copy.setInput(input, add('Add', others, ints(sizes)));
  });
}

/**
 * Lets the shape operand of a Reshape follow the axes of its output: registers the rewrite, or freezes the axes when the shape cannot be stated as a constant.
 * @param axes axes of the node's output, one per entry of the operand
 */
export function prunableShape(node: Node, flow: Flow, input: number, axes: readonly Axis[]): void {
  if (!axes.some((a) => a instanceof Int32Array)) return;
  const entries = shapeEntries(node, flow, input, axes);
  if (typeof entries === 'string') {
    const before = flow.axes(node, 0) ?? [];
    const computed = !flow.constantInts(node, input) && flow.shape(node.inputs[input])?.[0] === axes.length;
    const stays = before.every((a, i) => typeof a === 'string' || axes[i] instanceof Int32Array);
    // What is computed goes on being computed: sizes of axes of units take the place of their entries.
    if (computed && stays && !node.int('allowzero', 0))
      return followSizes(node, flow, input, axes, (labels, kept) => kept.count(labels));
    for (const axis of axes) flow.freeze(axis, entries);
    return;
  }
  flow.rewrite(node, (copy, kept) => {
    const labelled = entries.filter((e): e is { labels: Labels } => typeof e !== 'number');
    if (labelled.every((e) => kept.count(e.labels) === e.labels.length)) return;
    const dims = entries.map((e) => (typeof e === 'number' ? e : kept.count(e.labels)));
    // An entry 0 below copies a size.
    copy.attributes.delete('allowzero');
    copy.setInput(
      input,
      copy.graph.addInitializer(`${copy.outputs[0]!.name}_shape`, Tensor.fromInt64('', [dims.length], dims)),
    );
  });
}

/** One entry per axis, or in words why there is no constant that fits. */
function shapeEntries(node: Node, flow: Flow, input: number, axes: readonly Axis[]): Entry[] | string {
  const operand = flow.constantInts(node, input);
  const before = flow.shape(node.inputs[0]);
  const after = flow.shape(node.outputs[0]);
  const entries = axes.map((axis, i): Entry => {
    if (axis instanceof Int32Array) return { labels: axis };
    const given = operand?.[i];
    const copies = before !== undefined && i < before.length && !(flow.axes(node, 0)?.[i] instanceof Int32Array);
    if (given !== undefined && (given !== 0 || copies)) return given;
    const dim = after?.[i];
    if (typeof dim === 'number') return dim;
    return copies && dim !== null && before[i] === dim ? 0 : -1;
  });
  if (node.int('allowzero', 0) && operand?.includes(0)) return `is reshaped by ${describe(node)} to an empty shape`;
  const open = entries.filter((e) => e === -1).length;
  if (open > 1) {
    return `is reshaped by ${describe(node)} to a shape that is computed while running`;
  }
  return entries;
}
