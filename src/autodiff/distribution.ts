import type { Reading } from '../formats.ts';
import type { Value } from '../graph/ir.ts';
import { PROBABILITY_FLOOR } from '../math/probability.ts';
import { DataType, isHalfType } from '../onnx/data-type.ts';
import type { Emitter } from './emit.ts';

/** Distributions over classes, in the ops of every opset. */

/** Moves an axis to the end. */
export function axisLast(e: Emitter, v: Value, axis: number): Value {
  const rank = e.rankOf(v);
  const [at] = e.axes(v, [axis]);
  const others = Array.from({ length: rank }, (_, i) => i).filter((i) => i !== at);
  return e.transpose(v, [...others, at]);
}

/** Moves the last axis to the given place: undoes `axisLast`. */
export function axisBack(e: Emitter, v: Value, axis: number): Value {
  const rank = e.rankOf(v);
  const [at] = e.axes(v, [axis]);
  const perm = Array.from({ length: rank - 1 }, (_, i) => i);
  perm.splice(at, 0, rank - 1);
  return e.transpose(v, perm);
}

/** Softmax along one axis: before opset 13 the op takes that for all axes from there on, which the last one ends. */
export function softmaxAlong(e: Emitter, v: Value, axis: number, op: 'Softmax' | 'LogSoftmax' = 'Softmax'): Value {
  const [at] = e.axes(v, [axis]);
  const last = e.rankOf(v) - 1;
  if (e.opset >= 13 || at === last) return e.op(op, [v], { axis: at });
  return axisBack(e, e.op(op, [axisLast(e, v, at)], { axis: last }), at);
}

/**
 * Booleans of the shape of `like`: whether the position along `axis` is the class that `labels`, which lacks the axis,
 * names. Labels out of range name none.
 */
export function isClass(e: Emitter, labels: Value, like: Value, axis: number): Value {
  const rank = e.rankOf(like);
  const [at] = e.axes(like, [axis]);
  const classes = e.dimOf(like, at);
  const dims = Array.from({ length: rank }, (_, i) => (i === at ? -1 : 1));
  // int32: every device compares it.
  const range =
    typeof classes === 'number'
      ? e.numbers(
          Array.from({ length: classes }, (_, i) => i),
          [classes],
          DataType.INT32,
        )
      : e.op('Range', [
          e.scalar(0, DataType.INT32),
          e.cast(e.squeeze(e.dims(like, [at]), [0]), DataType.INT32),
          e.scalar(1, DataType.INT32),
        ]);
  return e.op('Equal', [e.unsqueeze(e.cast(labels, DataType.INT32), [at]), e.reshape(range, dims)]);
}

/** Half precision as float32, in which floors and sums of many terms hold; other types as they are. */
export function precise(e: Emitter, v: Value): Value {
  return isHalfType(e.elemTypeOf(v)) ? e.cast(v, DataType.FLOAT) : v;
}

/** Log-probabilities, classes along the last axis; an output that is read as one number of two classes gives two. */
export function logDistribution(e: Emitter, given: Value, reading: Reading, classAxis: number): Value {
  const output = precise(e, given);
  const floored = (p: Value) => e.op('Log', [atLeast(e, p, PROBABILITY_FLOOR)]);
  const pair = (no: Value, yes: Value) => {
    const end = e.rankOf(output);
    return e.concat([e.unsqueeze(no, [end]), e.unsqueeze(yes, [end])], end);
  };
  switch (reading) {
    case 'probabilities':
      return floored(axisLast(e, output, classAxis));
    case 'log-probabilities':
      return atLeast(e, axisLast(e, output, classAxis), Math.log(PROBABILITY_FLOOR));
    case 'binary-logit':
      return pair(e.neg(e.op('Softplus', [output])), e.neg(e.op('Softplus', [e.neg(output)])));
    case 'binary-probability':
      return pair(floored(e.sub(e.scalar(1, output), output)), floored(output));
    default: {
      const last = axisLast(e, output, classAxis);
      return e.op('LogSoftmax', [last], { axis: e.rankOf(last) - 1 });
    }
  }
}

/** max(v, x), whose gradient below x is 0. */
function atLeast(e: Emitter, v: Value, x: number): Value {
  return e.opset >= 11 ? e.op('Clip', [v, e.scalar(x, v)]) : e.op('Clip', [v], { min: { float: x } });
}
