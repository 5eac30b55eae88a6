import { describe, expect, it } from 'vitest';
import { openGame } from '../../../src/evaluation/coalitions/index.ts';
import { evaluateModel, referenceOutputs } from '../../../src/evaluation/metrics/index.ts';
import type { OutputReading } from '../../../src/evaluation/types.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { builder } from '../../support/build.ts';
import { coalitions, randomData } from './models.ts';
import { cases, readingCase } from './readings.ts';

describe('metrics inside the graph', () => {
  for (const c of cases) {
    it(`equal those outside of it: ${c.name}`, async () => {
      const { model, data, reading } = readingCase(c);
      const structure = analyseStructure(model);
      const session = await createSession(model);
      const reference = await referenceOutputs(session, data, reading);
      for (const metric of c.metrics) {
        for (const id of ['one', 'two']) {
          const masks = coalitions(structure.groups.find((g) => g.id === id)!.size, 5);
          const values: number[][] = [];
          for (const strategy of ['naive', 'auto', 'cut'] as const) {
            const game = await openGame(structure, id, data, { metric, reading, device: 'cpu', strategy });
            values.push([...(await game.evaluate(masks))]);
            if (strategy !== 'naive') expect(game.info.notes).toEqual([]);
            await game.close();
          }
          const whole = await evaluateModel(session, data, { metric, reading, reference });
          expect(values[0][0]).toBeCloseTo(whole.value, 5);
          values[0].forEach((v, i) => {
            const tolerance = 1e-5 * Math.max(1, Math.abs(v));
            expect(Math.abs(values[1][i] - v), `${metric} ${id} ${i}: ${values[1][i]} for ${v}`).toBeLessThan(
              tolerance,
            );
            expect(Math.abs(values[2][i] - v), `${metric} ${id} ${i}: ${values[2][i]} for ${v}`).toBeLessThan(
              tolerance,
            );
          });
        }
      }
      await session.release();
    });
  }

  it('says which labels do not fit, and calls NaN by its name', async () => {
    const b = builder({ seed: 32 });
    const hidden = b.relu(b.gemm(b.input('x', ['N', 5]), 5, 6, 'one'));
    b.output(b.op('Div', [b.gemm(hidden, 6, 3, 'two'), b.op('ReduceSum', [hidden, b.ints([1])], { keepdims: 1 })]));
    const model = b.build();
    const structure = analyseStructure(model);
    const reading: OutputReading = { output: model.graph.outputs[0].name, reading: 'logits', classAxis: 1 };
    const options = { metric: 'cross-entropy', reading, device: 'cpu' } as const;
    const group = structure.groups.find((g) => g.prunable)?.id ?? '';
    await expect(
      openGame(structure, group, randomData({ sampleShape: [5], classes: 9 }, 30), options),
    ).rejects.toMatchObject({ code: 'bad-data' });
    await expect(
      openGame(structure, 'nothing', randomData({ sampleShape: [5], classes: 3 }, 3), options),
    ).rejects.toMatchObject({ code: 'usage' });
    for (const strategy of ['auto', 'naive'] as const) {
      const game = await openGame(structure, group, randomData({ sampleShape: [5], classes: 3 }, 4), {
        ...options,
        strategy,
      });
      await expect(game.evaluate([new Uint8Array(6)])).rejects.toMatchObject({
        code: 'runtime',
        message: expect.stringContaining('not a number'),
      });
      await game.close();
    }
  });
});
