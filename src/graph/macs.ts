import type { Dim, Node, Value } from './ir.ts';
import { constantTensor } from './edit.ts';
import { evaluateDim } from './shapes/dims.ts';

/**
 * Multiply-accumulates of one node for one sample: convolutions, matrix products, recurrent ops, fused attention and
 * experts; 0 for all else. Dims that are not fixed count 1. Needs inferred shapes; what is unknown counts 1 too.
 */
export function nodeMacs(node: Node): number {
  const parts = attentionMacs(node);
  const macs = parts ? parts.projection + parts.scores + parts.values : (MACS.get(node.op)?.(node) ?? 0);
  return Number.isFinite(macs) && macs > 0 ? macs : 0;
}

type MacRule = (node: Node) => number;

/** Dims of a value as numbers; empty when the rank is unknown. */
export function sizes(value: Value | null | undefined): number[] {
  if (!value) return [];
  const dims: readonly Dim[] | undefined = value.type?.shape ?? constantTensor(value)?.dims;
  return (dims ?? []).map((d) => evaluateDim(d));
}

/** Number of elements of a value, dims that are not fixed counting 1. */
export function elements(value: Value | null | undefined): number {
  return sizes(value).reduce((a, b) => a * b, 1);
}

/** Every output element takes one product per element of the filter of its channel. */
const conv =
  (w: number): MacRule =>
  (n) =>
    elements(n.outputs[0]) * product(sizes(n.inputs[w]).slice(1));

/** Every input element meets one row of the filter. */
const convTranspose: MacRule = (n) => elements(n.inputs[0]) * product(sizes(n.inputs[1]).slice(1));

/** Output elements × the length of what is summed over: the last axis of the left operand. */
const matmul =
  (a: number, b: number): MacRule =>
  (n) => {
    const left = sizes(n.inputs[a]);
    const right = sizes(n.inputs[b]);
    const inner = right.length === 1 ? right[0] : right.length > 1 ? right[right.length - 2] : left[left.length - 1];
    const flip = n.int('transB', 0) === 1 && right.length > 1;
    return elements(n.outputs[0]) * (flip ? right[right.length - 1] : (inner ?? 0));
  };

const gemm =
  (b: number): MacRule =>
  (n) =>
    elements(n.outputs[0]) * (sizes(n.inputs[b])[n.int('transB', 0) ? 1 : 0] ?? 0);

const packedMatMul: MacRule = (n) => elements(n.outputs[0]) * n.int('K', 0);

/** Every step of every sequence goes once through all weights. */
const recurrent: MacRule = (n) => {
  const x = sizes(n.inputs[0]);
  return (x[0] ?? 1) * (x[1] ?? 1) * (elements(n.inputs[1]) + elements(n.inputs[2]));
};

/** What the MACs of a fused attention consist of: projections inside the op, q·kᵀ, and weights·v. */
export interface AttentionMacs {
  projection: number;
  scores: number;
  values: number;
}

/** The parts of a fused attention's MACs, which add up to `nodeMacs`; undefined for other ops. */
export function attentionMacs(node: Node): AttentionMacs | undefined {
  return ATTENTION.get(node.op)?.(node);
}

type AttentionRule = (node: Node) => AttentionMacs;

/** q·kᵀ and weights·v, in elements of the score matrix × head sizes. */
function attentionCore(
  batch: number,
  heads: number,
  queries: number,
  keys: number,
  qkSize: number,
  vSize: number,
): AttentionMacs {
  const matrix = batch * heads * queries * keys;
  return { projection: 0, scores: matrix * qkSize, values: matrix * vSize };
}

const attention: AttentionRule = (n) => {
  const [q, k, v] = [sizes(n.inputs[0]), sizes(n.inputs[1]), sizes(n.inputs[2])];
  const past = sizes(n.inputs[4]);
  if (q.length === 4) return attentionCore(q[0], q[1], q[2], (k[2] ?? 1) + (past[2] ?? 0), q[3], v[3] ?? q[3]);
  const heads = n.int('q_num_heads', 1);
  const kvHeads = n.int('kv_num_heads', heads);
  return attentionCore(q[0], heads, q[1], (k[1] ?? 1) + (past[2] ?? 0), q[2] / heads, (v[2] ?? q[2]) / kvHeads);
};

const projectedAttention: AttentionRule = (n) => {
  const x = sizes(n.inputs[0]);
  const weights = sizes(n.inputs[1]);
  const given = n.ints('qkv_hidden_sizes');
  const third = (weights[1] ?? 0) / 3;
  const past = sizes(n.inputs[n.opType === 'QAttention' ? 8 : 4]);
  const [batch, sequence] = [x[0] ?? 1, x[1] ?? 1];
  const core = attentionCore(batch, 1, sequence, sequence + (past[3] ?? 0), given?.[0] ?? third, given?.[2] ?? third);
  return { ...core, projection: batch * sequence * (x[2] ?? weights[0] ?? 0) * (weights[1] ?? 0) };
};

const multiHead: AttentionRule = (n) => {
  const [q, k, v] = [sizes(n.inputs[0]), sizes(n.inputs[1]), sizes(n.inputs[2])];
  const grouped = n.opType === 'GroupQueryAttention';
  const past = sizes(n.inputs[grouped ? 3 : n.opType === 'DecoderMaskedMultiHeadAttention' ? 5 : 6]);
  const hidden = q.length === 5 ? q[2] * q[4] : (q[2] ?? 0);
  const keys = (k.length === 4 ? k[2] : (k[1] ?? q[1] ?? 1)) + (past[2] ?? 0);
  if (grouped && k.length === 0) {
    const heads = n.int('num_heads', 1);
    const size = hidden / (heads + 2 * n.int('kv_num_heads', heads));
    return attentionCore(q[0] ?? 1, heads, q[1] ?? 1, keys, size, size);
  }
  const own = v.length === 3 ? v[2] : v.length === 4 ? v[1] * v[3] : hidden;
  return attentionCore(q[0] ?? 1, 1, q[1] ?? 1, keys, hidden, grouped ? hidden : own);
};

const ATTENTION: ReadonlyMap<string, AttentionRule> = new Map(
  Object.entries<AttentionRule>({
    Attention: attention,
    'com.microsoft.Attention': projectedAttention,
    'com.microsoft.QAttention': projectedAttention,
    'com.microsoft.MultiHeadAttention': multiHead,
    'com.microsoft.DecoderMaskedMultiHeadAttention': multiHead,
    'com.microsoft.GroupQueryAttention': multiHead,
  }),
);

/** k of the experts for every token, and nothing for the router, which is a MatMul of its own. */
const experts =
  (weights: readonly number[]): MacRule =>
  (n) => {
    const x = sizes(n.inputs[0]);
    const tokens = product(x.slice(0, -1));
    const packed = n.opType === 'QMoE' ? 8 / n.int('expert_weight_bits', 4) : 1;
    const perExpert = weights.reduce(
      (sum, i) => sum + (n.inputs[i] ? product(sizes(n.inputs[i]).slice(1)) * packed : 0),
      0,
    );
    return tokens * n.int('k', 1) * perExpert;
  };

/** Product over all letters: every combination of them is one multiplication (two operands; with more, of the last one). */
const einsum: MacRule = (n) => {
  if (n.inputs.length < 2) return 0;
  const terms = n.string('equation', '').replace(/\s+/g, '').split('->')[0].split(',');
  const letters = new Map<string, number>();
  terms.forEach((term, t) => {
    const dims = sizes(n.inputs[t]);
    const [before, after] = term.includes('...') ? term.split('...') : [term, ''];
    [...before].forEach((l, i) => letters.set(l, Math.max(letters.get(l) ?? 1, dims[i] ?? 1)));
    [...after].forEach((l, i) =>
      letters.set(l, Math.max(letters.get(l) ?? 1, dims[dims.length - after.length + i] ?? 1)),
    );
    if (term.includes('...')) {
      const common = product(dims.slice(before.length, dims.length - after.length));
      letters.set('...', Math.max(letters.get('...') ?? 1, common));
    }
  });
  return product([...letters.values()]);
};

const MACS: ReadonlyMap<string, MacRule> = new Map(
  Object.entries<MacRule>({
    Conv: conv(1),
    ConvInteger: conv(1),
    DeformConv: conv(1),
    QLinearConv: conv(3),
    'com.microsoft.FusedConv': conv(1),
    'com.microsoft.nchwc.Conv': conv(1),
    'com.microsoft.NhwcConv': conv(1),
    'com.microsoft.NhwcFusedConv': conv(1),
    'com.microsoft.QLinearConv': conv(3),
    ConvTranspose: convTranspose,
    'com.microsoft.ConvTransposeWithDynamicPads': convTranspose,
    MatMul: matmul(0, 1),
    MatMulInteger: matmul(0, 1),
    QLinearMatMul: matmul(0, 3),
    'com.microsoft.FusedMatMul': matmul(0, 1),
    'com.microsoft.TransposeMatMul': matmul(0, 1),
    'com.microsoft.FusedMatMulActivation': matmul(0, 1),
    'com.microsoft.GemmFastGelu': matmul(0, 1),
    'com.microsoft.MatMulInteger16': matmul(0, 1),
    'com.microsoft.MatMulIntegerToFloat': matmul(0, 1),
    'com.microsoft.DynamicQuantizeMatMul': matmul(0, 1),
    'com.microsoft.MatMulNBits': packedMatMul,
    'com.microsoft.MatMulBnb4': packedMatMul,
    Gemm: gemm(1),
    'com.microsoft.FusedGemm': gemm(1),
    'com.microsoft.GemmFloat8': gemm(1),
    'com.microsoft.QGemm': gemm(3),
    LSTM: recurrent,
    GRU: recurrent,
    RNN: recurrent,
    'com.microsoft.DynamicQuantizeLSTM': recurrent,
    'com.microsoft.MoE': experts([2, 4, 6]),
    'com.microsoft.QMoE': experts([2, 5, 8]),
    Einsum: einsum,
  }),
);

function product(values: readonly number[]): number {
  return values.reduce((a, b) => a * b, 1);
}
