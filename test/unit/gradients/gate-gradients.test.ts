import { describe, expect, it } from 'vitest';
import type { Dataset } from '../../../src/evaluation/data/index.ts';
import { gateGradients } from '../../../src/evaluation/gradients/gate-gradients.ts';
import type { LossKind } from '../../../src/evaluation/gradients/loss-terms.ts';
import { openSampleLoss } from '../../../src/evaluation/gradients/sample-loss.ts';
import type { OutputReading } from '../../../src/evaluation/types.ts';
import { float32Tensor, toFloat32 } from '../../../src/runtime/host-tensor.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { gateModel } from '../../../src/units/gating.ts';
import type { Structure } from '../../../src/units/types.ts';
import { randomData, readingOf, testModels } from '../coalitions/models.ts';

const H = 4e-3;

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
  });
});
