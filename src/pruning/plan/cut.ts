import type { CostTerm, RemovalOrder } from '../../formats.ts';
import { CostModel } from './cost-model.ts';
import type { Cost } from './cost-model.ts';
import { scorePerCost } from './removal-order.ts';
import type { CostKind, PlanScores } from './removal-order.ts';
import type { Rung } from './ladder.ts';
import type { PlannableGroup } from './types.ts';

/**
 * The cut of a removal order at a target cost: steps taken per group, as close to the target from below as the steps
 * allow. It is the shortest prefix that reaches the target; with `refill`, steps of that prefix are then taken back,
 * the most valuable first, as long as the target still holds (the last steps may have overshot it).
 * @param target highest cost of kind `kind` (units: kept units of the groups that take part plus `fixedUnits`)
 * @returns ids of groups with the units that go, in order of removal, and whether the target is reached
 */
export function cutAt(
  groups: readonly PlannableGroup[],
  order: RemovalOrder,
  scores: PlanScores,
  terms: readonly CostTerm[],
  kind: CostKind,
  target: number,
  refill: boolean,
): { taken: Map<string, Rung[]>; cost: Cost; reached: boolean } {
  const cost = new CostModel(terms, new Map(groups.map((g) => [g.id, g.size])));
  const totalUnits = groups.reduce((sum, g) => sum + (g.prunable ? g.size : 0), 0);
  const taken = new Map<string, Rung[]>();
  let units = totalUnits;
  const present = (): number => (kind === 'units' ? units : cost.cost[kind]);
  const fits = (value: number): boolean => value <= target * (1 + 1e-12) + 1e-9;

  for (const step of order.steps) {
    if (fits(present())) break;
    const rungs = taken.get(step.group) ?? [];
    taken.set(step.group, rungs);
    const keep = cost.count(step.group) - step.units.length;
    const values = scores.get(step.group)!;
    rungs.push({ units: step.units, keep, score: step.units.reduce((sum, unit) => sum + values[unit], 0) });
    cost.remove(step.group, step.units);
    units -= step.units.length;
  }
  const reached = fits(present());

  while (refill && reached) {
    let best: { id: string; rungs: Rung[]; priority: number } | undefined;
    for (const [id, rungs] of taken) {
      const rung = rungs.at(-1);
      if (!rung || rung.score <= 0) continue;
      const added = kind === 'units' ? rung.units.length : cost.adding(id, rung.units)[kind];
      if (!fits(present() + added)) continue;
      const priority = scorePerCost(rung, added);
      if (!best || priority > best.priority) best = { id, rungs, priority };
    }
    if (!best) break;
    const rung = best.rungs.pop()!;
    cost.restore(best.id, rung.units);
    units += rung.units.length;
  }
  return { taken, cost: { ...cost.cost }, reached };
}
