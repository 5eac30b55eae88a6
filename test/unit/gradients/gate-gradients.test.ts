import { describe, expect, it } from 'vitest';
import { openDataset, type Dataset } from '../../../src/evaluation/data/index.ts';
import {
  gateGradients,
  openSampleLoss,
  type GateGradients,
  type LossKind,
} from '../../../src/evaluation/gradients/index.ts';
import { readOutput } from '../../../src/evaluation/metrics/index.ts';
import type { OutputReading } from '../../../src/evaluation/types.ts';
import { loadModel } from '../../../src/graph/load.ts';
import { float32Tensor, toFloat32 } from '../../../src/runtime/host-tensor.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { gateModel } from '../../../src/units/gating.ts';
import type { Structure } from '../../../src/units/types.ts';
import { randomData, readingOf, testModels } from '../coalitions/models.ts';

const H = 4e-3;
const EXAMPLE = 'examples/lenet5';

/** Central differences of the loss of each sample, with each gate alone moved to both sides of 1. */
async function differences(
  structure: Structure,
  id: string,
  data: Dataset,
  loss: LossKind,
  reading: OutputReading,
): Promise<number[][]> {
  const size = structure.groups.find((g) => g.id === id)!.size;
  const { model, gates } = gateModel(structure, [id]);
  const open = await openSampleLoss(structure, data, { loss, reading, device: 'cpu' });
  const value = open.addTo(model);
  model.graph.outputs.splice(0, model.graph.outputs.length, value);
  const session = await createSession(model);
  const slopes: number[][] = [];
  for (const { indices, count } of data.batches(null, 1)) {
    if (count !== 1) throw new Error('one sample at a time');
    const at = async (unit: number, to: number): Promise<number> => {
      const gate = new Float32Array(size).fill(1);
      gate[unit] = to;
      const feeds = {
        ...data.feeds(indices),
        ...open.feeds(indices),
        [gates[0].input.name]: float32Tensor([1, size], gate),
      };
      return toFloat32((await session.run(feeds, [value.name]))[value.name])[0];
    };
    const row: number[] = [];
    for (let unit = 0; unit < size; unit++) row.push(((await at(unit, 1 + H)) - (await at(unit, 1 - H))) / (2 * H));
    slopes.push(row);
  }
  await session.release();
  return slopes;
}

const mean = (rows: number[][], unit: number, of: (x: number) => number) =>
  rows.reduce((sum, row) => sum + of(row[unit]), 0) / rows.length;

describe('gradients with respect to the gates of all groups', () => {
  it.each(testModels())('are central differences: $name', async (t) => {
    const structure = analyseStructure(t.model);
    const first = t.model.graph.inputs[0].type?.shape?.[0];
    const data = randomData(t, 5, { batchSize: typeof first === 'number' ? first : null });
    const reading = readingOf(t.model, t.name.startsWith('flatten') ? 'probabilities' : 'logits');
    const ids = structure.groups.filter((g) => g.prunable).map((g) => g.id);
    const loss = await openSampleLoss(structure, data, { loss: 'cross-entropy', reading, device: 'cpu' });
    const found = await gateGradients(structure, ids, data, loss, { device: 'cpu', rows: 3 });
    expect(found.failures.size).toBe(0);
    expect(found.notes.length > 0).toBe(!t.batchable);
    await expectDifferences(structure, ids, data, reading, found);
  });

  it('are central differences on the example', async () => {
    const model = loadModel(`${EXAMPLE}/model.onnx`);
    const structure = analyseStructure(model);
    const data = await openDataset(model, { path: `${EXAMPLE}/calib.npz`, samples: 5, seed: 0 });
    const reading = await readOutput(model, data);
    const all = structure.groups.filter((g) => g.prunable).map((g) => g.id);
    const loss = await openSampleLoss(structure, data, { loss: 'cross-entropy', reading, device: 'cpu' });
    const found = await gateGradients(structure, all, data, loss, { device: 'cpu' });
    await expectDifferences(structure, ['conv1', 'conv2'], data, reading, found);
  });

  it('are the same whatever the size of runs, and end when cancelled', async () => {
    const [t] = testModels();
    const structure = analyseStructure(t.model);
    const data = randomData(t, 7);
    const loss = await openSampleLoss(structure, data, {
      loss: 'cross-entropy',
      reading: readingOf(t.model),
      device: 'cpu',
    });
    const ids = structure.groups.filter((g) => g.prunable).map((g) => g.id);
    const told: number[][] = [];
    const run = (rows: number, signal?: AbortSignal, onProgress?: (done: number, planned: number) => void) =>
      gateGradients(structure, ids, data, loss, { device: 'cpu', rows, signal, onProgress });
    const whole = await run(7);
    const parts = await run(3, undefined, (done, planned) => told.push([done, planned]));
    expect(told).toEqual([
      [3, 7],
      [6, 7],
      [7, 7],
    ]);
    for (const id of ids)
      whole.moments.get(id)!.absolute.mean.forEach((x, u) => {
        expect(parts.moments.get(id)!.absolute.mean[u]).toBeCloseTo(x, 6);
      });
    const abort = new AbortController();
    const stopped = run(3, abort.signal, () => abort.abort());
    await expect(stopped).rejects.toMatchObject({ code: 'cancelled' });
  });
});

async function expectDifferences(
  structure: Structure,
  ids: readonly string[],
  data: Dataset,
  reading: OutputReading,
  found: GateGradients,
): Promise<void> {
  for (const id of ids) {
    const wanted = await differences(structure, id, data, 'cross-entropy', reading);
    const got = found.moments.get(id)!;
    expect(got.signed.count).toBe(5);
    const largest = Math.max(...wanted.flat().map(Math.abs));
    wanted[0].forEach((_, unit) => {
      const close = (value: number, expected: number, what: string, scale: number) =>
        expect(Math.abs(value - expected), `${what} of ${id} ${unit}: ${value} for ${expected}`).toBeLessThan(scale);
      close(
        got.signed.mean[unit],
        mean(wanted, unit, (x) => x),
        'mean',
        5e-3 * largest,
      );
      close(got.absolute.mean[unit], mean(wanted, unit, Math.abs), 'size', 5e-3 * largest);
      close(
        got.square.mean[unit],
        mean(wanted, unit, (x) => x * x),
        'square',
        1e-2 * largest ** 2,
      );
    });
  }
}
