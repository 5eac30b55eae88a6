import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import type { GraphBuilder } from '../coalitions/graph-builder.ts';
import { columnsOfUnits } from './reads.ts';
import type { LinearRead, MomentKind } from './types.ts';

/** What a run gives for one read: float32 sums over the rows, and [rows, columns] as int64. */
export interface MomentOutputs {
  shape: Value;
  sum: Value;
  second: Value;
}

/**
 * Adds to a graph the sums over all rows of a read of x and of its products, so that only these come back from a run.
 * @param x the read's operand in that graph
 */
export function addMoments(b: GraphBuilder, read: LinearRead, x: Value, kind: MomentKind): MomentOutputs {
  const rows = addRows(b, read, x);
  return { shape: b.op('Shape', [rows]), sum: sumOfRows(b, rows), second: secondMoment(b, rows, read, kind) };
}

/** [samples × positions, columns] in float32. */
function addRows(b: GraphBuilder, read: LinearRead, x: Value): Value {
  const { axis, columns, kernel } = read;
  const rank = x.type!.shape!.length;
  const float = x.type!.elemType === DataType.FLOAT ? x : b.cast(x, DataType.FLOAT);
  const spread = kernel ? patches(b, read, float, kernel) : float;
  const others = Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis);
  return b.reshape(b.transpose(spread, [...others, axis]), [-1, columns]);
}

/**
 * The patches under a convolution's kernel, side by side on the channel axis: a convolution of each channel with kernels
 * that have a single 1. It has the attributes of the consumer, so that its positions are those of the consumer.
 */
function patches(b: GraphBuilder, read: LinearRead, x: Value, kernel: readonly number[]): Value {
  const { columns } = read;
  const volume = kernel.reduce((a, k) => a * k, 1);
  const ones = new Float32Array(columns * volume);
  for (let c = 0; c < columns; c++) ones[c * volume + (c % volume)] = 1;
  const y = b.op('Conv', [x, b.floats(ones, [columns, 1, ...kernel])]);
  for (const [name, a] of read.consumers[0].node.attributes) y.producer!.attributes.set(name, a);
  y.producer!.setInt('group', columns / volume);
  return y;
}

function sumOfRows(b: GraphBuilder, rows: Value): Value {
  return b.opset >= 13
    ? b.op('ReduceSum', [rows, b.ints([0])], { keepdims: 0 })
    : b.op('ReduceSum', [rows], { axes: [0], keepdims: 0 });
}

function secondMoment(b: GraphBuilder, rows: Value, read: LinearRead, kind: MomentKind): Value {
  if (kind === 'squares') return sumOfRows(b, b.op('Mul', [rows, rows]));
  if (kind === 'gram') return b.op('MatMul', [b.transpose(rows, [1, 0]), rows]);
  const size = 1 + read.units.reduce((a, u) => Math.max(a, u), -1);
  const order = columnsOfUnits(read.units, size).flat();
  const ordered = order.every((c, i) => c === i) && order.length === read.columns ? rows : b.gather(rows, order, 1);
  const byUnit = b.reshape(ordered, [-1, size, order.length / size]);
  return b.op('MatMul', [b.transpose(byUnit, [1, 2, 0]), b.transpose(byUnit, [1, 0, 2])]);
}
