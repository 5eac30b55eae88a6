import type { CostTerm, GroupInfo } from '../../src/formats.ts';
import type { KeepByGroup } from '../../src/protocol.ts';

export interface Cost {
  macs: number;
  parameters: number;
}

/**
 * Cost of a model as a function of how many units each group keeps: Σ over terms of
 * cost × Π over factors of (fixed + Σ multiplicity × kept), without the terms of residual blocks that went. A change of one
 * group touches only its own terms.
 */
export class CostModel {
  private readonly terms: readonly CostTerm[];
  private readonly byGroup = new Map<string, number[]>();
  /** Place of each unit in the order in which a group keeps them, where terms ask for single units. */
  private readonly places = new Map<string, number[]>();
  private readonly kept = new Map<string, number>();
  private readonly relatedTo = new Map<string, Set<string>>();
  private readonly values: Float64Array;
  /** What the terms do not cover (nodes without an entry), so that the full model has exactly its totals. */
  private readonly rest: Cost;
  private sum: Cost = { macs: 0, parameters: 0 };

  /** @param orders units of a group in the order in which they are kept, best first; by default in that of their indices */
  constructor(
    terms: readonly CostTerm[],
    groups: readonly Pick<GroupInfo, 'id' | 'size'>[],
    totals?: Cost,
    orders: Iterable<readonly [string, readonly number[]]> = [],
  ) {
    this.terms = terms;
    this.values = new Float64Array(terms.length);
    for (const g of groups) this.kept.set(g.id, g.size);
    for (const [id, order] of orders) order.forEach((unit, place) => (this.placesOf(id)[unit] = place));
    terms.forEach((term, i) => {
      for (const id of namedBy(term)) {
        const list = this.byGroup.get(id);
        if (list) list.push(i);
        else this.byGroup.set(id, [i]);
      }
      this.values[i] = this.product(term);
      this.sum.macs += term.macs * this.values[i];
      this.sum.parameters += term.parameters * this.values[i];
    });
    this.rest = totals
      ? { macs: totals.macs - this.sum.macs, parameters: totals.parameters - this.sum.parameters }
      : { macs: 0, parameters: 0 };
  }

  /** Cost with the widths as set now. */
  get cost(): Cost {
    return { macs: this.sum.macs + this.rest.macs, parameters: this.sum.parameters + this.rest.parameters };
  }

  keptOf(id: string): number {
    return this.kept.get(id) ?? 0;
  }

  /** Groups whose savings depend on how many units this one keeps, itself included. */
  related(id: string): ReadonlySet<string> {
    let found = this.relatedTo.get(id);
    if (!found) {
      const terms = (this.byGroup.get(id) ?? []).map((i) => this.terms[i]);
      found = new Set([id, ...terms.flatMap((t) => [...namedBy(t)])]);
      this.relatedTo.set(id, found);
    }
    return found;
  }

  /** Sets how many units a group keeps. */
  set(id: string, kept: number): void {
    this.kept.set(id, kept);
    for (const i of this.byGroup.get(id) ?? []) {
      const value = this.product(this.terms[i]);
      const delta = value - this.values[i];
      this.values[i] = value;
      this.sum.macs += delta * this.terms[i].macs;
      this.sum.parameters += delta * this.terms[i].parameters;
    }
  }

  /** Cost if one group kept so many units and the rest stayed as it is; changes nothing. */
  costWith(id: string, kept: number): Cost {
    const old = this.keptOf(id);
    const { macs, parameters } = this.cost;
    const cost = { macs, parameters };
    this.kept.set(id, kept);
    for (const i of this.byGroup.get(id) ?? []) {
      const delta = this.product(this.terms[i]) - this.values[i];
      cost.macs += delta * this.terms[i].macs;
      cost.parameters += delta * this.terms[i].parameters;
    }
    this.kept.set(id, old);
    return cost;
  }

  private placesOf(id: string): number[] {
    let places = this.places.get(id);
    if (!places) this.places.set(id, (places = []));
    return places;
  }

  private stays(id: string, unit: number): boolean {
    return (this.places.get(id)?.[unit] ?? unit) < (this.kept.get(id) ?? Infinity);
  }

  private product(term: CostTerm): number {
    if (term.needs?.some(({ id, units }) => !units.some((unit) => this.stays(id, unit)))) return 0;
    let value = 1;
    for (const factor of term.factors) {
      let size = factor.fixed;
      for (const g of factor.groups) size += g.multiplicity * (this.kept.get(g.id) ?? 0);
      value *= size;
    }
    return value;
  }
}

function namedBy(term: CostTerm): Set<string> {
  const ids = new Set(term.factors.flatMap((f) => f.groups.map((g) => g.id)));
  for (const { id } of term.needs ?? []) ids.add(id);
  return ids;
}

function keptFirst(keep: readonly number[], size: number): number[] {
  const kept = new Set(keep);
  return [...keep, ...Array.from({ length: size }, (_, unit) => unit).filter((unit) => !kept.has(unit))];
}

/** Cost of the whole model for a keep-set. Groups that are not named keep all their units. */
export function predictCost(
  terms: readonly CostTerm[],
  groups: readonly Pick<GroupInfo, 'id' | 'size'>[],
  keep: KeepByGroup | null,
  totals?: Cost,
): Cost {
  const needed = new Set(terms.flatMap((t) => (t.needs ?? []).map((n) => n.id)));
  const orders = groups
    .filter((g) => needed.has(g.id) && keep?.[g.id])
    .map(({ id, size }): [string, number[]] => [id, keptFirst(keep![id], size)]);
  const model = new CostModel(terms, groups, totals, orders);
  for (const [id, units] of Object.entries(keep ?? {})) model.set(id, units.length);
  return model.cost;
}

/**
 * Bytes of the file after a prune, from the bytes that a parameter takes now (rounded to what element types take).
 * Null when the file does not hold its own weights (external data), so that nothing can be said.
 */
export function predictBytes(fileBytes: number, before: number, after: number): number | null {
  if (before <= 0) return fileBytes;
  const each = fileBytes / before;
  if (each < 0.4) return null;
  const width = [0.5, 1, 2, 4, 8].findLast((w) => w <= each * 1.02) ?? 0.5;
  return Math.max(0, fileBytes - width * (before - after));
}
