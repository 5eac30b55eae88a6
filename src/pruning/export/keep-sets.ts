import { SecateurError } from '../../errors.ts';
import type { Plan } from '../../formats.ts';
import type { Group, KeepSets, Structure } from '../../units/types.ts';

/**
 * The keep-sets of a plan, checked against the model's groups: unknown groups, units that are not there, empty
 * groups, groups that cannot or must not lose units, unequal blocks. Groups that keep all units are left out.
 * @throws SecateurError 'bad-data' that names the group
 */
export function keepSetsOf(structure: Structure, plan: Pick<Plan, 'groups'>): Map<string, number[]> {
  const byId = new Map(structure.groups.map((g) => [g.id, g]));
  const keepSets = new Map<string, number[]>();
  const seen = new Set<string>();
  for (const { id, keep, frozen } of plan.groups) {
    const group = byId.get(id);
    if (!group) throw new SecateurError('bad-data', `The plan names a group '${id}' that the model does not have.`, 'Was it made for another model?');
    if (seen.has(id)) throw new SecateurError('bad-data', `The plan names the group '${id}' twice.`);
    seen.add(id);
    const sorted = checkUnits(group, keep);
    if (sorted.length === group.size) continue;
    if (frozen) throw new SecateurError('bad-data', `The plan locks the group '${id}' but removes ${group.size - sorted.length} of its units.`);
    if (!group.prunable) throw new SecateurError('bad-data', `The plan removes units of '${id}', which cannot be pruned: ${group.reason ?? 'no reason given'}.`);
    checkBlocks(group, sorted);
    keepSets.set(id, sorted);
  }
  return keepSets;
}

function checkUnits(group: Group, keep: readonly number[]): number[] {
  const sorted = [...keep].sort((a, b) => a - b);
  if (sorted.length === 0) throw new SecateurError('bad-data', `The plan removes all units of the group '${group.id}': at least one must stay.`);
  sorted.forEach((unit, i) => {
    if (!Number.isInteger(unit) || unit < 0 || unit >= group.size)
      throw new SecateurError('bad-data', `The plan keeps unit ${unit} of the group '${group.id}', which has units 0 to ${group.size - 1}.`, 'Was it made for another model?');
    if (i > 0 && sorted[i - 1] === unit) throw new SecateurError('bad-data', `The plan names unit ${unit} of the group '${group.id}' twice.`);
  });
  return sorted;
}

function checkBlocks(group: Group, keep: readonly number[]): void {
  if (!group.blocks) return;
  const kept = new Set(keep);
  const counts = new Set(group.blocks.map((block) => block.filter((unit) => kept.has(unit)).length));
  if (counts.size > 1) {
    throw new SecateurError('bad-data', `The plan keeps different numbers of units in the ${group.blocks.length} blocks of the group '${group.id}'.`, 'Grouped convolutions and GroupNorm need equally many in each.');
  }
}

/** How many units of each group stay. */
export function keepCounts(structure: Structure, keep: KeepSets): Map<string, number> {
  return new Map(structure.groups.map((g) => [g.id, keep.get(g.id)?.length ?? g.size]));
}
