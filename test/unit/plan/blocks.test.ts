/** Plans over groups of residual blocks, whose units cost unlike amounts and may lie within each other. */
import { describe, expect, it } from 'vitest';
import type { CostTerm } from '../../../src/formats.ts';
import { Rng } from '../../../src/math/random.ts';
import {
  CostModel,
  keepAfter,
  makePlan,
  matchGroups,
  predictCost,
  removalOrder,
} from '../../../src/pruning/plan/index.ts';
import { CostModel as WebCostModel, predictCost as webPredictCost } from '../../../webview/logic/cost.ts';
import { cutGroup, Sweep } from '../../../webview/logic/keep.ts';
import { group, ranksOf } from './models.ts';

const blocks = group('a/add#blocks', 4, { kind: 'block', layers: ['a/conv', 'b/conv'] });
const channels = group('a/conv', 6);
const groups = [channels, blocks];

/** A stem, four blocks of different cost with the channels in them, the third within the second; a side of two of them. */
const terms: CostTerm[] = [
  term('stem', 3, [[2, 1]], []),
  term('a', 5, [[0, 2]], [[0]]),
  term('b', 7, [[1, 1]], [[1]]),
  term('c', 11, [], [[1], [2]]),
  term('d', 13, [], [[3]]),
  term('side', 17, [], [[0, 3]]),
];

function term(layer: string, cost: number, axes: [number, number][], needs: number[][]): CostTerm {
  return {
    layer,
    macs: cost,
    parameters: cost + 1,
    factors: axes.map(([fixed, multiplicity]) => ({ fixed, groups: [{ id: channels.id, multiplicity }] })),
    ...(needs.length ? { needs: needs.map((units) => ({ id: blocks.id, units })) } : {}),
  };
}

/** MACs counted by hand: `c` channels and the named blocks stay. */
function macs(c: number, kept: readonly number[]): number {
  const has = (unit: number) => kept.includes(unit);
  return (
    3 * (2 + c) +
    (has(0) ? 5 * 2 * c : 0) +
    (has(1) ? 7 * (1 + c) : 0) +
    (has(1) && has(2) ? 11 : 0) +
    (has(3) ? 13 : 0) +
    (has(0) || has(3) ? 17 : 0)
  );
}

const sizes = new Map(groups.map((g) => [g.id, g.size]));
const subsets = Array.from({ length: 15 }, (_, i) => [0, 1, 2, 3].filter((u) => ((i + 1) >> u) & 1));

describe('cost of blocks', () => {
  it('is that of the blocks that stay, in the engine and in the editor', () => {
    for (const kept of subsets) {
      for (const c of [1, 4, 6]) {
        const keep = new Map<string, number | number[]>([
          [channels.id, c],
          [blocks.id, kept],
        ]);
        expect(predictCost(terms, keep).macs).toBe(macs(c, kept));
        const shown = webPredictCost(terms, groups, { [channels.id]: [...Array(c).keys()], [blocks.id]: kept });
        expect(shown.macs).toBe(macs(c, kept));
      }
    }
    expect(predictCost(terms, sizes).macs).toBe(macs(6, [0, 1, 2, 3]));
  });

  it('follows a state in which units go and come back', () => {
    const rng = Rng.from(1, 'blocks');
    const model = new CostModel(terms, sizes);
    let [c, kept] = [6, [0, 1, 2, 3]];
    for (let step = 0; step < 200; step++) {
      const unit = rng.int(4);
      const goes = kept.includes(unit);
      const then = goes ? kept.filter((u) => u !== unit) : [...kept, unit];
      const difference = macs(c, then) - macs(c, kept);
      if (goes) {
        expect(model.saving(blocks.id, [unit]).macs).toBeCloseTo(-difference, 9);
        model.remove(blocks.id, [unit]);
      } else {
        expect(model.adding(blocks.id, [unit]).macs).toBeCloseTo(difference, 9);
        model.restore(blocks.id, [unit]);
      }
      kept = then;
      if (c > 1 && rng.int(3) === 0) {
        expect(model.saving(channels.id, [c - 1]).macs).toBeCloseTo(macs(c, kept) - macs(c - 1, kept), 9);
        model.remove(channels.id, [--c]);
      }
      expect(model.cost.macs).toBeCloseTo(macs(c, kept), 9);
      expect(model.count(blocks.id)).toBe(kept.length);
    }
    expect(model.related(blocks.id)).toContain(channels.id);
  });
});

describe('plans with blocks', () => {
  const scores = [
    [6, 5, 4, 3, 2, 1],
    [0.4, 3, 0.2, 2],
  ];

  it('take them out by score, and predict what is left', async () => {
    const ranks = ranksOf(groups, scores);
    for (const value of [0.9, 0.6, 0.4]) {
      const { plan, predicted, before, order } = await makePlan(groups, ranks, { kind: 'keep-macs', value }, {}, terms);
      const kept = new Map(plan.groups.map((g) => [g.id, g.keep]));
      expect(predicted.macs).toBeCloseTo(macs(kept.get(channels.id)!.length, kept.get(blocks.id)!), 9);
      expect(before.macs).toBe(macs(6, [0, 1, 2, 3]));
      for (let count = 0; count <= order.steps.length; count++) {
        const after = keepAfter(groups, order, count);
        const now = count ? order.steps[count - 1].macsAfter : order.macs;
        expect(now).toBeCloseTo(macs(after.get(channels.id)!.length, after.get(blocks.id)!), 9);
      }
      expect(order.steps.filter((s) => s.group === blocks.id).flatMap((s) => s.units)).toEqual([2, 0, 3]);
    }
  });

  it('leave them alone when the ranks do not cover them', async () => {
    const ranks = ranksOf([channels], scores);
    const target = { kind: 'keep-units', value: 0.5 } as const;
    const { plan, messages } = await makePlan(groups, ranks, target, {}, terms);
    expect(plan.groups).toMatchObject([{ id: channels.id, keep: [0, 1, 2] }]);
    expect(messages).toEqual([]);
  });

  it('search for the smallest model within a drop', async () => {
    const keepAll = (id: string, size: number) => [id, Array.from({ length: size }, (_, i) => i)] as const;
    const worth = new Map(groups.map((g, i) => [g.id, scores[i]]));
    const { plan, predicted } = await makePlan(
      groups,
      ranksOf(groups, scores),
      { kind: 'max-drop', value: 1.7 },
      {},
      terms,
      {
        measure: (keep) =>
          Promise.resolve(
            [...new Map([...groups.map((g) => keepAll(g.id, g.size)), ...keep])]
              .map(([id, units]) => units.reduce((sum, u) => sum + worth.get(id)![u], 0))
              .reduce((a, b) => a + b, 0),
          ),
      },
    );
    const kept = new Map(plan.groups.map((g) => [g.id, g.keep]));
    expect(kept.get(blocks.id)).toEqual([1, 3]);
    expect(predicted.macs).toBeCloseTo(macs(kept.get(channels.id)!.length, [1, 3]), 9);
  });

  it('are the same in the editor', () => {
    const ranks = ranksOf(groups, scores);
    const cuts = groups.map((g, i) => cutGroup(g, ranks.groups[i], 1));
    const options = { allocation: 'global', frozen: new Set<string>(), minKeep: 0.25, comparable: true } as const;
    const sweep = new Sweep(cuts, terms, groups, undefined, { ...options, cost: 'macs' });
    const byId = new Map(groups.map((g, i) => [g.id, scores[i]]));
    const order = removalOrder(groups, byId, terms, 'macs', { allocation: 'global', minKeep: 0.25, roundTo: 1 });
    expect(sweep.length).toBe(order.steps.length);
    expect(sweep.smallest('keep-macs')).toBeCloseTo(order.steps.at(-1)!.macsAfter / order.macs, 12);
    for (const share of [0.95, 0.8, 0.6, 0.45]) {
      const step = sweep.stepFor('keep-macs', share);
      const first = order.steps.findIndex((s) => s.macsAfter <= share * order.macs + 1e-9);
      expect(step).toBe(first < 0 ? order.steps.length : first + 1);
    }
    const web = new WebCostModel(terms, groups, undefined, [[blocks.id, [1, 3, 0, 2]]]);
    web.set(blocks.id, 2);
    expect(web.cost.macs).toBe(macs(6, [1, 3]));
    expect(web.costWith(blocks.id, 3).macs).toBe(macs(6, [0, 1, 3]));
  });

  it('are meant only by a pattern that says so', () => {
    expect(matchGroups(groups, ['*'])).toEqual([channels.id]);
    expect(matchGroups(groups, ['a/*'])).toEqual([channels.id]);
    expect(() => matchGroups(groups, ['b/conv'])).toThrow(/No group or layer/);
    expect(matchGroups(groups, ['*#blocks'])).toEqual([blocks.id]);
    expect(matchGroups(groups, [blocks.id, '*'])).toEqual([channels.id, blocks.id]);
  });
});
