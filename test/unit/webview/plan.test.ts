import { describe, expect, it } from 'vitest';
import type { Allocation, CostTerm, GroupInfo, MethodName, Ranks, TargetKind } from '../../../src/formats.ts';
import { makePlan } from '../../../src/pruning/plan/index.ts';
import { CostModel, predictBytes, predictCost } from '../../../webview/logic/cost.ts';
import { cutGroup, keepOf, keepSignature, neighbour, snap, Sweep } from '../../../webview/logic/keep.ts';
import { method } from '../../../webview/logic/words.ts';

/** mulberry32 */
function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function group(id: string, size: number, extra: Partial<GroupInfo> = {}): GroupInfo {
  return { id, kind: 'channel', size, layers: [id], consumers: [], parameters: 0, macs: 0, prunable: true, ...extra };
}

/** A chain a → b → c with a residual: c also reads a. */
function model(seed: number): { groups: GroupInfo[]; terms: CostTerm[]; ranks: Ranks } {
  const next = random(seed);
  const groups = [
    group('a', 12),
    group('b', 16, { blocks: [Array.from({ length: 8 }, (_, i) => i), Array.from({ length: 8 }, (_, i) => i + 8)] }),
    group('c', 9, {
      parts: [
        [0, 1, 2],
        [2, 3],
        [7, 8],
      ],
    }),
    group('out', 4, { prunable: false, reason: 'model output' }),
  ];
  const term = (layer: string, cost: number, ...factors: [number, ...[string, number][]][]): CostTerm => ({
    layer,
    macs: cost * 10,
    parameters: cost,
    factors: factors.map(([fixed, ...of]) => ({
      fixed,
      groups: of.map(([id, multiplicity]) => ({ id, multiplicity })),
    })),
  });
  const terms = [
    term('a', 27, [0, ['a', 1]]),
    term('b', 9, [0, ['a', 1]], [0, ['b', 1]]),
    term('c', 9, [2, ['a', 1], ['b', 2]], [0, ['c', 1]]),
    term('out', 1, [0, ['c', 4]], [4]),
  ];
  const ranks: Ranks = {
    format: 'secateur-ranks/1',
    model: { path: 'm.onnx', sha256: '0', bytes: 1 },
    data: { path: 'd.npz', fingerprint: 'f', samples: 10 },
    method: 'shapley',
    metric: 'accuracy',
    seed: 0,
    device: 'cpu',
    budget: 100,
    tolerance: 0,
    seconds: 1,
    complete: true,
    warnings: [],
    groups: groups
      .filter((g) => g.prunable)
      .map((g) => ({
        id: g.id,
        kind: g.kind,
        layers: g.layers,
        size: g.size,
        value: null,
        evaluations: 0,
        seconds: 0,
        // Some units without any effect among noisy ones.
        units: Array.from({ length: g.size }, (_, index) =>
          index % 5 === 3 ? { index, score: 0, stderr: 0 } : { index, score: next() - 0.15, stderr: 0.1 },
        ),
      })),
  };
  return { groups, terms, ranks };
}

function sweepOf(
  m: ReturnType<typeof model>,
  kind: TargetKind,
  allocation: Allocation,
  minKeep: number,
  roundTo: number,
  frozen: string[],
) {
  const cuts = m.groups
    .filter((g) => g.prunable)
    .map((g) =>
      cutGroup(
        g,
        m.ranks.groups.find((r) => r.id === g.id),
        roundTo,
      ),
    );
  const cost = kind === 'keep-params' ? 'parameters' : kind === 'keep-units' ? 'units' : 'macs';
  return new Sweep(cuts, m.terms, m.groups, undefined, {
    cost,
    allocation,
    frozen: new Set(frozen),
    minKeep,
    comparable: method(m.ranks.method).comparable,
  });
}

describe('cost prediction', () => {
  it('is the product of the axes, and incremental changes agree with it', () => {
    const { groups, terms } = model(1);
    const cost = new CostModel(terms, groups);
    const full = 270 * 12 + 90 * 12 * 16 + 90 * (2 + 12 + 32) * 9 + 10 * 36 * 4;
    expect(cost.cost.macs).toBeCloseTo(full);
    const next = random(5);
    for (let i = 0; i < 50; i++) {
      const g = groups[Math.floor(next() * 3)];
      const kept = 1 + Math.floor(next() * g.size);
      const wouldBe = cost.costWith(g.id, kept);
      cost.set(g.id, kept);
      expect(cost.cost.macs).toBeCloseTo(wouldBe.macs);
    }
    const keep = Object.fromEntries(groups.map((g) => [g.id, Array.from({ length: cost.keptOf(g.id) }, (_, j) => j)]));
    expect(predictCost(terms, groups, keep).parameters).toBeCloseTo(cost.cost.parameters);
  });

  it('adds what the terms do not cover, so that the whole model has its own totals', () => {
    const { groups, terms } = model(1);
    expect(predictCost(terms, groups, null, { macs: 1e6, parameters: 1e5 })).toEqual({ macs: 1e6, parameters: 1e5 });
  });

  it('predicts bytes from the width of an element, and says when it cannot', () => {
    expect(predictBytes(4_012_000, 1_000_000, 600_000)).toBe(4_012_000 - 1_600_000);
    expect(predictBytes(2_012_000, 1_000_000, 600_000)).toBe(2_012_000 - 800_000);
    expect(predictBytes(12_000, 1_000_000, 600_000)).toBeNull();
  });
});

describe('the slider cuts as the engine’s planner does', () => {
  const kinds: TargetKind[] = ['keep-macs', 'keep-params', 'keep-units'];
  const methods: MethodName[] = ['shapley', 'magnitude'];
  for (const kind of kinds)
    for (const allocation of ['global', 'uniform'] as const)
      for (const name of methods)
        it(`${kind}, ${allocation}, ${name}`, async () => {
          for (let seed = 1; seed <= 4; seed++) {
            const m = model(seed);
            m.ranks.method = name;
            for (const [minKeep, roundTo, frozen] of [
              [0.25, 1, []],
              [0, 2, []],
              [0.25, 4, ['c']],
            ] as const) {
              const sweep = sweepOf(m, kind, allocation, minKeep, roundTo, [...frozen]);
              for (const value of [0.9, 0.7, 0.5, 0.3]) {
                const engine = await makePlan(
                  m.groups,
                  m.ranks,
                  { kind, value },
                  { allocation, minKeep, roundTo, frozen },
                  m.terms,
                );
                const ours = sweep.keepFor(kind, value);
                for (const g of engine.plan.groups) expect(ours[g.id], `${g.id} at ${value}`).toEqual(g.keep);
              }
            }
          }
        });
});

describe('keep-sets', () => {
  it('never empties a group and ends at the floors', () => {
    const m = model(3);
    const sweep = sweepOf(m, 'keep-macs', 'global', 0, 1, []);
    const smallest = sweep.keepFor('keep-macs', 0);
    // One unit of each block of b, and of each part of c.
    expect(Object.values(smallest).map((k) => k.length)).toEqual([1, 2, 3]);
    for (const part of m.groups[2].parts!) expect(smallest.c.some((unit) => part.includes(unit))).toBe(true);
    expect(sweep.smallest('keep-macs')).toBeLessThan(0.1);
    expect(sweep.keepFor('keep-macs', 1).a).toHaveLength(12);
  });

  it('keeps as many of each block', () => {
    const m = model(3);
    const g = cutGroup(m.groups[1], m.ranks.groups[1], 1);
    expect(g.stops).toEqual([2, 4, 6, 8, 10, 12, 14, 16]);
    for (const kept of g.stops) expect(keepOf(g, kept).filter((u) => u < 8)).toHaveLength(kept / 2);
    expect(snap(g, 7.2)).toBe(8);
    expect(snap(g, 0)).toBe(2);
    expect(neighbour(g, 8, -1)).toBe(6);
    expect(neighbour(g, 8, Infinity)).toBe(16);
    expect(cutGroup(m.groups[1], m.ranks.groups[1], 8).stops).toEqual([8, 16]);
  });

  it('handles a group of one unit and ranks that lack units', () => {
    const one = cutGroup(group('x', 1), undefined, 1);
    expect(one.stops).toEqual([1]);
    expect(keepOf(one, 1)).toEqual([0]);
    expect(cutGroup(group('x', 3), { units: [{ index: 2, score: 1 }] }, 1).order).toEqual([2, 0, 1]);
  });

  it('tells keep-sets apart by name', () => {
    const a = keepSignature({ x: [0, 1], y: [2] });
    expect(keepSignature({ y: [2], x: [0, 1] })).toBe(a);
    expect(keepSignature({ x: [0, 2], y: [2] })).not.toBe(a);
    expect(keepSignature({ x: [0, 1, 2], y: [] })).not.toBe(a);
  });

  it('sweeps 10 000 units of 500 groups to the floor', () => {
    const next = random(9);
    const groups = Array.from({ length: 500 }, (_, i) => group(`g${i}`, 20));
    const terms: CostTerm[] = groups.map((g, i) => ({
      layer: g.id,
      macs: 1 + (i % 7),
      parameters: 1,
      factors: [
        { fixed: i ? 0 : 3, groups: i ? [{ id: groups[i - 1].id, multiplicity: 1 }] : [] },
        { fixed: 0, groups: [{ id: g.id, multiplicity: 1 }] },
      ],
    }));
    const cuts = groups.map((g) =>
      cutGroup(g, { units: Array.from({ length: 20 }, (_, index) => ({ index, score: next() })) }, 1),
    );
    const sweep = new Sweep(cuts, terms, groups, undefined, {
      cost: 'macs',
      allocation: 'global',
      frozen: new Set(),
      minKeep: 0.25,
      comparable: true,
    });
    expect(sweep.length).toBe(500 * 15);
    const keep = sweep.keepFor('keep-macs', 0.5);
    const share = predictCost(terms, groups, keep).macs / predictCost(terms, groups, null).macs;
    expect(share).toBeLessThanOrEqual(0.5);
    expect(share).toBeGreaterThan(0.499);
  });
});
