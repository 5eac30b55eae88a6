import { SecateurError, checkSignal } from '../../errors.ts';
import type { CostTerm, RemovalOrder } from '../../formats.ts';
import type { KeepSets } from '../../units/types.ts';
import { predictCost } from './cost-model.ts';
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

/** Steps in which the common share of the groups' own limits is looked for. */
const SHARES = 32;

/** Measurements of a search when no limit is given: room for step 2 below (about ten for each group), 64 to 240. */
export function defaultMeasurements(groups: readonly Pick<PlannableGroup, 'prunable'>[]): number {
  return Math.min(240, Math.max(64, 24 + 10 * groups.filter((g) => g.prunable).length));
}

/** Part of what a group could still lose that is tried at first when a cut is extended. */
const CHUNK = 8;

/**
 * Looks for the smallest model whose value falls by at most `drop`. What is returned has itself been measured and
 * found good; nothing is concluded from neighbours, as the value need not fall steadily.
 *
 * 1. The removal order is measured at eight levels of cost from its far end until one holds, then bisected between
 *    that one and the next.
 * 2. Scores say less about small cuts than measuring does (a group's Shapley values add up to what it is worth as a
 *    whole). So, where there are measurements enough, each group's own limit is bisected with all other groups whole,
 *    then the largest common share of all limits that holds. The smaller of this cut and that of step 1 goes on.
 * 3. Groups take turns, those that save most first, in trying to lose some more: an eighth of what they still have,
 *    half as much after each failure.
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
  const full = await search.value(new Map());
  if (!Number.isFinite(full))
    throw new SecateurError(
      'runtime',
      `The metric of the whole model is ${full}.`,
      'Check the data for infinities and NaN.',
    );
  search.lowest = full - options.drop - 1e-9 * Math.max(1, Math.abs(full));

  let counts = search.countsOf(await longestGoodPrefix(search, order, options.objective));
  const shared = await shareOfLimits(search);
  if (search.cost(shared) < search.cost(counts)) counts = shared;
  await extend(search, counts);
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
  return bisect(good, bad, (prefix) => search.holds(search.countsOf(prefix)));
}

/** The largest common share of the groups' own limits that holds; nothing taken when measurements are too few. */
async function shareOfLimits(search: Search): Promise<Counts> {
  const groups = [...search.stepsOf];
  const needed = groups.reduce((sum, [, steps]) => sum + Math.ceil(Math.log2(steps.length + 1)), Math.log2(SHARES));
  if (groups.length < 2 || needed > search.left) return new Map();
  const limits = new Map<string, number>();
  for (const [id, steps] of groups) {
    limits.set(id, await bisect(0, steps.length + 1, (count) => search.holds(new Map([[id, count]]))));
  }
  const at = (share: number): Counts =>
    new Map([...limits].map(([id, limit]) => [id, Math.floor((limit * share) / SHARES)]));
  return at(await bisect(0, SHARES + 1, (share) => search.holds(at(share))));
}

/** Lets the groups take turns in losing more; `counts` is changed and stays good throughout. */
async function extend(search: Search, counts: Counts): Promise<void> {
  const rest = (id: string): number => search.stepsOf.get(id)!.length - (counts.get(id) ?? 0);
  const further = (id: string, by: number): Counts => new Map(counts).set(id, (counts.get(id) ?? 0) + by);
  const chunks = new Map([...search.stepsOf.keys()].map((id) => [id, Math.ceil(rest(id) / CHUNK)]));
  while (search.left > 0) {
    let best: { id: string; by: number; cost: number } | undefined;
    for (const [id, chunk] of chunks) {
      const by = Math.min(chunk, rest(id));
      if (by < 1) continue;
      const cost = search.cost(further(id, by));
      if (!best || cost < best.cost) best = { id, by, cost };
    }
    if (!best) return;
    const { id, by } = best;
    if (await search.holds(further(id, by))) counts.set(id, (counts.get(id) ?? 0) + by);
    else chunks.set(id, Math.floor(by / 2));
  }
}

/** The largest number in low … high − 1 that holds as far as bisection can tell; `low` is taken to hold. */
async function bisect(low: number, high: number, holds: (n: number) => Promise<boolean>): Promise<number> {
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (await holds(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** How many of its steps each group has taken; groups that are not named, none. */
type Counts = Map<string, number>;

/** Measurements by cut, where a cut says how many of its steps each group has taken. */
class Search {
  /** Values from here on are good enough. */
  lowest = -Infinity;
  readonly measured: MeasuredPoint[] = [];
  /** Units of each step of a group, in order. */
  readonly stepsOf = new Map<string, number[][]>();
  private readonly values = new Map<string, number>();
  private readonly sizes: Map<string, number>;
  /** Groups whose units cost unlike amounts. */
  private readonly unlike: ReadonlySet<string>;

  constructor(
    private readonly groups: readonly PlannableGroup[],
    private readonly order: RemovalOrder,
    private readonly terms: readonly CostTerm[],
    private readonly measure: Measure,
    private readonly options: MaxDropOptions,
  ) {
    this.sizes = new Map(groups.map((g) => [g.id, g.size]));
    this.unlike = new Set(terms.flatMap((t) => (t.needs ?? []).map((n) => n.id)));
    for (const { group, units } of order.steps) {
      const list = this.stepsOf.get(group);
      if (list) list.push(units);
      else this.stepsOf.set(group, [units]);
    }
  }

  /** Steps per group in the first `prefix` steps of the order. */
  countsOf(prefix: number): Counts {
    const counts = new Map<string, number>();
    for (let s = 0; s < prefix; s++) {
      const { group } = this.order.steps[s];
      counts.set(group, (counts.get(group) ?? 0) + 1);
    }
    return counts;
  }

  /** Measurements that may still be made. */
  get left(): number {
    return this.options.maxMeasurements - this.measured.length;
  }

  /** Cost of a cut, of the kind that is to become small. */
  cost(counts: ReadonlyMap<string, number>): number {
    const kept = new Map<string, number | number[]>(this.sizes);
    for (const [id, steps] of this.stepsOf) {
      const taken = steps.slice(0, counts.get(id) ?? 0);
      if (this.unlike.has(id)) kept.set(id, this.keepOf(id, taken.flat()));
      else kept.set(id, this.sizes.get(id)! - taken.reduce((sum, units) => sum + units.length, 0));
    }
    return predictCost(this.terms, kept)[this.options.objective];
  }

  private keepOf(id: string, units: readonly number[]): number[] {
    const gone = new Set(units);
    return Array.from({ length: this.sizes.get(id)! }, (_, unit) => unit).filter((unit) => !gone.has(unit));
  }

  keep(counts: ReadonlyMap<string, number>): KeepSets {
    return new Map(
      this.groups.map(({ id }) => [
        id,
        this.keepOf(id, (this.stepsOf.get(id) ?? []).slice(0, counts.get(id) ?? 0).flat()),
      ]),
    );
  }

  /** Measures a cut unless it is known; −∞ (not good) once the measurements are used up. */
  async value(counts: ReadonlyMap<string, number>): Promise<number> {
    const key = [...this.stepsOf.keys()].map((id) => counts.get(id) ?? 0).join();
    const known = this.values.get(key);
    if (known !== undefined) return known;
    const { signal, maxMeasurements, onMeasured } = this.options;
    if (this.measured.length >= maxMeasurements) return -Infinity;
    checkSignal(signal, 'The search for a plan was cancelled.');
    const keep = this.keep(counts);
    const value = await this.measure(keep, signal);
    this.values.set(key, value);
    const point = { ...predictCost(this.terms, keep), value };
    this.measured.push(point);
    onMeasured?.(point, this.measured.length);
    return value;
  }

  async holds(counts: ReadonlyMap<string, number>): Promise<boolean> {
    return (await this.value(counts)) >= this.lowest;
  }
}
