import { attentionMacs } from '../../graph/macs.ts';
import type { Node } from '../../graph/ir.ts';
import { Tensor } from '../../onnx/tensor.ts';
import { describe, type Axis, type Flow } from '../flow.ts';
import { biasedQueries, packedQueries, projectedQueries } from '../gates/attention.ts';
import type { Gate } from '../gates/gate.ts';
import { mergeHeads, remaining, shareHeads, splitHeads, tieRotated, tieRuns, type Heads } from '../heads.ts';
import { same, type Rule, type Rules } from './rule.ts';

/**
 * Fused attention: features are split into heads × dimensions, as decomposed attention does with Reshape. Heads of
 * queries, keys and values go together; dimensions of queries go with those of keys, which the op contracts; dimensions of
 * values are carried to the output.
 */

const unknownShape = (node: Node) => `feeds ${describe(node)}, whose shapes are not known`;
const positions = (node: Node) => `is positions of sequences in ${describe(node)}`;

/** Queries, keys and values. */
interface Operands {
  q: Heads;
  k: Heads;
  v: Heads;
}

/** The heads of an operand: [B, N, H·d], [B, H, N, d], or several packed as [B, N, H, …, d]; undefined where its shape is not known. */
function operand(node: Node, flow: Flow, input: number, count: number | undefined): Heads | undefined {
  const axes = flow.axes(node, input);
  const shape = flow.shape(node.inputs[input]);
  if (!axes || !shape) return undefined;
  const [h, d] = axes.length === 4 ? [1, 3] : axes.length === 5 ? [2, 4] : [axes.length - 1, axes.length - 1];
  axes.forEach((axis, i) => i !== h && i !== d && flow.freeze(axis, positions(node)));
  const [heads, size] = [shape[h], shape[d]];
  if (typeof size !== 'number') return undefined;
  if (axes.length > 3)
    return typeof heads === 'number' ? { heads: axes[h], dims: axes[d], count: heads, size } : undefined;
  if (axes.length !== 3 || !count || size % count !== 0) return undefined;
  return splitHeads(flow, node, axes[2], count, size / count);
}

/** What is the same of all: who goes with whom, what each is, what the MACs are made of. False: they do not fit each other. */
function attend(node: Node, flow: Flow, { q, k, v }: Operands, projection?: readonly Axis[]): boolean {
  if (k.count !== v.count || q.size !== k.size) return false;
  flow.unite(k.heads, v.heads);
  if (!shareHeads(flow, q, k)) return false;
  flow.unite(q.dims, k.dims);
  for (const { heads, dims } of [q, k, v]) {
    flow.role(heads, 'head');
    flow.role(dims, 'head-dim');
  }
  const macs = attentionMacs(node);
  const total = macs ? macs.projection + macs.scores + macs.values : 0;
  if (!macs || !(total > 0)) return true;
  if (projection) flow.macs(node, [...projection], macs.projection / total);
  flow.macs(node, [q.heads, q.dims], macs.scores / total);
  flow.macs(node, [q.heads, v.dims], macs.values / total);
  return true;
}

/** The gate of the dimensions that are contracted inside, on the queries: heads are gated where the output is read. */
function gateQueries(node: Node, flow: Flow, input: number, axis: number, q: Heads, gate?: Gate): void {
  const { dims } = q;
  const length = flow.shape(node.inputs[input])?.[axis];
  if (typeof dims === 'string' || typeof length !== 'number') return;
  const [other] = flow.labels('is no query', 1);
  const own = length === q.size ? q.size : q.count * q.size;
  const labels = Int32Array.from({ length }, (_, p) => (p < own ? dims[p % q.size] : other));
  flow.contractions.push({ node, input, axis, labels, ...(gate && { gate }) });
}

/** Numbers of heads follow what stays; the scale stays what it was when dimensions go. */
function rewriteHeads(node: Node, flow: Flow, counts: Record<string, Heads>, q: Heads, zeroIsDefault: boolean): void {
  flow.rewrite(node, (copy, kept) => {
    for (const [name, heads] of Object.entries(counts)) {
      const left = remaining(heads.heads, heads.count, kept);
      if (left !== heads.count) copy.setInt(name, left);
    }
    const given = copy.attributes.has('scale') && !(zeroIsDefault && copy.float('scale', 0) === 0);
    if (!given && remaining(q.dims, q.size, kept) !== q.size) copy.setFloat('scale', 1 / Math.sqrt(q.size));
  });
}

/** A tensor [B, H, N, d] of states: the past that comes in, or what goes out. */
function states(node: Node, flow: Flow, past: number, present: number, { heads, dims }: Heads): void {
  const axes = flow.axes(node, past);
  if (node.inputs[past] && axes?.length !== 4) for (const a of [heads, dims]) flow.freeze(a, unknownShape(node));
  if (axes?.length === 4) {
    flow.unite(heads, axes[1]);
    flow.unite(dims, axes[3]);
    for (const i of [0, 2]) flow.freeze(axes[i], positions(node));
  }
  if (node.outputs[present]?.type?.shape)
    flow.setAxes(node, present, [`comes from ${describe(node)}`, heads, `comes from ${describe(node)}`, dims]);
}

/** A mask or bias of the scores, that broadcasts to [B, H, N, M]: where it has heads, they go too. */
function scoreBias(node: Node, flow: Flow, input: number, heads: Axis): void {
  const axes = flow.axes(node, input);
  const shape = flow.shape(node.inputs[input]);
  if (!node.inputs[input]) return;
  if (!axes || !shape) return flow.freeze(heads, unknownShape(node));
  axes.forEach((axis, i) => {
    if (i !== axes.length - 3) flow.freeze(axis, positions(node));
    else if (shape[i] !== 1) flow.unite(heads, axis);
  });
}

/** Scores [B, H, N, M], where they are given. */
function scores(node: Node, flow: Flow, output: number, heads: Axis): void {
  const other = `comes from ${describe(node)}`;
  if (node.outputs[output]?.type?.shape) flow.setAxes(node, output, [other, heads, other, other]);
}

/** Output [B, N, heads × dimensions of values]. */
function setFeatures(node: Node, flow: Flow, q: Heads, v: Heads): void {
  const batch = flow.axes(node, 0)!;
  flow.setAxes(node, 0, [batch[0], batch[1], mergeHeads(flow, node, { ...v, heads: q.heads, count: q.count })]);
}

/** Everything that an attention reads stays; its costs are those of all heads. */
const frozen =
  (reason: string): Rule =>
  (node, flow) =>
    flow.barrier(node, `feeds ${describe(node)}, ${reason}`);

/**
 * ai.onnx Attention: operands are 3-d [B, N, H·d] or 4-d [B, H, N, d]; there may be fewer heads of keys and values than of
 * queries.
 */
const standard: Rule = (node, flow) => {
  const q = operand(node, flow, 0, node.int('q_num_heads'));
  const k = operand(node, flow, 1, node.int('kv_num_heads'));
  const v = operand(node, flow, 2, node.int('kv_num_heads'));
  if (!q || !k || !v || !attend(node, flow, { q, k, v })) return flow.barrier(node, unknownShape(node));
  const whole = flow.axes(node, 0)!.length === 4;
  gateQueries(node, flow, 0, whole ? 3 : 2, q);
  scoreBias(node, flow, 3, q.heads);
  states(node, flow, 4, 1, k);
  states(node, flow, 5, 2, v);
  scores(node, flow, 3, q.heads);
  rewriteHeads(node, flow, whole ? {} : { q_num_heads: q, kv_num_heads: k }, q, false);
  const x = flow.axes(node, 0)!;
  if (whole) flow.setAxes(node, 0, [x[0], q.heads, x[2], v.dims]);
  else setFeatures(node, flow, q, v);
};

/**
 * com.microsoft.MultiHeadAttention: query, key and value 3-d; or all packed in the query as [B, N, H, 3, d]; or key and value
 * packed as [B, N, H, 2, d]; or key and value 4-d [B, H, M, d]. A bias is that of all three, one after the other.
 */
const multiHead: Rule = (node, flow) => {
  const rank = (input: number) => flow.axes(node, input)?.length;
  const count = node.int('num_heads');
  const packed = rank(0) === 5;
  const q = operand(node, flow, 0, count);
  const k = packed ? q : operand(node, flow, 1, count);
  const v = packed ? q : rank(1) === 5 ? k : operand(node, flow, 2, count);
  const odd = node.inputs[8] || node.inputs[9] || (node.inputs[3] && [rank(0), rank(1)].includes(5));
  if (odd) return flow.barrier(node, `feeds ${describe(node)}, which keeps states of its own`);
  if (!q || !k || !v || !attend(node, flow, { q, k, v })) return flow.barrier(node, unknownShape(node));
  // Keys and values that come as states have one shape.
  if (rank(1) === 4 || node.inputs[6]) flow.unite(k.dims, v.dims);
  if (packed) gateQueries(node, flow, 0, 4, q, packedQueries(3));
  else gateQueries(node, flow, 0, 2, q, node.inputs[3] ? biasedQueries(3) : undefined);
  if (node.inputs[3]) {
    const parts = [q, k, v].map((h) => ({ axis: mergeHeads(flow, node, h), length: h.count * h.size }));
    uniteParts(flow, flow.axes(node, 3)?.[0] ?? unknownShape(node), parts);
  }
  scoreBias(node, flow, 5, q.heads);
  states(node, flow, 6, 1, k);
  states(node, flow, 7, 2, v);
  scores(node, flow, 3, q.heads);
  rewriteHeads(node, flow, { num_heads: q }, q, true);
  setFeatures(node, flow, q, v);
};

/** Unites an axis with others, of which it holds the positions one after the other. */
function uniteParts(flow: Flow, axis: Axis, parts: readonly { axis: Axis; length: number }[]): void {
  let at = 0;
  for (const part of parts) {
    flow.unite(part.axis, typeof axis === 'string' ? axis : axis.subarray(at, at + part.length));
    at += part.length;
  }
}

/** com.microsoft.Attention: weights [D, q | k | v] and a bias alike inside; input [B, N, D]. */
const projected: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  const w = flow.axes(node, 1);
  const columns = flow.shape(node.inputs[1])?.[1];
  const count = node.int('num_heads', 0);
  if (x?.length !== 3 || w?.length !== 2 || typeof columns !== 'number') return flow.barrier(node, unknownShape(node));
  const sizes = node.ints('qkv_hidden_sizes') ?? [columns / 3, columns / 3, columns / 3];
  if (
    count < 1 ||
    sizes.length !== 3 ||
    sizes.some((s) => s <= 0 || s % count) ||
    sizes[0] + sizes[1] + sizes[2] !== columns
  )
    return flow.barrier(node, `feeds ${describe(node)}, which has features of unequal size`);
  for (const i of [0, 1]) flow.freeze(x[i], positions(node));
  flow.unite(x[2], w[0]);
  flow.contract(node, 0, 2);
  flow.produce(node, 1, 1);
  let at = 0;
  const [q, k, v] = sizes.map((size) => {
    const part = typeof w[1] === 'string' ? w[1] : w[1].subarray(at, (at += size));
    return splitHeads(flow, node, part, count, size / count);
  });
  if (!attend(node, flow, { q, k, v }, [w[0], w[1]])) return flow.barrier(node, unknownShape(node));
  if (node.inputs[2]) flow.unite(w[1], flow.axes(node, 2)?.[0] ?? unknownShape(node));
  if (node.int('do_rotary', 0)) flow.freeze(q.dims, `is turned by ${describe(node)}`);
  gateQueries(node, flow, 1, 1, q, projectedQueries(2));
  scoreBias(node, flow, 5, q.heads);
  // One tensor holds the states of keys and of values: [2, B, H, N, d].
  const present = node.outputs[1];
  if (node.inputs[4] || present?.uses.length || present?.isGraphOutput) {
    flow.unite(k.dims, v.dims);
    const past = node.inputs[4] ? flow.axes(node, 4) : undefined;
    flow.unite(k.heads, past?.[2] ?? k.heads);
    flow.unite(k.dims, past?.[4] ?? k.dims);
    if (node.inputs[4] && !past) for (const a of [k.heads, k.dims]) flow.freeze(a, unknownShape(node));
    const other = `comes from ${describe(node)}`;
    if (present?.type?.shape) flow.setAxes(node, 1, [other, other, k.heads, other, k.dims]);
  }
  rewriteHeads(node, flow, { num_heads: q }, q, true);
  flow.rewrite(node, (copy, kept) => {
    const left = [q, k, v].map((h) => remaining(h.heads, count, kept) * remaining(h.dims, h.size, kept));
    const unequal = copy.attributes.has('qkv_hidden_sizes') || left.some((n) => n !== left[0]);
    if (unequal && left.some((n, i) => n !== sizes[i])) copy.setInts('qkv_hidden_sizes', left);
  });
  setFeatures(node, flow, q, v);
};

/** onnxruntime takes head sizes of GroupQueryAttention in eights, and in sixteens where it turns them. */
const SIZES = { plain: 8, rotary: 16 };

/**
 * com.microsoft.GroupQueryAttention: operands 3-d, or all packed in the query [B, N, (Hq + 2·Hkv)·d]; all heads have the same
 * size. Rotary angles [M, r/2] go with the dimensions that they turn.
 */
const groupQuery: Rule = (node, flow) => {
  const [count, shared] = [node.int('num_heads', 0), node.int('kv_num_heads', 0)];
  const found = node.inputs[1]
    ? { q: operand(node, flow, 0, count), k: operand(node, flow, 1, shared), v: operand(node, flow, 2, shared) }
    : packedGroups(node, flow, count, shared);
  const { q, k, v } = found ?? {};
  if (node.inputs[12] || node.inputs[13])
    return flow.barrier(node, `feeds ${describe(node)}, whose states are quantised`);
  if (!q || !k || !v || k.size !== v.size || !attend(node, flow, { q, k, v }))
    return flow.barrier(node, unknownShape(node));
  flow.unite(k.dims, v.dims);
  const rotary = node.int('do_rotary', 0) !== 0;
  if (rotary) rotate(node, flow, q, [7, 8], node.int('rotary_interleaved', 0) !== 0);
  inRuns(node, flow, q, rotary);
  gateQueries(node, flow, 0, 2, q);
  states(node, flow, 3, 1, k);
  states(node, flow, 4, 2, v);
  scoreBias(node, flow, 10, q.heads);
  if (node.inputs[11]) flow.unite(q.heads, flow.axes(node, 11)?.[0] ?? unknownShape(node));
  scores(node, flow, 3, q.heads);
  rewriteHeads(node, flow, { num_heads: q, kv_num_heads: k }, q, true);
  setFeatures(node, flow, q, v);
};

function packedGroups(node: Node, flow: Flow, count: number, shared: number): Operands | undefined {
  const axes = flow.axes(node, 0);
  const features = flow.shape(node.inputs[0])?.[2];
  const size = typeof features === 'number' ? features / (count + 2 * shared) : NaN;
  if (axes?.length !== 3 || !Number.isInteger(size)) return undefined;
  for (const i of [0, 1]) flow.freeze(axes[i], positions(node));
  let at = 0;
  const [q, k, v] = [count, shared, shared].map((heads) => {
    const part = typeof axes[2] === 'string' ? axes[2] : axes[2].subarray(at, (at += heads * size));
    return splitHeads(flow, node, part, heads, size);
  });
  return { q, k, v };
}

/** Dimensions go in runs, of pairs where they are turned, so that what stays is a size that the runtime takes. */
function inRuns(node: Node, flow: Flow, { dims, size }: Heads, rotary: boolean): void {
  if (typeof dims === 'string') return;
  const reason = `${describe(node)} takes head sizes in steps only`;
  const unit = rotary ? SIZES.rotary : SIZES.plain;
  const angles = rotary ? flow.shape(node.inputs[7])?.[1] : 0;
  if (typeof angles !== 'number') return flow.freeze(dims, unknownShape(node));
  const interleaved = node.int('rotary_interleaved', 0) !== 0;
  // Half of each run of turned dimensions brings along its partners.
  if (angles > 0)
    tieRuns(flow, dims.subarray(0, interleaved ? 2 * angles : angles), interleaved ? unit : unit / 2, reason);
  tieRuns(flow, dims.subarray(2 * angles, size), unit, reason);
}

/** Ties the dimensions of pairs, and the columns of both tables of angles with them. */
function rotate(node: Node, flow: Flow, q: Heads, tables: readonly number[], interleaved: boolean, rotated = 0): void {
  const last = tables.map((i) => ({ axes: flow.axes(node, i), shape: flow.shape(node.inputs[i]) }));
  const angles = last[0].shape?.[last[0].shape.length - 1];
  if (typeof angles !== 'number' || 2 * angles > q.size || (rotated > 0 && rotated !== 2 * angles))
    return flow.freeze(q.dims, unknownShape(node));
  const pairs = tieRotated(flow, q.dims, 2 * angles, interleaved);
  tables.forEach((input, i) => {
    const { axes } = last[i];
    const table = node.inputs[input]!;
    axes?.slice(0, -1).forEach((axis) => flow.freeze(axis, positions(node)));
    const columns = axes?.[axes.length - 1] ?? unknownShape(node);
    if (angles < 2 || !axes) flow.freeze(pairs, columns instanceof Int32Array ? unknownShape(node) : columns);
    // Where only some dimensions are turned, one of them must stay: an axis of angles that is cut sees to that.
    else if ((table.initializer && !table.isGraphInput) || 2 * angles < q.size) flow.unite(pairs, columns);
    else pickAngles(node, flow, input, axes.length - 1, pairs);
  });
}

/** Angles that are computed serve many layers, which may lose different ones: each takes its own out of them. */
function pickAngles(node: Node, flow: Flow, input: number, axis: number, pairs: Axis): void {
  if (typeof pairs === 'string') return;
  flow.rewrite(node, (copy, kept) => {
    const left = [...kept.positions(pairs)];
    if (left.length === pairs.length) return;
    const stem = `${copy.outputs[0]!.name}_angles`;
    const index = copy.graph.addInitializer(stem, Tensor.fromInt64('', [left.length], left));
    const gather = copy.graph.addNode('Gather', [copy.inputs[input]!, index], [stem], { before: copy });
    copy.setInput(input, gather.setInt('axis', axis).outputs[0]!);
  });
}

/**
 * RotaryEmbedding of X [B, N, H·d] or [B, H, N, d]: carried; a dimension goes with its partner and their column of cosines and
 * sines.
 */
const rotary =
  (cos: number, sin: number): Rule =>
  (node, flow) => {
    const axes = flow.axes(node, 0);
    const shape = flow.shape(node.inputs[0]);
    const angles = flow.shape(node.inputs[cos]);
    const partly = node.int('rotary_embedding_dim', 0);
    const features = shape?.[2];
    const width = angles?.[angles.length - 1];
    let count = node.int('num_heads', 0);
    // Without a number of heads, all dimensions are turned, and the angles say how many there are.
    if (!count && axes?.length === 3 && typeof features === 'number' && typeof width === 'number')
      count = features / (2 * width);
    const x = operand(node, flow, 0, count);
    if (!axes || !x) return flow.barrier(node, unknownShape(node));
    rotate(node, flow, x, [cos, sin], node.int('interleaved', 0) !== 0, partly);
    flow.role(x.heads, 'head');
    flow.role(x.dims, 'head-dim');
    flow.rewrite(node, (copy, kept) => {
      const left = remaining(x.heads, x.count, kept);
      if (copy.int('num_heads', 0) && left !== x.count) copy.setInt('num_heads', left);
      if (!partly || !(x.dims instanceof Int32Array)) return;
      const turned = kept.count(x.dims.subarray(0, partly));
      if (turned !== partly) copy.setInt('rotary_embedding_dim', turned);
    });
    flow.setAxes(node, 0, axes);
  };

const MS = 'com.microsoft.';

export const attending: Rules = {
  Attention: standard,
  RotaryEmbedding: rotary(1, 2),
  [`${MS}Attention`]: projected,
  [`${MS}MultiHeadAttention`]: multiHead,
  [`${MS}GroupQueryAttention`]: groupQuery,
  [`${MS}RotaryEmbedding`]: rotary(2, 3),
  ...same(
    frozen('which keeps states of its own'),
    `${MS}DecoderMaskedMultiHeadAttention ${MS}DecoderMaskedSelfAttention ${MS}DecoderAttention ${MS}PagedAttention`,
  ),
  ...same(
    frozen('which packs samples of different lengths'),
    `${MS}PackedAttention ${MS}PackedMultiHeadAttention ${MS}RemovePadding ${MS}RestorePadding`,
  ),
  ...same(frozen('whose pattern of attention is sparse'), `${MS}LongformerAttention ${MS}SparseAttention`),
};
