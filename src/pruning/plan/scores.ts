import type { GroupRanks, Ranks } from '../../formats.ts';
import { rankMethod } from '../../ranking/registry.ts';
import type { PlanScores } from './removal-order.ts';
import type { PlannableGroup } from './types.ts';

/**
 * Scores by unit for the groups that may lose units: prunable, not frozen, completely ranked.
 *
 * Shapley and leave-one-out scores are in the metric's unit and are compared between groups as they are. Magnitudes,
 * activations and random scores mean nothing across groups: they are divided by the sum of the absolute scores of
 * their group, so that every group as a whole is worth 1, as it would be worth v(N) − v(∅) in Shapley values. (Dividing
 * by the mean instead empties groups of few, expensive units first.)
 *
 * Units that changed nothing in any coalition that was tried (score and standard error are 0) count as the least
 * important of their group: to take them is free by measurement, while a score below 0 may be noise.
 * @param messages receives a sentence for each group that is left whole because ranks are missing
 */
export function planScores(
  groups: readonly PlannableGroup[],
  ranks: Ranks,
  frozen: ReadonlySet<string>,
  messages: string[],
): PlanScores {
  const comparable = rankMethod(ranks.method).comparable;
  const byId = new Map(ranks.groups.map((g) => [g.id, g]));
  const scores = new Map<string, Float64Array>();
  const missing: string[] = [];
  for (const group of groups) {
    if (!group.prunable || frozen.has(group.id)) continue;
    const found = byId.get(group.id);
    const raw = found && scoresByUnit(found, group.size);
    if (!raw) missing.push(group.id);
    else scores.set(group.id, comparable ? raw : relative(raw));
  }
  if (missing.length > 0) {
    const named =
      missing
        .slice(0, 5)
        .map((id) => `'${id}'`)
        .join(', ') + (missing.length > 5 ? ', …' : '');
    messages.push(
      missing.length === 1
        ? `Group ${named} keeps all its units: the ranks do not cover it.`
        : `${missing.length} groups keep all their units, as the ranks do not cover them: ${named}.`,
    );
  }
  return scores;
}

/** Scores by unit index; undefined when a unit has none. */
function scoresByUnit(ranks: GroupRanks, size: number): Float64Array | undefined {
  const scores = new Float64Array(size).fill(NaN);
  for (const unit of ranks.units) if (unit.index < size) scores[unit.index] = unit.score;
  if (scores.some((score) => Number.isNaN(score))) return undefined;
  const lowest = scores.reduce((a, b) => Math.min(a, b), 0);
  for (const unit of ranks.units) {
    if (unit.index < size && unit.score === 0 && unit.stderr === 0) scores[unit.index] = lowest * BELOW;
  }
  return scores;
}

/** What makes a score below 0 a hair lower. */
const BELOW = 1 + 1e-9;

function relative(scores: Float64Array): Float64Array {
  const total = scores.reduce((sum, score) => sum + Math.abs(score), 0);
  return total > 0 ? scores.map((score) => score / total) : scores;
}
