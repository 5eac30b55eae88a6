import type { Node } from '../../graph/ir.ts';
import { Tensor } from '../../onnx/tensor.ts';
import { describe, type Axis, type Flow, type Kept } from '../flow.ts';
import type { Labels } from '../atoms.ts';
import { axisIndex, type Rules } from './rule.ts';

/** What a Slice takes along one axis of units. */
interface Cut {
  /** Which of the starts, ends, axes and steps. */
  entry: number;
  axis: number;
  labels: Labels;
  /** Positions in the order in which they come out. */
  at: number[];
}

interface Bounds {
  starts: readonly number[];
  ends: readonly number[];
  axes: readonly number[];
  steps: readonly number[];
}

/** Positions that start:end:step takes out of `size`. */
function taken(size: number, start: number, end: number, step: number): number[] {
  const at: number[] = [];
  const within = (p: number, low: number, high: number) => Math.max(low, Math.min(high, p < 0 ? p + size : p));
  if (step > 0) {
    for (let p = within(start, 0, size); p < within(end, 0, size); p += step) at.push(p);
  } else if (step < 0) {
    const stop = end < -size ? -1 : within(end, -1, size - 1);
    for (let p = within(start, -1, size - 1); p > stop; p += step) at.push(p);
  }
  return at;
}

function bounds(node: Node, flow: Flow, rank: number): Bounds | undefined {
  const starts = node.ints('starts') ?? flow.constantInts(node, 1);
  const ends = node.ints('ends') ?? flow.constantInts(node, 2);
  const axes = node.ints('axes') ?? (node.inputs[3] ? flow.constantInts(node, 3) : starts?.map((_, i) => i));
  const steps = node.inputs[4] ? flow.constantInts(node, 4) : starts?.map(() => 1);
  return starts && ends && axes && steps
    ? { starts, ends, axes: axes.map((a) => axisIndex(a, rank)), steps }
    : undefined;
}

/** Slice: constant bounds pick units, which follow; computed ones need all of an axis. */
function slice(node: Node, flow: Flow): void {
  const x = flow.axes(node, 0);
  if (!x) return flow.barrier(node, `feeds ${describe(node)}, whose shape is not known`);
  const given = bounds(node, flow, x.length);
  if (!given) return computed(node, flow, x);
  const out = [...x];
  const cuts: Cut[] = [];
  given.axes.forEach((axis, entry) => {
    const labels = x[axis];
    if (typeof labels === 'string') return;
    const at = taken(labels.length, given.starts[entry], given.ends[entry], given.steps[entry]);
    out[axis] = Int32Array.from(at, (p) => labels[p]);
    cuts.push({ entry, axis, labels, at });
  });
  flow.setAxes(node, 0, out);
  if (cuts.length === 0) return;
  flow.rewrite(node, (copy, kept) => {
    const changed = cuts.filter((c) => kept.count(c.labels) !== c.labels.length);
    if (changed.length) follow(copy, kept, given, changed);
  });
}

/** Cut at computed places: the axes that are cut stay, the others are carried. */
function computed(node: Node, flow: Flow, x: Axis[]): void {
  const named = node.ints('axes') ?? (node.inputs[3] && flow.constantInts(node, 3));
  const cut = new Set(named?.map((a) => axisIndex(a, x.length)) ?? x.map((_, i) => i));
  const reason = `is sliced by ${describe(node)} at computed places`;
  cut.forEach((axis) => flow.freeze(x[axis], reason));
  flow.setAxes(
    node,
    0,
    x.map((a, i): Axis => (cut.has(i) ? reason : a)),
  );
}

/** Lets a Slice take what stays of the units that it took: a run by its bounds, others by their numbers. */
function follow(copy: Node, kept: Kept, given: Bounds, changed: readonly Cut[]): void {
  const next = { starts: [...given.starts], ends: [...given.ends], axes: [...given.axes], steps: [...given.steps] };
  const dropped = new Set<number>();
  for (const { entry, axis, labels, at } of changed) {
    if (given.steps[entry] === 1) {
      const first = at.length ? at[0] : 0;
      next.starts[entry] = kept.count(labels.subarray(0, first));
      next.ends[entry] = next.starts[entry] + kept.count(labels.subarray(first, first + at.length));
      continue;
    }
    const place = new Map([...kept.positions(labels)].map((p, i) => [p, i]));
    const indices = constant(
      copy,
      'indices',
      at.flatMap((p) => place.get(p) ?? []),
    );
    if (given.axes.length === 1) {
      copy.opType = 'Gather';
      copy.attributes.clear();
      copy.truncateInputs(1);
      copy.setInput(1, indices);
      copy.setInt('axis', axis);
      return;
    }
    const stem = `${copy.outputs[0]!.name}_taken`;
    const gather = copy.graph.addNode('Gather', [copy.inputs[0], indices], [stem], { before: copy });
    gather.setInt('axis', axis);
    copy.setInput(0, gather.outputs[0]);
    dropped.add(entry);
  }
  const left = (values: number[]) => values.filter((_, i) => !dropped.has(i));
  if (copy.attributes.has('starts')) {
    copy.setInts('starts', next.starts).setInts('ends', next.ends);
    return;
  }
  copy.setInput(1, constant(copy, 'starts', left(next.starts)));
  copy.setInput(2, constant(copy, 'ends', left(next.ends)));
  copy.setInput(3, constant(copy, 'axes', left(next.axes)));
  if (copy.inputs[4]) copy.setInput(4, constant(copy, 'steps', left(next.steps)));
}

function constant(copy: Node, stem: string, values: readonly number[]) {
  const tensor = Tensor.fromInt64('', [values.length], values);
  return copy.graph.addInitializer(`${copy.outputs[0]!.name}_${stem}`, tensor);
}

export const slicing: Rules = { Slice: slice };
