import { Tensor } from '../onnx/tensor.ts';
import type { Node } from '../graph/ir.ts';
import { describe, type Axis, type Flow } from './flow.ts';
import type { Labels } from './atoms.ts';

type Entry = number | { labels: Labels };

/**
 * Lets the shape operand of a node (Reshape's shape, Resize's sizes) follow the axes of its output:
 * registers the rewrite, or freezes the axes when the shape cannot be stated as a constant.
 * @param axes axes of the node's output, one per entry of the operand
 */
export function prunableShape(node: Node, flow: Flow, input: number, axes: readonly Axis[]): void {
  if (!axes.some((a) => a instanceof Int32Array)) return;
  const entries = shapeEntries(node, flow, input, axes);
  if (typeof entries === 'string') {
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
  if (open > 1 || (open > 0 && node.opType !== 'Reshape') || (node.opType === 'Resize' && entries.includes(0))) {
    return `is reshaped by ${describe(node)} to a shape that is computed while running`;
  }
  return entries;
}
