import { asSecateurError, SecateurError } from '../../errors.ts';
import type { MetricName, Reading } from '../../formats.ts';
import type { Model, Value } from '../../graph/ir.ts';
import { elementCount, isFloatHost, type HostTensor, toFloat32 } from '../../runtime/host-tensor.ts';
import { createSession, type Session } from '../../runtime/session.ts';
import type { Dataset } from '../data/dataset.ts';
import { IGNORED_LABEL, isClass } from '../data/labels.ts';
import type { OutputReading } from '../types.ts';
import { batchRows } from './batches.ts';
import { depths, type Ending, endingOf } from './ending.ts';

export interface ReadOutputOptions {
  /** Name of the output to read; default: chosen. */
  output?: string;
  /** A session of this very model; one is made (and released) when absent. */
  session?: Session;
}

/** An output with what a trial run gave for it. */
interface Candidate {
  value: Value;
  name: string;
  tensor: HostTensor;
  ending: Ending;
}

const PROBE_ROWS = 32;

/**
 * Decides which output the metric reads and how, by a trial run on the first samples: the deepest float output whose
 * class axis fits the labels; without labels the deepest float output, and all others beside it (`also`).
 * @throws SecateurError 'usage' when `output` names none (the message lists them), 'bad-data' when labels fit no output,
 * 'unsupported' when the model has no float output
 */
export async function readOutput(
  model: Model,
  dataset: Dataset,
  options: ReadOutputOptions = {},
): Promise<OutputReading> {
  const session = options.session ?? (await createSession(model));
  try {
    const batch = dataset.batches(null, Math.min(PROBE_ROWS, dataset.samples, batchRows(dataset)))[0];
    const results = await session.run(dataset.feeds(batch.indices), floatOutputs(session)).catch((thrown: unknown) => {
      if (!dataset.synthetic) throw thrown;
      const { code, message } = asSecateurError(thrown, 'runtime');
      throw new SecateurError(code, message, 'Inputs made up from the shapes do not suit this model: give data.', {
        cause: thrown,
      });
    });
    const depth = depths(model.graph);
    const candidates = model.graph.outputs
      .filter((value) => results[value.name])
      .map((value) => ({ value, name: value.name, tensor: results[value.name], ending: endingOf(value) }))
      .sort((a, b) => (depth.get(b.value) ?? 0) - (depth.get(a.value) ?? 0));
    return choose(candidates, dataset, batch.indices.length, session, options.output);
  } finally {
    if (!options.session) await session.release();
  }
}

function floatOutputs(session: Session): string[] {
  const names = session.outputs
    .filter((o) => o.type === 'float32' || o.type === 'float64' || o.type === 'float16')
    .map((o) => o.name);
  if (names.length === 0)
    throw new SecateurError(
      'unsupported',
      `The model has no output of floating-point numbers (it has ${listOutputs(session)}).`,
    );
  return names;
}

function listOutputs(session: Session): string {
  return session.outputs
    .map((o) => `${o.name} (${o.type}${o.shape ? ` [${o.shape.map((d) => (d === '' ? '?' : d)).join(', ')}]` : ''})`)
    .join(', ');
}

function choose(
  candidates: Candidate[],
  dataset: Dataset,
  rows: number,
  session: Session,
  wanted?: string,
): OutputReading {
  let among = candidates.filter((c) => isFloatHost(c.tensor.type) && c.tensor.data.length > 0);
  if (wanted !== undefined) {
    if (!session.outputs.some((o) => o.name === wanted))
      throw new SecateurError(
        'usage',
        `The model has no output named ${wanted}.`,
        `Its outputs: ${listOutputs(session)}.`,
      );
    among = among.filter((c) => c.name === wanted);
    if (among.length === 0)
      throw new SecateurError(
        'usage',
        `The output ${wanted} holds no floating-point numbers.`,
        `Outputs: ${listOutputs(session)}.`,
      );
  }
  const inputsAreTokens = dataset.inputs.some((i) => i.kind !== 'constant' && !isFloatHost(i.type));
  if (!dataset.labels) {
    among = goingWithSamples(among, rows);
    const [first, ...others] = among.map((c) => unlabelled(c, rows, inputsAreTokens));
    return wanted === undefined && others.length > 0 ? { ...first, also: others } : first;
  }
  for (const pass of [classes, regression])
    for (const candidate of among) {
      const reading = pass(candidate, dataset, rows);
      if (reading) return reading;
    }
  throw noFit(among, dataset, rows);
}

/** Outputs whose first axis counts the samples, or samples × positions. @throws SecateurError 'unsupported' if none */
function goingWithSamples(candidates: readonly Candidate[], rows: number): Candidate[] {
  const found = candidates.filter((c) => rows === 1 || (c.tensor.dims.length > 0 && c.tensor.dims[0] % rows === 0));
  if (found.length > 0) return found;
  const shapes = candidates.map((c) => `${c.name} [${c.tensor.dims.join(', ')}]`).join(', ');
  throw new SecateurError(
    'unsupported',
    `No output goes with the samples: for ${rows} of them the model gives ${shapes}.`,
    'Take one sample at a time.',
  );
}

/** How an output is read where there are no labels. */
function unlabelled({ name, tensor, ending }: Candidate, rows: number, tokens: boolean): OutputReading {
  const { dims } = tensor;
  const batched = dims.length > 0 && dims[0] % rows === 0 && rows > 0;
  const axis = classAxes(dims, batched && dims.length > 1).find((a) => dims[a] >= 2) ?? -1;
  if (axis >= 0) {
    const reading = distribution(tensor, axis, ending);
    if (reading) return { output: name, reading, classAxis: axis };
  }
  if (ending === 'sigmoid' && inUnit(tensor)) return { output: name, reading: 'binary-probability', classAxis: -1 };
  // Raw numbers: those of a classifier's head, as far as the shape tells.
  if (axis >= 0 && (dims.length === 2 || (dims.length === 3 && tokens && axis === 2)))
    return { output: name, reading: 'logits', classAxis: axis };
  return { output: name, reading: 'regression', classAxis: -1 };
}

/** Axes that may hold the classes, the likeliest first: images and their like have them on axis 1, others last. */
function classAxes(dims: readonly number[], batched: boolean): number[] {
  const axes = dims.map((_, i) => i).slice(batched ? 1 : 0);
  return dims.length >= 4 ? axes : axes.reverse();
}

/** The reading of an output whose class axis fits the labels, or that answers yes or no. */
function classes(candidate: Candidate, dataset: Dataset, rows: number): OutputReading | undefined {
  const { labels } = dataset;
  if (!(labels instanceof Int32Array)) return undefined;
  const { name, tensor, ending } = candidate;
  const { dims } = tensor;
  const [low, high] = range(labels, dataset.labelsPerSample);
  if (low < 0) return undefined;
  for (const axis of fittingAxes(dims, dataset, rows))
    if (dims[axis] > high) {
      const reading =
        distribution(tensor, axis, ending) ?? (ending === 'sigmoid' && inUnit(tensor) ? 'probabilities' : 'logits');
      return { output: name, reading, classAxis: axis };
    }
  if (high > 1 || elementCount(dims) / rows !== dataset.labelsPerSample) return undefined;
  const probability = ending === 'sigmoid' || (ending === 'none' && tensor.data.length >= 8 && inUnit(tensor));
  return { output: name, reading: probability ? 'binary-probability' : 'binary-logit', classAxis: -1 };
}

/** Axes of at least two classes that leave as many positions per sample as there are labels. */
function fittingAxes(dims: readonly number[], dataset: Dataset, rows: number): number[] {
  const batched = dims.length > 0 && dims[0] % rows === 0 && dims.length > 1;
  const perSample = elementCount(dims) / rows;
  return classAxes(dims, batched).filter((a) => dims[a] >= 2 && perSample / dims[a] === dataset.labelsPerSample);
}

/** One number per target. */
function regression({ name, tensor }: Candidate, dataset: Dataset, rows: number): OutputReading | undefined {
  if (elementCount(tensor.dims) / rows !== dataset.labelsPerSample) return undefined;
  return { output: name, reading: 'regression', classAxis: -1 };
}

/** Probabilities or their logarithms along an axis, as the numbers of the trial run show; undefined: neither. */
function distribution(tensor: HostTensor, axis: number, ending: Ending): Reading | undefined {
  const values = toFloat32(tensor);
  const { dims } = tensor;
  const count = dims[axis];
  const inner = elementCount(dims.slice(axis + 1));
  const loose = tensor.type === 'float16' || ending !== 'none' ? 2e-2 : 1e-4;
  let probabilities = ending === 'softmax' || ending === 'none' || ending === 'sigmoid';
  let logs = ending === 'log-softmax' || ending === 'none';
  for (let o = 0; o < values.length / (count * inner); o++)
    for (let i = 0; i < inner; i++) {
      let sum = 0;
      let exps = 0;
      for (let c = 0; c < count; c++) {
        const v = values[(o * count + c) * inner + i];
        sum += v;
        exps += Math.exp(v);
        if (!(v >= -1e-6 && v <= 1 + 1e-3)) probabilities = false;
        if (!(v <= 1e-3)) logs = false;
      }
      if (!(Math.abs(sum - 1) <= loose)) probabilities = false;
      if (!(Math.abs(exps - 1) <= loose)) logs = false;
      if (!probabilities && !logs) return undefined;
    }
  return probabilities ? 'probabilities' : 'log-probabilities';
}

function inUnit(tensor: HostTensor): boolean {
  return toFloat32(tensor).every((v) => v >= 0 && v <= 1);
}

/** Least and greatest label of those that count. */
function range(values: Int32Array | Float32Array, perSample: number): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const v of values) {
    if (v === IGNORED_LABEL && perSample > 1) continue;
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  return [low, high];
}

/** Why labels fit no output, as exactly as can be told. */
function noFit(candidates: readonly Candidate[], dataset: Dataset, rows: number): SecateurError {
  const labels = dataset.labels!;
  const per = dataset.labelsPerSample;
  for (const { name, tensor } of candidates) {
    const axis = fittingAxes(tensor.dims, dataset, rows)[0];
    if (axis === undefined) continue;
    const size = tensor.dims[axis];
    if (labels instanceof Float32Array) {
      const at = labels.findIndex((v) => !Number.isInteger(v));
      return new SecateurError(
        'bad-data',
        `The labels of a classifier must be whole numbers, but the label of sample ${Math.floor(at / per)} is ${labels[at]}.`,
        `The output ${name} has ${size} classes.`,
      );
    }
    const at = labels.findIndex((v) => !isClass(v, size, per));
    if (at >= 0) return outOfRange(labels[at], Math.floor(at / per), size, name);
  }
  const shapes = candidates.map((c) => `${c.name} [${c.tensor.dims.join(', ')}]`).join(', ');
  const [low, high] = range(labels, per);
  return new SecateurError(
    'bad-data',
    `The labels (${per} per sample, from ${low} to ${high}) fit no output: with ${rows} sample${rows === 1 ? '' : 's'} the model gives ${shapes}.`,
    'There must be one label per answer, from 0 to the number of classes − 1.',
  );
}

/** The error for a label that is no class of an output. */
export function outOfRange(label: number, sample: number, classCount: number, output: string): SecateurError {
  return new SecateurError(
    'bad-data',
    `The label of sample ${sample} is ${label}, but the output ${output} has the classes 0 to ${classCount - 1}.`,
    'Labels count from 0.',
  );
}

/** Metrics that make sense for this data and output; the first is the default. */
export function metricsFor(dataset: Dataset, reading: OutputReading): MetricName[] {
  const classLike = reading.reading !== 'regression';
  if (dataset.nextTokens && classLike) return ['cross-entropy', 'accuracy', 'kl', 'agreement', 'mse'];
  if (dataset.labels) return classLike ? ['accuracy', 'cross-entropy', 'kl', 'agreement', 'mse'] : ['mse'];
  if (!classLike) return ['mse'];
  return reading.reading === 'logits' ? ['mse', 'kl', 'agreement'] : ['kl', 'agreement', 'mse'];
}
