import { DataType, isFloatType } from '../../onnx/data-type.ts';
import type { Node } from '../../graph/ir.ts';
import { describe, type Axis, type Flow } from '../flow.ts';
import { highest, lowest, one, weightless, weightlessLog } from '../gates/extreme.ts';
import type { Gate } from '../gates/gate.ts';
import { mean } from '../gates/mean.ts';
import { axisIndex, same, type Rules } from './rule.ts';

const unknownShape = (node: Node) => `feeds ${describe(node)}, whose shape is not known`;

/** How a reduction is gated; 'zero': closed units count 0, which multiplying gives. */
const GATES: Record<string, Gate | 'zero' | 'mean'> = {
  ReduceSum: 'zero',
  ReduceSumSquare: 'zero',
  ReduceL1: 'zero',
  ReduceL2: 'zero',
  ReduceLogSum: 'zero',
  ReduceMean: 'mean',
  ReduceMax: lowest,
  ReduceMin: highest,
  ReduceProd: one,
  ReduceLogSumExp: weightless,
};

/** Axes that a reduction runs over, non-negative; undefined when they are computed. An empty list reduces nothing. */
function reducedAxes(node: Node, flow: Flow, rank: number): number[] | undefined {
  const operand = node.inputs[1] ? flow.constantInts(node, 1) : undefined;
  if (node.inputs[1] && !operand) return undefined;
  const given = node.ints('axes') ?? operand ?? [];
  if (given.length === 0) {
    return node.int('noop_with_empty_axes', 0) ? [] : Array.from({ length: rank }, (_, i) => i);
  }
  return [...new Set(given.map((a) => axisIndex(a, rank)))].sort((a, b) => a - b);
}

/** Reductions: the units along the axes are summed, averaged or compared; other axes are carried. */
function reduce(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  const axes = x && reducedAxes(node, flow, x.length);
  if (!x || !axes) return flow.barrier(node, unknownShape(node));
  const keep = node.int('keepdims', 1) !== 0;
  const units = axes.filter((axis) => x[axis] instanceof Int32Array);
  const gate = GATES[node.opType];
  for (const axis of units)
    flow.contract(node, 0, axis, gate === 'mean' ? mean(axes, keep) : gate === 'zero' ? undefined : gate);
  flow.setAxes(
    node,
    0,
    x.flatMap((a, i): Axis[] => (axes.includes(i) ? (keep ? ['has one position'] : []) : [a])),
  );
}

/** ArgMax and ArgMin answer with the number of a position, which another width would change. */
function argument(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  if (!x) return flow.barrier(node, unknownShape(node));
  const axis = axisIndex(node.int('axis', 0), x.length);
  flow.freeze(x[axis], `is numbered by ${describe(node)}`);
  const kept: Axis[] = node.int('keepdims', 1) ? ['has one position'] : [];
  flow.setAxes(node, 0, [...x.slice(0, axis), ...kept, ...x.slice(axis + 1)]);
}

/** Softmax and its kin: carried; closed units have no weight. Before opset 13 all axes from `axis` on are one. */
function softmax(node: Node, flow: Flow): void {
  const x = flow.wideAxes(node, 0);
  if (!x) return flow.barrier(node, unknownShape(node));
  const modern = flow.opset >= 13;
  const axis = axisIndex(node.int('axis', modern ? -1 : 1), x.length);
  const gate = node.opType === 'LogSoftmax' ? weightlessLog : weightless;
  x.forEach((_, i) => {
    if (modern ? i === axis : i >= axis) flow.contract(node, 0, i, gate);
  });
  flow.setAxes(node, 0, x);
}

/** TopK: units may go where only the values are read; how many are wanted must still be there. */
function topK(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  if (!x) return flow.barrier(node, unknownShape(node));
  const axis = axisIndex(node.int('axis', -1), x.length);
  flow.freeze(x[axis], `is sorted by ${describe(node)}`);
  const out = x.map((a, i): Axis => (i === axis ? `comes from ${describe(node)}` : a));
  node.outputs.forEach((_, i) => flow.setAxes(node, i, out));
}

/** Cumulative sums: what comes after a closed unit sees 0 of it; the sums go with the units that they end at. */
function cumSum(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  const at = flow.constantInts(node, 1);
  if (!x || at?.length !== 1) return flow.barrier(node, unknownShape(node));
  const type = node.inputs[0]!.type!.elemType;
  const axis = axisIndex(at[0], x.length);
  if (isFloatType(type) || type === DataType.UNDEFINED) flow.contract(node, 0, axis);
  else flow.freeze(x[axis], `is counted by ${describe(node)}`);
  flow.setAxes(node, 0, x);
}

export const reducing: Rules = {
  ...same(reduce, Object.keys(GATES).join(' ')),
  ...same(argument, 'ArgMax ArgMin'),
  ...same(softmax, 'Softmax LogSoftmax'),
  TopK: topK,
  CumSum: cumSum,
};
