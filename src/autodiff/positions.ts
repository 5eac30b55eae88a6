import type { Value } from '../graph/ir.ts';
import { DataType } from '../onnx/data-type.ts';
import { Tensor } from '../onnx/tensor.ts';
import { axisBack, axisLast } from './distribution.ts';
import type { Emitter } from './emit.ts';

/** Positions along an axis, and how slices that were taken at some of them are put back. */

/** Longer lists of positions are computed at run time, where the opset can. */
const MAX_LISTED = 4096;

/** 0, 1, … as an int64 vector, as many as the axis is long. */
export function positions(e: Emitter, v: Value, axis: number): Value {
  const size = e.dimOf(v, axis);
  if (typeof size === 'number' && (size <= MAX_LISTED || e.opset < 9)) return e.ints([...Array(size).keys()]);
  const length = e.dims(v, [axis]);
  if (e.opset >= 11)
    return e.op('Range', [e.scalar(0, DataType.INT64), e.squeeze(length, [0]), e.scalar(1, DataType.INT64)]);
  if (e.opset < 9) return e.fail(`the size of axis ${axis} of "${v.name}" is unknown`);
  const ones = e.op('ConstantOfShape', [length], { value: Tensor.fromNumbers('', DataType.INT64, [1], [1]) });
  return e.squeeze(e.op('NonZero', [ones]), [0]);
}

/** A number for each position along an axis of `like`, shaped so that it broadcasts over the other axes. */
export function alongAxis(e: Emitter, vector: Value, like: Value, axis: number): Value {
  const [at] = e.axes(like, [axis]);
  return e.unsqueeze(
    vector,
    [...Array(e.rankOf(like)).keys()].filter((i) => i !== at),
  );
}

/** For every element of `indices`, along a new last axis, whether it names the position; negative ones count from the end. */
export function namedPositions(e: Emitter, indices: Value, v: Value, axis: number): Value {
  const own = e.cast(indices, DataType.INT64);
  const range = positions(e, v, axis);
  const each = e.unsqueeze(own, [e.rankOf(own)]);
  const known = e.numbersOf(indices);
  const here = e.op('Equal', [each, range]);
  if (known?.every((i) => i >= 0)) return here;
  return e.op('Or', [here, e.op('Equal', [each, e.sub(range, e.dims(v, [axis]))])]);
}

/**
 * Zeros of the shape of `like` but for the slices of `g` along one axis, each added at the position that `indices` (an
 * int64 vector) names: the transpose of a Gather.
 * @param distinct that no position is named twice
 */
export function putBack(e: Emitter, g: Value, indices: Value, axis: number, like: Value, distinct = false): Value {
  const [at] = e.axes(like, [axis]);
  const size = e.dimOf(like, at);
  const known = e.numbersOf(indices);
  if (known && typeof size === 'number') {
    const own = known.map((i) => (i < 0 ? i + size : i));
    if (new Set(own).size === own.length) return putAt(e, g, own, at, size);
  }
  if (distinct && e.opset >= 11) return putDistinct(e, g, indices, at, like);
  if (e.opset >= 16) {
    const index = e.expandLike(alongAxis(e, indices, g, at), g);
    return e.op('ScatterElements', [e.zerosLike(like), index, g], { axis: at, reduction: 'add' });
  }
  const hits = e.cast(namedPositions(e, indices, like, at), e.elemTypeOf(g));
  return axisBack(e, e.op('MatMul', [axisLast(e, g, at), hits]), at);
}

/**
 * Slices put back at distinct, known positions of an axis of the given size. Neighbours are framed by zeros; of others
 * each position takes its slice, or the zero that is put behind them.
 */
export function putAt(e: Emitter, g: Value, own: readonly number[], axis: number, size: number): Value {
  const rank = e.rankOf(g);
  const pads = Array<number>(2 * rank).fill(0);
  if (own.every((p, k) => p === own[0] + k)) {
    pads[axis] = own[0] ?? 0;
    pads[rank + axis] = size - own.length - pads[axis];
    return e.pad(g, pads);
  }
  pads[rank + axis] = 1;
  const source = Array<number>(size).fill(own.length);
  own.forEach((p, k) => (source[p] = k));
  return e.op('Gather', [e.pad(g, pads), e.ints(source)], { axis });
}

/** As `putAt`, with the list of sources made at run time. */
function putDistinct(e: Emitter, g: Value, indices: Value, axis: number, like: Value): Value {
  const pads = Array<number>(2 * e.rankOf(g)).fill(0);
  pads[e.rankOf(g) + axis] = 1;
  const behind = e.op('Expand', [e.dims(g, [axis]), e.dims(like, [axis])]);
  const source = e.op('ScatterElements', [behind, indices, positions(e, g, axis)], { axis: 0 });
  return e.op('Gather', [e.pad(g, pads), source], { axis });
}

/** The identity matrix with a row for each position along an axis of `v`, in its element type. */
export function identityAlong(e: Emitter, v: Value, axis: number): Value {
  const range = positions(e, v, axis);
  return e.cast(e.op('Equal', [e.unsqueeze(range, [1]), e.unsqueeze(range, [0])]), e.elemTypeOf(v));
}

/** Σ_p g[…, p, …] · matrix[p, q] along one axis: the transpose of what multiplies that axis by a matrix [p, q]. */
export function contract(e: Emitter, g: Value, matrix: Value, axis: number): Value {
  const rank = e.rankOf(g);
  const [at] = e.axes(g, [axis]);
  // Next to last it is a row of each matrix already.
  if (at === rank - 2) return e.op('MatMul', [e.transpose(matrix, [1, 0]), g]);
  return axisBack(e, e.op('MatMul', [axisLast(e, g, at), matrix]), at);
}

/**
 * Zeros of the shape of `like` but for the elements of `g`, each added along one axis at the position that the same
 * element of `indices` names: the transpose of GatherElements.
 * @param distinct that no position is named twice
 */
export function putElementsBack(
  e: Emitter,
  g: Value,
  indices: Value,
  axis: number,
  like: Value,
  distinct = false,
): Value {
  const [at] = e.axes(like, [axis]);
  if (e.opset >= 16) return e.op('ScatterElements', [e.zerosLike(like), indices, g], { axis: at, reduction: 'add' });
  if (distinct && e.opset >= 11) return e.op('ScatterElements', [e.zerosLike(like), indices, g], { axis: at });
  if (e.shapeOf(indices)?.some((d, i) => i !== at && d !== e.dimOf(like, i)))
    return e.fail('indices of part of the other axes need opset 16');
  const last = e.rankOf(g);
  const spread = e.mul(e.unsqueeze(g, [last]), e.cast(namedPositions(e, indices, like, at), e.elemTypeOf(g)));
  return axisBack(e, e.reduceSum(spread, [at], false), at);
}
