import { describe, expect, it } from 'vitest';
import { openGame } from '../../../src/evaluation/coalitions/index.ts';
import type { Dataset } from '../../../src/evaluation/data/dataset.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { gateModel } from '../../../src/units/gating.ts';
import type { Structure } from '../../../src/units/types.ts';
import { coalitions, mixing, randomData, readingOf, residual, testModels } from './models.ts';

/** Accuracy and −cross-entropy of the gated model, sample by sample with the runtime alone, written down anew. */
async function direct(
  structure: Structure,
  group: string,
  data: Dataset,
  masks: readonly Uint8Array[],
  isProbability: boolean,
) {
  const { model, gates } = gateModel(structure, [group]);
  const session = await createSession(model, { optimize: false });
  const output = model.graph.outputs[0].name;
  const values = [];
  for (const mask of masks) {
    let right = 0;
    let loss = 0;
    for (let i = 0; i < data.samples; i++) {
      const gate = { type: 'float32' as const, dims: [1, mask.length], data: Float32Array.from(mask) };
      const scores = [
        ...((await session.run({ ...data.feeds([i]), [gates[0].input.name]: gate }))[output].data as Float32Array),
      ];
      const label = data.labels![i];
      if (scores.indexOf(Math.max(...scores)) === label) right++;
      loss += isProbability
        ? Math.log(Math.max(scores[label], 1e-12))
        : scores[label] - Math.log(scores.reduce((s, v) => s + Math.exp(v), 0));
    }
    values.push({ accuracy: right / data.samples, 'cross-entropy': loss / data.samples });
  }
  await session.release();
  return values;
}

describe('openGame', () => {
  for (const t of testModels()) {
    it(`gives the values of the gated model: ${t.name}`, async () => {
      const structure = analyseStructure(t.model);
      const fixed = t.model.graph.inputs[0].type!.shape![0] === 1;
      const data = randomData(t, 11, { batchSize: fixed ? 1 : null });
      const isProbability = t.name.startsWith('flatten');
      const groups = structure.groups.filter((g) => g.prunable);
      expect(groups.length).toBeGreaterThan(0);
      for (const group of groups) {
        const masks = coalitions(group.size, 9, group.size);
        const truth = await direct(structure, group.id, data, masks, isProbability);
        for (const strategy of ['auto', 'cut', 'naive'] as const) {
          for (const metric of ['accuracy', 'cross-entropy'] as const) {
            const reading = readingOf(t.model, isProbability ? 'probabilities' : 'logits');
            const game = await openGame(structure, group.id, data, { metric, reading, device: 'cpu', strategy });
            const values = await game.evaluate(masks);
            values.forEach((v, i) =>
              expect(v, `${group.id} ${strategy} ${metric} ${i} ${game.info.strategy}`).toBeCloseTo(
                truth[i][metric],
                5,
              ),
            );
            if (t.batchable && strategy !== 'naive') expect(game.info).toMatchObject({ notes: [] });
            if (!t.batchable && strategy === 'auto') {
              expect(game.info.strategy).toBe('single');
              expect(game.info.notes.join()).toContain('one at a time');
            }
            expect(game.players).toBe(group.size);
            await game.close();
          }
        }
      }
    });
  }

  it('folds where the gates stand in front of a linear consumer', async () => {
    const t = testModels()[2];
    const structure = analyseStructure(t.model);
    const data = randomData(t, 6);
    const folded = [];
    for (const g of structure.groups.filter((g) => g.prunable)) {
      const game = await openGame(structure, g.id, data, {
        metric: 'accuracy',
        reading: readingOf(t.model),
        device: 'cpu',
      });
      folded.push([g.id, game.info.folded, game.info.suffixShare < 1]);
      await game.close();
    }
    expect(folded.slice(0, 2)).toEqual([
      ['c1', true, true],
      ['c2', true, true],
    ]);
  });

  it('answers overlapping calls and repeated coalitions', async () => {
    const t = residual();
    const structure = analyseStructure(t.model);
    const game = await openGame(structure, 'inner', randomData(t, 5), {
      metric: 'cross-entropy',
      reading: readingOf(t.model),
      device: 'cpu',
    });
    const masks = coalitions(5, 4);
    const [a, b] = await Promise.all([game.evaluate(masks), game.evaluate([...masks].reverse())]);
    expect([...b].reverse()).toEqual([...a]);
    expect([...(await game.evaluate([masks[2], masks[2]]))]).toEqual([a[2], a[2]]);
    await game.close();
  });

  it('computes the prefix anew when it does not fit', async () => {
    const t = residual();
    const structure = analyseStructure(t.model);
    const options = { metric: 'cross-entropy', reading: readingOf(t.model), device: 'cpu' } as const;
    const data = randomData(t, 23);
    for (const id of ['stem', 'inner', 'down1']) {
      const masks = coalitions(structure.groups.find((g) => g.id === id)!.size, 6);
      const whole = await openGame(structure, id, data, options);
      const parts = await openGame(structure, id, data, { ...options, limit: 20_000 });
      const [a, b] = [await whole.evaluate(masks), await parts.evaluate(masks)];
      a.forEach((v, i) => expect(b[i]).toBeCloseTo(v, 6));
      expect(parts.info.notes.join()).toContain('memory');
      await whole.close();
      await parts.close();
    }
  });

  it('stops when the signal fires', async () => {
    const t = mixing();
    const structure = analyseStructure(t.model);
    for (const strategy of ['auto', 'naive'] as const) {
      const game = await openGame(structure, structure.groups[0].id, randomData(t, 50, { batchSize: 1 }), {
        metric: 'accuracy',
        reading: readingOf(t.model),
        device: 'cpu',
        strategy,
      });
      const controller = new AbortController();
      const running = game.evaluate(coalitions(7, 40), controller.signal);
      setTimeout(() => controller.abort(), 5);
      await expect(running).rejects.toMatchObject({ code: 'cancelled' });
      expect((await game.evaluate(coalitions(7, 1))).length).toBe(3);
      await game.close();
    }
  });
});
