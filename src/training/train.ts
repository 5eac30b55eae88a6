import { createHash } from 'node:crypto';
import { SecateurError, checkSignal } from '../errors.ts';
import { sampleShapes } from '../evaluation/coalitions/samples.ts';
import type { Dataset } from '../evaluation/data/dataset.ts';
import type { Model } from '../graph/ir.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import { batchesPerEpoch, epochBatches } from './batches.ts';
import { readCheckpoint, writeCheckpoint, type Checkpoint } from './checkpoint.ts';
import { trainingGraph, type TrainingGraph, type TrainingGraphOptions } from './graph.ts';
import { scheduleShare, type Schedule } from './schedule.ts';
import { Trainer, type TrainerOptions } from './trainer.ts';

export interface TrainOptions extends Omit<TrainingGraphOptions, 'samples'>, TrainerOptions {
  learningRate: number;
  schedule?: Schedule;
  epochs: number;
  /** Samples per step; 32. What the model fixes counts. */
  batchSize?: number;
  /** Of the order of samples; 0. */
  seed?: number;
  /**
   * What a model is worth, larger is better: asked before the first epoch and after every one. The model of the best
   * value is the result. See `validationBy`.
   */
  validate?: (model: Model, signal?: AbortSignal) => Promise<number>;
  /** Stops when so many epochs in a row did not surpass the best value by more than `minDelta` (0). Needs `validate`. */
  patience?: number;
  minDelta?: number;
  /** A file to go on from, where it is there, and to write. `everySteps`: also within an epoch. */
  checkpoint?: { path: string; everySteps?: number };
}

export interface EpochRecord {
  /** From 1; 0 is the model as it was given. */
  epoch: number;
  /** Mean over the steps, each before its update; null for epoch 0. */
  loss: number | null;
  /** In the last step. */
  learningRate: number | null;
  /** What `validate` said. */
  value?: number;
}

export interface TrainProgress {
  /** Steps that were made, of how many at most. */
  step: number;
  steps: number;
  epoch: number;
  loss: number;
  learningRate: number;
}

export interface TrainingResult {
  /** The given model with the trained weights: those of the best epoch, where there is `validate`. */
  model: Model;
  /** Loss of every step, before its update. */
  losses: number[];
  history: EpochRecord[];
  /** The epoch that the weights are from. */
  best: { epoch: number; value?: number };
  stopped: 'epochs' | 'patience';
  /** Steps that were made before this call, by an earlier one that the checkpoint was of. */
  resumedAt: number;
}

/** What a checkpoint keeps beside tensors. */
interface Progress {
  /** The epoch (from 1) and the batch in it that come next. */
  epoch: number;
  batch: number;
  losses: number[];
  history: EpochRecord[];
  best: { epoch: number; value: number } | null;
}

/**
 * Trains a model on a data set: shuffled batches, one graph run per step, a schedule, early stopping, checkpoints. The
 * given model is not changed. The same options give the same weights bit by bit on the same machine and device, whether
 * or not the training was interrupted.
 * @throws SecateurError 'cancelled' within one step (with a checkpoint written, where one is wanted); 'check-failed' when
 * the loss is not a number any more; 'unsupported' where an operator has no gradient; 'usage', 'io', 'runtime'
 */
export async function train(
  model: Model,
  dataset: Dataset,
  options: TrainOptions,
  signal?: AbortSignal,
  onProgress?: (progress: TrainProgress) => void,
): Promise<TrainingResult> {
  checkOptions(options);
  const samples = sampleShapes(dataset);
  // Without a batch axis every sample is a batch of its own.
  const batchNorm = options.batchNorm ?? (samples.size === 0 ? 'frozen' : undefined);
  const graph = trainingGraph(model, { ...options, batchNorm, samples });
  const batchSize = graph.batch ?? (samples.size === 0 ? dataset.batchSize : null);
  const trainer = await Trainer.open(graph, options);
  try {
    return await new Training(graph, trainer, dataset, options, batchSize, signal, onProgress).run();
  } finally {
    await trainer.release();
  }
}

function checkOptions({ learningRate, epochs, patience, validate }: TrainOptions): void {
  if (!(learningRate > 0 && Number.isFinite(learningRate)))
    throw new SecateurError('usage', `The learning rate must be a number above 0, not ${learningRate}.`);
  if (!(Number.isInteger(epochs) && epochs > 0))
    throw new SecateurError('usage', `The number of epochs must be a whole number above 0, not ${epochs}.`);
  if (patience !== undefined && !validate)
    throw new SecateurError('usage', 'Patience needs a value to watch.', 'Give data to validate on.');
}

class Training {
  private progress: Progress = { epoch: 1, batch: 0, losses: [], history: [], best: null };
  private bestValues: ReadonlyMap<string, HostTensor> | null = null;
  private readonly size: number;
  private readonly perEpoch: number;
  private readonly key: string;
  /** Steps when the checkpoint was last written. */
  private saved = 0;

  constructor(
    private readonly graph: TrainingGraph,
    private readonly trainer: Trainer,
    private readonly dataset: Dataset,
    private readonly options: TrainOptions,
    private readonly fixedBatch: number | null,
    private readonly signal: AbortSignal | undefined,
    private readonly onProgress: ((progress: TrainProgress) => void) | undefined,
  ) {
    this.size = fixedBatch ?? Math.max(1, Math.min(dataset.samples, Math.floor(options.batchSize ?? 32)));
    this.perEpoch = batchesPerEpoch(dataset.samples, this.size);
    this.key = options.checkpoint ? trainingKey(graph, dataset, options, this.size) : '';
  }

  async run(): Promise<TrainingResult> {
    await this.resume();
    const resumedAt = this.trainer.steps;
    const { progress } = this;
    try {
      if (progress.history.length === 0) await this.endEpoch({ epoch: 0, loss: null, learningRate: null });
      while (progress.epoch <= this.options.epochs && !this.outOfPatience()) await this.epoch();
    } catch (thrown) {
      if (thrown instanceof SecateurError && thrown.code === 'cancelled') await this.save();
      throw thrown;
    }
    const values = this.bestValues ?? (await this.trainer.values());
    const last = { epoch: progress.history.length - 1 };
    return {
      model: this.graph.trained(values),
      losses: progress.losses,
      history: progress.history,
      best: progress.best ?? last,
      stopped: this.outOfPatience() ? 'patience' : 'epochs',
      resumedAt,
    };
  }

  private async epoch(): Promise<void> {
    const { progress, dataset, trainer } = this;
    const { seed = 0 } = this.options;
    const batches = epochBatches(dataset.samples, this.size, seed, progress.epoch, this.fixedBatch !== null);
    while (progress.batch < batches.length) {
      checkSignal(this.signal);
      await this.step(batches[progress.batch]);
      progress.batch++;
      const every = this.options.checkpoint?.everySteps;
      if (every && trainer.steps - this.saved >= every) await this.save();
    }
    const own = progress.losses.slice(-this.perEpoch);
    const loss = own.reduce((a, b) => a + b, 0) / own.length;
    await this.endEpoch({ epoch: progress.epoch, loss, learningRate: this.rateOf(trainer.steps - 1) });
    progress.epoch++;
    progress.batch = 0;
    await this.save();
  }

  private async step(batch: Int32Array): Promise<void> {
    const { trainer, progress, dataset } = this;
    const learningRate = this.rateOf(trainer.steps);
    const feeds = { ...dataset.feeds(batch), ...this.options.loss.feeds(batch) };
    const { loss } = await trainer.step(feeds, learningRate);
    progress.losses.push(loss);
    const steps = this.perEpoch * this.options.epochs;
    this.onProgress?.({ step: trainer.steps, steps, epoch: progress.epoch, loss, learningRate });
  }

  private rateOf(step: number): number {
    const { learningRate, schedule = {}, epochs } = this.options;
    return learningRate * scheduleShare(schedule, step, this.perEpoch * epochs);
  }

  /** Notes an epoch, and its weights where they are the best so far. */
  private async endEpoch(record: EpochRecord): Promise<void> {
    const { progress, options, signal } = this;
    if (options.validate) {
      const values = await this.trainer.values();
      const value = await options.validate(this.graph.trained(values), signal);
      if (!Number.isFinite(value))
        throw new SecateurError(
          'check-failed',
          `The validation value after ${record.epoch} epochs is not a finite number.`,
          'Take a lower learning rate, or clip the gradient.',
        );
      record.value = value;
      if (progress.best === null || value > progress.best.value + (options.minDelta ?? 0)) {
        progress.best = { epoch: record.epoch, value };
        this.bestValues = values;
      }
    }
    progress.history.push(record);
  }

  private outOfPatience(): boolean {
    const { best, history } = this.progress;
    const { patience } = this.options;
    return patience !== undefined && best !== null && history.length - 1 - best.epoch >= patience;
  }

  private async resume(): Promise<void> {
    const { checkpoint } = this.options;
    const found = checkpoint && (await readCheckpoint<Progress>(checkpoint.path, this.key));
    if (!found) return;
    const { progress, tensors } = found;
    this.trainer.restore({ steps: progress.losses.length, tensors: new Map(tensors.state) });
    this.progress = progress;
    this.bestValues = tensors.best ?? null;
    this.saved = this.trainer.steps;
  }

  /** Writes the checkpoint, where one is wanted. */
  private async save(): Promise<void> {
    const { checkpoint } = this.options;
    if (!checkpoint) return;
    const { progress } = this;
    const { tensors: state } = await this.trainer.state();
    const tensors: Checkpoint<Progress>['tensors'] = { state, ...(this.bestValues && { best: this.bestValues }) };
    await writeCheckpoint(checkpoint.path, { key: this.key, progress, tensors });
    this.saved = this.trainer.steps;
  }
}

/** A hash of all that decides the course of a training, but for the loss, which is code. */
function trainingKey(graph: TrainingGraph, dataset: Dataset, options: TrainOptions, size: number): string {
  const hash = createHash('sha256');
  const { optimiser, learningRate, schedule, epochs, seed, patience, minDelta, clipNorm, batchNorm } = options;
  const settings = { optimiser, learningRate, schedule, epochs, seed, patience, minDelta, clipNorm, batchNorm, size };
  const nodes = graph.model.graph.nodes.map((n) => n.op);
  hash.update(JSON.stringify([settings, dataset.fingerprint, Array.from(dataset.ids), nodes]));
  for (const { name, kind, dims, initial } of graph.variables) {
    hash.update(JSON.stringify([name, kind, dims]));
    const { data } = initial();
    hash.update(new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength));
  }
  return hash.digest('hex');
}
