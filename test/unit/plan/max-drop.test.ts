import { describe, expect, it } from 'vitest';
import { Rng, hashString } from '../../../src/math/random.ts';
import { makePlan, planKeepSets } from '../../../src/pruning/plan/index.ts';
import type { PlannableGroup, PlanResult } from '../../../src/pruning/plan/index.ts';
import type { KeepSets } from '../../../src/units/types.ts';
import { chainTerms, costOf, group, randomCase, ranksOf, sizesOf } from './models.ts';

/** Value = Σ of the scores of kept units, as if they did not interact, plus noise that depends on the keep-set. */
function additiveValue(groups: readonly PlannableGroup[], scores: number[][], noise = 0): (keep: KeepSets) => number {
  return (keep) => {
    const sum = groups.reduce((s, g, i) => s + keep.get(g.id)!.reduce((t, u) => t + scores[i][u], 0), 0);
    return noise === 0 ? sum : sum + noise * Rng.from(hashString(JSON.stringify([...keep]))).float();
  };
}

async function plan(
  groups: PlannableGroup[],
  scores: number[][],
  value: (keep: KeepSets) => number,
  drop: number,
  more: { minKeep?: number; maxMeasurements?: number } = {},
): Promise<PlanResult & { keep: KeepSets; calls: number }> {
  let calls = 0;
  const measure = async (keep: KeepSets): Promise<number> => (calls++, value(keep));
  const terms = chainTerms(
    groups.map((g) => g.id),
    [9, 4, 2, 1],
  );
  const { maxMeasurements, ...options } = more;
  const result = await makePlan(groups, ranksOf(groups, scores), { kind: 'max-drop', value: drop }, options, terms, {
    measure,
    maxMeasurements,
  });
  return { ...result, keep: planKeepSets(result.plan, groups), calls };
}

const everything = (groups: readonly PlannableGroup[]): KeepSets =>
  new Map(groups.map((g) => [g.id, [...Array(g.size).keys()]]));

describe('plans for a largest drop', () => {
  it('never fall by more than the drop, however the metric jumps', async () => {
    let smaller = 0;
    for (let seed = 0; seed < 100; seed++) {
      const { groups, ranks, terms, scores } = randomCase(seed);
      const value = additiveValue(groups, scores, seed % 3);
      const drop = Rng.from(seed, 'drop').float() * 3;
      let calls = 0;
      const result = await makePlan(groups, ranks, { kind: 'max-drop', value: drop }, {}, terms, {
        measure: async (keep) => (calls++, value(keep)),
      });
      const keep = planKeepSets(result.plan, groups);
      expect(result.value).toBe(value(keep));
      expect(result.full).toBe(value(everything(groups)));
      expect(result.full! - result.value!).toBeLessThanOrEqual(drop + 1e-8);
      expect(calls).toBeLessThanOrEqual(64);
      expect(result.measured).toHaveLength(calls);
      expect(result.predicted).toEqual(costOf(terms, keep));
      if (result.predicted.macs < result.before.macs) smaller++;
    }
    expect(smaller).toBeGreaterThan(50);
  });

  it('comes close to the smallest model there is', async () => {
    let found = 0;
    let best = 0;
    for (let seed = 0; seed < 30; seed++) {
      const rng = Rng.from(seed, 'tiny');
      const groups = ['a', 'b', 'c'].map((id) => group(id, 4 + rng.int(4)));
      const scores = groups.map((g) => Array.from({ length: g.size }, () => rng.float() ** 2));
      const value = additiveValue(groups, scores);
      const drop = 0.5 + rng.float();
      const result = await plan(groups, scores, value, drop, { minKeep: 0 });
      found += result.predicted.macs;
      best += smallest(groups, scores, value, drop);
    }
    expect(found / best).toBeGreaterThanOrEqual(1);
    expect(found / best).toBeLessThan(1.12);
  });

  it('finds a good cut behind bad ones', async () => {
    const groups = [group('a', 64)];
    const scores = [Array.from({ length: 64 }, (_, i) => i)];
    // Bad while 40 … 60 units stay, good below.
    const value = (keep: KeepSets): number => (keep.get('a')!.length >= 40 && keep.get('a')!.length <= 60 ? 0 : 1);
    const result = await plan(groups, scores, value, 0.01);
    expect(result.keep.get('a')).toHaveLength(16);
    expect(result.messages.join()).toMatch(/floor of 25 %/);
  });

  it('takes a drop of exactly the limit', async () => {
    const groups = [group('a', 10)];
    const accuracy = [0.94, 0.94, 0.95, 0.95, 0.95, 0.95, 0.95, 0.96, 0.96, 0.97, 0.97];
    const value = (keep: KeepSets): number => accuracy[keep.get('a')!.length];
    // 0.97 − 0.96 is 0.010000000000000009
    expect((await plan(groups, [[...Array(10).keys()]], value, 0.01, { minKeep: 0 })).keep.get('a')).toHaveLength(7);
    expect((await plan(groups, [[...Array(10).keys()]], value, 0, { minKeep: 0 })).keep.get('a')).toHaveLength(9);
  });

  it('says so when nothing can go', async () => {
    const groups = [group('a', 10), group('b', 5)];
    const scores = groups.map((g) => Array(g.size).fill(1) as number[]);
    const value = (keep: KeepSets): number => [...keep.values()].flat().length;
    const result = await plan(groups, scores, value, 0.5);
    expect(result.keep).toEqual(everything(groups));
    expect(result.messages.join()).toMatch(/No unit can go/);
    const frozen = await makePlan(
      groups,
      ranksOf(groups, scores),
      { kind: 'max-drop', value: 1 },
      { frozen: ['a', 'b'] },
      chainTerms(['a', 'b'], []),
      { measure: async (keep) => value(keep) },
    );
    expect(frozen.messages.join()).toMatch(/Nothing can be removed/);
  });

  it('stays within its measurements and treats a metric that is not a number as bad', async () => {
    const groups = [group('a', 500), group('b', 500)];
    const scores = groups.map((_, i) => Array.from({ length: 500 }, (_, u) => Math.sin(u * (i + 1))));
    const inner = additiveValue(groups, scores, 1);
    const result = await plan(groups, scores, (keep) => (keep.get('a')!.length % 3 === 1 ? NaN : inner(keep)), 3, {
      maxMeasurements: 12,
    });
    expect(result.calls).toBeLessThanOrEqual(12);
    expect(result.full! - result.value!).toBeLessThanOrEqual(3 + 1e-8);
    await expect(plan(groups, scores, () => NaN, 1)).rejects.toMatchObject({ code: 'runtime' });
  });

  it('stops when cancelled', async () => {
    const groups = [group('a', 50)];
    const scores = [Array.from({ length: 50 }, (_, i) => i)];
    const controller = new AbortController();
    const search = {
      signal: controller.signal,
      measure: async () => 1 as number,
      onMeasured: (_: unknown, count: number) => count >= 2 && controller.abort(),
    };
    const target = { kind: 'max-drop', value: 100 } as const;
    const bad = { ...search, measure: async (keep: KeepSets) => keep.get('a')!.length };
    await expect(
      makePlan(groups, ranksOf(groups, scores), { ...target, value: 3 }, {}, chainTerms(['a'], []), bad),
    ).rejects.toMatchObject({
      code: 'cancelled',
    });
  });
});

/** Fewest MACs over all counts per group whose value holds. */
function smallest(
  groups: readonly PlannableGroup[],
  scores: number[][],
  value: (keep: KeepSets) => number,
  drop: number,
): number {
  const terms = chainTerms(
    groups.map((g) => g.id),
    [9, 4, 2, 1],
  );
  const orders = scores.map((s) => s.map((_, u) => u).sort((a, b) => s[b] - s[a]));
  const full = value(everything(groups));
  let best = costOf(terms, everything(groups)).macs;
  expect(sizesOf(groups).size).toBe(groups.length);
  const visit = (i: number, keep: Map<string, number[]>): void => {
    if (i === groups.length) {
      if (full - value(keep) <= drop + 1e-9) best = Math.min(best, costOf(terms, keep).macs);
      return;
    }
    for (let count = 1; count <= groups[i].size; count++)
      visit(i + 1, keep.set(groups[i].id, orders[i].slice(0, count)));
  };
  visit(0, new Map());
  return best;
}
