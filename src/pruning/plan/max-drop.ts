import { SecateurError } from '../../errors.ts';
import type { CostTerm, RemovalOrder } from '../../formats.ts';
import type { KeepSets } from '../../units/types.ts';
import { CostModel } from './cost-model.ts';
import type { Cost } from './cost-model.ts';
import type { PlannableGroup } from './types.ts';

/** Value of the gated model for a keep-set on all samples of the search data; larger is better. */
export type Measure = (keep: KeepSets, signal?: AbortSignal) => Promise<number>;

export interface MeasuredPoint extends Cost {
  value: number;
}

export interface MaxDropOptions {
  drop: number;
  objective: 'macs' | 'parameters';
  /** Measurements at most, the one of the whole model included. */
  maxMeasurements: number;
  signal?: AbortSignal;
  onMeasured?: (point: MeasuredPoint, count: number) => void;
}

export interface MaxDropResult {
  keep: KeepSets;
  value: number;
  full: number;
  /** Every cut that was measured, in the order of measurement. */
  measured: MeasuredPoint[];
  /** True when every group is at its floor: only the floor stands in the way of a smaller model. */
  atFloor: boolean;
}

/** Levels of cost at which the order is probed before bisecting. */
const GRID = 8;

/**
 * Looks for the smallest model whose value falls by at most `drop`. What is returned has itself been measured and
 * found good; nothing is concluded from neighbours, as the value need not fall steadily.
 *
 * 1. The removal order is measured at eight levels of cost from its far end until one holds, then bisected between
 *    that one and the next. 2. From there each group in turn (in the order in which its next step would have come) is
 *    taken further down by doubling steps and bisection, as far as the drop allows: units that the global order keeps
 *    because a worse step stands in front of them.
 * @throws SecateurError 'runtime' when the whole model has no finite value
 */
export async function searchMaxDrop(
  groups: readonly PlannableGroup[],
  order: RemovalOrder,
  terms: readonly CostTerm[],
  measure: Measure,
  options: MaxDropOptions,
): Promise<MaxDropResult> {
  const search = new Search(groups, order, terms, measure, options);
  const none = new Map<string, number>();
  const full = await search.value(none);
  if (!Number.isFinite(full))
    throw new SecateurError(
      'runtime',
      `The metric of the whole model is ${full}.`,
      'Check the data for infinities and NaN.',
    );
  search.lowest = full - options.drop - 1e-9 * Math.max(1, Math.abs(full));

  const prefix = await longestGoodPrefix(search, order, options.objective);
  const counts = search.countsOf(prefix);
  await extendGroups(search, counts, prefix);
  return {
    keep: search.keep(counts),
    value: await search.value(counts),
    full,
    measured: search.measured,
    atFloor: [...search.stepsOf].every(([id, steps]) => counts.get(id) === steps.length),
  };
}

async function longestGoodPrefix(
  search: Search,
  order: RemovalOrder,
  objective: 'macs' | 'parameters',
): Promise<number> {
  const after = (prefix: number): number => {
    const step = order.steps[prefix - 1];
    if (!step) return order[objective];
    return objective === 'macs' ? step.macsAfter : step.parametersAfter;
  };
  const end = order.steps.length;
  const least = after(end);
  const grid = new Set<number>([end]);
  for (let level = 1; level < GRID; level++) {
    const wanted = least + ((order[objective] - least) * level) / GRID;
    let low = 0;
    let high = end;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (after(middle) <= wanted) high = middle;
      else low = middle + 1;
    }
    grid.add(low);
  }
  let good = 0;
  let bad = end + 1;
  for (const prefix of [...grid].sort((a, b) => b - a)) {
    if (prefix === 0) break;
    if (await search.holds(search.countsOf(prefix))) {
      good = prefix;
      break;
    }
    bad = prefix;
  }
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (await search.holds(search.countsOf(middle))) good = middle;
    else bad = middle;
  }
  return good;
}

/** Takes groups further down one by one; `counts` is changed and stays good throughout. */
async function extendGroups(search: Search, counts: Map<string, number>, prefix: number): Promise<void> {
  for (const id of search.groupsAfter(prefix)) {
    const steps = search.stepsOf.get(id)!.length;
    const start = counts.get(id) ?? 0;
    const tryCount = async (count: number): Promise<boolean> => search.holds(new Map(counts).set(id, count));
    let good = start;
    let bad = steps + 1;
    for (let stride = 1; good < steps && good + stride < bad; stride *= 2) {
      const next = Math.min(steps, good + stride);
      if (await tryCount(next)) good = next;
      else bad = next;
    }
    while (bad - good > 1) {
      const middle = (good + bad) >> 1;
      if (await tryCount(middle)) good = middle;
      else bad = middle;
    }
    counts.set(id, good);
  }
}

/** Measurements by cut, where a cut says how many of its steps each group has taken. */
class Search {
  /** Values from here on are good enough. */
  lowest = -Infinity;
  readonly measured: MeasuredPoint[] = [];
  /** Units of each step of a group, in order. */
  readonly stepsOf = new Map<string, number[][]>();
  private readonly values = new Map<string, number>();
  private readonly sizes: Map<string, number>;

  constructor(
    private readonly groups: readonly PlannableGroup[],
    private readonly order: RemovalOrder,
    private readonly terms: readonly CostTerm[],
    private readonly measure: Measure,
    private readonly options: MaxDropOptions,
  ) {
    this.sizes = new Map(groups.map((g) => [g.id, g.size]));
    for (const { group, units } of order.steps) {
      const list = this.stepsOf.get(group);
      if (list) list.push(units);
      else this.stepsOf.set(group, [units]);
    }
  }

  /** Steps per group in the first `prefix` steps of the order. */
  countsOf(prefix: number): Map<string, number> {
    const counts = new Map<string, number>();
    for (let s = 0; s < prefix; s++) {
      const { group } = this.order.steps[s];
      counts.set(group, (counts.get(group) ?? 0) + 1);
    }
    return counts;
  }

  /** Groups that have steps left after a prefix, by when the first of them comes. */
  groupsAfter(prefix: number): string[] {
    return [...new Set(this.order.steps.slice(prefix).map((step) => step.group))];
  }

  keep(counts: ReadonlyMap<string, number>): KeepSets {
    return new Map(
      this.groups.map(({ id, size }) => {
        const gone = new Set((this.stepsOf.get(id) ?? []).slice(0, counts.get(id) ?? 0).flat());
        return [id, Array.from({ length: size }, (_, unit) => unit).filter((unit) => !gone.has(unit))];
      }),
    );
  }

  /** Measures a cut unless it is known; −∞ (not good) once the measurements are used up. */
  async value(counts: ReadonlyMap<string, number>): Promise<number> {
    const key = [...this.stepsOf.keys()].map((id) => counts.get(id) ?? 0).join();
    const known = this.values.get(key);
    if (known !== undefined) return known;
    const { signal, maxMeasurements, onMeasured } = this.options;
    if (this.measured.length >= maxMeasurements) return -Infinity;
    if (signal?.aborted) throw new SecateurError('cancelled', 'The search for a plan was cancelled.');
    const keep = this.keep(counts);
    const value = await this.measure(keep, signal);
    this.values.set(key, value);
    const widths = new Map(this.sizes);
    for (const [id, units] of keep) widths.set(id, units.length);
    const point = { ...new CostModel(this.terms, widths).cost, value };
    this.measured.push(point);
    onMeasured?.(point, this.measured.length);
    return value;
  }

  async holds(counts: ReadonlyMap<string, number>): Promise<boolean> {
    return (await this.value(counts)) >= this.lowest;
  }
}
