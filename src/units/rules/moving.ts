import { Tensor } from '../../onnx/tensor.ts';
import type { Dim, Node } from '../../graph/ir.ts';
import { describe, type Axis, type Flow, type Kept, type WideAxis } from '../flow.ts';
import type { Labels } from '../atoms.ts';
import { regroup } from '../regroup.ts';
import { followSizes, prunableShape } from '../shape-operand.ts';
import { axisIndex, same, type Rules } from './rule.ts';

const unknownShape = (node: Node) => `feeds ${describe(node)}, whose shape is not known`;

/** Reshape and Flatten: axes are merged and split by their sizes. */
function reshape(node: Node, flow: Flow): void {
  const x = flow.wideAxes(node, 0);
  const before = flow.shape(node.inputs[0]);
  const after = flow.shape(node.outputs[0]);
  if (!x || !before || !after) return flow.barrier(node, unknownShape(node));
  const out = regroup(flow, node, x, before, after);
  flow.setAxes(node, 0, out);
  if (node.opType === 'Reshape') prunableShape(node, flow, 1, out);
}

function transpose(node: Node, flow: Flow): void {
  const x = flow.wideAxes(node, 0);
  if (!x) return flow.barrier(node, unknownShape(node));
  const perm = node.ints('perm') ?? x.map((_, i) => x.length - 1 - i);
  flow.setAxes(
    node,
    0,
    perm.map((p) => x[p]),
  );
}

function squeeze(node: Node, flow: Flow): void {
  const x = flow.wideAxes(node, 0);
  const after = flow.shape(node.outputs[0]);
  const before = flow.shape(node.inputs[0]);
  if (!x || !before || !after) return flow.barrier(node, unknownShape(node));
  const given = node.ints('axes') ?? flow.constantInts(node, 1);
  if (!given && node.inputs[1]) return flow.barrier(node, unknownShape(node));
  const axes = new Set((given ?? before.flatMap((d, i) => (d === 1 ? [i] : []))).map((a) => axisIndex(a, x.length)));
  for (const axis of axes) flow.freeze(x[axis], `is squeezed away by ${describe(node)}`);
  flow.setAxes(
    node,
    0,
    x.filter((_, i) => !axes.has(i)),
  );
}

function unsqueeze(node: Node, flow: Flow): void {
  const x = flow.wideAxes(node, 0);
  const given = node.ints('axes') ?? flow.constantInts(node, 1);
  if (!x || !given) return flow.barrier(node, unknownShape(node));
  const rank = x.length + given.length;
  const axes = new Set(given.map((a) => axisIndex(a, rank)));
  let next = 0;
  flow.setAxes(
    node,
    0,
    Array.from({ length: rank }, (_, i): WideAxis => (axes.has(i) ? 'has one position' : x[next++])),
  );
}

/** Concat joins the positions of one axis; the others go together. */
export function concat(node: Node, flow: Flow, inputs: readonly number[] = node.inputs.map((_, i) => i)): void {
  const operands = inputs.map((i) => flow.axes(node, i));
  const rank = operands[0]?.length ?? 0;
  if (operands.some((o) => o?.length !== rank) || rank === 0) return flow.barrier(node, unknownShape(node));
  const axis = axisIndex(node.int('axis', 1), rank);
  const out = operands[0]!.map((first, i): Axis => {
    if (i === axis) return joined(node, flow, inputs, operands as Axis[][], axis);
    return operands.slice(1).reduce<Axis>((a, o) => flow.unite(a, o![i]), first);
  });
  flow.setAxes(node, 0, out);
}

function joined(node: Node, flow: Flow, inputs: readonly number[], operands: Axis[][], axis: number): Axis {
  if (operands.every((o) => typeof o[axis] === 'string')) return operands[0][axis];
  const parts: Labels[] = [];
  for (const [i, operand] of operands.entries()) {
    const size = flow.shape(node.inputs[inputs[i]])?.[axis];
    if (typeof size !== 'number') {
      operands.forEach((o) => flow.freeze(o[axis], `is joined by ${describe(node)} with an axis of unknown size`));
      return `comes from ${describe(node)}`;
    }
    parts.push(flow.labels(operand[axis], size));
  }
  const labels = new Int32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    labels.set(part, at);
    at += part.length;
  }
  return labels;
}

/** Split: each output takes a run of positions; constant sizes follow what stays. */
function split(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  if (!x) return flow.barrier(node, unknownShape(node));
  const axis = axisIndex(node.int('axis', 0), x.length);
  const labels = x[axis];
  if (typeof labels === 'string') return node.outputs.forEach((_, i) => flow.setAxes(node, i, x));
  const sizes = node.outputs.map((o) => o?.type?.shape?.[axis]);
  if (!sizes.every((s) => typeof s === 'number') || sizes.reduce((a, b) => a + b, 0) !== labels.length) {
    return flow.barrier(node, `is split by ${describe(node)} into parts of unknown size`);
  }
  let at = 0;
  const parts = sizes.map((size) => labels.subarray(at, (at += size)));
  parts.forEach((part, i) =>
    flow.setAxes(
      node,
      i,
      x.map((a, k) => (k === axis ? part : a)),
    ),
  );
  flow.rewrite(node, (copy, kept) => {
    if (kept.count(labels) === labels.length) return;
    const counts = parts.map((part) => kept.count(part));
    copy.attributes.delete('num_outputs');
    if (flow.opset < 13) copy.setInts('split', counts);
    else
      copy.setInput(
        1,
        copy.graph.addInitializer(`${copy.outputs[0]!.name}_split`, Tensor.fromInt64('', [counts.length], counts)),
      );
  });
}

/** ConstantOfShape of known sizes: any number of positions will do, as for a stored weight. */
function constantOfShape(node: Node, flow: Flow): void {
  const sizes = flow.constantInts(node, 0);
  const rank = flow.shape(node.outputs[0])?.length ?? 0;
  const fixed = Array<Axis>(rank).fill(`comes from ${describe(node)}`);
  if (sizes?.length !== rank) return flow.setAxes(node, 0, fixed);
  const out = sizes.map((size): Axis => (size > 1 ? flow.atoms.fresh(size) : 'has one position'));
  flow.setAxes(node, 0, out);
  followSizes(node, flow, 0, out, (labels, kept) => kept.count(labels));
}

/** Expand: carried; copies along a new or widened axis are units of their own where something tells them apart later. */
function expand(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  const before = flow.shape(node.inputs[0]);
  const after = flow.shape(node.outputs[0]);
  if (!x || !before || !after) return flow.barrier(node, unknownShape(node));
  const widened = new Set<Axis>();
  const out = after.map((size, i): Axis => {
    const k = i - (after.length - before.length);
    if (k >= 0 && before[k] !== 1) return x[k];
    // Copies that are told apart later (the query heads that share a key) may go one by one.
    if (typeof size === 'number' && size > 1) {
      const [labels] = flow.atoms.split([size]);
      widened.add(labels);
      return labels;
    }
    return `comes from ${describe(node)}`;
  });
  flow.setAxes(node, 0, out);
  const labels = out.filter((a) => a instanceof Int32Array);
  const length = flow.shape(node.inputs[1])?.[0];
  if (labels.length === 0) return;
  if (typeof length !== 'number')
    return labels.forEach((a) => flow.freeze(a, `is expanded by ${describe(node)} to a shape of unknown length`));
  // 1 leaves an axis as it is.
  const size = (labels: Labels, kept: Kept) => (widened.has(labels) ? kept.count(labels) : 1);
  followSizes(node, flow, 1, out.slice(after.length - length), size);
}

/** Tile repeats whole axes. */
function tile(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  const repeats = flow.constantInts(node, 1);
  if (!x || !repeats) return flow.barrier(node, unknownShape(node));
  const out = x.map((a, i): Axis => {
    if (typeof a === 'string' || repeats[i] === 1) return a;
    const labels = new Int32Array(a.length * repeats[i]);
    for (let r = 0; r < repeats[i]; r++) labels.set(a, r * a.length);
    return labels;
  });
  flow.setAxes(node, 0, out);
}

/** DepthToSpace: an output channel takes r² input channels, which go together. */
function depthToSpace(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  if (x?.length !== 4) return flow.barrier(node, unknownShape(node));
  const labels = x[1];
  let channels: Axis = labels;
  if (labels instanceof Int32Array) {
    const r2 = node.int('blocksize', 1) ** 2;
    const count = labels.length / r2;
    const columnFirst = node.string('mode', 'DCR') === 'DCR';
    channels = new Int32Array(count);
    for (let c = 0; c < count; c++) {
      channels[c] = labels[columnFirst ? c : c * r2];
      for (let k = 0; k < r2; k++) flow.atoms.unite(channels[c], labels[columnFirst ? k * count + c : c * r2 + k]);
    }
  }
  x.slice(2).forEach((a) => flow.freeze(a, `is rearranged by ${describe(node)}`));
  flow.setAxes(node, 0, [x[0], channels, 'is a spatial axis', 'is a spatial axis']);
}

/** Shape and Size: the numbers may end up anywhere; see escapes.ts for what that means for the axes. */
function shapeOf(node: Node, flow: Flow): void {
  const rank = (v: { type?: { shape?: Dim[] } } | null) => v?.type?.shape?.length ?? 0;
  if (node.opType === 'Size') flow.axes(node, 0)?.forEach((a) => flow.freeze(a, `is counted by ${describe(node)}`));
  flow.setAxes(node, 0, Array<Axis>(rank(node.outputs[0])).fill(`comes from ${describe(node)}`));
}

export const moving: Rules = {
  ...same(reshape, 'Reshape Flatten'),
  ...same(shapeOf, 'Shape Size'),
  Transpose: transpose,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Concat: (node, flow) => concat(node, flow),
  Split: split,
  Expand: expand,
  ConstantOfShape: constantOfShape,
  Tile: tile,
  DepthToSpace: depthToSpace,
};
