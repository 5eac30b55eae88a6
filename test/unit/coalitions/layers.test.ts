import { describe, expect, it } from 'vitest';
import { openLayerGame } from '../../../src/evaluation/coalitions/index.ts';
import { evaluateModel } from '../../../src/evaluation/metrics/index.ts';
import { createSession, type HostTensor } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { gateModel } from '../../../src/units/gating.ts';
import { randomData, readingOf, testModels } from './models.ts';

const metric = 'cross-entropy' as const;

describe('a game over whole groups', () => {
  for (const t of testModels()) {
    it(`has the values of the model with the gates of closed layers set: ${t.name}`, async () => {
      const structure = analyseStructure(t.model);
      const groups = structure.groups.filter((g) => g.prunable && g.kind !== 'block').slice(0, 4);
      const fixed = t.model.graph.inputs[0].type!.shape![0] === 1;
      const data = randomData(t, 7, { batchSize: fixed ? 1 : null });
      const reading = readingOf(t.model, t.name.startsWith('flatten') ? 'probabilities' : 'logits');
      // Every other unit stays, so that coalitions differ in plain chains too.
      const players = groups.map((g) => ({
        group: g.id,
        closed: Uint8Array.from({ length: g.size }, (_, i) => i % 2),
      }));
      const game = await openLayerGame(structure, 'layers', players, data, { metric, reading, device: 'cpu' });
      expect(game).toMatchObject({ group: 'layers', players: groups.length, samples: 7, metric });
      const coalitions = Array.from({ length: 2 ** groups.length }, (_, mask) =>
        Uint8Array.from(groups, (_g, i) => (mask >> i) & 1),
      );
      const values = await game.evaluate(coalitions);
      await game.close();

      const gated = gateModel(
        structure,
        groups.map((g) => g.id),
      );
      const session = await createSession(gated.model);
      for (const [k, coalition] of coalitions.entries()) {
        const gates = gated.gates.map((gate, i): [string, HostTensor] => {
          const row = Float32Array.from(players[i].closed, (open) => (coalition[i] ? 1 : open));
          return [gate.input.name, { type: 'float32', dims: [1, gate.size], data: row }];
        });
        const feeds = Object.fromEntries(gates);
        const plain = {
          ...session,
          run: (own: Record<string, HostTensor>, fetches?: readonly string[]) =>
            session.run({ ...own, ...feeds }, fetches),
        };
        const { value } = await evaluateModel(plain, data, { metric, reading });
        expect(Math.abs(values[k] - value)).toBeLessThan(1e-5 * Math.max(1, Math.abs(value)));
      }
      await session.release();
    });
  }

  it('refuses a mask of another size', async () => {
    const [t] = testModels();
    const structure = analyseStructure(t.model);
    const { id } = structure.groups.find((g) => g.prunable)!;
    const open = openLayerGame(structure, 'layers', [{ group: id, closed: new Uint8Array(1) }], randomData(t, 3), {
      metric,
      reading: readingOf(t.model, 'logits'),
      device: 'cpu',
    });
    await expect(open).rejects.toMatchObject({ code: 'internal' });
  });
});
