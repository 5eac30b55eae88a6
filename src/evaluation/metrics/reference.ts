import { SecateurError } from '../../errors.ts';
import { elementCount, toFloat32 } from '../../runtime/host-tensor.ts';
import type { Session } from '../../runtime/session.ts';
import type { Dataset } from '../data/dataset.ts';
import type { OutputReading } from '../types.ts';
import { runBatches } from './batches.ts';

/** One output of the original model on every sample. */
export interface ReferenceOutput {
  reading: OutputReading;
  /** Shape without the sample: dims of a one-row batch. */
  stride: number;
  /** One block of `stride` numbers per sample, in the order of the dataset it was made with. */
  values: Float32Array;
  /** Mean of the squared outputs: what relative MSE is relative to. */
  power: number;
}

/** Outputs of the original model, kept per sample, to compare others with (KL, relative MSE, agreement). */
export class Reference {
  private readonly blocks: Map<number, number>;

  constructor(
    readonly outputs: readonly ReferenceOutput[],
    ids: Int32Array,
  ) {
    this.blocks = new Map([...ids].map((id, block) => [id, block]));
  }

  /** Block of a sample, by its number in the data (`Dataset.ids`). @throws SecateurError 'internal' when it has none */
  block(id: number): number {
    const block = this.blocks.get(id);
    if (block === undefined) throw new SecateurError('internal', `There are no reference outputs for sample ${id}.`);
    return block;
  }
}

const MAX_BYTES = 2 * 2 ** 30;

/** The outputs that a reading covers. */
export function readingsOf(reading: OutputReading): OutputReading[] {
  return [reading, ...(reading.also ?? [])];
}

/**
 * Runs the original model over the data and keeps what it answers.
 * @param session of the original model
 * @throws SecateurError 'cancelled'; 'runtime' when it fails or the outputs would take more than 2 GB
 */
export async function referenceOutputs(
  session: Session,
  dataset: Dataset,
  reading: OutputReading,
  signal?: AbortSignal,
): Promise<Reference> {
  const readings = readingsOf(reading);
  const kept: { stride: number; values: Float32Array; squares: number }[] = [];
  await runBatches(
    session,
    dataset,
    readings.map((r) => r.output),
    signal,
    (results, batch, done) => {
      readings.forEach((r, k) => {
        const tensor = results[r.output];
        const stride = elementCount(tensor.dims) / batch.indices.length;
        if (!kept[k]) {
          const bytes = stride * dataset.samples * 4;
          if (bytes > MAX_BYTES)
            throw new SecateurError(
              'runtime',
              `The outputs ${r.output} of ${dataset.samples} samples take ${(bytes / 1e9).toFixed(1)} GB.`,
              'Take fewer samples with --samples.',
            );
          kept[k] = { stride, values: new Float32Array(stride * dataset.samples), squares: 0 };
        }
        if (stride !== kept[k].stride)
          throw new SecateurError(
            'unsupported',
            `The output ${r.output} changes its size from run to run: it cannot be compared.`,
          );
        const values = toFloat32(tensor).subarray(0, batch.count * stride);
        kept[k].values.set(values, done * stride);
        for (const v of values) kept[k].squares += v * v;
      });
    },
  );
  const outputs = kept.map(({ stride, values, squares }, k) => ({
    reading: readings[k],
    stride,
    values,
    power: squares / Math.max(1, values.length),
  }));
  return new Reference(outputs, dataset.ids);
}

/**
 * The original's outputs that a metric compares with: for mse all that are read, for kl those that are distributions,
 * for agreement the one that answers.
 * @throws SecateurError 'usage' when there is none
 */
export function comparedOutputs(
  reference: Reference,
  metric: 'kl' | 'mse' | 'agreement',
  reading: OutputReading,
): ReferenceOutput[] {
  const wanted = new Set(readingsOf(reading).map((r) => r.output));
  const compared = reference.outputs.filter(
    (o) =>
      wanted.has(o.reading.output) &&
      (metric === 'mse' ||
        (o.reading.reading !== 'regression' && (metric === 'kl' || o.reading.output === reading.output))),
  );
  if (compared.length === 0)
    throw new SecateurError(
      'usage',
      `The metric ${metric} needs an output that is a distribution; ${reading.output} is read as numbers.`,
      'Use mse.',
    );
  return compared;
}
