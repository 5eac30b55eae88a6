import { SecateurError } from '../../errors.ts';
import type { PlannableGroup } from './types.ts';

/**
 * Ids of the groups that a pattern names: by id or by the name of one of their layers; `*` stands for any characters,
 * `?` for one.
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
    const matching = groups.filter((group) =>
      [group.id, ...group.layers.map((l) => (typeof l === 'string' ? l : l.name))].some((name) =>
        expression.test(name),
      ),
    );
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
