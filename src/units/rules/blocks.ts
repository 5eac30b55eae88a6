import type { Node } from '../../graph/ir.ts';
import { describe, type Axis, type Flow } from '../flow.ts';
import type { Labels } from '../atoms.ts';
import { axisIndex, type Rule } from './rule.ts';

/** Weights that are quantised in blocks along an axis: there nothing can go; other axes are cut with their scales. */

const unknownShape = (node: Node) => `feeds ${describe(node)}, whose shape is not known`;
const inBlocks = (node: Node) => `is quantised in blocks by ${describe(node)}`;

/** QuantizeLinear and DequantizeLinear in blocks along `axis`: scales have as many axes as the data. */
export function blockDequantise(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0)!;
  const along = axisIndex(node.int('axis', 1), x.length);
  const reason = inBlocks(node);
  const out = x.map((a, k): Axis => {
    const parameters = [1, 2].flatMap((i) => (node.inputs[i] ? [flow.axes(node, i)?.[k] ?? 'is not tracked'] : []));
    if (k !== along) return parameters.reduce<Axis>((axis, p) => flow.unite(axis, p), a);
    [a, ...parameters].forEach((axis) => flow.freeze(axis, reason));
    return typeof a === 'string' ? a : reason;
  });
  flow.setAxes(node, 0, out);
}

/**
 * MatMulNBits: A[…, K] × B, which is packed as [N, blocks along K, bytes], with scales [N, blocks] (or flat) and zero
 * points alike. Columns go with their rows of B; K stays, because blocks of it share a scale and bytes.
 */
export const matMulNBits: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  const b = flow.axes(node, 1);
  const columns = node.int('N', 0);
  if (!x || !b || x.length < 2) return flow.barrier(node, unknownShape(node));
  const reason = inBlocks(node);
  flow.freeze(x[x.length - 1], reason);
  b.slice(1).forEach((a) => flow.freeze(a, reason));
  flow.axes(node, 4)?.forEach((a) => flow.freeze(a, reason));
  const out = flow.shape(node.inputs[1])?.[0] === columns ? b[0] : reason;
  [2, 3, 5].forEach((i) => perColumn(node, flow, i, out, columns, reason));
  if (out instanceof Int32Array) {
    flow.rewrite(node, (copy, kept) => {
      copy.setInt('N', kept.count(out));
    });
  }
  flow.produce(node, 1, 0);
  flow.macs(node, [...x.slice(0, -1), out]);
  flow.setAxes(node, 0, [...x.slice(0, -1), out]);
};

/** A parameter with equally many numbers for each column: [columns, …], or all in a row. */
function perColumn(node: Node, flow: Flow, input: number, out: Axis, columns: number, reason: string): void {
  const axes = flow.axes(node, input);
  if (!axes) return;
  axes.slice(1).forEach((a) => flow.freeze(a, reason));
  const size = flow.shape(node.inputs[input])?.[0];
  const each = typeof size === 'number' ? size / columns : NaN;
  if (!Number.isInteger(each) || !(out instanceof Int32Array)) {
    flow.freeze(out, reason);
    flow.freeze(axes[0], reason);
  } else flow.unite(axes[0], repeatEach(out, each));
}

function repeatEach(labels: Labels, times: number): Labels {
  return Int32Array.from({ length: labels.length * times }, (_, i) => labels[Math.floor(i / times)]);
}

/** The weight is one run of packed bytes: neither features nor columns can be cut out of it. */
export const matMulBnb4: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  if (!x) return flow.barrier(node, unknownShape(node));
  flow.freeze(x[x.length - 1], inBlocks(node));
  for (let i = 1; i < node.inputs.length; i++) flow.axes(node, i)?.forEach((a) => flow.freeze(a, inBlocks(node)));
  flow.macs(node, x.slice(0, -1));
  flow.setAxes(node, 0, [...x.slice(0, -1), `comes from ${describe(node)}`]);
};

/** A table of embeddings in blocks: it stays. */
export const gatherBlocks: Rule = (node, flow) => flow.barrier(node, inBlocks(node));
