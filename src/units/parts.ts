import type { Labels } from './atoms.ts';
import type { Flow } from './flow.ts';

/**
 * Sets of units that must not all go, for each group: where an axis somewhere holds only some of a group's units (behind a
 * Split, say), it would be empty without them, and runtimes compute anything but zero with empty axes. Only the
 * smallest sets are given. An axis that mixes groups is left out; surgery refuses to empty it.
 * @param unitOf group and unit of an atom, group −1 where it belongs to none
 * @param sizes units of each group
 */
export function findParts(
  flow: Flow,
  unitOf: (atom: number) => { group: number; unit: number },
  sizes: readonly number[],
): number[][][] {
  const found = sizes.map(() => new Map<string, number[]>());
  const seen = new Set<Labels>();
  for (const axes of flow.tracked.values()) {
    for (const labels of axes) {
      if (typeof labels === 'string' || labels.length === 0 || seen.has(labels)) continue;
      seen.add(labels);
      const { group } = unitOf(labels[0]);
      if (group < 0) continue;
      const places = Array.from(labels, unitOf);
      const units = [...new Set(places.map((p) => p.unit))].sort((a, b) => a - b);
      if (units.length < sizes[group] && places.every((p) => p.group === group)) found[group].set(units.join(), units);
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
