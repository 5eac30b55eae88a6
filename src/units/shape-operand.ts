import { Tensor } from '../onnx/tensor.ts';
import type { Node, Value } from '../graph/ir.ts';
import { describe, Tiled, type Flow, type Kept, type WideAxis } from './flow.ts';
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
  axes: readonly WideAxis[],
  size: (labels: Labels, kept: Kept) => number,
): void {
  const labels = axes.flatMap((a) => (typeof a === 'string' ? [] : [a instanceof Tiled ? a.labels : a]));
  if (labels.length === 0) return;
  const value = node.inputs[input];
  const known = value && flow.shapes.constant(value);
  flow.rewrite(node, (copy, kept) => {
    if (labels.every((a) => kept.count(a) === a.length)) return;
    const { graph } = copy;
    const stem = `${copy.outputs[0]!.name}_shape`;
    const ints = (v: number[]) => graph.addInitializer(stem, Tensor.fromInt64('', [v.length], v));
    const sizes = axes.map((a) => (a instanceof Int32Array ? size(a, kept) : 0));
    if (known?.every((d, i) => typeof d === 'number' && !(axes[i] instanceof Tiled && d > 0))) {
      copy.setInput(input, ints((known as number[]).map((d, i) => (axes[i] instanceof Int32Array ? sizes[i] : d))));
      return;
    }
    const add = (op: string, a: Value, b: Value) => graph.addNode(op, [a, b], [stem], { before: copy }).outputs[0]!;
    let computed = copy.inputs[input]!;
    // Rows × units: as many times the units that stay as it was times all units. −1 goes on standing for what is left.
    const tiled = axes.map((a, i) => (a instanceof Tiled && known?.[i] !== -1 ? a.labels : undefined));
    if (tiled.some((t) => t && kept.count(t) !== t.length)) {
      computed = add('Div', computed, ints(tiled.map((t) => t?.length ?? 1)));
      computed = add('Mul', computed, ints(tiled.map((t) => (t ? kept.count(t) : 1))));
    }
    const plain = axes.map((a) => (a instanceof Int32Array ? 0 : 1));
    if (plain.includes(0)) computed = add('Add', add('Mul', computed, ints(plain)), ints(sizes));
    copy.setInput(input, computed);
  });
}

/**
 * Lets the shape operand of a Reshape follow the axes of its output: as a constant where it can be stated as one, else the
 * sizes that are computed while running stay and only those of the axes of units are replaced.
 * @param axes axes of the node's output, one per entry of the operand
 */
export function prunableShape(node: Node, flow: Flow, input: number, axes: readonly WideAxis[]): void {
  if (axes.every((a) => typeof a === 'string')) return;
  const entries = shapeEntries(node, flow, input, axes);
  const before = flow.wideAxes(node, 0) ?? [];
  // With `allowzero` an entry 0 is a size; without it, it copies one.
  if (entries === 'empty') {
    for (const axis of [...before, ...axes]) flow.freeze(axis, `is reshaped by ${describe(node)} to an empty shape`);
    return;
  }
  if (entries === 'computed') {
    if (flow.shape(node.inputs[input])?.[0] === axes.length)
      return followSizes(node, flow, input, axes, (labels, kept) => kept.count(labels));
    for (const axis of [...before, ...axes])
      flow.freeze(axis, `is reshaped by ${describe(node)} to a shape of unknown length`);
    return;
  }
  flow.rewrite(node, (copy, kept) => {
    const stays = (a: WideAxis) => {
      const labels = a instanceof Tiled ? a.labels : a;
      return typeof labels === 'string' || kept.count(labels) === labels.length;
    };
    if (axes.every(stays)) return;
    const dims = entries.map((e) => (typeof e === 'number' ? e : kept.count(e.labels)));
    // An entry 0 below copies a size.
    copy.attributes.delete('allowzero');
    copy.setInput(
      input,
      copy.graph.addInitializer(`${copy.outputs[0]!.name}_shape`, Tensor.fromInt64('', [dims.length], dims)),
    );
  });
}

/** One entry per axis, or why no constant fits. */
function shapeEntries(
  node: Node,
  flow: Flow,
  input: number,
  axes: readonly WideAxis[],
): Entry[] | 'computed' | 'empty' {
  const operand = flow.constantInts(node, input);
  const before = flow.shape(node.inputs[0]);
  const after = flow.shape(node.outputs[0]);
  const entries = axes.map((axis, i): Entry => {
    if (axis instanceof Int32Array) return { labels: axis };
    if (axis instanceof Tiled) return -1;
    const given = operand?.[i];
    const copies = before !== undefined && i < before.length && typeof flow.wideAxes(node, 0)?.[i] === 'string';
    if (given !== undefined && (given !== 0 || copies)) return given;
    const dim = after?.[i];
    if (typeof dim === 'number') return dim;
    return copies && dim !== null && before[i] === dim ? 0 : -1;
  });
  if (node.int('allowzero', 0) && operand?.includes(0)) return 'empty';
  return entries.filter((e) => e === -1).length > 1 ? 'computed' : entries;
}
