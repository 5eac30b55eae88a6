import type { KeepSets, Structure } from '../../units/types.ts';
import type { Plan } from '../../formats.ts';
import type { Kept } from '../plan/cost-model.ts';

/** The keep-sets of a checked plan; groups that keep all their units are left out. */
export function changedGroups(structure: Structure, plan: Pick<Plan, 'groups'>): Map<string, number[]> {
  const sizes = new Map(structure.groups.map((g) => [g.id, g.size]));
  return new Map(plan.groups.filter((g) => g.keep.length < sizes.get(g.id)!).map((g) => [g.id, g.keep]));
}

/** What each group keeps: the units that a keep-set names, else how many it has. */
export function keptUnits(structure: Structure, keep: KeepSets): Kept {
  return new Map(structure.groups.map((g) => [g.id, keep.get(g.id) ?? g.size]));
}
