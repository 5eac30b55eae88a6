import { describe, expect, it } from 'vitest';
import { SecateurError } from '../../../src/errors.ts';
import type { MethodName, Ranks } from '../../../src/formats.ts';
import { kendallTauB, spearman } from '../../../src/math/correlation.ts';
import { Rng } from '../../../src/math/random.ts';
import { agreementOf, bestFirst, topCount, topOverlap } from '../../../src/ranking/agreement.ts';
import { oracleSets, scoreAgainstOracle } from '../../../src/ranking/oracle/sets.ts';
import type { RankState } from '../../../src/ranking/types.ts';
import { agreement as agreementInEditor } from '../../../webview/logic/correlation.ts';
import { describeAgreement } from '../../../src/cli/agreement.ts';
import { additive, gameOf, randomTable, rank, saturating, scoresOf } from './games.ts';

/** From scipy 1.17.1: scipy.stats.spearmanr(a, b) and scipy.stats.kendalltau(a, b), variant b. */
const GOLDEN = [
  {
    a: [2.041, -2.556, 0.418, -0.568, -0.453, -0.216, -2.02, -0.232],
    b: [0.155, 2.045, 0.435, -0.637, -0.508, -0.776, -2.065, -0.507],
    spearman: 0.1666666666666667,
    kendall: 0.21428571428571427,
  },
  {
    a: [0.0, -1.0, 1.0, -1.0, 0.0, 2.0, 0.0, -1.0, -1.0, 0.0, 3.0, -1.0, -1.0, 1.0, -2.0, -1.0, 1.0, 0.0, 0.0, 1.0],
    b: [-5.0, 1.0, -1.0, -3.0, 0.0, 2.0, -1.0, -3.0, -1.0, 0.0, 3.0, 1.0, 0.0, 2.0, -2.0, -2.0, 1.0, 1.0, -1.0, -1.0],
    spearman: 0.5207862706751736,
    kendall: 0.4249025173991669,
  },
  {
    a: [
      0.229, -2.494, 0.69, 0.491, -1.639, 0.061, -0.964, 0.757, -2.034, -0.914, 0.71, 1.156, -2.158, -0.498, 0.328,
      -0.609, 1.591, -1.191, 0.355, -1.048, 1.406, -0.022, -0.372, -1.718, 1.682, 0.753, 0.754, 1.138, 0.349, -0.639,
      -0.8, -0.8, 1.37,
    ],
    b: [
      -1.346, -1.843, 0.024, 0.47, -0.244, -1.218, -2.212, 0.374, 0.196, 0.3, 0.57, 0.261, -0.786, -0.492, 0.981,
      -1.099, 0.93, -0.706, 0.721, -0.3, 3.253, 1.488, 1.311, -2.899, 0.501, -0.232, 0.91, -1.71, 1.349, 0.747, -1.702,
      -1.379, -0.116,
    ],
    spearman: 0.5065597076263774,
    kendall: 0.32417076173977877,
  },
  {
    a: [0.0, 0.0, 2.0, -1.0, 0.0, 0.0, 1.0, 0.0, 1.0, -2.0, -1.0, -1.0],
    b: [1.0, 0.0, 0.0, -1.0, 0.0, -1.0, -1.0, 0.0, 3.0, -1.0, -1.0, -2.0],
    spearman: 0.59964119619673,
    kendall: 0.5099019513592785,
  },
];

function ranksOf(method: MethodName, groups: Record<string, number[]>, noSignal = false): Ranks {
  return {
    format: 'secateur-ranks/1',
    model: { path: 'm', sha256: 's', bytes: 1 },
    data: { path: 'd', fingerprint: 'f', samples: 1 },
    method,
    metric: null,
    seed: 0,
    device: 'cpu',
    budget: 0,
    tolerance: 0,
    seconds: 0,
    complete: true,
    warnings: [],
    groups: Object.entries(groups).map(([id, scores]) => ({
      id,
      kind: 'channel',
      layers: [],
      size: scores.length,
      value: null,
      evaluations: 0,
      units: scores.map((score, index) => ({ index, score })),
      seconds: 0,
      ...(noSignal ? { noSignal } : {}),
    })),
  };
}

describe('agreement', () => {
  it.each(GOLDEN)('of %# is that of scipy', ({ a, b, ...expected }) => {
    expect(spearman(a, b)).toBeCloseTo(expected.spearman, 12);
    expect(kendallTauB(a, b)).toBeCloseTo(expected.kendall, 12);
  });

  it('is what the editor computes', () => {
    const rng = Rng.from(4);
    for (const n of [1, 2, 3, 7, 30, 101]) {
      for (const levels of [3, 1000]) {
        const a = Array.from({ length: n }, () => rng.int(levels) - 1);
        const b = a.map((x) => (rng.int(2) ? x : rng.int(levels)));
        const editor = agreementInEditor(a, b);
        expect(editor.k).toBe(topCount(n));
        expect(editor.topOverlap).toBe(topOverlap(a, b, editor.k));
        for (const [mine, theirs] of [
          [spearman(a, b), editor.spearman],
          [kendallTauB(a, b), editor.kendall],
        ])
          if (Number.isNaN(mine)) expect(theirs).toBeNaN();
          else expect(theirs).toBeCloseTo(mine, 12);
      }
    }
  });

  it('is told for every two methods and the groups that both ranked whole', () => {
    const a = ranksOf('shapley', { g: [1, 2, 3, 4], h: [1, 1, 1, 1] });
    const b = ranksOf('random', { g: [1, 2, 4, 3], h: [4, 3, 2, 1] }, true);
    const c = ranksOf('magnitude', { g: [4, 3, 2, 1] });
    b.groups[1].units.pop();
    const found = agreementOf([a, b, c]);
    expect(found.map((f) => f.methods)).toEqual([
      ['shapley', 'random'],
      ['shapley', 'magnitude'],
      ['random', 'magnitude'],
    ]);
    expect(found[0].groups).toHaveLength(1);
    expect(found[0].groups[0]).toMatchObject({ id: 'g', topOverlap: 0, k: 1, noSignal: ['random'] });
    expect(found[0].groups[0].spearman).toBeCloseTo(0.8, 12);
    expect(found[1].groups[0].kendall).toBe(-1);
    expect(found[1].groups[0].noSignal).toBeUndefined();
    const constant = agreementOf([a, ranksOf('random', { h: [1, 2, 3, 4] })])[0].groups[0];
    expect(constant).toMatchObject({ id: 'h', spearman: null, kendall: null });
    expect(describeAgreement(found)).toContain('no signal by random');
    expect(describeAgreement(found)).toContain('magnitude');
  });
});

describe('the oracle', () => {
  it('of an additive game keeps the heaviest units', async () => {
    const weights = [3, -1, 2, 5, 0.5];
    const { ranks } = await rank('oracle', gameOf(5, additive(weights)));
    expect(ranks.oracle!.map((s) => s.keep)).toEqual([[3], [0, 3], [0, 2, 3], [0, 2, 3, 4]]);
    expect(ranks.oracle!.map((s) => s.value)).toEqual([5, 8, 10, 10.5]);
    expect(scoresOf(ranks)).toEqual([0.75, 0, 0.5, 1, 0.25]);
    expect(ranks.evaluations).toBe(32);
    expect(ranks.value).toEqual({ full: 9.5, empty: 0 });
    expect(scoreAgainstOracle([3, 0, 2, 4, 1], ranks.oracle!)).toEqual({ keep: 1, remove: 1 });
    const worst = scoreAgainstOracle([1, 4, 2, 0, 3], ranks.oracle!);
    expect(worst.keep).toBeCloseTo((0 + 0 + 1 + 3) / 10, 12);
    expect(worst.remove).toBeCloseTo((0 + 0 + 1 + 3) / 10, 12);
  });

  it('finds what a search of its own finds', async () => {
    const n = 8;
    const value = randomTable(n, 5);
    const { ranks } = await rank('oracle', gameOf(n, value, { preferredBatch: 7 }));
    for (const set of ranks.oracle!) {
      let best = -Infinity;
      for (let mask = 0; mask < 256; mask++) {
        const coalition = Uint8Array.from({ length: n }, (_, i) => (mask >> i) & 1);
        if (coalition.reduce((a, b) => a + b, 0) === set.keep.length) best = Math.max(best, value(coalition));
      }
      expect(set.value).toBe(best);
      expect(value(Uint8Array.from({ length: n }, (_, i) => (set.keep.includes(i) ? 1 : 0)))).toBe(best);
    }
  });

  it('refuses large groups', async () => {
    const large = gameOf(17, () => 1);
    await expect(rank('oracle', large)).rejects.toThrow(/up to 16 units; group 'g' has 17/);
  });

  it('goes on from where it was cancelled', async () => {
    const n = 7;
    const value = randomTable(n, 11);
    const whole = await rank('oracle', gameOf(n, value));
    const stop = new AbortController();
    const game = gameOf(n, value, { preferredBatch: 10, onCall: (calls) => calls >= 50 && stop.abort() });
    const part = await rank('oracle', game, {}, stop.signal);
    expect(part.complete).toBe(false);
    expect(part.ranks).toMatchObject({ units: [], evaluations: 50 });
    const rest = gameOf(n, value);
    const finished = await rank('oracle', rest, { resume: JSON.parse(JSON.stringify(part.resume)) as RankState });
    expect(rest.calls).toBe(2 ** n - 50);
    expect(finished.ranks).toEqual({ ...whole.ranks, seconds: finished.ranks.seconds });
    const broken = { kind: 'oracle', values: [NaN], seconds: 0 };
    await expect(rank('oracle', gameOf(n, value), { resume: broken })).rejects.toThrow(SecateurError);
    stop.abort();
    await expect(rank('oracle', gameOf(n, value), {}, stop.signal)).rejects.toThrow('cancelled');
  });

  it('shares among sets that are equally good, and has no signal where all are', async () => {
    // Units 0 and 1 do the same thing.
    const { scores } = oracleSets(Float64Array.of(0, 1, 1, 1), 2);
    expect([...scores]).toEqual([0.5, 0.5]);
    const { ranks } = await rank(
      'oracle',
      gameOf(6, () => 0.9),
    );
    expect(ranks.noSignal).toBe(true);
    expect(
      (
        await rank(
          'oracle',
          gameOf(1, (c) => c[0]),
        )
      ).ranks.units,
    ).toEqual([{ index: 0, score: 1, stderr: 0 }]);
  });

  it('scores Shapley orders above random ones', async () => {
    const value = saturating(12, 3);
    const oracle = (await rank('oracle', gameOf(12, value))).ranks.oracle!;
    const shapley = scoreAgainstOracle(bestFirst(scoresOf((await rank('shapley', gameOf(12, value))).ranks)), oracle);
    let random = 0;
    for (let seed = 0; seed < 50; seed++)
      random += scoreAgainstOracle([...Rng.from(seed).permutation(12)], oracle).keep / 50;
    // A random order finds o/n of a set of o units.
    expect(random).toBeGreaterThan(0.2);
    expect(random).toBeLessThan(0.4);
    expect(shapley.keep).toBeGreaterThan(0.6);
    expect(shapley.remove).toBeGreaterThan(0.6);
  });
});
