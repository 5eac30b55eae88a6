import { addGradients } from '../autodiff/gradient.ts';
import { emitterFor } from '../autodiff/emit.ts';
import { dropUnusedInputs, setOutputs, keepOutputs } from '../graph/outputs.ts';
import { SecateurError, checkSignal } from '../errors.ts';
import { sampleShapes, samplesProblem } from '../evaluation/coalitions/samples.ts';
import type { Dataset } from '../evaluation/data/dataset.ts';
import type { LossKind } from '../evaluation/gradients/loss-terms.ts';
import { openSampleLoss, type SampleLoss } from '../evaluation/gradients/sample-loss.ts';
import { referenceOf } from '../evaluation/coalitions/index.ts';
import type { OutputReading } from '../evaluation/types.ts';
import type { DeviceName, FeatureBaseline, FeatureKind } from '../formats.ts';
import { modelCost } from '../graph/cost.ts';
import { cloneModel } from '../graph/clone.ts';
import { removeDeadNodes, sortTopologically } from '../graph/edit.ts';
import type { Model } from '../graph/ir.ts';
import { Rng } from '../math/random.ts';
import { float32Tensor, type HostTensor, toFloat32 } from '../runtime/host-tensor.ts';
import { createSession, type Session } from '../runtime/session.ts';
import { freeBatch } from '../units/batch-axis.ts';
import type { Structure } from '../units/types.ts';
import { baselines } from './baseline.ts';
import { chooseInput } from './choose-input.ts';
import { baselineName, gateInputs, GATES } from './input-gates.ts';
import { featureLayout, type FeatureLayout } from './layout.ts';
import type { GatePoint } from './points.ts';

export interface FeatureModelOptions {
  reading: OutputReading;
  loss: LossKind;
  device: DeviceName;
  /** Input that the features are of; undefined: the one that looks like it. */
  input?: string;
  kind?: FeatureKind;
  /** Side of a patch in pixels. */
  patch?: number;
  baseline: FeatureBaseline;
  signal?: AbortSignal;
}

/** Losses of rows, smaller is better, and their gradients with respect to the gates where the model has them. */
export interface RowLosses {
  losses: Float64Array;
  /** Row-major, one row of `size` per row. */
  gradients?: Float64Array;
}

/** Multiply-accumulates of a run, so that it can be cancelled within a fraction of a second. */
const RUN_MACS = 2e9;
/** All that a run keeps until the way back. */
const KEPT_BYTES = 256 * 2 ** 20;
const MOST_ROWS = 8192;
/** Samples that gradients are tried on. */
const TRIED = 8;

/** A model with a gate for every input feature, and the loss of each row. Holds sessions until it is closed. */
export interface FeatureModel {
  readonly layout: FeatureLayout;
  /** Input that the features are of. */
  readonly input: string;
  readonly points: readonly GatePoint[];
  /** The model as it is, which the points are values of. */
  readonly model: Model;
  readonly dataset: Dataset;
  /** False where an operator has no gradient rule. */
  readonly hasGradients: boolean;
  /** Multiply-accumulates of one row, with its gradient where there is one. */
  readonly rowMacs: number;
  /** Sentences for the report: what could not be done, and why. */
  readonly notes: readonly string[];
  /**
   * The loss of each row: a sample of the data set under gates of its own.
   * @param samples number of the sample in each row
   * @param gates row-major, one row of `size` per row
   * @throws SecateurError 'cancelled' between two runs, 'runtime'
   */
  run(
    samples: ArrayLike<number>,
    gates: ArrayLike<number>,
    options: { gradients: boolean; signal?: AbortSignal },
  ): Promise<RowLosses>;
  close(): Promise<void>;
}

/**
 * Puts gates on the features of an input of a model, and a loss at its end.
 * @throws SecateurError 'usage' for an input, kind or loss that the model or the data do not allow; 'unsupported' for
 * inputs that no gate can be put on; 'bad-data', 'cancelled', 'runtime'
 */
export async function openFeatureModel(
  structure: Structure,
  dataset: Dataset,
  options: FeatureModelOptions,
): Promise<FeatureModel> {
  const { reading, loss: kind, device, signal } = options;
  const { input, points, source } = chooseInput(structure.model, dataset, options.input);
  const layout = featureLayout(source, options.kind, options.patch);
  const closed =
    options.baseline === 'zero' ? null : await baselines(structure.model, dataset, input, points, device, signal);
  checkSignal(signal);
  const reference = kind === 'cross-entropy' ? undefined : await referenceOf(structure, dataset, reading, device);
  const loss = await openSampleLoss(structure, dataset, { loss: kind, reading, device, reference, signal });
  const problem = await samplesProblem(structure, dataset, loss.outputs, device);
  checkSignal(signal);

  const whole = dataset.inputs.some((i) => i.kind === 'whole');
  const gated = gateInputs(structure.model, layout, points, { rows: !whole, baseline: closed !== null });
  keepOutputs(gated.model.graph, loss.outputs);
  removeDeadNodes(gated.model);
  const notes: string[] = [];
  let model = gated.model;
  let apart = problem !== undefined && !problem.tried;
  if (problem === undefined) {
    const freed = freeBatch(gated.model, sampleShapes(dataset), { rows: new Map([[GATES, [layout.size]]]) });
    if (freed.proof.carried) model = freed.model;
    else apart = true;
    if (apart) notes.push(`Samples are run one at a time: ${freed.proof.reason}.`);
  } else if (apart) notes.push(`Samples are run one at a time: ${problem.reason}.`);

  const plain = withLoss(model, loss);
  const graded = withGradients(model, loss, notes);
  const constants = closed?.map((b, i): [string, HostTensor] => [
    baselineName(i),
    float32Tensor(baselineDims(layout, points[i], whole), b),
  ]);
  const runner = new Runner({
    layout,
    input,
    points,
    model: structure.model,
    dataset,
    loss,
    notes,
    plain,
    graded,
    apart,
    ...runCost(structure.model, dataset, graded !== null),
    constants: Object.fromEntries(constants ?? []),
    device,
  });
  if (runner.hasGradients && (await runner.isFlat(signal))) {
    runner.dropGradients();
    notes.push(
      'The gradient is 0 everywhere, as that of decision trees: it is estimated from losses alone, which takes more draws.',
    );
  }
  return runner;
}

function baselineDims(layout: FeatureLayout, point: GatePoint, whole: boolean): number[] {
  if (point.width !== null) return [point.width];
  return whole ? [...layout.shape] : [1, ...layout.shape];
}

/** The names of the outputs that a run fetches. */
interface LossGraph {
  model: Model;
  loss: string;
  gradient?: string;
}

function withLoss(model: Model, loss: SampleLoss): LossGraph {
  const clone = cloneModel(model);
  const value = loss.addTo(clone.model);
  setOutputs(clone.model.graph, [value]);
  return finished(clone.model, { loss: value.name });
}

/** The model with gradients; null, with a note, where an operator has no rule. */
function withGradients(model: Model, loss: SampleLoss, notes: string[]): LossGraph | null {
  const clone = cloneModel(model);
  const value = loss.addTo(clone.model);
  const gates = clone.model.graph.inputs.find((v) => v.name === GATES)!;
  try {
    const total = emitterFor(clone.model, 'secateur_total').sumAll(value);
    const gradient = addGradients(clone.model, total, [gates]).gradients.get(gates)!;
    const output = clone.model.graph.addNode('Identity', [gradient], ['secateur_gradient']).outputs[0]!;
    setOutputs(clone.model.graph, [value, output]);
    return finished(clone.model, { loss: value.name, gradient: output.name });
  } catch (thrown) {
    if (!(thrown instanceof SecateurError && thrown.code === 'unsupported')) throw thrown;
    notes.push(`${thrown.message} Gradients are estimated from losses alone, which takes more draws.`);
    return null;
  }
}

function finished(model: Model, names: Omit<LossGraph, 'model'>): LossGraph {
  removeDeadNodes(model);
  dropUnusedInputs(model.graph);
  sortTopologically(model.graph);
  return { model, ...names };
}

/** Work of a row, and rows of a run. Depends on shapes alone, so that results can be made again. */
function runCost(model: Model, dataset: Dataset, gradients: boolean): { rowMacs: number; rows: number } {
  const { macs, layers } = modelCost(model);
  const samples = dataset.batchSize ?? 1;
  const bytes = layers.reduce((sum, l) => sum + (l.activationBytes ?? 0), 0) / samples;
  // The way back costs twice the way there.
  const rowMacs = ((gradients ? 3 : 1) * macs) / samples;
  const short = Math.floor(RUN_MACS / Math.max(1, rowMacs));
  const kept = Math.floor(KEPT_BYTES / Math.max(1, 2 * bytes));
  return { rowMacs, rows: Math.max(1, Math.min(MOST_ROWS, short, kept)) };
}

interface RunnerParts extends Pick<
  FeatureModel,
  'layout' | 'input' | 'points' | 'model' | 'dataset' | 'notes' | 'rowMacs'
> {
  loss: SampleLoss;
  plain: LossGraph;
  graded: LossGraph | null;
  /** Every sample is a run of its own. */
  apart: boolean;
  rows: number;
  /** Baselines. */
  constants: Record<string, HostTensor>;
  device: DeviceName;
}

class Runner implements FeatureModel {
  readonly layout: FeatureLayout;
  readonly input: string;
  readonly points: readonly GatePoint[];
  readonly model: Model;
  readonly dataset: Dataset;
  hasGradients: boolean;
  readonly rowMacs: number;
  readonly notes: readonly string[];
  private readonly parts: RunnerParts;
  private readonly sessions = new Map<LossGraph, Promise<Session>>();

  constructor(parts: RunnerParts) {
    this.parts = parts;
    ({ layout: this.layout, input: this.input, points: this.points, model: this.model } = parts);
    ({ dataset: this.dataset, notes: this.notes } = parts);
    this.hasGradients = parts.graded !== null;
    this.rowMacs = parts.rowMacs;
  }

  async run(
    samples: ArrayLike<number>,
    gates: ArrayLike<number>,
    { gradients, signal }: { gradients: boolean; signal?: AbortSignal },
  ): Promise<RowLosses> {
    const { size } = this.layout;
    const rows = samples.length;
    if (gates.length !== rows * size)
      throw new SecateurError('internal', `There are ${gates.length} gates for ${rows} rows of ${size} features.`);
    const graph = (gradients && this.hasGradients && this.parts.graded) || this.parts.plain;
    const result: RowLosses = { losses: new Float64Array(rows) };
    if (graph.gradient) result.gradients = new Float64Array(rows * size);
    const all = Float32Array.from(gates);
    const step = this.parts.apart ? 1 : this.parts.rows;
    for (let from = 0; from < rows; from += step) {
      checkSignal(signal);
      const to = Math.min(rows, from + step);
      const chosen = Int32Array.from({ length: to - from }, (_, i) => samples[from + i]);
      await this.part(graph, chosen, all.subarray(from * size, to * size), from, result);
      // Lets a message that cancels arrive.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return result;
  }

  /** One run; of a single sample where the model wants a batch, copies fill it up, which all count alike. */
  private async part(
    graph: LossGraph,
    samples: Int32Array,
    gates: Float32Array,
    from: number,
    into: RowLosses,
  ): Promise<void> {
    const { dataset, loss, apart, constants } = this.parts;
    const { size } = this.layout;
    const indices = apart ? dataset.batches(samples, 1)[0].indices : samples;
    const copies = indices.length / samples.length;
    const rows = copies === 1 ? gates : Float32Array.from({ length: indices.length * size }, (_, i) => gates[i % size]);
    const session = await this.session(graph);
    const fetches = graph.gradient ? [graph.loss, graph.gradient] : [graph.loss];
    const results = await session.run(
      {
        ...dataset.feeds(indices),
        ...loss.feeds(indices),
        ...constants,
        [GATES]: float32Tensor([indices.length, size], rows),
      },
      fetches,
    );
    toFloat32(results[graph.loss]).forEach((l, r) => (into.losses[from + Math.floor(r / copies)] += l / copies));
    if (!graph.gradient) return;
    const found = toFloat32(results[graph.gradient]);
    const target = into.gradients!;
    if (copies === 1) target.set(found, from * size);
    else found.forEach((g, i) => (target[from * size + (i % size)] += g / copies));
  }

  /** Whether all gradients are exactly 0 at random gates: the loss is made of steps, or of nothing. */
  async isFlat(signal?: AbortSignal): Promise<boolean> {
    const count = Math.min(TRIED, this.dataset.samples);
    const rng = Rng.from(0, 'flat');
    const gates = Float32Array.from({ length: count * this.layout.size }, () => rng.float());
    const samples = Int32Array.from({ length: count }, (_, i) => i);
    const { gradients } = await this.run(samples, gates, { gradients: true, signal });
    return gradients!.every((g) => g === 0);
  }

  dropGradients(): void {
    this.hasGradients = false;
  }

  private session(graph: LossGraph): Promise<Session> {
    let session = this.sessions.get(graph);
    if (!session) this.sessions.set(graph, (session = createSession(graph.model, { device: this.parts.device })));
    return session;
  }

  async close(): Promise<void> {
    for (const session of this.sessions.values()) await (await session).release();
    this.sessions.clear();
  }
}
