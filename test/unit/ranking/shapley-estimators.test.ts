import { describe, expect, it } from 'vitest';
import type { ShapleyEstimator } from '../../../src/formats.ts';
import { spearman } from '../../../src/math/correlation.ts';
import { chooseEstimator } from '../../../src/ranking/shapley/choose.ts';
import { estimators } from '../../../src/ranking/shapley/estimators.ts';
import { packNumbers, unpackNumbers } from '../../../src/ranking/shapley/log.ts';
import { partialOrder } from '../../../src/ranking/shapley/partial.ts';
import type { RankOptions, RankOutcome } from '../../../src/ranking/types.ts';
import type { CountingGame } from './games.ts';
import { additive, gameOf, groupOf, randomTable, rank, saturating, scoresOf, shapleyByDefinition } from './games.ts';

function run(
  name: ShapleyEstimator,
  game: CountingGame,
  options: Partial<RankOptions> = {},
  signal?: AbortSignal,
): Promise<RankOutcome> {
  const context = { group: groupOf(game.players), game };
  return estimators[name].run(context, game, { seed: 1, tolerance: 0, ...options }, signal);
}

const REGRESSIONS: ShapleyEstimator[] = ['leverage', 'kernel'];
const SAMPLED: ShapleyEstimator[] = [...REGRESSIONS, 'antithetic', 'permutation'];

describe('every estimator that samples', () => {
  it.each(SAMPLED)('%s adds up to full − empty, and keeps to its plan', async (name) => {
    for (const [n, budget] of [
      [9, 70],
      [20, 121],
      [41, 500],
    ]) {
      const game = gameOf(n, saturating(n, 2));
      const { ranks, complete } = await run(name, game, { budget });
      const { full, empty } = ranks.value!;
      expect(Math.abs(scoresOf(ranks).reduce((a, b) => a + b, 0) - (full - empty))).toBeLessThan(1e-9);
      expect(complete).toBe(true);
      expect(game.calls).toBe(ranks.evaluations);
      expect(game.calls).toBeLessThanOrEqual(estimators[name].planned(n, budget));
      expect(game.calls).toBeLessThanOrEqual(budget);
      expect(game.calls).toBeGreaterThan(budget / 2);
    }
  });

  it.each(SAMPLED)('%s is exact for an additive game', async (name) => {
    const weights = Array.from({ length: 30 }, (_, i) => Math.sin(i + 1));
    const { ranks } = await run(name, gameOf(30, additive(weights)), { budget: 150 });
    scoresOf(ranks).forEach((score, i) => expect(score).toBeCloseTo(weights[i], 10));
  });

  it.each(SAMPLED)('%s: standard errors cover, and the mean of 30 seeds is within three of its own', async (name) => {
    const n = 9;
    for (const value of [randomTable(n, 77), saturating(n, 5)]) {
      const exact = shapleyByDefinition(n, value);
      const seeds = 30;
      const sums = new Float64Array(n);
      const squares = new Float64Array(n);
      let covered = 0;
      for (let seed = 0; seed < seeds; seed++) {
        const { ranks } = await run(name, gameOf(n, value), { budget: 20 * n, seed });
        for (const { index, score, stderr } of ranks.units) {
          const error = score - exact[index];
          sums[index] += error;
          squares[index] += error * error;
          if (Math.abs(error) <= 1.96 * stderr!) covered++;
        }
      }
      for (let i = 0; i < n; i++) {
        const standardError = Math.sqrt(squares[i] / seeds / seeds);
        // Nine units: three and a half, so that one in a few thousand is outside.
        expect(Math.abs(sums[i] / seeds)).toBeLessThan(3 * standardError);
      }
      expect(covered / (n * seeds)).toBeGreaterThan(0.88);
    }
  });

  it.each(SAMPLED)('%s: the error falls at least like one over the root of the budget', async (name) => {
    const n = 12;
    const value = saturating(n, 3);
    const exact = shapleyByDefinition(n, value);
    const error = async (budget: number): Promise<number> => {
      let sum = 0;
      for (let seed = 0; seed < 12; seed++) {
        const { ranks } = await run(name, gameOf(n, value, { preferredBatch: 256 }), { budget, seed });
        sum += scoresOf(ranks).reduce((total, score, i) => total + (score - exact[i]) ** 2, 0);
      }
      return Math.sqrt(sum);
    };
    // Four times the budget: half the error; with room for chance.
    const [small, large] = [await error(120), await error(480)];
    expect(large / small).toBeLessThan(0.72);
  });

  it.each(SAMPLED)('%s gives the same for the same seed, whatever the batches are', async (name) => {
    const value = saturating(25, 8);
    const runs = [];
    for (const preferredBatch of [1, 7, 58, 1000, NaN]) {
      const { ranks } = await run(name, gameOf(25, value, { preferredBatch }), {
        budget: 400,
        tolerance: 0.1,
        seed: 5,
      });
      runs.push({ units: ranks.units, evaluations: ranks.evaluations });
    }
    for (const other of runs) expect(other).toEqual(runs[0]);
  });
});

describe('regression', () => {
  it.each(REGRESSIONS)('%s with all coalitions is the Shapley value, without error', async (name) => {
    for (const n of [3, 6, 9]) {
      const value = randomTable(n, n);
      const { ranks } = await run(name, gameOf(n, value), { budget: 2 ** n });
      const exact = shapleyByDefinition(n, value);
      scoresOf(ranks).forEach((score, i) => expect(score).toBeCloseTo(exact[i], 9));
      expect(ranks.units.every((u) => u.stderr! < 1e-9)).toBe(true);
      expect(ranks.evaluations).toBe(2 ** n);
      expect(ranks.estimator).toContain('exact');
    }
  });

  it('beats plain permutations from four evaluations per unit on', async () => {
    const n = 12;
    for (const value of [saturating(n, 3), randomTable(n, 1)]) {
      const exact = shapleyByDefinition(n, value);
      const error = async (name: ShapleyEstimator, budget: number): Promise<number> => {
        let sum = 0;
        for (let seed = 0; seed < 20; seed++) {
          const { ranks } = await run(name, gameOf(n, value), { budget, seed });
          sum += scoresOf(ranks).reduce((total, score, i) => total + (score - exact[i]) ** 2, 0);
        }
        return sum;
      };
      for (const perUnit of [4, 10, 20])
        expect(await error('leverage', perUnit * n)).toBeLessThan(await error('permutation', perUnit * n));
    }
  });

  it('gives silent units exactly 0 and leaves them out of the fit', async () => {
    const inner = saturating(16, 4);
    // Units 3 and 17 … 19 do nothing; unit 16 changes something only where many others are open.
    const live = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const value = (c: Uint8Array): number => {
      const seen = new Uint8Array(16);
      for (const i of live) seen[i] = c[i];
      const open = live.reduce((sum, i) => sum + c[i], 0);
      return inner(seen) + (c[16] && open > 4 && open < 12 ? 0.05 : 0);
    };
    const { ranks } = await run('leverage', gameOf(20, value), { budget: 800 });
    for (const i of [3, 17, 18, 19]) expect(ranks.units[i]).toEqual({ index: i, score: 0, stderr: 0 });
    expect(ranks.units[16].score).toBeGreaterThan(0.01);
    expect(ranks.units[16].stderr).toBeGreaterThan(0);
  });

  it('ends at once when nothing does anything', async () => {
    const { ranks } = await run(
      'leverage',
      gameOf(30, () => 2),
      { budget: 600 },
    );
    expect(scoresOf(ranks).every((score) => score === 0)).toBe(true);
    expect(ranks.noSignal).toBe(true);
    expect(ranks.evaluations).toBeLessThan(100);
  });

  it('goes on from where it was cancelled to the same numbers', async () => {
    const value = saturating(20, 6);
    const whole = await run('kernel', gameOf(20, value), { budget: 500 });
    const controller = new AbortController();
    const game = gameOf(20, value, { preferredBatch: 9, onCall: (calls) => calls >= 150 && controller.abort() });
    const part = await run('kernel', game, { budget: 500 }, controller.signal);
    expect(part.complete).toBe(false);
    expect(part.ranks.units).toHaveLength(20);
    expect(part.ranks.evaluations).toBe(game.calls);
    const resume = JSON.parse(JSON.stringify(part.resume)) as NonNullable<typeof part.resume>;
    const rest = gameOf(20, value);
    const finished = await run('kernel', rest, { budget: 500, resume });
    expect(rest.calls).toBe(whole.ranks.evaluations - game.calls);
    expect(finished.ranks.units).toEqual(whole.ranks.units);
    // The chooser stays with what was begun, and a finished run can go on with a larger budget.
    const longer = await rank('shapley', gameOf(20, value), { budget: 900, tolerance: 0, resume });
    expect(longer.ranks.chosen?.estimator).toBe('kernel');
    const stopped = new AbortController();
    stopped.abort();
    await expect(run('leverage', gameOf(20, value), { budget: 500 }, stopped.signal)).rejects.toMatchObject({
      code: 'cancelled',
    });
    await expect(run('kernel', gameOf(20, value), { budget: 500, resume, seed: 2 })).rejects.toThrow(/seed 1, not 2/);
  });

  it('refuses a state that somebody damaged', async () => {
    const { resume } = await run('leverage', gameOf(20, saturating(20, 6)), { budget: 200 });
    for (const values of ['AAAA', 7, packNumbers([NaN])])
      await expect(
        run('leverage', gameOf(20, saturating(20, 6)), { budget: 200, resume: { ...resume!, values } }),
      ).rejects.toThrow(/does not fit/);
    expect(unpackNumbers(packNumbers([0.1, -3e-300, 5]))).toEqual([0.1, -3e-300, 5]);
  });

  it('refuses a budget that it cannot work with', async () => {
    await expect(run('leverage', gameOf(30, saturating(30, 1)), { budget: 60 })).rejects.toThrow(/at least 92/);
  });
});

describe('partial values', () => {
  it('are leave-one-out for k = 1, and the Shapley value for k = n', async () => {
    const n = 7;
    const value = randomTable(n, 4);
    const all = new Uint8Array(n).fill(1);
    const one = await run('removal', gameOf(n, value), { budget: n + 2 });
    scoresOf(one.ranks).forEach((score, i) => expect(score).toBeCloseTo(value(all) - value(all.with(i, 0)), 12));
    expect(one.ranks.estimator).toBe('all coalitions without at most 1 unit');
    expect(one.ranks.units.every((u) => u.stderr === undefined)).toBe(true);
    const first = await run('addition', gameOf(n, value), { budget: n + 2 });
    const none = new Uint8Array(n);
    scoresOf(first.ranks).forEach((score, i) => expect(score).toBeCloseTo(value(none.with(i, 1)) - value(none), 12));
    const exact = shapleyByDefinition(n, value);
    for (const side of ['removal', 'addition'] as const) {
      const game = gameOf(n, value);
      const { ranks } = await run(side, game, { budget: 2 ** n });
      scoresOf(ranks).forEach((score, i) => expect(score).toBeCloseTo(exact[i], 12));
      expect(game.calls).toBe(2 ** n);
    }
  });

  it('are the sum over small sets by the definition, for k = 2', async () => {
    const n = 6;
    const value = randomTable(n, 9);
    const { ranks } = await run('removal', gameOf(n, value), { budget: 2 + 6 + 15 });
    const all = new Uint8Array(n).fill(1);
    for (let i = 0; i < n; i++) {
      let second = 0;
      for (let j = 0; j < n; j++)
        if (j !== i) second += (value(all.with(j, 0)) - value(all.with(j, 0).with(i, 0))) / (n - 1);
      expect(ranks.units[i].score).toBeCloseTo((value(all) - value(all.with(i, 0)) + second) / 2, 12);
    }
    expect([partialOrder(6, 22), partialOrder(6, 23), partialOrder(6, 7), partialOrder(6, 64)]).toEqual([1, 2, 0, 6]);
  });

  it('go on from where they were cancelled', async () => {
    const value = saturating(12, 3);
    const controller = new AbortController();
    const game = gameOf(12, value, { preferredBatch: 5, onCall: (calls) => calls >= 40 && controller.abort() });
    const part = await run('addition', game, { budget: 300 }, controller.signal);
    expect(part.complete).toBe(false);
    expect(part.ranks.estimator).toBe('all coalitions of at most 1 unit');
    const rest = gameOf(12, value);
    const { ranks } = await run('addition', rest, { budget: 300, resume: part.resume });
    const whole = await run('addition', gameOf(12, value), { budget: 300 });
    expect(ranks.units).toEqual(whole.ranks.units);
    expect(rest.calls).toBe(whole.ranks.evaluations - game.calls);
  });

  it('order units much as the Shapley value does', async () => {
    const value = saturating(12, 3);
    const exact = shapleyByDefinition(12, value);
    for (const side of ['removal', 'addition'] as const) {
      const { ranks } = await run(side, gameOf(12, value), { budget: 2 + 12 + 66 });
      expect(spearman(scoresOf(ranks), exact)).toBeGreaterThan(0.8);
    }
    await expect(run('removal', gameOf(12, value), { budget: 13 })).rejects.toThrow(/at least 14/);
  });
});

describe('truncation', () => {
  /** An accuracy that stays at chance until a third of the units is open. */
  const value = (c: Uint8Array): number => {
    const open = c.reduce((sum, bit, i) => sum + bit * (1 + i / c.length), 0);
    return 0.1 + 0.9 * Math.max(0, Math.min(1, (open - 12) / 20));
  };

  it('saves evaluations, adds up still, and says that it is biased', async () => {
    const game = gameOf(30, value);
    const { ranks } = await rank('shapley', game, { budget: 1200, truncation: 0.01, tolerance: 0 });
    expect(ranks.estimator).toContain('biased');
    expect(ranks.chosen).toEqual({ estimator: 'antithetic', reason: 'only permutations can be truncated' });
    expect(game.calls).toBe(ranks.evaluations);
    expect(game.calls).toBeLessThanOrEqual(1200);
    const pairs = Number.parseInt(ranks.estimator!);
    expect(ranks.evaluations).toBeLessThan(2 + pairs * 58 * 0.85);
    const { full, empty } = ranks.value!;
    expect(scoresOf(ranks).reduce((a, b) => a + b, 0)).toBeCloseTo(full - empty, 10);
  });

  it('changes nothing where no sweep comes near the empty coalition before its end', async () => {
    const additiveValue = additive(Array.from({ length: 15 }, (_, i) => i + 1));
    const plain = await run('antithetic', gameOf(15, additiveValue), { budget: 200 });
    const cut = await run('antithetic', gameOf(15, additiveValue), { budget: 200, truncation: 0.5 });
    expect(cut.ranks.units).toEqual(plain.ranks.units);
  });

  it('goes on from a state, and is refused where it makes no sense', async () => {
    const whole = await run('antithetic', gameOf(30, value), { budget: 1200, truncation: 0.01 });
    const part = await run('antithetic', gameOf(30, value), { budget: 500, truncation: 0.01 });
    const { ranks } = await run('antithetic', gameOf(30, value), {
      budget: 1200,
      truncation: 0.01,
      resume: part.resume,
    });
    expect(ranks.units).toEqual(whole.ranks.units);
    expect(() => chooseEstimator(30, 1000, { truncation: 0.1 }, 'cross-entropy')).toThrow(/accuracy only/);
    expect(() => chooseEstimator(30, 1000, { truncation: 0.1, estimator: 'leverage' }, 'accuracy')).toThrow(
      /permutations/,
    );
    expect(() => chooseEstimator(30, 1000, { truncation: -1 }, 'accuracy')).toThrow(/not possible/);
  });
});

describe('the choice of the estimator', () => {
  const estimator = (...args: Parameters<typeof chooseEstimator>): string => chooseEstimator(...args).estimator;

  it('depends on size and budget', () => {
    expect(estimator(12, 100)).toBe('exact');
    expect(estimator(13, 8192)).toBe('exact');
    expect(estimator(50, 1000)).toBe('leverage');
    expect(estimator(50, 299)).toBe('antithetic');
    expect(estimator(512, 9000)).toBe('antithetic');
    expect(estimator(512, 9000, { estimator: 'kernel' })).toBe('kernel');
    expect(() => estimator(30, 9000, { estimator: 'exact' })).toThrow(/cannot be enumerated/);
  });

  it('is in the result, with its reason', async () => {
    const { ranks } = await rank('shapley', gameOf(30, saturating(30, 1)), { budget: 600 });
    expect(ranks.chosen?.estimator).toBe('leverage');
    expect(ranks.chosen?.reason).toContain('smaller error');
    expect((await rank('shapley', gameOf(5, saturating(5, 1)))).ranks.chosen).toEqual({
      estimator: 'exact',
      reason: 'all 2^5 coalitions are within the budget',
    });
  });
});
