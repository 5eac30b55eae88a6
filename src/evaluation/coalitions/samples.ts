import { SecateurError } from '../../errors.ts';
import { cloneModel } from '../../graph/clone.ts';
import { removeDeadNodes } from '../../graph/edit.ts';
import type { Model } from '../../graph/ir.ts';
import type { DeviceName } from '../../formats.ts';
import { type HostTensor, toFloat32 } from '../../runtime/host-tensor.ts';
import { createSession, type Session } from '../../runtime/session.ts';
import { freeBatch } from '../../units/batch-axis.ts';
import type { Structure } from '../../units/types.ts';
import type { Dataset } from '../data/dataset.ts';
import { keepOutputs } from '../../graph/outputs.ts';

/** Samples that are run apart and together to see that a batch keeps them apart: with a proof, and without. */
const TRIED = 2;
const TRIED_UNPROVEN = 8;

/** Why samples and coalitions cannot share a run as rows. */
export interface SamplesProblem {
  reason: string;
  /** True when the model itself takes any batch, and samples gave the same alone and in company. */
  tried: boolean;
}

/** Inputs that hold one row per sample, with the shape of one; empty when a whole run is one sample. */
export function sampleShapes(dataset: Dataset): Map<string, number[]> {
  const shapes = new Map<string, number[]>();
  const [one, two] = [dataset.feeds([0]), dataset.feeds([0, 0])];
  for (const input of dataset.inputs) {
    if (input.kind === 'whole') return new Map();
    const [a, b] = [one[input.name].dims, two[input.name].dims];
    if (a[0] === 1 && b[0] === 2) shapes.set(input.name, a.slice(1));
  }
  return shapes;
}

/** The same samples, of which every batch has as few as the model allows. */
export function oneByOne(dataset: Dataset): Dataset {
  const batches: Dataset['batches'] = (indices) => dataset.batches(indices, 1);
  return Object.create(dataset, { batches: { value: batches } }) as Dataset;
}

const checked = new WeakMap<Structure, Map<string, Promise<SamplesProblem | undefined>>>();

/**
 * Runs two samples apart, in the model as it is, and together, in the model with its batch axis freed.
 * @returns undefined when that is proven and the outputs agree, else why the samples cannot share a run; kept per structure
 */
export function samplesProblem(
  structure: Structure,
  dataset: Dataset,
  outputs: readonly string[],
  device: DeviceName,
): Promise<SamplesProblem | undefined> {
  const shapes = sampleShapes(dataset);
  const key = JSON.stringify([dataset.fingerprint, [...shapes], outputs, device]);
  let known = checked.get(structure);
  if (!known) checked.set(structure, (known = new Map()));
  let answer = known.get(key);
  if (!answer) {
    known.set(key, (answer = compare(structure, dataset, shapes, outputs, device)));
    answer.catch(() => known.delete(key));
  }
  return answer;
}

async function compare(
  structure: Structure,
  dataset: Dataset,
  shapes: ReadonlyMap<string, number[]>,
  outputs: readonly string[],
  device: DeviceName,
): Promise<SamplesProblem | undefined> {
  if (shapes.size === 0) return { reason: 'every sample is a run of its own', tried: false };
  const { model } = cloneModel(structure.model);
  keepOutputs(model.graph, outputs);
  removeDeadNodes(model);
  const freed = freeBatch(model, shapes);
  const { carried, reason } = freed.proof;
  if (carried) {
    const different = await tryTogether(model, freed.model, dataset, TRIED, outputs, device);
    return different === undefined ? undefined : { reason: different, tried: false };
  }
  const fixed = dataset.batchSize !== null;
  const tried = !fixed && (await tryTogether(model, model, dataset, TRIED_UNPROVEN, outputs, device)) === undefined;
  return { reason: reason!, tried };
}

/** Runs samples apart in one model and together in another; undefined when the outputs agree, else what is wrong. */
async function tryTogether(
  model: Model,
  batched: Model,
  dataset: Dataset,
  most: number,
  outputs: readonly string[],
  device: DeviceName,
): Promise<string | undefined> {
  const count = Math.min(most, dataset.samples);
  if (count < 2) return undefined;
  const apart = await createSession(model, { device });
  let together: Session | undefined;
  try {
    together = batched === model ? apart : await createSession(batched, { device });
    const all = await together.run(dataset.feeds(Int32Array.from({ length: count }, (_, i) => i)), outputs);
    for (let i = 0; i < count; i++) {
      const [batch] = dataset.batches([i], 1);
      const single = await apart.run(dataset.feeds(batch.indices), outputs);
      for (const name of outputs) {
        if (!sameRow(all[name], i, count, single[name], batch.indices.length))
          return `the output ${name} of a sample changes with the others in its batch`;
      }
    }
    return undefined;
  } catch (error) {
    // A model that the runtime refuses with several rows is run sample by sample.
    if (error instanceof SecateurError && error.code === 'runtime')
      return `it does not run with several samples (${error.message})`;
    throw error;
  } finally {
    await apart.release();
    await together?.release();
  }
}

/** Row `row` of `count` in `all` against the first of `rows` rows of `single`, up to what rounding does. */
function sameRow(all: HostTensor, row: number, count: number, single: HostTensor, rows: number): boolean {
  const [a, b] = [toFloat32(all), toFloat32(single)];
  const stride = a.length / count;
  if (stride !== b.length / rows) return false;
  let worst = 0;
  let largest = 0;
  for (let i = 0; i < stride; i++) {
    const [x, y] = [a[row * stride + i], b[i]];
    if (Number.isNaN(x) !== Number.isNaN(y)) return false;
    if (Number.isFinite(y)) {
      worst = Math.max(worst, Math.abs(x - y));
      largest = Math.max(largest, Math.abs(y));
    } else if (!Number.isNaN(y) && x !== y) return false;
  }
  return worst <= (all.type === 'float16' ? 2e-2 : 2e-3) * Math.max(largest, 1e-6);
}
