import type { Node, Value } from '../graph/ir.ts';
import type { Labels } from './atoms.ts';
import { describe, Tiled, type Flow } from './flow.ts';

/** Operands that state a shape and are rewritten when the axes shrink: op to input number. */
const SHAPE_OPERANDS: Record<string, number> = { Reshape: 1, Expand: 1, Resize: 3 };

/**
 * Freezes axes whose size, read by a Shape node, reaches anything but the shape operand of a Reshape, Expand or Resize, as
 * the size of an axis of the same units: a computation would see another number in the pruned model than in the original.
 */
export function freezeEscapingSizes(flow: Flow, nodes: readonly Node[]): void {
  for (const node of nodes) {
    if (node.op !== 'Shape' || !node.outputs[0]) continue;
    const axes = flow.wideAxes(node, 0) ?? [];
    const start = node.int('start', 0);
    const from = Math.max(0, start < 0 ? start + axes.length : start);
    axes.forEach((axis, i) => {
      if (typeof axis === 'string' || i < from) return;
      const sink = escapesTo(flow, node.outputs[0]!, i - from, axis);
      if (sink) flow.freeze(axis, `its size is used by ${describe(sink)}`);
    });
  }
}

/** The first node that does something else with element `index` of a shape vector, the size of `axis`; undefined when none does. */
function escapesTo(flow: Flow, value: Value, index: number, axis: Labels | Tiled): Node | undefined {
  if (value.isGraphOutput) return value.producer ?? undefined;
  for (const { node, index: input } of value.uses) {
    if (SHAPE_OPERANDS[node.op] === input) {
      if (sizes(flow, node, value, index, axis)) continue;
      return node;
    }
    const next = moveElement(flow, node, input, index);
    if (next === 'escapes' || !node.outputs[0]) return node;
    for (const place of next) {
      const sink = escapesTo(flow, node.outputs[0], place, axis);
      if (sink) return sink;
    }
  }
  return undefined;
}

/** Whether entry `index` of a shape operand is the size of an output axis that always loses what `axis` loses. */
function sizes(flow: Flow, node: Node, operand: Value, index: number, axis: Labels | Tiled): boolean {
  const out = node.outputs[0] && flow.axesOf(node.outputs[0]);
  const length = flow.shape(operand)?.[0];
  const target = out && typeof length === 'number' ? out[index + out.length - length] : undefined;
  if (target === undefined || typeof target === 'string' || target instanceof Tiled !== axis instanceof Tiled)
    return false;
  const [a, b] = [target, axis].map((t) => (t instanceof Tiled ? t.labels : t));
  return a.length === b.length && a.every((atom, i) => flow.atoms.same(atom, b[i]));
}

/** Where element `index` is in what the node gives, at no, one or several places; or that it is computed with. */
function moveElement(flow: Flow, node: Node, input: number, index: number): number[] | 'escapes' {
  switch (node.op) {
    case 'Identity':
    case 'Cast':
    case 'Unsqueeze':
    case 'Squeeze':
      return input === 0 ? [index] : 'escapes';
    case 'Gather': {
      const indices = flow.constantInts(node, 1);
      const size = flow.shape(node.inputs[0])?.[0];
      if (input !== 0 || !indices || typeof size !== 'number') return 'escapes';
      return indices.flatMap((i, at) => ((i < 0 ? i + size : i) === index ? [at] : []));
    }
    case 'Slice': {
      const [starts, ends] = [
        node.ints('starts') ?? flow.constantInts(node, 1),
        node.ints('ends') ?? flow.constantInts(node, 2),
      ];
      const size = flow.shape(node.inputs[0])?.[0];
      const steps = node.inputs[4] ? flow.constantInts(node, 4) : [1];
      if (input !== 0 || !starts || !ends || typeof size !== 'number' || steps?.[0] !== 1) return 'escapes';
      const clamp = (p: number) => Math.max(0, Math.min(size, p < 0 ? p + size : p));
      return index >= clamp(starts[0]) && index < clamp(ends[0]) ? [index - clamp(starts[0])] : [];
    }
    case 'Concat': {
      let offset = 0;
      for (let i = 0; i < input; i++) {
        const size = flow.shape(node.inputs[i])?.[0];
        if (typeof size !== 'number') return 'escapes';
        offset += size;
      }
      return [offset + index];
    }
    default:
      return 'escapes';
  }
}
