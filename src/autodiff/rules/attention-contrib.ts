import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { attend, causal, fromHeads, toHeads } from '../decompose/attention.ts';
import { anglesAt, rotate, type Angles } from '../decompose/rotary.ts';
import type { Emitter } from '../emit.ts';
import { positions } from '../positions.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/** Attention as onnxruntime fuses it (com.microsoft), and rotary embeddings of either domain. */

/** Projects the input to queries, keys and values itself. */
const attention: GradientRule = (c) =>
  c.instead((e) => {
    const { node } = c;
    if (c.has(4)) c.fail('a cache of keys and values is not supported');
    if (node.int('do_rotary', 0)) c.fail('rotary embeddings inside of it are not supported');
    const product = e.op('MatMul', [c.input(0), c.input(1)]);
    const projected = c.has(2) ? e.add(product, c.input(2)) : product;
    const width = e.dimOf(c.input(1), 1);
    if (typeof width !== 'number') return c.fail('the width of its weights is unknown');
    const sizes = node.ints('qkv_hidden_sizes', Array<number>(3).fill(width / 3));
    const [query, key, value] = e.split(projected, sizes, 2).map((v) => toHeads(e, v, headsOf(c)));
    const biases = [paddingBias(c, e, 3, query, key), c.node.inputs[5]].filter((v): v is Value => !!v);
    return [fromHeads(e, attend(e, { query, key, value }, { ...formOf(c, e, query, key), biases }))];
  });

/** Queries, keys and values with the heads side by side; keys and values may come by heads. */
const multiHead: GradientRule = (c) =>
  c.instead((e) => {
    if (!c.has(1) || !c.has(2) || c.rankOf(c.input(0)) !== 3) c.fail('packed operands are not supported');
    if (c.has(6) || c.has(7)) c.fail('a cache of keys and values is not supported');
    const parts = biasParts(c, e);
    const [query, key, value] = [0, 1, 2].map((i) => {
      const v = c.input(i);
      if (c.rankOf(v) === 4) return parts ? c.fail('biases of keys and values by heads are not supported') : v;
      return toHeads(e, parts ? e.add(v, parts[i]) : v, headsOf(c));
    });
    const biases = [paddingBias(c, e, 4, query, key), c.node.inputs[5]].filter((v): v is Value => !!v);
    const seen = attend(e, { query, key, value }, { ...formOf(c, e, query, key), biases });
    return [fromHeads(e, seen), key, value];
  });

/** Biases of queries, keys and values. */
function biasParts(c: RuleContext, e: Emitter): Value[] | undefined {
  if (!c.has(3)) return undefined;
  const sizes = [0, 1, 2].map((i) => c.dimOf(c.input(i), 2));
  return sizes.every((d) => typeof d === 'number') ? e.split(c.input(3), sizes, 0) : c.fail('sizes are unknown');
}

/**
 * Causal, fewer heads of keys and values than of queries, rotated where asked to. Samples of a batch count as of one
 * length: what is put behind the shorter ones is seen by itself only.
 */
const groupQuery: GradientRule = (c) =>
  c.instead((e) => {
    const { node } = c;
    if (node.int('local_window_size', -1) > 0) c.fail('windows are not supported');
    if (node.int('smooth_softmax', 0) > 0 || c.has(11)) c.fail('attention sinks are not supported');
    const heads = headsOf(c);
    const shared = node.int('kv_num_heads') ?? c.fail('it lacks kv_num_heads');
    const flat = c.has(1) ? [c.input(0), c.input(1), c.input(2)] : packed(c, e, heads, shared);
    const [q, k, value] = flat.map((v, i) => toHeads(e, v, i === 0 ? heads : shared));
    const past = c.has(3) ? e.dims(c.input(3), [2]) : undefined;
    const [query, key] = node.int('do_rotary', 0) ? turned(c, e, [q, k], past) : [q, k];
    const behind = (i: number, v: Value) => (c.has(i) ? e.concat([c.input(i), v], 2) : v);
    const [keys, values] = [behind(3, key), behind(4, value)];
    const seen = attend(
      e,
      { query, key: keys, value: values },
      {
        scale: node.float('scale', 0) || undefined,
        softcap: node.float('softcap', 0),
        biases: c.has(10) ? [c.input(10)] : [],
        allowed: [causal(e, query, keys, past)],
      },
    );
    return [fromHeads(e, seen), keys, values];
  });

/** Queries, keys and values that lie behind each other along the last axis. */
function packed(c: RuleContext, e: Emitter, heads: number, shared: number): Value[] {
  const width = c.dimOf(c.input(0), 2);
  if (typeof width !== 'number') return c.fail('the width of its operand is unknown');
  const size = width / (heads + 2 * shared);
  return e.split(c.input(0), [heads * size, shared * size, shared * size], 2);
}

/** Rotated by their positions, which count on from a cache. */
function turned(c: RuleContext, e: Emitter, operands: readonly Value[], past: Value | undefined): Value[] {
  const own = positions(e, operands[0], 2);
  const at = c.node.inputs[9] ?? (past ? e.add(own, past) : own);
  const angles = anglesAt(e, { cos: c.input(7), sin: c.input(8) }, at);
  return operands.map((v) => rotate(e, v, angles, c.node.int('rotary_interleaved', 0) !== 0));
}

const headsOf = (c: RuleContext) => c.node.int('num_heads') ?? c.fail('it lacks num_heads');

function formOf(c: RuleContext, e: Emitter, query: Value, key: Value) {
  return {
    scale: c.node.float('scale', 0) || undefined,
    allowed: c.node.int('unidirectional', 0) ? [causal(e, query, key)] : [],
  };
}

/**
 * What is added to scores of keys that are padding, by input `i`: lengths [batch], or numbers [batch, keys] or
 * [batch, queries, keys] of which 0 says padding.
 */
function paddingBias(c: RuleContext, e: Emitter, i: number, query: Value, key: Value): Value | undefined {
  if (!c.has(i)) return undefined;
  const mask = c.input(i);
  const rank = c.rankOf(mask);
  // A vector of another length holds starts and ends.
  const lengths = rank === 1 && c.dimOf(mask, 0) !== null && c.dimOf(mask, 0) === c.dimOf(query, 0);
  if (rank > 3 || (rank === 1 && !lengths)) c.fail('its form of a mask is not supported');
  const seen = lengths
    ? e.less(e.cast(positions(e, key, 2), DataType.INT32), e.unsqueeze(mask, [1, 2, 3]))
    : e.greater(e.unsqueeze(mask, rank === 2 ? [1, 2] : [1]), e.scalar(0, mask));
  return e.where(seen, e.scalar(0, query), e.scalar(c.node.float('mask_filter_value', -10000), query));
}

// Rotary embeddings by themselves

/** ai.onnx: tables by position, or the angles of every token. */
const rotary: GradientRule = (c) =>
  c.instead((e) => {
    const tables = { cos: c.input(1), sin: c.input(2) };
    return [rotated(c, e, c.has(3) ? anglesAt(e, tables, c.input(3)) : tables)];
  });

/** com.microsoft: positions come second; a single one is that of the first token. */
const contribRotary: GradientRule = (c) =>
  c.instead((e) => {
    const { node } = c;
    if (node.int('is_packed_batching', 0)) c.fail('packed batches are not supported');
    if (node.float('scale', 1) !== 1) c.fail('a scale is not supported');
    const x = c.input(0);
    const first = c.rankOf(c.input(1)) === 1;
    const at = first ? e.add(positions(e, x, c.rankOf(x) === 4 ? 2 : 1), c.input(1)) : c.input(1);
    return [rotated(c, e, anglesAt(e, { cos: c.input(2), sin: c.input(3) }, at))];
  });

function rotated(c: RuleContext, e: Emitter, angles: Angles): Value {
  const { node } = c;
  const x = c.input(0);
  const interleaved = node.int('interleaved', 0) !== 0;
  if (c.rankOf(x) === 4) return rotate(e, x, angles, interleaved);
  const [width, half] = [e.dimOf(x, 2), e.dimOf(angles.cos, 2)];
  if (typeof width !== 'number' || typeof half !== 'number') return c.fail('the size of its heads is unknown');
  const heads = node.int('num_heads', 0) || width / (2 * half);
  return fromHeads(e, rotate(e, toHeads(e, x, heads), angles, interleaved));
}

export const attentionContribRules: RuleTable = {
  RotaryEmbedding: rotary,
  'com.microsoft.RotaryEmbedding': contribRotary,
  'com.microsoft.Attention': attention,
  'com.microsoft.MultiHeadAttention': multiHead,
  'com.microsoft.GroupQueryAttention': groupQuery,
};
