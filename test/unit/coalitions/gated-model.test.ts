import { describe, expect, it } from 'vitest';
import { openGatedModel } from '../../../src/evaluation/coalitions/index.ts';
import { evaluateModel } from '../../../src/evaluation/metrics/index.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { gateModel } from '../../../src/units/gating.ts';
import { numbers } from '../../support/build.ts';
import { randomData, readingOf, residual, testModels } from './models.ts';

describe('openGatedModel', () => {
  for (const t of testModels()) {
    it(`measures keep-sets over all groups: ${t.name}`, async () => {
      const structure = analyseStructure(t.model);
      const fixed = t.model.graph.inputs[0].type!.shape![0] === 1;
      const data = randomData(t, 13, { batchSize: fixed ? 1 : null });
      const reading = readingOf(t.model, t.name.startsWith('flatten') ? 'probabilities' : 'logits');
      const options = { metric: 'cross-entropy', reading, device: 'cpu' } as const;
      const runner = await openGatedModel(structure, data, options);
      const groups = structure.groups.filter((g) => g.prunable);
      const { model, gates } = gateModel(
        structure,
        groups.map((g) => g.id),
      );
      const session = await createSession(model);
      const next = numbers(4);
      for (let round = 0; round < 4; round++) {
        const keep = new Map(
          groups
            .filter(() => round !== 1)
            .map((g) => [g.id, Array.from({ length: g.size }, (_, i) => i).filter(() => round === 0 || next() > -0.5)]),
        );
        const gated = {
          ...session,
          run: (feeds: object, fetches?: readonly string[]) => {
            const own = gates.map((g) => [
              g.input.name,
              {
                type: 'float32' as const,
                dims: [1, g.size],
                data: Float32Array.from({ length: g.size }, (_, i) =>
                  (keep.get(g.group)?.includes(i) ?? true) ? 1 : 0,
                ),
              },
            ]);
            return session.run({ ...feeds, ...Object.fromEntries(own) }, fetches);
          },
        };
        const [from, to] = round === 3 ? [4, 9] : [0, 13];
        const part = data.subset(Array.from({ length: to - from }, (_, i) => from + i));
        const truth = await evaluateModel(gated, part, { metric: 'cross-entropy', reading });
        const measured = await runner.measure(keep, round === 3 ? { from, to } : undefined);
        expect(measured.value).toBeCloseTo(truth.value, 5);
        expect(measured.stderr).toBeCloseTo(truth.stderr, 5);
        expect(measured.samples).toBe(to - from);
      }
      await session.release();
      await runner.close();
    });
  }

  it('serialises overlapping measurements and can be cancelled', async () => {
    const t = residual();
    const structure = analyseStructure(t.model);
    const runner = await openGatedModel(structure, randomData(t, 300), {
      metric: 'accuracy',
      reading: readingOf(t.model),
      device: 'cpu',
    });
    const keeps = [1, 2, 3].map((n) => new Map([['inner', Array.from({ length: n }, (_, i) => i)]]));
    const together = await Promise.all(keeps.map((k) => runner.measure(k)));
    for (const [i, k] of keeps.entries()) expect(await runner.measure(k)).toEqual(together[i]);
    const controller = new AbortController();
    controller.abort();
    await expect(runner.measure(keeps[0], {}, controller.signal)).rejects.toMatchObject({ code: 'cancelled' });
    await runner.close();
  });
});
