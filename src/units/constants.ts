import type { Node, Value } from '../graph/ir.ts';
import type { Flow, Production } from './flow.ts';

/**
 * Axes of stored tensors that hold units which no layer makes: learned queries, tables that an exporter computed ahead of
 * time. They count as produced where they are first read.
 */
export function storedUnits(flow: Flow): Production[] {
  const { atoms } = flow;
  const produced = new Set<number>();
  for (const { labels } of flow.productions) for (const atom of labels) addAll(produced, atoms.causes(atom));
  const read = new Set<number>();
  for (const { labels } of flow.contractions) for (const atom of labels) addAll(read, atoms.causes(atom));
  const contracting = new Set(flow.contractions.map((c) => c.node));

  const found: Production[] = [];
  for (const [value, axes] of flow.tracked) {
    const use = value.initializer && firstUse(value);
    if (!use || isDirectInput(value, contracting)) continue;
    axes.forEach((labels, axis) => {
      if (!(labels instanceof Int32Array) || labels.length < 2) return;
      const free = labels.every((atom) =>
        atoms.causes(atom).every((c) => !produced.has(c) && read.has(c) && atoms.frozenReason(c) === undefined),
      );
      if (free) found.push({ node: use.node, input: use.index, axis, labels });
    });
  }
  return found;
}

function firstUse(value: Value) {
  return value.uses.find((u) => u.node.graph === value.graph);
}

/** Ops that hand a tensor on as it is. */
const HANDING = new Set(['Identity', 'Cast', 'Reshape', 'Squeeze', 'Unsqueeze', 'Transpose']);

/** A tensor that a layer reads as it is (a table of coordinates) is data, as a model input is. */
function isDirectInput(value: Value, contracting: ReadonlySet<Node>): boolean {
  return value.uses.every(({ node }) => {
    const out = node.outputs[0];
    return contracting.has(node) || (HANDING.has(node.op) && !!out && isDirectInput(out, contracting));
  });
}

function addAll(set: Set<number>, items: readonly number[]): void {
  for (const item of items) set.add(item);
}
