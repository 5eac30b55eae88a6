import type { Ranks } from '../formats.ts';

/** Adds a run to earlier ones of the same kind (model, data, method, metric, seed): groups that it did not rank stay. */
export function mergeRanks(earlier: Ranks | undefined, latest: Ranks): Ranks {
  if (!earlier) return latest;
  const kind = (ranks: Ranks): string =>
    JSON.stringify([ranks.model.sha256, ranks.data.fingerprint, ranks.method, ranks.metric, ranks.seed]);
  if (kind(earlier) !== kind(latest)) return latest;
  const groups = new Map(earlier.groups.map((group) => [group.id, group]));
  for (const group of latest.groups) groups.set(group.id, group);
  const merged = [...groups.values()];
  return { ...latest, groups: merged, seconds: merged.reduce((sum, { seconds }) => sum + seconds, 0) };
}
