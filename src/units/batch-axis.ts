import { cloneModel } from '../graph/clone.ts';
import { constantTensor, readBy } from '../graph/edit.ts';
import { opsetVersion, type Dim, type Graph, type Model, type Node, type Value } from '../graph/ir.ts';
import { inferShapes, type ShapeInfo } from '../graph/shapes/index.ts';
import { DataType } from '../onnx/data-type.ts';
import { Tensor } from '../onnx/tensor.ts';
import { FREE, ruleFor, type BatchState, type SizeEntry } from './batch-rules/index.ts';
import { SIZE_OPS, sizeArithmetic } from './batch-rules/sizes.ts';

export type { BatchState } from './batch-rules/index.ts';

/** Name of the symbol that stands for the number of rows in a freed model. */
export const ROWS = 'secateur_rows';

/** Stands for the batch in dynamic models during the analysis: no constant should equal it by design. */
const STAND_IN = 7;

/** What is known of the sample axis of a model. */
export interface BatchProof {
  /** True when every output asked for carries the samples, row by row, on axis 0. */
  carried: boolean;
  /** Why not, as part of a sentence. */
  reason?: string;
  state(value: Value): BatchState;
  /** Shape without symbols: the batch counts `batch`. Undefined when something in it is unknown. */
  dims(value: Value): readonly number[] | undefined;
  /** The batch in `dims`. */
  batch: number;
}

export interface FreedModel {
  /** A clone whose batched inputs have the symbolic axis 0 `ROWS`, with no fixed batch in its shape operands. */
  model: Model;
  proof: BatchProof;
  value(v: Value): Value;
  node(n: Node): Node;
}

/** Inputs that hold samples on axis 0, with the shape of one sample (without that axis). */
export type SampleShapes = ReadonlyMap<string, readonly number[]>;

export interface FreeOptions {
  /** Inputs that hold one row per sample as the others do, but that decide nothing about a fixed batch: gates. */
  rows?: SampleShapes;
  /** Values whose rows are known to lie as those of another value, whatever computes them. */
  like?: ReadonlyMap<Value, Value>;
}

/**
 * Frees the batch axis of a model, in a clone, and shows whether the samples stay apart from the inputs to the outputs.
 * `samples`: the inputs that hold samples on axis 0. Inputs that are not named are the same for all samples; their free
 * dims count 1. Where the proof fails, the clone must not be run with more rows than the original.
 */
export function freeBatch(source: Model, samples: SampleShapes, options: FreeOptions = {}): FreedModel {
  const { model, node, value } = cloneModel(source);
  const rowInputs = new Map([...samples, ...(options.rows ?? [])]);
  let fixed = 0;
  for (const input of model.graph.inputs) {
    const first = input.type?.shape?.[0];
    if (samples.has(input.name) && typeof first === 'number' && first > 0) fixed = Math.max(fixed, first);
  }
  const batch = fixed || STAND_IN;
  const concrete = new Map<string, Dim[]>();
  for (const input of model.graph.inputs) {
    const sample = rowInputs.get(input.name);
    const declared = input.type?.shape;
    if (sample) concrete.set(input.name, [batch, ...sample]);
    else if (declared)
      concrete.set(
        input.name,
        declared.map((d) => (typeof d === 'number' ? d : 1)),
      );
  }
  forgetShapes(model.graph);
  const info = inferShapes(model, { inputs: concrete });
  const like = new Map([...(options.like ?? [])].map(([a, b]) => [value(a), value(b)]));
  const proof = follow(model, info, new Set(rowInputs.keys()), batch, fixed > 0, like);
  // The shapes that were inferred with a number in place of the batch must not reach the runtime.
  const known = new Map(
    [...model.graph.values.values()].map((v) => [v, v.initializer?.dims ?? v.staticShape] as const),
  );
  forgetShapes(model.graph);
  for (const input of model.graph.inputs) {
    const sample = rowInputs.get(input.name);
    if (sample) {
      input.type = { ...input.type!, shape: [ROWS, ...sample] };
      input.proto = undefined;
    }
  }
  return { model, node, value, proof: { ...proof, dims: (v) => known.get(v) } };
}

/** Drops declared shapes of everything that is computed. */
function forgetShapes(graph: Graph): void {
  for (const v of graph.values.values()) {
    if (v.producer && v.type) v.type = { ...v.type, shape: undefined };
    if (v.producer) v.proto = undefined;
  }
}

function follow(
  model: Model,
  info: ShapeInfo,
  rowInputs: ReadonlySet<string>,
  batch: number,
  fixed: boolean,
  like: ReadonlyMap<Value, Value>,
): Omit<BatchProof, 'dims'> {
  const states = new Map<Value, BatchState>();
  const dims = (v: Value | null | undefined): readonly number[] | undefined => v?.initializer?.dims ?? v?.staticShape;
  /** Sizes that do not depend on the batch are plain constants. */
  const state = (v: Value | null | undefined): BatchState => {
    const s = (v && states.get(v)) ?? FREE;
    return s.kind === 'sizes' && s.entries?.every((e) => typeof e === 'number') ? FREE : s;
  };
  const contents = (v: Value | null | undefined): SizeEntry[] | null => {
    if (!v) return null;
    const s = states.get(v) ?? FREE;
    if (s.kind === 'sizes') return s.entries;
    return s.kind === 'free' ? integers(v, info) : null;
  };
  for (const input of model.graph.inputs)
    if (rowInputs.has(input.name)) states.set(input, { kind: 'rows', axis: 0, inner: 1 });

  for (const node of [...model.graph.nodes]) {
    const reads = readBy(node);
    const kinds = new Set(reads.map((v) => state(v).kind));
    const set = (s: BatchState, i: number) => {
      const out = node.outputs[i];
      const known = out && like.get(out);
      if (out) states.set(out, known ? state(known) : explain(s, node));
    };
    const all = (s: BatchState) => node.outputs.forEach((_, i) => set(s, i));
    const measures = node.op === 'Shape' || node.op === 'Size';
    if (kinds.has('mixed')) all(reads.map(state).find((s) => s.kind === 'mixed')!);
    else if (
      SIZE_OPS.has(node.op) &&
      (measures || !ROW_KINDS.some((k) => kinds.has(k))) &&
      reads.some((v) => measures || states.get(v)?.kind === 'sizes')
    ) {
      const entries = sizeArithmetic(node, { contents, state, dims });
      // What is computed of known numbers alone is a constant, even where its contents are lost (a cast to float).
      const constant = entries === null && !measures && reads.every((v) => state(v).kind === 'free');
      all(constant ? FREE : { kind: 'sizes', entries });
    } else if (kinds.has('sizes') || ROW_KINDS.some((k) => kinds.has(k))) {
      const rule = node.subgraphs.length ? undefined : ruleFor(node.op, kinds);
      if (!rule) {
        all({ kind: 'mixed', reason: 'the operator is not understood' });
        continue;
      }
      const result = rule({
        node,
        batch,
        fixed,
        dims,
        opset: opsetVersion(model),
        state: (i) => state(node.inputs[i]),
        sizes: (i) => contents(node.inputs[i]),
        range: (i) => (state(node.inputs[i]).kind === 'free' ? rangeOf(node.inputs[i], contents) : undefined),
        rewrite: (i, values) => {
          const name = model.graph.freshName(`${node.name || node.opType}_shape`);
          node.setInput(i, model.graph.addInitializer(name, Tensor.fromInt64(name, [values.length], values)));
        },
        rescale: (scales) => {
          const name = model.graph.freshName(`${node.name || node.opType}_scales`);
          node.truncateInputs(3);
          node.setInput(2, model.graph.addInitializer(name, Tensor.fromFloat32(name, [scales.length], scales)));
        },
      });
      if (Array.isArray(result)) result.forEach(set);
      else all(result);
    }
  }
  let reason: string | undefined;
  for (const output of model.graph.outputs) {
    const s = state(output);
    if (s.kind === 'rows' && s.axis === 0) continue;
    reason ??= s.kind === 'mixed' ? s.reason : `output ${output.name} does not hold the samples on axis 0`;
  }
  return { carried: reason === undefined, reason, state: (v) => states.get(v) ?? FREE, batch };
}

/** States in which an axis of the value grows with the number of rows. */
const ROW_KINDS = ['rows', 'layers', 'numbers', 'positions'] as const;

function explain(s: BatchState, node: Node): BatchState {
  if (s.kind !== 'mixed' || s.reason.startsWith('at ')) return s;
  return { kind: 'mixed', reason: `at ${node.name || node.opType} (${node.op}): ${s.reason}` };
}

const INTEGERS: ReadonlySet<number> = new Set([DataType.INT64, DataType.INT32]);

/** Integers with more elements are not searched for their smallest and largest. */
const MAX_SEARCHED = 1 << 16;

/** Smallest and largest entry of integers, as far as they are known without running the graph. */
function rangeOf(
  v: Value | null | undefined,
  contents: (v: Value | null | undefined) => SizeEntry[] | null,
): [number, number] | undefined {
  const tensor = v && constantTensor(v);
  const entries =
    contents(v) ??
    (tensor && tensor.dataType === DataType.INT64 && tensor.elementCount <= MAX_SEARCHED ? tensor.toInts() : null);
  if (entries?.length && entries.every((e): e is number => typeof e === 'number'))
    return entries.reduce(([low, high], e) => [Math.min(low, e), Math.max(high, e)], [Infinity, -Infinity]);
  const producer = v?.producer;
  if (producer?.op === 'Range') {
    const [start, limit, delta] = producer.inputs.map((i) => contents(i)?.[0]);
    const known = typeof start === 'number' && typeof limit === 'number' && delta === 1;
    return known ? [start, Math.max(start, limit - 1)] : undefined;
  }
  const integral = producer?.op !== 'Cast' || INTEGERS.has(producer.int('to', 0));
  return producer && integral && KEEP_ENTRIES.has(producer.op) ? rangeOf(producer.inputs[0], contents) : undefined;
}

/** Entries of the output are entries of the first input. */
const KEEP_ENTRIES = new Set('Identity Cast Unsqueeze Squeeze Reshape Flatten Transpose Expand Slice'.split(' '));

/** Integer contents of a small constant. */
function integers(v: Value, info: ShapeInfo): number[] | null {
  const tensor = constantTensor(v);
  const elemType = tensor?.dataType ?? v.type?.elemType;
  if (elemType !== DataType.INT64 && elemType !== DataType.INT32) return null;
  if (tensor) return tensor.elementCount <= 64 ? tensor.toInts() : null;
  const inferred = info.constant(v);
  return inferred?.every((e): e is number => typeof e === 'number') ? (inferred as number[]) : null;
}
