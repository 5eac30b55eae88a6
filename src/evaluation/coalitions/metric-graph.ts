import type { Reading } from '../../formats.ts';
import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { PROBABILITY_FLOOR } from '../../math/probability.ts';
import type { OutputReading } from '../types.ts';
import type { GraphBuilder } from './graph-builder.ts';
import type { MetricPlace } from './instrument.ts';

/**
 * What is computed per row, as a mean over its positions, to which a negative answer (an ignored label) adds 0:
 * match: 1 where the top answer is the given one; likelihood: log-probability of the given answer;
 * divergence: KL from the given distribution, in nats; squared: squared difference from the given numbers.
 */
export type RowMetric = 'match' | 'likelihood' | 'divergence' | 'squared';

/** Name of the input that holds what the rows of output number `i` are compared with: [groups, s × width]. */
export const targetName = (i: number) => `secateur_target_${i}`;

/** How the numbers of one sample lie in the output. */
export interface RowLayout {
  positions: number;
  /** 1 for single-logit and regression outputs. */
  classes: number;
}

/** Layout of an output whose axis 0 holds rows × inner; `dims` count the batch as `batch`. */
export function rowLayout(dims: readonly number[], batch: number, reading: OutputReading): RowLayout {
  const elements = dims.reduce((p, d) => p * d, 1) / batch;
  const classes = reading.classAxis < 0 ? 1 : dims[reading.classAxis];
  return { positions: elements / classes, classes };
}

/** Elements of the target for one sample, and its type. */
export function targetOf(metric: RowMetric, reading: Reading, layout: RowLayout): { width: number; elemType: number } {
  if (metric === 'match' || metric === 'likelihood') return { width: layout.positions, elemType: DataType.INT64 };
  if (metric === 'squared') return { width: layout.positions * layout.classes, elemType: DataType.FLOAT };
  return { width: layout.positions * classesOf(reading, layout.classes), elemType: DataType.FLOAT };
}

const isBinary = (reading: Reading) => reading === 'binary-logit' || reading === 'binary-probability';

/** True when the metric can be written with the operators of this opset. */
export function canExpress(opset: number, reading: OutputReading): boolean {
  return opset >= 9 && (reading.classAxis !== 0 || reading.reading === 'regression');
}

/**
 * Adds the metric to a suffix: one float per row, [groups, K, s], equal to the metrics of evaluation/metrics up to
 * float32 rounding. A NaN among the numbers of a position never matches, as there.
 */
export function appendMetric(
  place: MetricPlace,
  index: number,
  metric: RowMetric,
  reading: OutputReading,
  batch: number,
): Value {
  const { builder: b, dims, s, groups } = place;
  const layout = rowLayout(dims, batch, reading);
  const { positions, classes } = layout;
  let v = place.output;
  if (v.type?.elemType !== DataType.FLOAT) v = b.cast(v, DataType.FLOAT);
  if (metric !== 'squared' && reading.classAxis > 0 && reading.classAxis < dims.length - 1) {
    const others = dims.map((_, i) => i).filter((i) => i !== reading.classAxis);
    v = b.transpose(v, [...others, reading.classAxis]);
  }
  const arrange = (x: Value, tail: number[]) => b.reshape(x, b.concat([groups, b.ints([-1, s, ...tail])], 0));
  const { width, elemType } = targetOf(metric, reading.reading, layout);
  const target = b.input(targetName(index), elemType, ['groups', s * width]);
  const against = (tail: number[]) => arrange(target, tail);
  switch (metric) {
    case 'match':
      return b.meanLast(matches(b, arrange(v, [positions, classes]), against([positions]), reading.reading));
    case 'likelihood': {
      const logs = logDistribution(b, arrange(v, [positions, classes]), reading.reading);
      return b.meanLast(
        b.opset >= 11
          ? picked(b, logs, against([positions, 1]))
          : selected(b, logs, against([positions, 1]), classesOf(reading.reading, classes)),
      );
    }
    case 'divergence': {
      const count = classesOf(reading.reading, classes);
      const q = logDistribution(b, arrange(v, [positions, classes]), reading.reading);
      const p = against([positions, count]);
      return b.meanLast(b.sumLast(b.op('Mul', [b.op('Exp', [p]), b.op('Sub', [p, q])])));
    }
    case 'squared': {
      const d = b.op('Sub', [arrange(v, [positions * classes]), against([positions * classes])]);
      return b.meanLast(b.op('Mul', [d, d]));
    }
  }
}

const classesOf = (reading: Reading, classes: number) => (isBinary(reading) ? 2 : classes);

/** The entries of the last axis that `answers` [groups, 1, s, positions, 1] names, for every coalition. */
function picked(b: GraphBuilder, logs: Value, answers: Value): Value {
  const all = b.expand(answers, b.concat([b.ints([1]), b.size(logs, 1), b.ints([1, 1, 1])], 0));
  const ignored = b.op('Less', [all, b.ints([0])]);
  const own = b.op('GatherElements', [logs, b.op('Where', [ignored, b.ints([0]), all])], { axis: 4 });
  const found = b.op('Where', [ignored, b.floats(Float32Array.of(0), []), own]);
  return b.op('Squeeze', ...squeezeLast(b, found));
}

/** The same before GatherElements (opset 11), with a comparison per class. */
function selected(b: GraphBuilder, logs: Value, answers: Value, classes: number): Value {
  const own = b.op('Equal', [answers, b.ints(Array.from({ length: classes }, (_, i) => i))]);
  return b.sumLast(b.op('Where', [own, logs, b.floats(Float32Array.of(0), [])]));
}

function squeezeLast(b: GraphBuilder, v: Value): [Value[], Record<string, number[]>] {
  return b.opset >= 13 ? [[v, b.ints([-1])], {}] : [[v], { axes: [4] }];
}

/** 1 where the top answer at a position is the target, as float; the first of equal classes wins. */
function matches(b: GraphBuilder, v: Value, target: Value, reading: Reading): Value {
  let top: Value;
  let sound: Value;
  if (isBinary(reading)) {
    const one = b.op('Squeeze', ...squeezeLast(b, v));
    top = b.cast(
      b.op('Greater', [one, b.floats(Float32Array.of(reading === 'binary-logit' ? 0 : 0.5), [])]),
      DataType.INT64,
    );
    sound = one;
  } else {
    top = b.op('ArgMax', [v], { axis: 4, keepdims: 0 });
    sound = b.sumLast(v);
  }
  const right = b.op('And', [b.op('Equal', [top, target]), b.op('Not', [b.op('IsNaN', [sound])])]);
  return b.cast(right, DataType.FLOAT);
}

/** Log-probabilities along the last axis; a binary output gives two. */
function logDistribution(b: GraphBuilder, v: Value, reading: Reading): Value {
  const scalar = (x: number) => b.floats(Float32Array.of(x), []);
  const floored = (p: Value) => b.op('Log', [b.op('Max', [p, scalar(PROBABILITY_FLOOR)])]);
  const negated = (x: Value) => b.op('Neg', [x]);
  switch (reading) {
    case 'probabilities':
      return floored(v);
    case 'log-probabilities':
      return b.op('Max', [v, scalar(Math.log(PROBABILITY_FLOOR))]);
    case 'binary-logit':
      return negated(b.concat([b.op('Softplus', [v]), b.op('Softplus', [negated(v)])], 4));
    case 'binary-probability':
      return b.concat([floored(b.op('Sub', [scalar(1), v])), floored(v)], 4);
    default:
      return b.op('LogSoftmax', [v], { axis: 4 });
  }
}
