import type { Node, Value } from '../graph/ir.ts';
import type { Labels } from './atoms.ts';
import type { Flow, Production } from './flow.ts';

/**
 * Axes of stored tensors that hold units which no layer makes: learned queries, tables that an exporter computed ahead of
 * time. They count as produced where they are first read.
 */
export function storedUnits(flow: Flow): Production[] {
  const { atoms } = flow;
  const marked = (uses: readonly { labels: Labels }[]) => {
    const marks = new Uint8Array(atoms.count);
    for (const { labels } of uses) atoms.forCauses(labels, (root) => (marks[root] = 1));
    return marks;
  };
  const produced = marked(flow.productions);
  // A norm over a weight (weight normalisation) reads it too, but makes no layer of it.
  const read = marked(flow.contractions.filter((c) => LAYERS.test(c.node.opType)));
  const contracting = new Set(flow.contractions.map((c) => c.node));

  const found: Production[] = [];
  for (const [value, axes] of flow.tracked) {
    const use = value.initializer && firstUse(value);
    if (!use || isDirectInput(value, contracting)) continue;
    axes.forEach((labels, axis) => {
      if (!(labels instanceof Int32Array) || labels.length < 2) return;
      const free = labels.every((atom) =>
        atoms.causes(atom).every((c) => !produced[c] && read[c] && !atoms.isFrozen(c)),
      );
      if (free) found.push({ node: use.node, input: use.index, axis, labels });
    });
  }
  return found;
}

const LAYERS = /Conv|MatMul|Gemm|Einsum/;

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
