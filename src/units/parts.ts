import type { Labels } from './atoms.ts';
import type { Flow } from './flow.ts';

/**
 * Sets of units that must not all go, for each group: where an axis somewhere holds only some of a group's units (behind a
 * Split, say), it would be empty without them, and runtimes compute anything but zero with empty axes. Only the
 * smallest sets are given. An axis of which some positions are another group's is left out; surgery refuses to empty it.
 * @param index the groups that a position goes with, and which unit of one of them, −1 where none
 * @param sizes units of each group
 */
export function findParts(
  flow: Flow,
  index: { groups(labels: Labels): Iterable<number>; unit(atom: number, group: number): number },
  sizes: readonly number[],
): number[][][] {
  const found = sizes.map(() => new Map<string, number[]>());
  const seen = new Set<Labels>();
  for (const axes of flow.tracked.values()) {
    for (const labels of axes) {
      if (!(labels instanceof Int32Array) || labels.length === 0 || seen.has(labels)) continue;
      seen.add(labels);
      for (const group of index.groups(labels.subarray(0, 1))) {
        const mine = unitsAlong(index, labels, group, sizes[group]);
        if (!mine) continue;
        const units = [...mine].sort((a, b) => a - b);
        found[group].set(units.join(), units);
      }
    }
  }
  return found.map((parts) => smallest([...parts.values()]));
}

/** The units of a group that an axis holds, where it holds nothing but some of them. */
function unitsAlong(
  index: { unit(atom: number, group: number): number },
  labels: Labels,
  group: number,
  size: number,
): Set<number> | undefined {
  const met = new Uint8Array(size);
  let count = 0;
  for (const atom of labels) {
    const unit = index.unit(atom, group);
    if (unit < 0) return undefined;
    count += 1 - met[unit];
    met[unit] = 1;
  }
  if (count === size) return undefined;
  return new Set(Array.from(met.keys()).filter((unit) => met[unit]));
}

function smallest(parts: number[][]): number[][] {
  const chosen: number[][] = [];
  for (const part of parts.sort((a, b) => a.length - b.length)) {
    const units = new Set(part);
    if (!chosen.some((c) => c.every((u) => units.has(u)))) chosen.push(part);
  }
  return chosen;
}
