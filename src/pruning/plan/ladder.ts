import type { PlannableGroup } from './types.ts';

/** One step down within a group: the least important units that go together, and their total score. */
export interface Rung {
  /** Ascending. */
  units: number[];
  score: number;
  /** Units that stay after it. */
  keep: number;
}

/**
 * All steps that a group may take, from all units down to its floor: least important units first, the higher index of
 * equals first; kept counts are multiples of `roundTo` (the full size aside) and, with blocks, equal in all blocks.
 * The floor is `minKeep` of the size, at least one unit of each block, rounded up to what the rounding allows. The most
 * important unit of each part of a group stays.
 * @param scores by unit index
 */
export function ladder(
  group: Pick<PlannableGroup, 'size' | 'blocks' | 'parts'>,
  scores: ArrayLike<number>,
  minKeep: number,
  roundTo: number,
): Rung[] {
  const blocks = group.blocks?.length ? group.blocks : [Array.from({ length: group.size }, (_, unit) => unit)];
  // Least important first; what is left of a block is a suffix of its list.
  const stays = bestOfParts(group.parts ?? [], scores);
  const late = (unit: number) => (stays.has(unit) ? 1 : 0);
  const orders = blocks.map((units) => [...units].sort((a, b) => late(a) - late(b) || scores[a] - scores[b] || b - a));
  const least = Math.max(1, ...blocks.map((units) => units.filter((unit) => stays.has(unit)).length));
  const rungs: Rung[] = [];
  let perBlock = Math.max(...orders.map((order) => order.length));
  for (const count of legalCounts(group.size, blocks, minKeep, roundTo, least)) {
    const units: number[] = [];
    for (const order of orders) {
      const from = Math.max(0, order.length - perBlock);
      units.push(...order.slice(from, order.length - count));
    }
    units.sort((a, b) => a - b);
    const score = units.reduce((sum, unit) => sum + scores[unit], 0);
    rungs.push({ units, score, keep: count * blocks.length });
    perBlock = count;
  }
  return rungs;
}

/** A unit of each part that may go last: its most important one, unless another part has one that is in both. */
function bestOfParts(parts: readonly (readonly number[])[], scores: ArrayLike<number>): Set<number> {
  const stays = new Set<number>();
  for (const part of parts) {
    if (part.some((unit) => stays.has(unit))) continue;
    stays.add(part.reduce((best, unit) => (scores[unit] > scores[best] ? unit : best)));
  }
  return stays;
}

/** Units per block that may stay, at least `least`, descending, the full size left out. */
function legalCounts(
  size: number,
  blocks: readonly (readonly number[])[],
  minKeep: number,
  roundTo: number,
  least: number,
): number[] {
  const smallest = Math.min(...blocks.map((units) => units.length));
  const largest = Math.max(...blocks.map((units) => units.length));
  // The total is count × blocks: a multiple of roundTo when the count is one of this.
  const unit = roundTo / gcd(roundTo, blocks.length);
  const wanted = Math.max(least, Math.ceil((minKeep * size) / blocks.length - 1e-9));
  const floor = Math.ceil(wanted / unit) * unit;
  const top = smallest === largest ? smallest - 1 : smallest;
  const counts: number[] = [];
  for (let count = Math.floor(top / unit) * unit; count >= floor; count -= unit) counts.push(count);
  return counts;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
