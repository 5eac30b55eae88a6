import { emitterFor, type Emitter } from '../autodiff/emit.ts';
import { cloneModel } from '../graph/clone.ts';
import { sortTopologically } from '../graph/edit.ts';
import type { Model, Value } from '../graph/ir.ts';
import { DataType } from '../onnx/data-type.ts';
import { Tensor } from '../onnx/tensor.ts';
import type { FeatureLayout } from './layout.ts';
import type { GatePoint } from './points.ts';

/** Name of the graph input that holds the gates. */
export const GATES = 'secateur_features';

/** Names of the graph inputs that hold baselines, one for each gate point. */
export const baselineName = (point: number): string => `secateur_baseline_${point}`;

export interface InputGates {
  model: Model;
  /** Graph input, float32 [rows, size]: row r applies to row r of the data, one row to all. */
  gates: Value;
}

export interface InputGatesOptions {
  /** Whether axis 0 of the points counts samples; else a run is one sample. */
  rows: boolean;
  /** Whether closed features are what the inputs `secateur_baseline_<point>` say, in place of 0. */
  baseline: boolean;
}

/**
 * A copy of a model whose input is x̃ = b + s ⊙ (x − b) at every point, with a gate s for each feature and a baseline b:
 * gate 1 leaves the input as it is, gate 0 puts the baseline in its place (with b = 0 it is x̃ = s ⊙ x). The baselines are
 * graph inputs, float32, of the shape of one sample with a batch axis of size 1 where there is one; for embeddings [width].
 */
export function gateInputs(
  model: Model,
  layout: FeatureLayout,
  points: readonly GatePoint[],
  options: InputGatesOptions,
): InputGates {
  const clone = cloneModel(model);
  const e = emitterFor(clone.model, GATES);
  const { graph } = clone.model;
  const gates = graph.addInput(GATES, {
    kind: 'tensor',
    elemType: DataType.FLOAT,
    shape: [`rows:${GATES}`, layout.size],
  });
  const factor = spread(e, gates, layout, options.rows);
  points.forEach((point, i) => {
    const x = clone.value(point.value);
    const readers = new Set(x.uses.map((u) => u.node));
    const own = e.cast(factor, e.elemTypeOf(x));
    const gated = options.baseline
      ? around(e, x, own, baselineInput(e, layout, point, i, options.rows))
      : e.mul(x, own);
    const added = new Set(x.uses.map((u) => u.node).filter((node) => !readers.has(node)));
    x.replaceUsesWith(e.typedAs(gated, x), added);
  });
  sortTopologically(graph);
  return { model: clone.model, gates };
}

/** b + s ⊙ (x − b). */
function around(e: Emitter, x: Value, gate: Value, baseline: Value): Value {
  const b = e.cast(baseline, e.elemTypeOf(x));
  return e.add(e.mul(e.sub(x, b), gate), b);
}

function baselineInput(e: Emitter, layout: FeatureLayout, point: GatePoint, i: number, rows: boolean): Value {
  const shape = point.width === null ? [...(rows ? [1] : []), ...layout.shape] : [point.width];
  return e.workspace.graph.addInput(baselineName(i), { kind: 'tensor', elemType: DataType.FLOAT, shape });
}

/**
 * The gates spread over a sample: size 1 along axes that tell no features apart. Positions that share a place get its
 * gate by a product with a matrix of zeros and ones, whose gradient every opset can express.
 */
function spread(e: Emitter, gates: Value, { shape, axes }: FeatureLayout, rows: boolean): Value {
  const plain = axes.every(({ places, count }) => places.length === count);
  let factor = gates;
  if (!plain) {
    // Of both axes at once: [rows, down, across].
    const [down, across] = axes;
    factor = e.reshape(gates, [-1, down.count, across.count]);
    factor = e.op('MatMul', [membership(e, down.places, down.count, true), factor]);
    factor = e.op('MatMul', [factor, membership(e, across.places, across.count, false)]);
  }
  const dims = shape.map((_, axis) => axes.find((a) => a.axis === axis)?.places.length ?? 1);
  return e.reshape(factor, rows ? [-1, ...dims] : dims);
}

/** Zeros and ones that say which place a position is of: [positions, places], or the other way round. */
function membership(e: Emitter, places: Int32Array, count: number, positionsFirst: boolean): Value {
  const length = places.length;
  const data = new Float32Array(length * count);
  places.forEach((place, i) => (data[positionsFirst ? i * count + place : place * length + i] = 1));
  return e.constant(Tensor.fromFloat32('', positionsFirst ? [length, count] : [count, length], data));
}
