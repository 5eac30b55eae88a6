import { SecateurError } from '../../errors.ts';
import { BLOCKS } from '../../units/residual.ts';
import type { PlannableGroup } from './types.ts';

/**
 * Ids of the groups that a pattern names: by id or by the name of one of their layers; `*` stands for any characters,
 * `?` for one. The group of residual blocks is named only by a pattern that says `#blocks`: its layers are those of other
 * groups, and a pattern that means these must not mean whole blocks.
 * @throws SecateurError 'usage' for a pattern that matches nothing
 */
export function matchGroups(groups: readonly PlannableGroup[], patterns: readonly string[]): string[] {
  const found = new Set<string>();
  for (const pattern of patterns) {
    const expression = new RegExp(
      `^${pattern
        .replace(/[.+^${}()|[\]\\]/g, '\\$&')
        .replaceAll('*', '.*')
        .replaceAll('?', '.')}$`,
      's',
    );
    const matching = groups.filter((group) => namesOf(group, pattern).some((name) => expression.test(name)));
    if (matching.length === 0)
      throw new SecateurError(
        'usage',
        `No group or layer matches '${pattern}'.`,
        "'secateur inspect' lists the groups.",
      );
    matching.forEach((group) => found.add(group.id));
  }
  return groups.map((g) => g.id).filter((id) => found.has(id));
}

function namesOf({ id, kind, layers }: PlannableGroup, pattern: string): string[] {
  if (kind === 'block') return pattern.includes(BLOCKS) ? [id] : [];
  return [id, ...layers.map((l) => (typeof l === 'string' ? l : l.name))];
}
