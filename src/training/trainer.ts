import { SecateurError } from '../errors.ts';
import type { DeviceName } from '../formats.ts';
import type { Model } from '../graph/ir.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import { createSession, type Feed, type KeptTensor, type Session } from '../runtime/session.ts';
import type { TrainingGraph } from './graph.ts';

export interface TrainerOptions {
  device?: DeviceName;
  /** Threads within one op; default: the runtime's choice. The same number gives the same bits. */
  threads?: number;
}

/** Everything that a training goes on from. */
export interface TrainerState {
  /** Steps that were made. */
  steps: number;
  /** Weights, statistics and memory, by the names of the variables. */
  tensors: Map<string, HostTensor>;
}

export interface Step {
  /** Before the update. */
  loss: number;
  /** Norm of the gradient over all weights, before clipping. */
  gradientNorm: number;
}

/**
 * Runs the steps of a training graph. Weights and optimiser state stay where the runtime computes them: in the device's
 * memory where it can hold them, else in two sets of buffers that are written in turn.
 */
export class Trainer {
  private readonly graph: TrainingGraph;
  private readonly session: Session;
  private readonly fetches: readonly string[];
  /** By input. */
  private current: Record<string, Feed>;
  /** What was current before the last step, by output. */
  private previous: Record<string, KeptTensor> = {};
  private made = 0;

  private constructor(graph: TrainingGraph, session: Session) {
    this.graph = graph;
    this.session = session;
    this.fetches = [graph.loss, graph.gradientNorm, ...graph.variables.map((v) => v.output)];
    this.current = Object.fromEntries(graph.variables.map((v) => [v.input, v.initial()]));
  }

  /** @throws SecateurError 'runtime' when the device does not take the graph */
  static async open(graph: TrainingGraph, { device = 'cpu', threads }: TrainerOptions = {}): Promise<Trainer> {
    const keep = graph.variables.map((v) => v.output);
    return new Trainer(graph, await createSession(graph.model, { device, threads, keep }));
  }

  /** Steps that were made. */
  get steps(): number {
    return this.made;
  }

  /**
   * One step. When it fails, everything is as before it.
   * @param feeds of the model's inputs and of the loss
   * @throws SecateurError 'check-failed' when loss or gradient are not finite, 'runtime'
   */
  async step(feeds: Readonly<Record<string, HostTensor>>, learningRate: number): Promise<Step> {
    const { graph } = this;
    const numbers = graph.numbers(this.made + 1, learningRate);
    const spare = this.previous;
    this.previous = {};
    const results = await this.session.runKept({ ...feeds, ...numbers, ...this.current }, this.fetches, spare);
    const [loss, gradientNorm] = await Promise.all([graph.loss, graph.gradientNorm].map((n) => takeNumber(results[n])));
    const next = Object.fromEntries(graph.variables.map((v) => [v.output, results[v.output]]));
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) {
      this.previous = next;
      throw notFinite(loss, this.made, learningRate);
    }
    this.previous = keptOnly(graph, this.current);
    this.current = Object.fromEntries(graph.variables.map((v) => [v.input, results[v.output]]));
    this.made++;
    return { loss, gradientNorm };
  }

  /** A copy of everything that `restore` needs. */
  async state(): Promise<TrainerState> {
    return { steps: this.made, tensors: await this.read(() => true) };
  }

  /** A copy of the present weights and statistics, by name: what `TrainingGraph.trained` makes a model of. */
  values(): Promise<Map<string, HostTensor>> {
    return this.read((kind) => kind !== 'memory');
  }

  /** Goes on from a state of the same graph. @throws SecateurError 'usage' when it is of another */
  restore({ steps, tensors }: TrainerState): void {
    const current: Record<string, Feed> = {};
    for (const { name, input, type, dims } of this.graph.variables) {
      const tensor = tensors.get(name);
      if (tensor?.type !== type || tensor.dims.join() !== dims.join())
        throw new SecateurError(
          'usage',
          `The saved state has no ${type} tensor ${name} of shape [${dims.join(', ')}].`,
        );
      current[input] = { ...tensor, data: tensor.data.slice() };
    }
    this.dispose();
    this.current = current;
    this.made = steps;
  }

  /** The model with the present weights and statistics. */
  async model(): Promise<Model> {
    return this.graph.trained(await this.values());
  }

  async release(): Promise<void> {
    this.dispose();
    await this.session.release();
  }

  private async read(wanted: (kind: 'weight' | 'statistic' | 'memory') => boolean): Promise<Map<string, HostTensor>> {
    const read = new Map<string, HostTensor>();
    for (const { name, kind, input } of this.graph.variables) {
      const tensor = this.current[input];
      if (wanted(kind)) read.set(name, isKept(tensor) ? await tensor.read() : { ...tensor, data: tensor.data.slice() });
    }
    return read;
  }

  private dispose(): void {
    for (const tensor of [...Object.values(this.current), ...Object.values(this.previous)])
      if (isKept(tensor)) tensor.dispose();
    this.previous = {};
  }
}

function isKept(tensor: Feed): tensor is KeptTensor {
  return 'read' in tensor;
}

/** The tensors that were results, by output: those that came from JavaScript are its own. */
function keptOnly(graph: TrainingGraph, current: Readonly<Record<string, Feed>>): Record<string, KeptTensor> {
  const kept: Record<string, KeptTensor> = {};
  for (const { input, output } of graph.variables) {
    const tensor = current[input];
    if (isKept(tensor)) kept[output] = tensor;
  }
  return kept;
}

async function takeNumber(tensor: KeptTensor): Promise<number> {
  const { data } = await tensor.read();
  tensor.dispose();
  return Number(data[0]);
}

function notFinite(loss: number, steps: number, learningRate: number): SecateurError {
  const what = Number.isFinite(loss) ? 'The gradient' : 'The loss';
  const after = steps === 0 ? 'in the first step' : `after ${steps} step${steps === 1 ? '' : 's'}`;
  return new SecateurError(
    'check-failed',
    `${what} is not a finite number ${after} (learning rate ${learningRate}).`,
    steps === 0
      ? 'Look for numbers in the data or in the model that are not finite, or too large.'
      : 'Take a lower learning rate, a longer warm-up, or clip the gradient.',
  );
}
