import type { CostTerm, MethodName, Ranks } from '../../../src/formats.ts';
import { Rng } from '../../../src/math/random.ts';
import { predictCost } from '../../../src/pruning/plan/index.ts';
import type { PlannableGroup } from '../../../src/pruning/plan/index.ts';
import type { KeepSets } from '../../../src/units/types.ts';

export interface PlanCase {
  groups: PlannableGroup[];
  terms: CostTerm[];
  ranks: Ranks;
  /** Scores by group and unit. */
  scores: number[][];
}

export const model = { path: 'm.onnx', sha256: 'ab'.repeat(32), bytes: 1 };

export function group(id: string, size: number, extra: Partial<PlannableGroup> = {}): PlannableGroup {
  return { id, size, prunable: true, layers: [`${id}/layer`], ...extra };
}

/** A chain of layers: group i is produced by layer i and consumed by layer i + 1; input and output widths are fixed. */
export function chainTerms(
  ids: readonly string[],
  macsPerWeight: readonly number[],
  input = 3,
  output = 10,
): CostTerm[] {
  const axis = (id: string | undefined, fixed: number): CostTerm['factors'][number] =>
    id === undefined ? { fixed, groups: [] } : { fixed: 0, groups: [{ id, multiplicity: 1 }] };
  return Array.from({ length: ids.length + 1 }, (_, i) => ({
    layer: `layer${i}`,
    macs: macsPerWeight[i] ?? 1,
    parameters: 1,
    factors: [axis(ids[i - 1], input), axis(ids[i], output)],
  }));
}

export function ranksOf(
  groups: readonly PlannableGroup[],
  scores: readonly (readonly number[])[],
  method: MethodName = 'shapley',
): Ranks {
  return {
    format: 'secateur-ranks/1',
    model,
    data: { path: 'd.npz', fingerprint: 'cd', samples: 10 },
    method,
    metric: 'accuracy',
    seed: 1,
    device: 'cpu',
    budget: 100,
    tolerance: 0.05,
    seconds: 1,
    complete: true,
    groups: groups.map((g, i) => ({
      id: g.id,
      kind: 'channel',
      layers: [],
      size: g.size,
      value: null,
      evaluations: 1,
      units: scores[i].map((score, index) => ({ index, score })),
      seconds: 0,
    })),
    warnings: [],
  };
}

/** A random model: groups of 1 … 24 units, some with blocks or not prunable, and terms over one or two of them. */
export function randomCase(seed: number): PlanCase {
  const rng = Rng.from(seed, 'plan');
  const groups = Array.from({ length: 1 + rng.int(5) }, (_, i) => {
    const blockCount = rng.int(4) === 0 ? 2 + rng.int(2) : 1;
    const size = blockCount * (1 + rng.int(blockCount > 1 ? 8 : 24));
    const units = rng.permutation(size);
    const width = size / blockCount;
    const blocks =
      blockCount > 1
        ? Array.from({ length: blockCount }, (_, b) => [...units.slice(b * width, (b + 1) * width)])
        : undefined;
    return group(`g${i}`, size, { blocks, prunable: rng.int(6) > 0 });
  });
  const terms: CostTerm[] = Array.from({ length: 1 + rng.int(8) }, (_, t) => ({
    layer: `l${t}`,
    macs: rng.int(50),
    parameters: rng.int(5),
    factors: Array.from({ length: 1 + rng.int(2) }, () => ({
      fixed: rng.int(3),
      groups: Array.from({ length: rng.int(3) }, () => ({
        id: groups[rng.int(groups.length)].id,
        multiplicity: 1 + rng.int(4),
      })),
    })),
  }));
  const scores = groups.map((g) => Array.from({ length: g.size }, () => Math.round(20 * (rng.float() - 0.2)) / 20));
  return { groups, terms, scores, ranks: ranksOf(groups, scores) };
}

export function costOf(terms: readonly CostTerm[], keep: KeepSets): { macs: number; parameters: number } {
  return predictCost(terms, new Map([...keep].map(([id, units]) => [id, units.length])));
}

export function sizesOf(groups: readonly PlannableGroup[]): Map<string, number> {
  return new Map(groups.map((g) => [g.id, g.size]));
}
