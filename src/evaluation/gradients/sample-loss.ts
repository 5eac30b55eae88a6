import { outputNamed } from '../../graph/outputs.ts';
import { crossEntropy, divergence, squaredError } from '../../autodiff/losses.ts';
import { emitterFor, type Emitter } from '../../autodiff/emit.ts';
import { checkSignal } from '../../errors.ts';
import type { DeviceName, Reading } from '../../formats.ts';
import type { Model, Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { allocate, hostTypeOf, type HostTensor, type HostType } from '../../runtime/host-tensor.ts';
import { createSession } from '../../runtime/session.ts';
import type { Structure } from '../../units/types.ts';
import { rowLayout, targetOf } from '../coalitions/metric-graph.ts';
import { referenceOf } from '../coalitions/open.ts';
import type { Dataset } from '../data/dataset.ts';
import { readingsOf, type Reference } from '../metrics/index.ts';
import type { OutputReading } from '../types.ts';
import { comparesWithOriginal, lossTerms, type LossKind, type LossTargets, type LossTerm } from './loss-terms.ts';

export interface SampleLossOptions {
  loss: LossKind;
  reading: OutputReading;
  device: DeviceName;
  /** Of targets that are drawn; 0 unless given. */
  seed?: number;
  /** Outputs of the original model, where the loss compares with them; computed when absent. */
  reference?: Reference;
  signal?: AbortSignal;
}

/** The loss of every sample of a data set, to be added to any model that has the outputs which the reading names. */
export interface SampleLoss {
  readonly kind: LossKind;
  /** Outputs that it reads. */
  readonly outputs: readonly string[];
  /**
   * Adds inputs and nodes to a model, in place; what its outputs are is not changed. The loss of a row is that of the
   * sample which is fed there, whatever its company: the sum over rows has the gradients of all of them.
   * @returns float32 [rows]: means over the positions of a sample, smaller is better
   */
  addTo(model: Model): Value;
  /**
   * Feeds of the added inputs, one row for each of these samples (0 … samples − 1 of the data set), in this order.
   * Numbers may repeat: K copies of a batch are K times its numbers.
   * @param draw which of the targets of a sample, 0 unless given
   */
  feeds(samples: ArrayLike<number>, draw?: number): Record<string, HostTensor>;
  /** How many targets a sample has: 1 unless they are drawn or taken in turn. */
  readonly draws: number;
  /** False where targets are drawn at random: sums over them are estimates. */
  readonly exact: boolean;
  /** What a draw counts in sums over draws of squared derivatives. */
  weight(sample: number, draw: number): number;
}

/** A term whose targets are at hand. */
interface BoundTerm {
  term: LossTerm;
  input: string;
  type: HostType;
  /** Elements of the target of one sample. */
  width: number;
  targets: LossTargets;
}

/**
 * Prepares a loss for the samples of a data set. Where there is a metric of that name, the loss of a sample is minus its
 * metric: nats, or errors relative to the mean square of the original's outputs or the variance of the targets.
 * @param structure of the original model, whose outputs tell the shapes, and what kl, mse and own-answer compare with
 * @throws SecateurError 'usage' for a loss that the data do not allow, 'bad-data' for labels that do not fit,
 * 'cancelled', 'runtime'
 */
export async function openSampleLoss(
  structure: Structure,
  dataset: Dataset,
  options: SampleLossOptions,
): Promise<SampleLoss> {
  const { loss, reading, device, seed = 0, signal } = options;
  const reference = comparesWithOriginal(dataset, loss, reading)
    ? (options.reference ?? (await referenceOf(structure, dataset, reading, device)))
    : undefined;
  checkSignal(signal);
  const terms = lossTerms(dataset, loss, reading, reference, seed);
  const shapes = await outputShapes(structure.model, dataset, reading, device);
  checkSignal(signal);
  return new TermsLoss(
    loss,
    terms.map((term, i): BoundTerm => {
      const dims = shapes.dims.get(term.reading.output)!;
      const metric = term.form === 'product' ? 'squared' : term.form;
      const layout = rowLayout(dims, shapes.batch, term.reading);
      const { width, elemType } = targetOf(metric, term.reading.reading, layout);
      const targets = term.bind(dims, shapes.batch);
      return { term, input: `secateur_loss_target_${i}`, type: hostTypeOf(elemType)!, width, targets };
    }),
  );
}

/** Shapes of the outputs in a run of as few samples as the model allows. */
async function outputShapes(model: Model, dataset: Dataset, reading: OutputReading, device: DeviceName) {
  const names = readingsOf(reading).map((r) => r.output);
  const session = await createSession(model, { device });
  try {
    const [{ indices }] = dataset.batches([0], 1);
    const results = await session.run(dataset.feeds(indices), names);
    return { dims: new Map(names.map((n) => [n, results[n].dims])), batch: indices.length };
  } finally {
    await session.release();
  }
}

class TermsLoss implements SampleLoss {
  readonly kind: LossKind;
  readonly outputs: readonly string[];
  readonly draws: number;
  readonly exact: boolean;
  private readonly terms: readonly BoundTerm[];

  constructor(kind: LossKind, terms: readonly BoundTerm[]) {
    this.kind = kind;
    this.terms = terms;
    this.outputs = terms.map((t) => t.term.reading.output);
    this.draws = terms[0].targets.draws;
    this.exact = terms.every((t) => t.targets.exact);
  }

  weight(sample: number, draw: number): number {
    return this.terms[0].targets.weight(sample, draw);
  }

  addTo(model: Model): Value {
    const e = emitterFor(model, 'secateur_loss');
    const parts = this.terms.map((bound) => {
      const { reading } = bound.term;
      return addTerm(e, outputNamed(model.graph, reading.output), bound);
    });
    return parts.reduce((a, b) => e.add(a, b));
  }

  feeds(samples: ArrayLike<number>, draw = 0): Record<string, HostTensor> {
    return Object.fromEntries(
      this.terms.map(({ input, type, width, targets }): [string, HostTensor] => {
        const data = allocate(type, samples.length * width) as Float32Array;
        for (let row = 0; row < samples.length; row++)
          data.set(targets.of(samples[row], draw) as Float32Array, row * width);
        return [input, { type, dims: [samples.length, width], data }];
      }),
    );
  }
}

/** The loss of every row by one term, and the input for its targets. */
function addTerm(e: Emitter, output: Value, { term, input, type, width }: BoundTerm): Value {
  const elemType = type === 'int64' ? DataType.INT64 : DataType.FLOAT;
  const target = e.workspace.graph.addInput(input, { kind: 'tensor', elemType, shape: ['secateur_rows', width] });
  const losses = elementwise(e, e.cast(output, DataType.FLOAT), target, term);
  const byRow = e.reshape(losses, e.joinInts([e.dims(target, [0]), e.ints([-1])]));
  return e.scale(e.reduceMean(byRow, [1], false), term.weight);
}

/** Losses of single positions or elements, those of a row next to each other. */
function elementwise(e: Emitter, output: Value, target: Value, { form, reading }: LossTerm): Value {
  const { classAxis } = reading;
  if (form === 'product') return e.mul(output, e.reshapeLike(target, output));
  if (form === 'squared') return squaredError(e, output, e.reshapeLike(target, output), 'none');
  const layout = { reading: reading.reading as Exclude<Reading, 'regression'>, classAxis, reduction: 'none' } as const;
  const binary = classAxis < 0;
  const positions = Array.from({ length: e.rankOf(output) }, (_, i) => i).filter((a) => a !== classAxis);
  if (form === 'likelihood') return crossEntropy(e, output, e.reshape(target, e.dims(output, positions)), layout);
  const classes = binary ? e.ints([2]) : e.dims(output, [classAxis]);
  const reference = e.reshape(target, e.joinInts([e.dims(output, positions), classes]));
  return divergence(e, output, reference, layout);
}
