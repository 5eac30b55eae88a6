import type { CostTerm, RemovalOrder } from '../../formats.ts';
import type { KeepSets } from '../../units/types.ts';
import { CostModel } from './cost-model.ts';
import type { Cost } from './cost-model.ts';
import { ladder } from './ladder.ts';
import type { Rung } from './ladder.ts';
import type { PlannableGroup, PlanOptions } from './types.ts';

/** Scores by unit index, by group id; only groups that may lose units. */
export type PlanScores = ReadonlyMap<string, ArrayLike<number>>;

/** What a score is divided by. */
export type CostKind = 'macs' | 'parameters' | 'units';

/**
 * The order in which units go, over all groups down to every group's floor, so that the plan of any target is a
 * prefix of it.
 *
 * `global`: always the step with the lowest score per saved cost goes next, the saving taken at the present widths of
 * all groups (it shrinks as the neighbours do). `uniform`: always the group that would still keep the largest share.
 * Ties go to the group that comes first.
 * @param groups all groups of the model, in order; those without scores keep everything
 * @param costKind what `global` divides by
 */
export function removalOrder(
  groups: readonly PlannableGroup[],
  scores: PlanScores,
  terms: readonly CostTerm[],
  costKind: CostKind,
  options: Pick<PlanOptions, 'allocation' | 'minKeep' | 'roundTo'>,
): RemovalOrder {
  const cost = new CostModel(terms, new Map(groups.map((g) => [g.id, g.size])));
  const open = groups
    .filter((g) => scores.has(g.id))
    .map((group) => ({
      group,
      next: 0,
      priority: 0,
      rungs: ladder(group, scores.get(group.id)!, options.minKeep, options.roundTo),
    }))
    .filter(({ rungs }) => rungs.length > 0);
  const entryOf = new Map(open.map((entry) => [entry.group.id, entry]));

  const update = (entry: (typeof open)[number]): void => {
    const rung = entry.rungs[entry.next];
    if (!rung) entry.priority = NaN;
    else if (options.allocation === 'uniform') entry.priority = -rung.keep / entry.group.size;
    else entry.priority = scorePerCost(rung, savedBy(cost, entry.group.id, rung, costKind));
  };
  open.forEach(update);

  const order: RemovalOrder = { ...cost.cost, steps: [] };
  for (;;) {
    let best: (typeof open)[number] | undefined;
    for (const entry of open) {
      if (entry.next < entry.rungs.length && (!best || entry.priority < best.priority)) best = entry;
    }
    if (!best) return order;
    const rung = best.rungs[best.next++];
    cost.remove(best.group.id, rung.units);
    order.steps.push({
      group: best.group.id,
      units: rung.units,
      macsAfter: cost.cost.macs,
      parametersAfter: cost.cost.parameters,
    });
    for (const id of cost.related(best.group.id)) {
      const entry = entryOf.get(id);
      if (entry) update(entry);
    }
  }
}

/** Saved cost of the kind that scores are divided by. */
export function savedBy(cost: CostModel, id: string, rung: Rung, kind: CostKind): number {
  if (kind === 'units') return rung.units.length;
  const saved: Cost = cost.saving(id, rung.units);
  return saved[kind];
}

/** Score per saved cost; steps that save nothing come last. */
export function scorePerCost(rung: Rung, saved: number): number {
  return saved > 0 ? rung.score / saved : Infinity;
}

/** Keep-sets once the first `count` steps of an order are taken, for every group. */
export function keepAfter(groups: readonly PlannableGroup[], order: RemovalOrder, count: number): KeepSets {
  const gone = new Map<string, Set<number>>(groups.map((g) => [g.id, new Set()]));
  for (let s = 0; s < count; s++) for (const unit of order.steps[s].units) gone.get(order.steps[s].group)!.add(unit);
  return new Map(
    groups.map((g) => [g.id, Array.from({ length: g.size }, (_, unit) => unit).filter((u) => !gone.get(g.id)!.has(u))]),
  );
}
