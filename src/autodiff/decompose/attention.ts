import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { softmaxAlong } from '../distribution.ts';
import type { Emitter } from '../emit.ts';
import { positions } from '../positions.ts';

/** Attention in plain ops: softmax(scale·Q·Kᵀ + bias)·V for every head, of which gradients follow by their rules. */

/** Operands by heads: [batch, heads, length, size]. */
export interface Heads {
  query: Value;
  /** Fewer heads than the query has serve as many neighbouring ones each. */
  key: Value;
  value: Value;
}

export interface AttentionForm {
  /** Factor of the products; 1/√size unless given. */
  scale?: number;
  /** Scores go through cap·tanh(score/cap), before anything is added; 0 for no cap. */
  softcap?: number;
  /** Added to the scores: broadcasts to [batch, heads, queries, keys]. */
  biases?: readonly Value[];
  /** Booleans, broadcast like the biases: only keys for which all hold are seen; a query that sees none gives 0. */
  allowed?: readonly Value[];
}

/** What the heads see, [batch, heads, queries, size of values]. */
export function attend(e: Emitter, { query, key, value }: Heads, form: AttentionForm = {}): Value {
  const scores = scoresOf(e, query, shareHeads(e, key, query), form);
  return e.op('MatMul', [weightsOf(e, scores, form), shareHeads(e, value, query)]);
}

function scoresOf(e: Emitter, query: Value, key: Value, form: AttentionForm): Value {
  const scaled = e.scale(query, form.scale ?? defaultScale(e, query));
  let scores = e.op('MatMul', [scaled, e.transpose(key, [0, 1, 3, 2])]);
  if (form.softcap) scores = e.scale(e.op('Tanh', [e.scale(scores, 1 / form.softcap)]), form.softcap);
  return (form.biases ?? []).reduce((sum, bias) => e.add(sum, bias), scores);
}

function defaultScale(e: Emitter, query: Value): number {
  const size = e.dimOf(query, 3);
  return typeof size === 'number' ? 1 / Math.sqrt(size) : e.fail(`the size of the heads of "${query.name}" is unknown`);
}

function weightsOf(e: Emitter, scores: Value, { allowed = [] }: AttentionForm): Value {
  const last = e.rankOf(scores) - 1;
  if (allowed.length === 0) return softmaxAlong(e, scores, last);
  const seen = allowed.reduce((a, b) => e.and(a, b));
  const masked = e.where(seen, scores, e.scalar(lowest(e, scores), scores));
  return e.keep(seen, softmaxAlong(e, masked, last));
}

/** A score that no sum of others comes near to. */
function lowest(e: Emitter, like: Value): number {
  return e.elemTypeOf(like) === DataType.FLOAT16 ? -6e4 : -1e38;
}

/** Each head repeated, so that there are as many as in `like`. */
function shareHeads(e: Emitter, v: Value, like: Value): Value {
  const [own, wanted] = [e.dimOf(v, 1), e.dimOf(like, 1)];
  if (own === wanted && own !== null) return v;
  if (typeof own !== 'number' || typeof wanted !== 'number')
    return e.fail(`the number of heads of "${v.name}" is unknown`);
  const repeated = e.op('Expand', [e.unsqueeze(v, [2]), e.ints([1, 1, wanted / own, 1, 1])]);
  return e.reshape(repeated, e.joinInts([e.ints([0, wanted]), e.dims(v, [2, 3])]));
}

/** [batch, length, heads·size] by heads: [batch, heads, length, size]. */
export function toHeads(e: Emitter, v: Value, heads: number): Value {
  const width = e.dimOf(v, 2);
  const size = typeof width === 'number' ? width / heads : -1;
  return e.transpose(e.reshape(v, [0, 0, heads, size]), [0, 2, 1, 3]);
}

/** Undoes `toHeads`. */
export function fromHeads(e: Emitter, v: Value): Value {
  const [heads, size] = [e.dimOf(v, 1), e.dimOf(v, 3)];
  const width = typeof heads === 'number' && typeof size === 'number' ? heads * size : -1;
  return e.reshape(e.transpose(v, [0, 2, 1, 3]), [0, 0, width]);
}

/**
 * Booleans [queries, keys], with the axes of `offset` in front: key j is seen by query i where j ≤ i + offset.
 * @param offset how many keys come before the first query: int64, broadcast against [queries, keys]; 0 unless given
 */
export function causal(e: Emitter, query: Value, key: Value, offset?: Value): Value {
  const own = e.unsqueeze(positions(e, query, 2), [1]);
  return e.not(e.op('Less', [offset ? e.add(own, offset) : own, positions(e, key, 2)]));
}
