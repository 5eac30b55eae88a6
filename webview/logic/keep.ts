import type { Allocation, CostTerm, GroupInfo, GroupRanks, TargetKind, UnitKind } from '../../src/formats.ts';
import type { KeepByGroup } from '../../src/protocol.ts';
import { CostModel, type Cost } from './cost.ts';

/** A group with its units in the order in which they go: what a cut line moves along. */
export interface CutGroup {
  id: string;
  size: number;
  /** Unit indices, the best first. A cut keeps a prefix. */
  order: number[];
  /** Scores in that order, for drawing. */
  scores: number[];
  /** What each unit counts in plans, in that order: its score, or just below the lowest for a unit without effect. */
  worth: number[];
  /** Lengths of the prefix that a cut may keep, ascending; the last is `size`. Blocks and rounding thin them out. */
  stops: number[];
}

/**
 * Units best first; those that changed nothing in any coalition come last, as a score below 0 may be noise. With blocks
 * a cut keeps equally many of each block: the t-th best of all blocks stand together. With parts the best unit of each
 * stands in front, and every cut keeps it.
 */
export function cutGroup(
  group: Pick<GroupInfo, 'id' | 'size'> & { blocks?: number[][]; parts?: number[][] },
  ranks: Pick<GroupRanks, 'units'> | undefined,
  roundTo: number,
): CutGroup {
  const score = new Float64Array(group.size);
  for (const u of ranks?.units ?? []) if (u.index < group.size) score[u.index] = Number.isFinite(u.score) ? u.score : 0;
  const worth = score.slice();
  const lowest = score.reduce((a, b) => Math.min(a, b), 0);
  for (const u of ranks?.units ?? []) {
    if (u.index < group.size && u.score === 0 && u.stderr === 0) worth[u.index] = lowest * (1 + 1e-9);
  }
  const stays = bestOfParts(group.parts ?? [], worth);
  const early = (unit: number): number => (stays.has(unit) ? 0 : 1);
  const best = (a: number, b: number): number => early(a) - early(b) || worth[b] - worth[a] || a - b;
  const blocks = group.blocks?.length ? group.blocks.map((b) => [...b].sort(best)) : null;
  const each = blocks ? blocks.length : 1;
  let order: number[];
  if (blocks) {
    order = [];
    const deepest = Math.max(...blocks.map((b) => b.length));
    for (let t = 0; t < deepest; t++) for (const b of blocks) if (t < b.length) order.push(b[t]);
  } else {
    order = Array.from({ length: group.size }, (_, i) => i).sort(best);
  }
  const smallest = blocks ? Math.min(...blocks.map((b) => b.length)) : group.size;
  const least = Math.max(1, ...(blocks ?? [order]).map((units) => units.filter((unit) => stays.has(unit)).length));
  const stops: number[] = [];
  for (let t = least; t <= smallest && t * each < group.size; t++) {
    if (roundTo <= 1 || (t * each) % roundTo === 0) stops.push(t * each);
  }
  stops.push(group.size);
  return {
    id: group.id,
    size: group.size,
    order,
    scores: order.map((i) => score[i]),
    worth: order.map((i) => worth[i]),
    stops,
  };
}

/** A unit of each part that goes last: its best one, unless another part has one that is in both. */
function bestOfParts(parts: readonly (readonly number[])[], worth: ArrayLike<number>): Set<number> {
  const stays = new Set<number>();
  for (const part of parts) {
    if (part.some((unit) => stays.has(unit))) continue;
    stays.add(part.reduce((best, unit) => (worth[unit] > worth[best] ? unit : best)));
  }
  return stays;
}

/** Nearest allowed number of kept units. */
export function snap(group: CutGroup, kept: number): number {
  const { stops } = group;
  let low = 0;
  let high = stops.length - 1;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (stops[mid] < kept) low = mid + 1;
    else high = mid;
  }
  return low > 0 && kept - stops[low - 1] < stops[low] - kept ? stops[low - 1] : stops[low];
}

/** The allowed number of kept units `by` steps away. */
export function neighbour(group: CutGroup, kept: number, by: number): number {
  const at = group.stops.indexOf(snap(group, kept));
  return group.stops[Math.max(0, Math.min(group.stops.length - 1, at + by))];
}

/** Sorted indices of the best `kept` units. */
export function keepOf(group: CutGroup, kept: number): number[] {
  return group.order.slice(0, kept).sort((a, b) => a - b);
}

export interface SweepOptions {
  cost: 'macs' | 'parameters' | 'units';
  allocation: Allocation;
  /** Ids that keep all their units. */
  frozen: ReadonlySet<string>;
  /** Share of each group that always stays, 0..1. */
  minKeep: number;
  /** Scores are in one unit for all groups (Shapley, leave-one-out); else each group as a whole counts as 1. */
  comparable: boolean;
}

/** A step down of one group and what it is worth. */
interface Step {
  group: number;
  /** Kept units before and after. */
  from: number;
  kept: number;
  score: number;
}

/**
 * One order in which the units of all groups go, from nothing removed to every floor reached, with the model's cost
 * after each step: a slider is a search in it. The same rules as the engine's planner (src/pruning/plan): global
 * allocation lets go first what scores least per cost that it saves at the present widths, uniform what leaves the
 * largest share of its group.
 */
export class Sweep {
  readonly groups: readonly CutGroup[];
  private readonly steps: Step[] = [];
  private readonly options: SweepOptions;
  private readonly cost: CostModel;
  /** Keep-sets given out last: while the slider moves most groups stay as they are. */
  private readonly lastKeep = new Map<string, number[]>();
  /** Cost after so many steps; [0] is the full model. */
  private readonly curves: Record<'macs' | 'parameters' | 'units', Float64Array>;

  /** @param all every group of the model, with its size: what the cost terms may name */
  constructor(
    groups: readonly CutGroup[],
    terms: readonly CostTerm[],
    all: readonly (Pick<GroupInfo, 'id' | 'size' | 'prunable'> & { kind?: UnitKind })[],
    totals: Cost | undefined,
    options: SweepOptions,
  ) {
    this.groups = groups;
    this.options = options;
    const orders = groups.map(({ id, order }) => [id, order] as const);
    this.cost = new CostModel(terms, all, totals, orders);
    const macs = [this.cost.cost.macs];
    const parameters = [this.cost.cost.parameters];
    // Blocks count where they take part.
    const takes = (g: (typeof all)[number]): boolean =>
      g.prunable && (g.kind !== 'block' || groups.some(({ id }) => id === g.id));
    const units = [all.reduce((sum, g) => sum + (takes(g) ? g.size : 0), 0)];
    const open = groups.map((g, number) => this.ladder(g, number)).filter((l) => l.length > 0);
    const next = new Int32Array(open.length);
    const priority = open.map((l) => this.priority(l[0]));
    const at = new Map(open.map((l, i) => [groups[l[0].group].id, i]));
    for (;;) {
      let best = -1;
      for (let i = 0; i < open.length; i++) {
        if (next[i] < open[i].length && (best < 0 || priority[i] < priority[best])) best = i;
      }
      if (best < 0) break;
      const step = open[best][next[best]++];
      const { id } = groups[step.group];
      this.cost.set(id, step.kept);
      this.steps.push(step);
      macs.push(this.cost.cost.macs);
      parameters.push(this.cost.cost.parameters);
      units.push(units[units.length - 1] - (step.from - step.kept));
      for (const other of this.cost.related(id)) {
        const i = at.get(other);
        if (i !== undefined && next[i] < open[i].length) priority[i] = this.priority(open[i][next[i]]);
      }
    }
    this.curves = {
      macs: Float64Array.from(macs),
      parameters: Float64Array.from(parameters),
      units: Float64Array.from(units),
    };
    for (const g of groups) this.cost.set(g.id, g.size);
  }

  get length(): number {
    return this.steps.length;
  }

  /** Smallest share of the cost that the floors allow. */
  smallest(kind: TargetKind): number {
    const c = this.curve(kind);
    return c[0] > 0 ? c[c.length - 1] / c[0] : 1;
  }

  /** Fewest steps after which at most `share` of the cost is left; all of them when the floors forbid more. */
  stepFor(kind: TargetKind, share: number): number {
    const c = this.curve(kind);
    const goal = share * c[0] * (1 + 1e-12) + 1e-9;
    const found = c.findIndex((value) => value <= goal);
    return found < 0 ? this.length : found;
  }

  /**
   * Kept units per group at a share of the cost: the shortest prefix of the order that reaches it; with global
   * allocation steps of it are then taken back, the most valuable first, while the target still holds.
   */
  countsFor(kind: TargetKind, share: number): Map<string, number> {
    const counts = new Map(this.groups.map((g) => [g.id, g.size]));
    const upTo = this.stepFor(kind, share);
    const taken = new Map<number, Step[]>();
    for (const step of this.steps.slice(0, upTo)) {
      counts.set(this.groups[step.group].id, step.kept);
      const list = taken.get(step.group);
      if (list) list.push(step);
      else taken.set(step.group, [step]);
    }
    const curve = this.curve(kind);
    const goal = share * curve[0] * (1 + 1e-12) + 1e-9;
    if (this.options.allocation === 'uniform' || curve[upTo] > goal) return counts;
    for (const [id, kept] of counts) this.cost.set(id, kept);
    let spare = goal - curve[upTo];
    for (;;) {
      let best: { steps: Step[]; added: number; priority: number } | null = null;
      for (const steps of taken.values()) {
        const step = steps[steps.length - 1];
        if (!step || step.score <= 0) continue;
        const added = kind === 'keep-units' ? step.from - step.kept : this.added(step, kind);
        const priority = added > 0 ? step.score / added : Infinity;
        if (added <= spare && (!best || priority > best.priority)) best = { steps, added, priority };
      }
      if (!best) break;
      const step = best.steps.pop()!;
      const { id } = this.groups[step.group];
      counts.set(id, step.from);
      this.cost.set(id, step.from);
      spare -= best.added;
    }
    for (const g of this.groups) this.cost.set(g.id, g.size);
    return counts;
  }

  keepFor(kind: TargetKind, share: number): KeepByGroup {
    const counts = this.countsFor(kind, share);
    return Object.fromEntries(
      this.groups.map((g) => {
        const kept = counts.get(g.id) ?? g.size;
        const last = this.lastKeep.get(g.id);
        if (last?.length === kept) return [g.id, last];
        const keep = keepOf(g, kept);
        this.lastKeep.set(g.id, keep);
        return [g.id, keep];
      }),
    );
  }

  private ladder(g: CutGroup, number: number): Step[] {
    const steps: Step[] = [];
    if (this.options.frozen.has(g.id)) return steps;
    const total = g.worth.reduce((sum, s) => sum + Math.abs(s), 0);
    const scale = this.options.comparable || !(total > 0) ? 1 : 1 / total;
    const floor = Math.max(1, this.options.minKeep * g.size - 1e-9);
    let from = g.size;
    for (let s = g.stops.length - 2; s >= 0 && g.stops[s] >= floor; s--) {
      const kept = g.stops[s];
      let score = 0;
      for (let i = kept; i < from; i++) score += g.worth[i];
      steps.push({ group: number, from, kept, score: score * scale });
      from = kept;
    }
    return steps;
  }

  private priority(step: Step): number {
    const g = this.groups[step.group];
    if (this.options.allocation === 'uniform') return -step.kept / g.size;
    const { cost } = this.options;
    const saved =
      cost === 'units' ? step.from - step.kept : this.cost.cost[cost] - this.cost.costWith(g.id, step.kept)[cost];
    return saved > 0 ? step.score / saved : Infinity;
  }

  /** Cost that taking a step back adds at the present widths. */
  private added(step: Step, kind: TargetKind): number {
    const cost = kind === 'keep-params' ? 'parameters' : 'macs';
    return this.cost.costWith(this.groups[step.group].id, step.from)[cost] - this.cost.cost[cost];
  }

  private curve(kind: TargetKind): Float64Array {
    return this.curves[kind === 'keep-params' ? 'parameters' : kind === 'keep-units' ? 'units' : 'macs'];
  }
}

/** A name for a keep-set: equal sets, equal names. FNV-1a over groups and units. */
export function keepSignature(keep: KeepByGroup): string {
  let hash = 0x811c9dc5;
  const mix = (value: number): void => {
    hash = Math.imul(hash ^ (value & 0xff), 0x01000193);
    hash = Math.imul(hash ^ (value >>> 8), 0x01000193);
  };
  let units = 0;
  for (const id of Object.keys(keep).sort()) {
    for (let i = 0; i < id.length; i++) mix(id.charCodeAt(i));
    for (const unit of keep[id]) mix(unit + 1);
    units += keep[id].length;
  }
  return `${units}-${(hash >>> 0).toString(36)}`;
}
