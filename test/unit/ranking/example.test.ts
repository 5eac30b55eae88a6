import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openGame } from '../../../src/evaluation/coalitions/index.ts';
import { openDataset } from '../../../src/evaluation/data/index.ts';
import { readOutput } from '../../../src/evaluation/metrics/index.ts';
import type { ShapleyEstimator } from '../../../src/formats.ts';
import { loadModel } from '../../../src/graph/load.ts';
import { spearman } from '../../../src/math/correlation.ts';
import { oracleSets } from '../../../src/ranking/oracle/sets.ts';
import { estimators } from '../../../src/ranking/shapley/estimators.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { gameOf, groupOf, rank, scoresOf, shapleyByDefinition } from './games.ts';

const folder = resolve(import.meta.dirname, '../../../examples/digits');

/**
 * The values of a real game by bit mask: the first units of a group of the example model, the group's others open (or, of
 * a group that is small enough, all of its units).
 */
async function enumerate(id: string, most: number): Promise<{ n: number; table: Float64Array }> {
  const model = loadModel(join(folder, 'model.onnx'));
  const dataset = await openDataset(model, { path: join(folder, 'calib.npz'), samples: 50, seed: 0 });
  const structure = analyseStructure(model);
  const reading = await readOutput(model, dataset);
  const game = await openGame(structure, id, dataset, { metric: 'cross-entropy', reading, device: 'cpu' });
  const n = Math.min(most, game.players);
  const coalitions = Array.from({ length: 2 ** n }, (_, mask) =>
    Uint8Array.from({ length: game.players }, (_, unit) => (unit < n ? (mask >> unit) & 1 : 1)),
  );
  const table = await game.evaluate(coalitions);
  await game.close();
  return { n, table };
}

describe.each([
  ['stem/conv', 9],
  ['block3/conv1', 9],
])('%s of the example, %i units', (id, units) => {
  let n = 0;
  let value: (coalition: Uint8Array) => number;
  let table: Float64Array;
  let exact: number[];
  beforeAll(async () => {
    ({ n, table } = await enumerate(id, units));
    value = (c) => table[c.reduce((mask, bit, i) => mask | (bit << i), 0)];
    exact = shapleyByDefinition(n, value);
  }, 60_000);

  async function errorOf(name: ShapleyEstimator, perUnit: number, seeds = 15): Promise<number> {
    let sum = 0;
    for (let seed = 0; seed < seeds; seed++) {
      const game = gameOf(n, value, { preferredBatch: 64 });
      const { ranks } = await estimators[name].run({ group: groupOf(n), game }, game, {
        seed,
        budget: perUnit * n,
        tolerance: 0,
      });
      sum += scoresOf(ranks).reduce((total, score, i) => total + (score - exact[i]) ** 2, 0);
    }
    return sum / seeds / exact.reduce((total, x) => total + x * x, 0);
  }

  it('is enumerated exactly', async () => {
    const { ranks } = await rank('shapley', gameOf(n, value));
    expect(ranks.chosen?.estimator).toBe('exact');
    scoresOf(ranks).forEach((score, i) => expect(score).toBeCloseTo(exact[i], 9));
  });

  it('is estimated without bias by permutations, and within the standard errors by all', async () => {
    for (const name of ['permutation', 'antithetic', 'leverage', 'kernel'] as const) {
      const seeds = 30;
      const sums = new Float64Array(n);
      const squares = new Float64Array(n);
      let covered = 0;
      for (let seed = 0; seed < seeds; seed++) {
        const game = gameOf(n, value, { preferredBatch: 64 });
        const options = { seed, budget: 20 * n, tolerance: 0 };
        const { ranks } = await estimators[name].run({ group: groupOf(n), game }, game, options);
        // Without its dead units the game is so small that the regression has all coalitions: then only rounding is left.
        for (const { index, score, stderr } of ranks.units) {
          sums[index] += score - exact[index];
          squares[index] += (score - exact[index]) ** 2;
          if (Math.abs(score - exact[index]) <= 1.96 * stderr! + 1e-6) covered++;
        }
      }
      sums.forEach((sum, i) =>
        expect(Math.abs(sum / seeds), `${name}, unit ${i}`).toBeLessThanOrEqual(
          1e-12 + 3.5 * Math.sqrt(squares[i] / seeds / seeds),
        ),
      );
      expect(covered / (n * seeds), name).toBeGreaterThan(0.85);
    }
  });

  it('is better estimated by regression than by plain permutations from four evaluations per unit on', async () => {
    for (const perUnit of [4, 8, 20])
      for (const name of ['leverage', 'kernel'] as const)
        expect(await errorOf(name, perUnit)).toBeLessThan(await errorOf('permutation', perUnit));
    // And than by antithetic ones from where the chooser takes it.
    expect(await errorOf('leverage', 12)).toBeLessThan(await errorOf('antithetic', 12));
  });

  it('is ordered alike by partial values', async () => {
    for (const name of ['removal', 'addition'] as const) {
      const game = gameOf(n, value);
      const { ranks } = await estimators[name].run({ group: groupOf(n), game }, game, { seed: 0, budget: 130 });
      expect(spearman(scoresOf(ranks), exact), name).toBeGreaterThan(0.6);
    }
  });

  it('has the oracle sets that a search of every size finds', async () => {
    const { sets } = oracleSets(table, n);
    for (const { keep, value: best } of sets) {
      const masks = [...table.keys()].filter((mask) => mask.toString(2).replaceAll('0', '').length === keep.length);
      expect(best).toBe(Math.max(...masks.map((mask) => table[mask])));
      expect(table[keep.reduce((mask, unit) => mask | (1 << unit), 0)]).toBe(best);
    }
  });
});
