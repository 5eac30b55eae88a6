import { describe, expect, it } from 'vitest';
import type { TargetKind } from '../../../src/formats.ts';
import { Rng } from '../../../src/math/random.ts';
import {
  checkPlan,
  keepAfter,
  makePlan,
  matchGroups,
  planKeepSets,
  predictCost,
} from '../../../src/pruning/plan/index.ts';
import type { PlannableGroup, PlanOptions } from '../../../src/pruning/plan/index.ts';
import type { KeepSets } from '../../../src/units/types.ts';
import { chainTerms, costOf, group, model, randomCase, ranksOf, sizesOf } from './models.ts';

function floorOf(g: PlannableGroup, { minKeep, roundTo }: Pick<PlanOptions, 'minKeep' | 'roundTo'>): number {
  const blocks = g.blocks?.length ?? 1;
  let floor = Math.max(blocks, Math.ceil(minKeep * g.size - 1e-9));
  while (floor < g.size && (floor % roundTo !== 0 || floor % blocks !== 0)) floor++;
  return Math.min(g.size, floor);
}

/** What every plan must obey, whatever the target. */
function checkInvariants(
  groups: readonly PlannableGroup[],
  keep: KeepSets,
  scores: number[][],
  options: PlanOptions,
): void {
  groups.forEach((g, i) => {
    const kept = keep.get(g.id)!;
    const gone = Array.from({ length: g.size }, (_, u) => u).filter((u) => !kept.includes(u));
    expect(kept).toEqual([...new Set(kept)].sort((a, b) => a - b));
    expect(kept.length).toBeGreaterThanOrEqual(floorOf(g, options));
    if (kept.length < g.size) {
      expect(g.prunable).toBe(true);
      expect(options.frozen).not.toContain(g.id);
      expect(kept.length % options.roundTo).toBe(0);
    }
    for (const block of g.blocks ?? [[...kept, ...gone]]) {
      const [inside, outside] = [block.filter((u) => kept.includes(u)), block.filter((u) => gone.includes(u))];
      expect(inside.length * (g.blocks?.length ?? 1)).toBe(kept.length);
      // The best of each block stay; of equals the lower index.
      for (const a of inside)
        for (const b of outside)
          expect(scores[i][a] > scores[i][b] || (scores[i][a] === scores[i][b] && a < b)).toBe(true);
    }
  });
}

describe('plans for a cost target', () => {
  it('obey floor, rounding, blocks and locks, and reach the target or say why not', async () => {
    let reachedCount = 0;
    for (let seed = 0; seed < 300; seed++) {
      const { groups, terms, ranks, scores } = randomCase(seed);
      const rng = Rng.from(seed, 'options');
      const options: PlanOptions = {
        allocation: rng.int(2) ? 'global' : 'uniform',
        minKeep: [0, 0.25, 0.5, 1][rng.int(4)],
        roundTo: [1, 1, 2, 8][rng.int(4)],
        frozen: groups.filter((g) => g.prunable && rng.int(5) === 0).map((g) => g.id),
        objective: 'macs',
      };
      const kind = (['keep-macs', 'keep-params', 'keep-units'] as TargetKind[])[rng.int(3)];
      const value = 0.05 + 0.95 * rng.float();
      const result = await makePlan(groups, ranks, { kind, value }, options, terms);
      const keep = planKeepSets(result.plan, groups);
      checkInvariants(groups, keep, scores, options);
      expect(result.predicted).toEqual(costOf(terms, keep));
      expect(result.before).toEqual(predictCost(terms, sizesOf(groups)));

      const units = (sets: (g: PlannableGroup) => number): number =>
        groups.reduce((sum, g) => sum + (g.prunable ? sets(g) : 0), 0);
      const [cost, whole] =
        kind === 'keep-units'
          ? [units((g) => keep.get(g.id)!.length), units((g) => g.size)]
          : kind === 'keep-macs'
            ? [result.predicted.macs, result.before.macs]
            : [result.predicted.parameters, result.before.parameters];
      if (result.reached) {
        reachedCount++;
        expect(cost).toBeLessThanOrEqual(value * whole + 1e-6);
        expect(result.messages).toEqual([]);
      } else {
        expect(cost).toBeGreaterThan(value * whole);
        expect(result.messages.join()).toMatch(/out of reach/);
        for (const g of groups)
          if (g.prunable && !options.frozen.includes(g.id)) expect(keep.get(g.id)).toHaveLength(floorOf(g, options));
      }
      // What was made can be read back.
      expect(checkPlan(JSON.parse(JSON.stringify(result.plan)), model, groups)).toEqual(result.plan);
      // Same input, same plan.
      expect((await makePlan(groups, ranks, { kind, value }, options, terms)).plan).toEqual(result.plan);
    }
    expect(reachedCount).toBeGreaterThan(60);
  });

  it('keeps nearly as much score as the best of all plans', async () => {
    let lost = 0;
    let best = 0;
    for (let seed = 0; seed < 40; seed++) {
      const rng = Rng.from(seed, 'tiny');
      const groups = ['a', 'b', 'c'].map((id) => group(id, 3 + rng.int(4)));
      const scores = groups.map((g) => Array.from({ length: g.size }, () => rng.float()));
      const terms = chainTerms(
        ['a', 'b', 'c'],
        [9, 4, 1, 1].map((m) => m * (1 + rng.int(5))),
      );
      const target = 0.3 + 0.5 * rng.float();
      const result = await makePlan(
        groups,
        ranksOf(groups, scores),
        { kind: 'keep-macs', value: target },
        { minKeep: 0 },
        terms,
      );
      const kept = groups.reduce(
        (sum, g, i) =>
          sum +
          planKeepSets(result.plan, groups)
            .get(g.id)!
            .reduce((s, u) => s + scores[i][u], 0),
        0,
      );
      expect(result.reached).toBe(true);
      const optimum = bestScore(groups, scores, terms, target * result.before.macs);
      expect(kept).toBeLessThanOrEqual(optimum + 1e-9);
      lost += optimum - kept;
      best += optimum;
    }
    expect(lost / best).toBeLessThan(0.03);
  });

  it('lies as close below the target as the steps allow', async () => {
    for (let seed = 0; seed < 40; seed++) {
      const { groups, terms, ranks, scores } = randomCase(seed);
      const options = { minKeep: 0 };
      const value = 0.6;
      const result = await makePlan(groups, ranks, { kind: 'keep-macs', value }, options, terms);
      if (!result.reached) continue;
      const keep = planKeepSets(result.plan, groups);
      groups.forEach((g, i) => {
        const kept = keep.get(g.id)!;
        const perBlock = (g.blocks ?? [[...Array(g.size).keys()]]).map(
          (block) => block.filter((u) => !kept.includes(u)).sort((a, b) => scores[i][b] - scores[i][a] || a - b)[0],
        );
        if (perBlock.includes(undefined as never)) return;
        const more = new Map(keep).set(g.id, [...kept, ...perBlock]);
        const worthless = perBlock.reduce((sum, u) => sum + scores[i][u], 0) <= 0;
        if (!worthless) expect(costOf(terms, more).macs).toBeGreaterThan(value * result.before.macs);
      });
    }
  });

  it('gives every group the same share when uniform', async () => {
    const groups = [group('a', 40), group('b', 20), group('c', 80)];
    const scores = groups.map((g, i) => Array.from({ length: g.size }, (_, u) => (i + 1) * 100 + u));
    const result = await makePlan(
      groups,
      ranksOf(groups, scores),
      { kind: 'keep-units', value: 0.5 },
      { allocation: 'uniform' },
      chainTerms(['a', 'b', 'c'], []),
    );
    expect(result.plan.groups.map((g) => g.keep.length)).toEqual([20, 10, 40]);
    expect(result.plan.groups[0].keep).toEqual(Array.from({ length: 20 }, (_, i) => 20 + i));
  });

  it('divides scores by the cost that a unit saves', async () => {
    const groups = [group('cheap', 8), group('dear', 8)];
    const scores = [Array(8).fill(1), Array(8).fill(2)] as number[][];
    const terms = [
      { layer: 'x', macs: 1, parameters: 10, factors: [{ fixed: 0, groups: [{ id: 'cheap', multiplicity: 1 }] }] },
      { layer: 'y', macs: 10, parameters: 1, factors: [{ fixed: 0, groups: [{ id: 'dear', multiplicity: 1 }] }] },
    ];
    const ranks = ranksOf(groups, scores);
    const counts = async (kind: TargetKind): Promise<number[]> =>
      (await makePlan(groups, ranks, { kind, value: 0.5 }, {}, terms)).plan.groups.map((g) => g.keep.length);
    expect(await counts('keep-macs')).toEqual([8, 3]);
    expect(await counts('keep-params')).toEqual([3, 8]);
    expect(await counts('keep-units')).toEqual([2, 6]);
  });

  it('normalises per group what cannot be compared between groups', async () => {
    const groups = [group('a', 10), group('b', 10)];
    const base = Array.from({ length: 10 }, (_, i) => 1 + i);
    const scores = [base, base.map((x) => x * 1000)];
    const terms = chainTerms(['a', 'b'], [1, 0, 1], 10, 10);
    const plan = async (method: 'magnitude' | 'shapley'): Promise<number[]> =>
      (
        await makePlan(groups, ranksOf(groups, scores, method), { kind: 'keep-units', value: 0.6 }, {}, terms)
      ).plan.groups.map((g) => g.keep.length);
    expect(await plan('magnitude')).toEqual([6, 6]);
    expect(await plan('shapley')).toEqual([3, 9]);
  });

  it('gives all cuts at once: every prefix is a plan', async () => {
    const { groups, terms, ranks } = randomCase(4);
    const { order } = await makePlan(groups, ranks, { kind: 'keep-macs', value: 1 }, {}, terms);
    expect(order.steps.length).toBeGreaterThan(3);
    order.steps.forEach((step, s) => {
      const cost = costOf(terms, keepAfter(groups, order, s + 1));
      expect(cost).toEqual({ macs: step.macsAfter, parameters: step.parametersAfter });
    });
  });

  it('keeps groups whole that the ranks do not cover, and says so', async () => {
    const groups = [group('a', 8), group('b', 8)];
    const ranks = ranksOf(groups.slice(0, 1), [Array(8).fill(1) as number[]]);
    const result = await makePlan(groups, ranks, { kind: 'keep-units', value: 0.75 }, {}, chainTerms(['a', 'b'], []));
    expect(result.plan.groups.map((g) => g.keep.length)).toEqual([4, 8]);
    expect(result.messages).toEqual(["Group 'b' keeps all its units: the ranks do not cover it."]);
  });

  it('refuses targets and options that make no sense', async () => {
    const groups = [group('a', 8)];
    const ranks = ranksOf(groups, [Array(8).fill(1) as number[]]);
    const terms = chainTerms(['a'], []);
    for (const value of [0, -1, 1.1, NaN])
      await expect(makePlan(groups, ranks, { kind: 'keep-macs', value }, {}, terms)).rejects.toMatchObject({
        code: 'usage',
      });
    for (const bad of [{ minKeep: 2 }, { roundTo: 0 }, { roundTo: 1.5 }, { frozen: ['zzz'] }])
      await expect(makePlan(groups, ranks, { kind: 'keep-macs', value: 0.5 }, bad, terms)).rejects.toMatchObject({
        code: 'usage',
      });
  });
});

it('freeze patterns name groups by id or layer', () => {
  const groups = [
    group('stem.conv', 4),
    group('b1.conv1', 4),
    group('b1.conv2', 4, { layers: [{ name: 'b1.conv2' }, { name: 'skip.1' }] }),
  ];
  expect(matchGroups(groups, ['b1.*'])).toEqual(['b1.conv1', 'b1.conv2']);
  expect(matchGroups(groups, ['skip?1', 'stem.conv'])).toEqual(['stem.conv', 'b1.conv2']);
  expect(() => matchGroups(groups, ['b1'])).toThrow(/No group or layer matches 'b1'/);
});

/** By trying all counts of kept units per group, each keeping its best. */
function bestScore(
  groups: readonly PlannableGroup[],
  scores: number[][],
  terms: Parameters<typeof predictCost>[0],
  limit: number,
): number {
  const sorted = scores.map((s) => [...s].sort((a, b) => b - a));
  let best = -Infinity;
  const counts = new Map<string, number>();
  const visit = (i: number, sum: number): void => {
    if (i === groups.length) {
      if (predictCost(terms, counts).macs <= limit) best = Math.max(best, sum);
      return;
    }
    let kept = sum;
    for (let count = 1; count <= groups[i].size; count++) {
      kept += sorted[i][count - 1];
      counts.set(groups[i].id, count);
      visit(i + 1, kept);
    }
  };
  visit(0, 0);
  return best;
}
