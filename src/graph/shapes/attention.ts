import { DataType } from '../../onnx/data-type.ts';
import type { Dim } from '../ir.ts';
import type { Rule, RuleContext, RuleTable } from './context.ts';
import { addDims, exactDiv, mulDims } from './dims.ts';

/** Fused attention, embedding, normalization and expert ops: ai.onnx 23 and later, and onnxruntime's own. */

/** ai.onnx Attention: 3-d [batch, sequence, heads·size] or 4-d [batch, heads, sequence, size] operands. */
const attention: Rule = (c) => {
  const [q, k, v] = [c.shape(0), c.shape(1), c.shape(2)];
  if (!q) return;
  const past = c.shape(4);
  if (q.length === 4) {
    const total = addDims(k?.[2] ?? null, past ? past[2] : 0);
    c.out(0, c.elem(0), [q[0], q[1], q[2], v?.[3] ?? null]);
    c.out(1, c.elem(1), k && [k[0], k[1], total, k[3]]);
    c.out(2, c.elem(2), v && [v[0], v[1], total, v[3]]);
    c.out(3, c.elem(0), [q[0], q[1], q[2], total]);
    return;
  }
  const [qHeads, kvHeads] = [c.int('q_num_heads') ?? null, c.int('kv_num_heads') ?? null];
  const total = addDims(k?.[1] ?? null, past ? past[2] : 0);
  const vHead = perHead(v?.[2], kvHeads);
  c.out(0, c.elem(0), [q[0], q[1], mulDims(qHeads, vHead)]);
  c.out(1, c.elem(1), k && [k[0], kvHeads, total, perHead(k[2], kvHeads)]);
  c.out(2, c.elem(2), v && [v[0], kvHeads, total, vHead]);
  c.out(3, c.elem(0), [q[0], qHeads, q[1], total]);
};

function perHead(size: Dim | undefined, heads: Dim): Dim {
  return exactDiv(size ?? null, heads);
}

/** com.microsoft.Attention: input [batch, sequence, hidden], weights [hidden, q + k + v]. */
const msAttention: Rule = (c) => {
  const x = c.shape(0);
  const bias = c.shape(2);
  const weights = c.shape(1);
  const sizes = c.ints('qkv_hidden_sizes');
  const third = exactDiv(weights?.[1] ?? bias?.[0] ?? null, 3);
  const vSize = sizes?.[2] ?? third;
  const heads = c.int('num_heads') ?? null;
  c.out(0, c.elem(0), x && [x[0], x[1], vSize]);
  const past = c.shape(4);
  const total = addDims(x?.[1] ?? null, past ? past[3] : 0);
  c.out(1, c.elem(0), [
    2,
    x?.[0] ?? null,
    heads,
    c.int('past_present_share_buffer', 0) ? (past?.[3] ?? null) : total,
    exactDiv(sizes?.[1] ?? third, heads),
  ]);
};

/** query [batch, sequence, hidden] or packed [batch, sequence, heads, 3, size]; key and value 3-d, or 4-d for a cache. */
const multiHeadAttention: Rule = (c) => {
  const [q, k, v] = [c.shape(0), c.shape(1), c.shape(2)];
  const heads = c.int('num_heads') ?? null;
  if (!q) return;
  let hidden: Dim = q.length === 5 ? mulDims(q[2], q[4]) : q[2];
  if (v?.length === 3) hidden = v[2];
  else if (v?.length === 4) hidden = mulDims(v[1], v[3]);
  else if (k?.length === 5) hidden = mulDims(k[2], k[4]);
  c.out(0, c.elem(0), [q[0], q[1], hidden]);
  const past = c.shape(6);
  const length = q.length === 5 ? q[1] : k?.length === 4 ? k[2] : (k?.[1] ?? null);
  const total = addDims(length, past ? past[2] : 0);
  const qSize = q.length === 5 ? q[4] : exactDiv(q[2], heads);
  c.out(1, c.elem(0), [q[0], heads, total, qSize]);
  c.out(2, c.elem(0), [q[0], heads, total, exactDiv(hidden, heads)]);
};

const groupQueryAttention: Rule = (c) => {
  const [q, k, past] = [c.shape(0), c.shape(1), c.shape(3)];
  if (!q) return;
  const heads = c.int('num_heads') ?? null;
  const kvHeads = c.int('kv_num_heads') ?? null;
  const packed = !c.has(1);
  const size: Dim = packed
    ? exactDiv(q[2], typeof heads === 'number' && typeof kvHeads === 'number' ? heads + 2 * kvHeads : null)
    : exactDiv(q[2], heads);
  c.out(0, c.elem(0), [q[0], q[1], mulDims(heads, size)]);
  // The cache grows by what the total length (an input of the run) says.
  const total = past && past[2] === 0 ? (k?.[1] ?? q[1]) : null;
  c.out(1, c.elem(3) || c.elem(0), [q[0], kvHeads, total, size]);
  c.out(2, c.elem(4) || c.elem(0), [q[0], kvHeads, total, size]);
};

const skipNorm: Rule = (c) => {
  c.same(0);
  const x = c.shape(0);
  const stats = x && [...x.slice(0, -1), 1];
  c.out(1, DataType.FLOAT, stats);
  c.out(2, DataType.FLOAT, stats);
  c.out(3, c.elem(0), x);
};

const embedLayerNorm: Rule = (c) => {
  const ids = c.shape(0);
  const table = c.shape(2);
  const shape = ids && [...ids, table?.[1] ?? null];
  c.out(0, c.elem(2), shape);
  c.out(1, DataType.INT32, [ids?.[0] ?? null]);
  c.out(2, c.elem(2), shape);
};

const sameAsFirst: Rule = (c) => c.same(0);

const qAttention: Rule = (c) => {
  const x = c.shape(0);
  const third = exactDiv(c.shape(1)?.[1] ?? null, 3);
  const heads = c.int('num_heads') ?? null;
  const past = c.shape(8);
  c.out(0, c.elem(3), x && [x[0], x[1], third]);
  c.out(1, c.elem(3), [2, x?.[0] ?? null, heads, addDims(x?.[1] ?? null, past ? past[3] : 0), exactDiv(third, heads)]);
};

const beamSearch: Rule = (c) => {
  const batch = c.shape(0)?.[0] ?? null;
  const [maxLength, sequences] = [c.content(1)?.[0] ?? null, c.content(4)?.[0] ?? null];
  c.out(0, DataType.INT32, [batch, sequences, maxLength]);
  c.out(1, DataType.FLOAT, [batch, sequences]);
};

const dft: Rule = (c: RuleContext) => {
  const x = c.shape(0);
  if (!x) return;
  const axis = c.opset >= 20 ? (c.has(2) ? c.number(2) : -2) : c.int('axis', 1);
  const length = c.has(1) ? (c.content(1)?.[0] ?? null) : undefined;
  const at = axis === undefined ? -1 : axis < 0 ? axis + x.length : axis;
  const shape = x.map((d, i): Dim => {
    if (i === x.length - 1) return c.int('inverse', 0) === 1 && c.int('onesided', 0) === 1 ? 1 : 2;
    if (at === -1) return null;
    if (i !== at) return d;
    const n = length === undefined ? d : length;
    return c.int('onesided', 0) === 1 && c.int('inverse', 0) === 0
      ? typeof n === 'number'
        ? Math.floor(n / 2) + 1
        : null
      : n;
  });
  c.out(0, c.elem(0), shape);
};

export const attentionRules: RuleTable = {
  Attention: attention,
  RotaryEmbedding: sameAsFirst,
  DFT: dft,
  MelWeightMatrix: (c) =>
    c.out(0, c.int('output_datatype', 1), [
      addDims(
        c.content(1)?.[0] !== undefined && typeof c.content(1)![0] === 'number'
          ? Math.floor((c.content(1)![0] as number) / 2)
          : null,
        1,
      ),
      c.content(0)?.[0] ?? null,
    ]),
  'com.microsoft.Attention': msAttention,
  'com.microsoft.QAttention': qAttention,
  'com.microsoft.MultiHeadAttention': multiHeadAttention,
  'com.microsoft.DecoderMaskedMultiHeadAttention': multiHeadAttention,
  'com.microsoft.GroupQueryAttention': groupQueryAttention,
  'com.microsoft.RotaryEmbedding': sameAsFirst,
  'com.microsoft.SkipLayerNormalization': skipNorm,
  'com.microsoft.SkipSimplifiedLayerNormalization': skipNorm,
  'com.microsoft.EmbedLayerNormalization': embedLayerNorm,
  'com.microsoft.BiasSplitGelu': (c) => {
    const x = c.shape(0);
    c.out(0, c.elem(0), x && [...x.slice(0, -1), exactDiv(x[x.length - 1], 2)]);
  },
  'com.microsoft.MoE': sameAsFirst,
  'com.microsoft.QMoE': sameAsFirst,
  'com.microsoft.BiasSoftmax': sameAsFirst,
  'com.microsoft.NGramRepeatBlock': (c) => c.same(0, 1),
  'com.microsoft.BeamSearch': beamSearch,
};
