import { describe, expect, it } from 'vitest';
import { SecateurError } from '../../../src/errors.ts';
import { defaultBudget, nextCheck } from '../../../src/ranking/shapley/budget.ts';
import { sampleShapley } from '../../../src/ranking/shapley/sampling.ts';
import { shapley } from '../../../src/ranking/shapley/index.ts';
import type { RankOptions, RankOutcome, RankProgress } from '../../../src/ranking/types.ts';
import type { CountingGame } from './games.ts';
import { additive, gameOf, groupOf, randomTable, rank, saturating, scoresOf, shapleyByDefinition } from './games.ts';

/** Sampling also for groups that are small enough to be enumerated. */
function sample(game: CountingGame, options: Partial<RankOptions> = {}, signal?: AbortSignal): Promise<RankOutcome> {
  return sampleShapley({ group: groupOf(game.players), game }, game, { seed: 1, tolerance: 0, ...options }, signal);
}

function sampleWith(
  game: CountingGame,
  options: Partial<RankOptions>,
  onProgress: (progress: RankProgress) => void,
): Promise<RankOutcome> {
  return rank('shapley', game, { estimator: 'antithetic', ...options }, undefined, onProgress);
}

describe('Shapley by sampling permutations', () => {
  it('is exact for an additive game after one pair', async () => {
    const weights = Array.from({ length: 40 }, (_, i) => Math.sin(i));
    const { ranks } = await sample(gameOf(40, additive(weights)), { budget: 80 });
    scoresOf(ranks).forEach((score, i) => expect(score).toBeCloseTo(weights[i], 12));
    expect(ranks.evaluations).toBe(80);
    expect(ranks.estimator).toBe('1 antithetic pair of permutations');
    expect(ranks.units.every((u) => u.stderr === undefined)).toBe(true);
    expect(ranks.noSignal).toBeUndefined();
  });

  it.each([20, 57, 300])('adds up to full − empty for %i units, whatever the game', async (n) => {
    const { ranks } = await sample(gameOf(n, saturating(n, 2)), { budget: 5 * n });
    const { full, empty } = ranks.value!;
    expect(Math.abs(scoresOf(ranks).reduce((a, b) => a + b, 0) - (full - empty))).toBeLessThan(1e-12);
  });

  it('gives a dummy exactly 0', async () => {
    const inner = saturating(19, 4);
    const { ranks } = await sample(
      gameOf(20, (c) => inner(c.subarray(0, 19))),
      { budget: 400 },
    );
    expect(ranks.units[19]).toEqual({ index: 19, score: 0, stderr: 0 });
  });

  it('lies within three standard errors of the enumerated values', async () => {
    let units = 0;
    let outside = 0;
    for (let game = 0; game < 12; game++) {
      const n = 8 + (game % 5);
      const value = game % 2 ? saturating(n, game) : randomTable(n, game);
      const exact = shapleyByDefinition(n, value);
      const { ranks } = await sample(gameOf(n, value), { budget: 2 + 2 * (n - 1) * 60, seed: game });
      for (const { index, score, stderr } of ranks.units) {
        units++;
        if (Math.abs(score - exact[index]) > 3 * stderr!) outside++;
      }
    }
    // 0.4 % expected with 59 degrees of freedom
    expect(units).toBeGreaterThan(100);
    expect(outside).toBeLessThanOrEqual(3);
  });

  it('is unbiased, and its standard errors are calibrated', async () => {
    const n = 9;
    const value = randomTable(n, 77);
    const exact = shapleyByDefinition(n, value);
    const seeds = 60;
    const sums = new Float64Array(n);
    const squares = new Float64Array(n);
    let covered = 0;
    let claimed = 0;
    for (let seed = 0; seed < seeds; seed++) {
      const { ranks } = await sample(gameOf(n, value), { budget: 2 + 2 * (n - 1) * 30, seed });
      for (const { index, score, stderr } of ranks.units) {
        const error = score - exact[index];
        sums[index] += error;
        squares[index] += error ** 2;
        claimed += stderr! ** 2;
        if (Math.abs(error) <= 1.96 * stderr!) covered++;
      }
    }
    for (let i = 0; i < n; i++) {
      const standardError = Math.sqrt(squares[i] / seeds / seeds);
      expect(Math.abs(sums[i] / seeds)).toBeLessThan(3 * standardError);
    }
    expect(covered / (n * seeds)).toBeGreaterThan(0.9);
    expect(covered / (n * seeds)).toBeLessThan(0.98);
    const actual = squares.reduce((a, b) => a + b, 0);
    expect(claimed / actual).toBeGreaterThan(0.75);
    expect(claimed / actual).toBeLessThan(1.35);
  });

  it('gives the same numbers for the same seed, whatever the batches are', async () => {
    const value = saturating(30, 8);
    const runs = [];
    for (const preferredBatch of [1, 7, 58, 200, 1000, NaN]) {
      const game = gameOf(30, value, { preferredBatch });
      const outcome = await sample(game, { budget: 900, tolerance: 0.05, seed: 5 });
      expect(Math.max(...game.batches)).toBeLessThanOrEqual(Math.max(1, preferredBatch || 1));
      runs.push({ units: outcome.ranks.units, evaluations: outcome.ranks.evaluations, rng: outcome.resume!.rng });
      expect(game.calls).toBe(outcome.ranks.evaluations);
    }
    for (const run of runs) expect(run).toEqual(runs[0]);
    const other = await sample(gameOf(30, value), { budget: 900, tolerance: 0.05, seed: 6 });
    expect(other.ranks.units).not.toEqual(runs[0].units);
  });

  it('keeps to the budget', async () => {
    for (const [n, budget] of [
      [13, 100],
      [64, 1000],
      [64, 127],
      [64, 128],
      [100, 2],
      [100, 3],
      [100, 57],
    ]) {
      const game = gameOf(n, saturating(n, 1));
      const { ranks } = await rank('shapley', game, { budget, tolerance: 0 });
      expect(game.calls).toBe(ranks.evaluations);
      expect(game.calls).toBeLessThanOrEqual(budget);
      expect(game.calls).toBe(shapley.plannedEvaluations(n, budget));
    }
  });

  it('falls back to blocks of units below one pair, and says so', async () => {
    const weights = Array.from({ length: 50 }, (_, i) => i);
    const { ranks, resume } = await rank('shapley', gameOf(50, additive(weights)), { budget: 20 });
    expect(ranks.estimator).toContain('10 blocks');
    expect(ranks.evaluations).toBe(20);
    expect(ranks.units.every((u) => u.stderr === undefined)).toBe(true);
    expect(resume).toBeUndefined();
    expect(scoresOf(ranks).reduce((a, b) => a + b, 0)).toBeCloseTo(1225, 9);
    // One block: all share equally.
    const one = await rank('shapley', gameOf(50, additive(weights)), { budget: 2 });
    expect(new Set(scoresOf(one.ranks))).toEqual(new Set([24.5]));
  });

  it('stops when the ranking is stable, with the standard errors that it promised', async () => {
    const game = gameOf(40, saturating(40, 3));
    const { ranks, complete } = await sample(game, { budget: 100_000, tolerance: 0.1 });
    const scores = scoresOf(ranks);
    const largest = Math.max(...ranks.units.map((u) => u.stderr!));
    expect(largest).toBeLessThanOrEqual(0.1 * (Math.max(...scores) - Math.min(...scores)));
    expect(ranks.evaluations).toBeLessThan(20_000);
    expect(complete).toBe(true);
  });

  it('says when there is no signal', async () => {
    // All units do the same: whatever differs between the scores is sampling.
    const symmetric = (c: Uint8Array): number => 1 - Math.exp(-c.reduce((a, b) => a + b, 0) / 5);
    expect((await sample(gameOf(20, symmetric), { budget: 800 })).ranks.noSignal).toBe(true);
    expect((await sample(gameOf(20, saturating(20, 1)), { budget: 800 })).ranks.noSignal).toBe(false);
  });

  it('resumes to exactly what an uninterrupted run gives', async () => {
    const value = saturating(25, 6);
    const options = { budget: 2 + 48 * 17, tolerance: 0.01, seed: 9 };
    const whole = await sample(gameOf(25, value), options);
    for (const stop of [60, 300, 517]) {
      const controller = new AbortController();
      const game = gameOf(25, value, { preferredBatch: 33, onCall: (calls) => calls >= stop && controller.abort() });
      const part = await sample(game, options, controller.signal);
      expect(part.complete).toBe(false);
      expect(part.ranks.evaluations).toBeLessThan(stop + 33);
      const resume = JSON.parse(JSON.stringify(part.resume)) as NonNullable<typeof part.resume>;
      const { ranks, resume: end } = await sample(gameOf(25, value), { ...options, resume });
      expect(ranks.units).toEqual(whole.ranks.units);
      expect(ranks.evaluations).toBe(whole.ranks.evaluations);
      expect({ ...end, seconds: 0 }).toEqual({ ...whole.resume, seconds: 0 });
    }
    // A finished run goes on with a larger budget, too.
    const longer = { ...options, budget: 2 + 48 * 30 };
    const continued = await sample(gameOf(25, value), { ...longer, resume: whole.resume });
    expect(continued.ranks.units).toEqual((await sample(gameOf(25, value), longer)).ranks.units);
  });

  it('throws when cancelled before the first pair, and refuses states of other runs', async () => {
    const value = saturating(25, 6);
    const controller = new AbortController();
    const game = gameOf(25, value, { onCall: () => controller.abort() });
    await expect(sample(game, { budget: 500 }, controller.signal)).rejects.toMatchObject({ code: 'cancelled' });
    const { resume } = await sample(gameOf(25, value), { budget: 200, seed: 1 });
    await expect(sample(gameOf(25, value), { budget: 200, seed: 2, resume })).rejects.toThrow(/seed 1, not 2/);
    await expect(sample(gameOf(24, saturating(24, 1)), { budget: 200, resume })).rejects.toThrow(SecateurError);
  });

  it('reports progress and partial scores while it runs', async () => {
    const seen: { evaluations: number; planned: number; partial: boolean }[] = [];
    const game = gameOf(30, saturating(30, 1), { preferredBatch: 20 });
    const { ranks } = await sampleWith(game, { budget: 600, tolerance: 0 }, (p) =>
      seen.push({ evaluations: p.evaluations, planned: p.planned, partial: p.partial !== undefined }),
    );
    expect(seen.filter((p) => p.partial).length).toBe(10);
    seen.reduce((last, p) => (expect(p.evaluations).toBeGreaterThanOrEqual(last), p.evaluations), 0);
    expect(seen.at(-1)).toEqual({ evaluations: ranks.evaluations, planned: ranks.evaluations, partial: true });
  });
});

it('budgets and checks are as documented', () => {
  expect(defaultBudget(50)).toBe(1000);
  expect(defaultBudget(100)).toBe(2000);
  expect(defaultBudget(512)).toBe(2 + 3 * 2 * 511);
  const checks = [];
  for (let pairs = 0; checks.length < 9;) checks.push((pairs = nextCheck(pairs)));
  expect(checks).toEqual([3, 4, 5, 7, 9, 12, 15, 19, 24]);
});
