import * as ort from 'onnxruntime-node';
import { cloneModel } from '../../src/graph/clone.ts';
import type { Dim, Model, Value } from '../../src/graph/ir.ts';
import { serializeModel } from '../../src/graph/save.ts';
import { evaluateDim } from '../../src/graph/shapes/dims.ts';
import { inferShapes } from '../../src/graph/shapes/index.ts';
import { DataType } from '../../src/onnx/data-type.ts';

const TYPES: Record<string, { elem: number; make: (n: number) => unknown }> = {
  float32: { elem: DataType.FLOAT, make: (n) => Float32Array.from({ length: n }, (_, i) => ((i * 37) % 11) / 11) },
  float64: { elem: DataType.DOUBLE, make: (n) => Float64Array.from({ length: n }, (_, i) => ((i * 37) % 11) / 11) },
  float16: { elem: DataType.FLOAT16, make: (n) => new Uint16Array(n).fill(0x3c00) },
  int64: { elem: DataType.INT64, make: (n) => new BigInt64Array(n).fill(1n) },
  int32: { elem: DataType.INT32, make: (n) => new Int32Array(n).fill(1) },
  int16: { elem: DataType.INT16, make: (n) => new Int16Array(n).fill(1) },
  int8: { elem: DataType.INT8, make: (n) => new Int8Array(n).fill(1) },
  uint8: { elem: DataType.UINT8, make: (n) => new Uint8Array(n).fill(1) },
  uint16: { elem: DataType.UINT16, make: (n) => new Uint16Array(n).fill(1) },
  uint32: { elem: DataType.UINT32, make: (n) => new Uint32Array(n).fill(1) },
  uint64: { elem: DataType.UINT64, make: (n) => new BigUint64Array(n).fill(1n) },
  bool: { elem: DataType.BOOL, make: (n) => new Uint8Array(n).fill(1) },
  string: { elem: DataType.STRING, make: (n) => Array<string>(n).fill('a') },
};
const NAMES = new Map(Object.entries(TYPES).map(([name, t]) => [t.elem, name]));

export interface ShapeCheck {
  /** Values that onnxruntime computed. */
  values: number;
  /** Those of which the inference leaves a dim or the rank open. */
  open: string[];
  /** Those where it is wrong. */
  wrong: string[];
}

/**
 * Runs a model with every value of its main graph as an output and compares element types and shapes with what shape
 * inference says, symbols having the sizes of the run. Declared types of computed values are forgotten first.
 * Null when onnxruntime cannot run the model.
 * @param size size of each symbolic dim of the inputs
 */
export async function checkShapes(
  model: Model,
  size: (symbol: string, axis: number) => number = sizes(),
): Promise<ShapeCheck | null> {
  const values = forgetTypes(model);
  const observed = await observe(model, values, size);
  if (!observed) return null;
  inferShapes(model, { strict: true });
  const check: ShapeCheck = { values: 0, open: [], wrong: [] };
  for (const v of values) {
    const real = observed.results[v.name];
    if (!real) continue;
    check.values++;
    const where = `${v.producer!.op} ${v.name}`;
    const inferred = v.type?.shape?.map((d) => (d === null ? null : evaluateDim(d, observed.symbol)));
    const said = `${where}: ${JSON.stringify(v.type?.shape)} for [${real.dims}] of ${real.type}`;
    if (v.type?.elemType && v.type.elemType !== TYPES[real.type]?.elem) check.wrong.push(said);
    else if (!inferred || inferred.includes(null)) check.open.push(said);
    if (inferred && (inferred.length !== real.dims.length || inferred.some((d, i) => d !== null && d !== real.dims[i])))
      check.wrong.push(said);
  }
  return check;
}

function forgetTypes(model: Model): Value[] {
  const values: Value[] = [];
  for (const node of model.graph.nodes)
    for (const v of node.outputs) {
      if (!v) continue;
      if (v.type?.kind === 'sequence' || v.type?.kind === 'map' || v.type?.kind === 'optional') continue;
      v.type = undefined;
      values.push(v);
    }
  return values;
}

async function observe(model: Model, values: readonly Value[], size: (symbol: string, axis: number) => number) {
  const bare = cloneModel(model).model;
  const sequences = new Set([
    'SequenceConstruct',
    'SequenceEmpty',
    'SequenceInsert',
    'SequenceErase',
    'SplitToSequence',
    'ZipMap',
  ]);
  for (const v of values) {
    const copy = bare.graph.values.get(v.name);
    if (!copy || bare.graph.outputs.includes(copy) || sequences.has(copy.producer?.opType ?? '')) continue;
    bare.graph.outputs.push(copy);
  }
  const symbols = new Map<string, number>();
  const dim = (d: Dim, axis: number): number => {
    if (typeof d === 'number') return d;
    const name = d ?? '';
    if (!symbols.has(name)) symbols.set(name, size(name, axis));
    return symbols.get(name)!;
  };
  try {
    const session = await ort.InferenceSession.create(serializeModel(bare), {
      graphOptimizationLevel: 'disabled',
      logSeverityLevel: 4,
      intraOpNumThreads: 1,
    });
    const feeds: Record<string, ort.Tensor> = {};
    for (const input of model.graph.inputs) {
      if (input.initializer) continue;
      const dims = (input.type?.shape ?? []).map(dim);
      const type = NAMES.get(input.type?.elemType ?? 0);
      if (!type) return null;
      const count = dims.reduce((a, b) => a * b, 1);
      feeds[input.name] = new ort.Tensor(type as 'float32', TYPES[type].make(count) as Float32Array, dims);
    }
    const results = (await session.run(feeds)) as Record<string, ort.Tensor>;
    await session.release();
    return { results, symbol: (name: string) => symbols.get(name) ?? NaN };
  } catch {
    return null;
  }
}

/** A different small size for every symbol. */
export function sizes(): (symbol: string) => number {
  const free = [2, 3, 5, 7, 4, 6, 9, 11];
  return () => free.shift() ?? 2;
}
