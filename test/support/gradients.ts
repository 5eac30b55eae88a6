import ort from 'onnxruntime-node';
import { expect } from 'vitest';
import { addVectorJacobianProducts } from '../../src/autodiff/gradient.ts';
import type { GradientRule } from '../../src/autodiff/rules/rule.ts';
import { cloneModel } from '../../src/graph/clone.ts';
import { allGraphs } from '../../src/graph/edit.ts';
import type { Attribute, Model, Value } from '../../src/graph/ir.ts';
import { serializeModel } from '../../src/graph/save.ts';
import { DataType } from '../../src/onnx/data-type.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { randomFeeds, seeded } from './invariant.ts';

export interface GradientCheck {
  /** Inputs to use; those not given are random (normal). */
  feeds?: Record<string, ort.Tensor>;
  /** Sizes of symbolic dims (2 for the batch, 8 for others unless given). */
  dims?: Record<string, number>;
  seed?: number;
  /** Largest difference allowed, relative to the largest element of each gradient. */
  tolerance?: number;
  /** Rules besides those of src/autodiff/rules. */
  rules?: ReadonlyMap<string, GradientRule>;
  /** How many elements of each value are moved one at a time, at most. */
  elements?: number;
  /** Take differences in float32 although there are kernels in float64: they compute some of it in float32. */
  single?: boolean;
}

export interface GradientResult {
  /** Largest difference, relative to the largest element of the gradient that it is in. */
  worst: number;
  /** Whether the yardstick ran in float64: the runtime has kernels for all of the model's ops. */
  double: boolean;
  /** How many elements were compared. */
  compared: number;
}

type Feeds = Record<string, ort.Tensor>;

/**
 * Holds gradients of the graph, as onnxruntime computes them in float32, against central differences of the same model.
 * The objective is Σ R · output with fixed random numbers R. Differences are taken of the model in float64 where the
 * runtime can, in float32 with extrapolated steps else; elements at a kink are left out then.
 * @param outputs one or more values of the model, not necessarily its outputs
 * @param wrt graph inputs, initializers or intermediate values
 */
export async function checkGradient(
  model: Model,
  outputs: Value | readonly Value[],
  wrt: readonly Value[],
  options: GradientCheck = {},
): Promise<GradientResult> {
  const random = seeded(options.seed ?? 11);
  const feeds = { ...randomFeeds(model, random, options.dims), ...options.feeds };
  const targets = [outputs].flat() as Value[];
  const seen = await runOutputs(model, [...targets, ...wrt], feeds);
  const weights = targets.map((v) => Float32Array.from({ length: seen[v.name].size }, () => 2 * random() - 1));

  const analytic = await graphGradients(model, targets, weights, wrt, seen, feeds, options.rules);
  const numeric = await openNumeric(model, targets, wrt, weights, seen, feeds, !options.single);
  const tolerance = options.tolerance ?? (numeric.double ? 2e-4 : 1e-2);
  const result: GradientResult = { worst: 0, double: numeric.double, compared: 0 };
  for (const v of wrt) {
    const got = analytic.get(v)!;
    expect(got.dims, `shape of the gradient of ${v.name}`).toEqual([...seen[v.name].dims]);
    const wanted = new Map<number, number>();
    for (const i of chosen(got.data.length, options.elements ?? 48, random)) {
      const slope = await numeric.slope(v, i);
      if (slope !== undefined) wanted.set(i, slope);
    }
    expect(wanted.size, `elements of ${v.name} away from kinks`).toBeGreaterThan(0);
    const scale = Math.max(...[...wanted.values(), ...got.data].map(Math.abs), 1e-6);
    for (const [i, slope] of wanted) {
      const difference = Math.abs(got.data[i] - slope) / scale;
      expect(difference, `d/d ${v.name}[${i}]: ${got.data[i]}, by differences ${slope}`).toBeLessThanOrEqual(tolerance);
      result.worst = Math.max(result.worst, difference);
      result.compared++;
    }
  }
  await numeric.close();
  return result;
}

/** Runs a copy of the model whose outputs are the given values. */
export async function runOutputs(model: Model, values: readonly Value[], feeds: Feeds): Promise<Feeds> {
  const clone = cloneModel(model);
  const copies = [...new Set(values)].map((v) => clone.value(v));
  return runValues(clone.model, copies, feeds);
}

/** Runs the model itself with the given values as outputs; names of results are those of the values. */
export async function runValues(model: Model, values: readonly Value[], feeds: Feeds): Promise<Feeds> {
  const { graph } = model;
  // What is an input or a weight as well cannot be an output: a copy of it is.
  const named = values.map((v) => {
    const shown = graph.addNode('Identity', [v], [`${v.name}_shown`]).outputs[0]!;
    shown.type = v.type && { ...v.type, shape: undefined };
    return shown;
  });
  graph.outputs.splice(0, graph.outputs.length, ...named);
  const session = await open(model);
  const results = await session.run(feeds);
  await session.release();
  return Object.fromEntries(values.map((v, i) => [v.name, results[named[i].name]]));
}

async function open(model: Model): Promise<ort.InferenceSession> {
  const options = { logSeverityLevel: 4, intraOpNumThreads: 1 } as const;
  return ort.InferenceSession.create(serializeModel(model), options);
}

async function graphGradients(
  model: Model,
  targets: Value[],
  weights: Float32Array[],
  wrt: readonly Value[],
  seen: Feeds,
  feeds: Feeds,
  rules: GradientCheck['rules'],
): Promise<Map<Value, { dims: number[]; data: number[] }>> {
  const clone = cloneModel(model);
  const seeds = new Map(
    targets.map((v, i) => [
      clone.value(v),
      clone.model.graph.addInitializer('seed', Tensor.fromFloat32('', [...seen[v.name].dims], weights[i])),
    ]),
  );
  const { gradients } = addVectorJacobianProducts(
    clone.model,
    seeds,
    wrt.map((v) => clone.value(v)),
    { rules },
  );
  const made = wrt.map((v) => gradients.get(clone.value(v))!);
  const results = await runValues(clone.model, [...new Set(made)], feeds);
  return new Map(
    wrt.map((v, i) => {
      const { dims, data } = results[made[i].name];
      return [v, { dims: [...dims], data: Array.from(data as Float32Array) }];
    }),
  );
}

interface Numeric {
  double: boolean;
  /** d objective / d element, or undefined where steps of different sizes disagree. */
  slope(v: Value, element: number): Promise<number | undefined>;
  close(): Promise<void>;
}

/** The model with something added to every value of `wrt`, in float64 where the runtime has the kernels. */
async function openNumeric(
  model: Model,
  targets: Value[],
  wrt: readonly Value[],
  weights: Float32Array[],
  seen: Feeds,
  feeds: Feeds,
  widest: boolean,
): Promise<Numeric> {
  const movable = (double: boolean) => {
    const clone = cloneModel(model);
    const { graph } = clone.model;
    const copies = targets.map((v) => clone.value(v));
    for (const v of wrt) {
      const shape = [...seen[v.name].dims];
      const value = clone.value(v);
      const delta = graph.addInput(`delta:${v.name}`, { kind: 'tensor', elemType: DataType.FLOAT, shape });
      const node = graph.addNode('Add', [value, delta], [`${v.name}_moved`]);
      // Right behind its producer, in front of every reader.
      graph.nodes.unshift(graph.nodes.pop()!);
      if (value.producer) {
        graph.nodes.shift();
        graph.nodes.splice(graph.nodes.indexOf(value.producer) + 1, 0, node);
      }
      value.replaceUsesWith(node.outputs[0]!, new Set([node]));
      copies.forEach((c, i) => {
        if (c === value) copies[i] = node.outputs[0]!;
      });
    }
    const shown = copies.map((v) => graph.addNode('Identity', [v], ['objective']).outputs[0]!);
    graph.outputs.splice(0, graph.outputs.length, ...shown);
    if (double) toDouble(clone.model);
    return { model: clone.model, names: shown.map((v) => v.name) };
  };
  let double = widest;
  let { model: moved, names } = movable(double);
  let session: ort.InferenceSession;
  try {
    session = await open(moved);
  } catch (error) {
    if (!double) throw error;
    double = false;
    ({ model: moved, names } = movable(false));
    session = await open(moved);
  }
  const tensor = (data: Float64Array, dims: readonly number[]) =>
    double ? new ort.Tensor('float64', data, dims) : new ort.Tensor('float32', Float32Array.from(data), dims);
  const rest: Feeds = {};
  for (const [name, t] of Object.entries(feeds))
    rest[name] = t.type === 'float32' ? tensor(Float64Array.from(t.data as Float32Array), t.dims) : t;
  for (const v of wrt) rest[`delta:${v.name}`] = tensor(new Float64Array(seen[v.name].size), seen[v.name].dims);

  const objective = async (v: Value, element: number, step: number) => {
    const delta = new Float64Array(seen[v.name].size);
    delta[element] = step;
    const out = await session.run({ ...rest, [`delta:${v.name}`]: tensor(delta, seen[v.name].dims) });
    let sum = 0;
    names.forEach((name, k) => {
      const data = out[name].data as Float64Array;
      for (let i = 0; i < data.length; i++) sum += data[i] * weights[k][i];
    });
    return sum;
  };
  const central = async (v: Value, element: number, h: number) =>
    ((await objective(v, element, h)) - (await objective(v, element, -h))) / (2 * h);
  return {
    double,
    async slope(v, element) {
      if (double) return central(v, element, 1e-5);
      const x = Math.abs(Number((seen[v.name].data as Float32Array)[element]));
      const h = 4e-3 * Math.max(1, x);
      const [near, far] = [await central(v, element, h), await central(v, element, 2 * h)];
      const best = (4 * near - far) / 3;
      return Math.abs(near - far) > 0.02 * Math.max(Math.abs(best), 0.05) ? undefined : best;
    },
    close: () => session.release(),
  };
}

/** All elements when they are few, else some at random. */
function chosen(count: number, most: number, random: () => number): number[] {
  if (count <= most) return Array.from({ length: count }, (_, i) => i);
  return Array.from({ length: most }, () => Math.floor(random() * count));
}

/** Turns every float32 of a model into float64, in place. */
function toDouble(model: Model): void {
  const widen = (t: Tensor) => Tensor.fromNumbers(t.name, DataType.DOUBLE, t.dims, t.values());
  for (const graph of allGraphs(model)) {
    for (const v of graph.values.values()) {
      if (v.initializer?.dataType === DataType.FLOAT) v.initializer = widen(v.initializer);
      if (v.type?.elemType === DataType.FLOAT) v.type = { ...v.type, elemType: DataType.DOUBLE };
    }
    for (const node of graph.nodes)
      for (const [name, a] of node.attributes) {
        const wide = widenAttribute(node.opType, name, a, widen);
        if (wide) {
          node.attributes.delete(name);
          node.attributes.set(wide[0], wide[1]);
        }
      }
  }
}

function widenAttribute(
  op: string,
  name: string,
  a: Attribute,
  widen: (t: Tensor) => Tensor,
): [string, Attribute] | undefined {
  if (a.kind === 'tensor' && a.value.dataType === DataType.FLOAT)
    return [name, { kind: 'tensor', value: widen(a.value) }];
  if (a.kind === 'int' && Number(a.value) === DataType.FLOAT && (name === 'to' || name === 'dtype'))
    return [name, { kind: 'int', value: BigInt(DataType.DOUBLE) }];
  if (op === 'Constant' && a.kind === 'float')
    return ['value', { kind: 'tensor', value: Tensor.fromNumbers('', DataType.DOUBLE, [], [a.value]) }];
  if (op === 'Constant' && a.kind === 'floats')
    return ['value', { kind: 'tensor', value: Tensor.fromNumbers('', DataType.DOUBLE, [a.value.length], a.value) }];
  return undefined;
}
