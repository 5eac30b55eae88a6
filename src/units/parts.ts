import type { Labels } from './atoms.ts';
import type { Flow } from './flow.ts';

/**
 * Sets of units that must not all go, for each group: where an axis somewhere holds only some of a group's units (behind a
 * Split, say), it would be empty without them, and runtimes compute anything but zero with empty axes. Only the
 * smallest sets are given. An axis of which some positions are another group's is left out; surgery refuses to empty it.
 * @param unitsOf the units that a position goes with
 * @param sizes units of each group
 */
export function findParts(
  flow: Flow,
  unitsOf: (atom: number) => readonly { group: number; unit: number }[],
  sizes: readonly number[],
): number[][][] {
  const found = sizes.map(() => new Map<string, number[]>());
  const seen = new Set<Labels>();
  for (const axes of flow.tracked.values()) {
    for (const labels of axes) {
      if (!(labels instanceof Int32Array) || labels.length === 0 || seen.has(labels)) continue;
      seen.add(labels);
      for (const { group } of unitsOf(labels[0])) {
        const mine = new Set<number>();
        const whole = labels.every((atom) => {
          const place = unitsOf(atom).find((p) => p.group === group);
          if (place) mine.add(place.unit);
          return place !== undefined;
        });
        if (!whole || mine.size === sizes[group]) continue;
        const units = [...mine].sort((a, b) => a - b);
        found[group].set(units.join(), units);
      }
    }
  }
  return found.map((parts) => smallest([...parts.values()]));
}

function smallest(parts: number[][]): number[][] {
  const chosen: number[][] = [];
  for (const part of parts.sort((a, b) => a.length - b.length)) {
    const units = new Set(part);
    if (!chosen.some((c) => c.every((u) => units.has(u)))) chosen.push(part);
  }
  return chosen;
}
