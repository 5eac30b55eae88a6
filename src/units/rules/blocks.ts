import type { Node } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { describe, type Axis, type Flow } from '../flow.ts';
import type { Labels } from '../atoms.ts';
import { axisIndex, type Rule } from './rule.ts';

/** Weights that are quantised in blocks along an axis: there single positions cannot go; other axes are cut with their scales. */

const unknownShape = (node: Node) => `feeds ${describe(node)}, whose shape is not known`;
const inBlocks = (node: Node) => `is quantised in blocks by ${describe(node)}`;

/** QuantizeLinear and DequantizeLinear in blocks along `axis`: scales have as many axes as the data. Whole blocks may go. */
export function blockDequantise(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0)!;
  const along = axisIndex(node.int('axis', 1), x.length);
  const reason = inBlocks(node);
  const out = x.map((a, k): Axis => {
    const parameters = [1, 2].flatMap((i): Axis[] =>
      node.inputs[i] ? [flow.axes(node, i)?.[k] ?? 'is not tracked'] : [],
    );
    if (k !== along) return parameters.reduce<Axis>((axis, p) => flow.unite(axis, p), a);
    const tied = parameters.reduce((axis, p) => flow.unite(axis, p));
    return tie(flow, a, tied, node.int('block_size', 0), reason) === reason && typeof a !== 'string' ? reason : a;
  });
  flow.setAxes(node, 0, out);
}

/**
 * MatMulNBits: A[…, K] × B, which is packed as [N, blocks along K, bytes], with scales and zero points [N, blocks] or flat.
 * Columns go with their rows of B. Features go by whole blocks, as many of them as share a byte of zero points.
 */
export const matMulNBits: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  const b = flow.axes(node, 1);
  const [columns, bits] = [node.int('N', 0), node.int('bits', 4)];
  const shape = flow.shape(node.inputs[1]);
  if (!x || x.length < 2 || b?.length !== 3 || !shape || shape[0] !== columns) {
    return flow.barrier(node, unknownShape(node));
  }
  const reason = inBlocks(node);
  const last = x.length - 1;
  [b[2], ...(flow.axes(node, 4) ?? [])].forEach((a) => flow.freeze(a, reason));
  const features = featureBlocks(node, flow, x[last], b[1], reason);
  const whole = flow.shape(node.inputs[3]) && node.inputs[3]!.type!.elemType === DataType.UINT8;
  perColumn(node, flow, 2, b[0], columns, features, 1, reason);
  perColumn(node, flow, 3, b[0], columns, features, whole ? 8 / bits : 1, reason);
  perColumn(node, flow, 5, b[0], columns, reason, 1, reason);
  flow.contract(node, 0, last);
  flow.rewrite(node, (copy, kept) => {
    if (b[0] instanceof Int32Array) copy.setInt('N', kept.count(b[0]));
    if (x[last] instanceof Int32Array) copy.setInt('K', kept.count(x[last]));
  });
  flow.produce(node, 1, 0);
  flow.macs(node, [...x.slice(0, -1), x[last], b[0]]);
  flow.setAxes(node, 0, [...x.slice(0, -1), b[0]]);
};

/** Ties the features of a block to each other and to the block: gives the blocks' axis, or why nothing there can go. */
function featureBlocks(node: Node, flow: Flow, features: Axis, blocks: Axis, reason: string): Axis {
  const size = node.int('block_size', 0);
  if (!node.inputs[4]) return tie(flow, features, blocks, size, reason);
  [features, blocks].forEach((a) => flow.freeze(a, reason));
  return reason;
}

/** Runs of `size` positions go with one position of `blocks` each; where they cannot, all stay and the reason comes back. */
function tie(flow: Flow, positions: Axis, blocks: Axis, size: number, reason: string): Axis {
  const tracked = positions instanceof Int32Array && blocks instanceof Int32Array;
  if (!tracked || size < 1 || Math.ceil(positions.length / size) !== blocks.length) {
    [positions, blocks].forEach((a) => flow.freeze(a, reason));
    return reason;
  }
  positions.forEach((atom, k) => flow.atoms.unite(atom, blocks[Math.floor(k / size)]));
  return blocks;
}

/**
 * A parameter with equally many numbers for each column, [columns, …] or all in a row; along the blocks `share` of them
 * have one number together.
 */
function perColumn(
  node: Node,
  flow: Flow,
  input: number,
  columns: Axis,
  count: number,
  blocks: Axis,
  share: number,
  reason: string,
): void {
  const axes = flow.axes(node, input);
  if (!axes) return;
  const total = flow.shape(node.inputs[input])!.reduce<number>((n, d) => (typeof d === 'number' ? n * d : NaN), 1);
  const each = total / count;
  const shared = shareNumbers(flow, blocks, share, each);
  if (axes.length === 2) {
    flow.unite(axes[0], columns);
    if (each > 1) flow.unite(axes[1], shared ?? reason);
    if (!shared) flow.freeze(blocks, reason);
  } else if (axes.length === 1 && Number.isInteger(each) && columns instanceof Int32Array) {
    const places = Int32Array.from({ length: total }, (_, i) => {
      const column = columns[Math.floor(i / each)];
      return shared ? flow.atoms.join([column, shared[i % each]]) : column;
    });
    if (!shared) flow.freeze(blocks, reason);
    flow.unite(axes[0], places);
  } else {
    [...axes, columns, blocks].forEach((a) => flow.freeze(a, reason));
  }
}

/** One label for every `share` blocks, which then go together; undefined where the blocks stay anyway or do not fit. */
function shareNumbers(flow: Flow, blocks: Axis, share: number, count: number): Labels | undefined {
  if (!(blocks instanceof Int32Array) || Math.ceil(blocks.length / share) !== count) return undefined;
  blocks.forEach((atom, i) => flow.atoms.unite(atom, blocks[i - (i % share)]));
  return Int32Array.from({ length: count }, (_, i) => blocks[i * share]);
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
