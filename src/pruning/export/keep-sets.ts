import type { KeepSets, Structure } from '../../units/types.ts';
import type { Plan } from '../../formats.ts';

/** The keep-sets of a checked plan; groups that keep all their units are left out. */
export function changedGroups(structure: Structure, plan: Pick<Plan, 'groups'>): Map<string, number[]> {
  const sizes = new Map(structure.groups.map((g) => [g.id, g.size]));
  return new Map(plan.groups.filter((g) => g.keep.length < sizes.get(g.id)!).map((g) => [g.id, g.keep]));
}

/** How many units of each group stay. */
export function keepCounts(structure: Structure, keep: KeepSets): Map<string, number> {
  return new Map(structure.groups.map((g) => [g.id, keep.get(g.id)?.length ?? g.size]));
}
