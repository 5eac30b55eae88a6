import { SecateurError } from '../../errors.ts';
import type { CostTerm } from '../../formats.ts';

export interface Cost {
  macs: number;
  parameters: number;
}

/** What each group keeps: which units, or how many. */
export type Kept = ReadonlyMap<string, number | readonly number[]>;

/**
 * Cost of the whole model for what each group keeps: Σ over terms of rate × Π over factors, without the terms of residual
 * blocks that went.
 * @param kept for every group that a term names as a factor; a group of blocks of which some go has to say which units stay
 * @throws SecateurError 'internal' when a group is missing
 */
export function predictCost(terms: readonly CostTerm[], kept: Kept): Cost {
  const cost = { macs: 0, parameters: 0 };
  const count = (id: string): number => countOf(kept, id);
  const sets = new Map<string, ReadonlySet<number>>();
  const stays = (id: string, unit: number): boolean => {
    const units = kept.get(id);
    if (typeof units !== 'object') return true;
    let set = sets.get(id);
    if (!set) sets.set(id, (set = new Set(units)));
    return set.has(unit);
  };
  for (const term of terms) {
    const product = termProduct(term, count, stays);
    cost.macs += term.macs * product;
    cost.parameters += term.parameters * product;
  }
  return cost;
}

/** Cost terms with a state of what is kept, for searches that change one group at a time. */
export class CostModel {
  /** Cost at the present state. */
  readonly cost: Cost;
  private readonly kept: Map<string, number>;
  /** Units that went, of groups whose units cost unlike amounts. */
  private readonly gone = new Map<string, Set<number>>();
  private readonly relatedTo = new Map<string, Set<string>>();
  private readonly termsOf = new Map<string, CostTerm[]>();

  /** @param sizes number of units by group id; the state starts with all kept */
  constructor(terms: readonly CostTerm[], sizes: ReadonlyMap<string, number>) {
    this.kept = new Map(sizes);
    this.cost = predictCost(terms, this.kept);
    for (const term of terms) {
      for (const { id } of term.needs ?? []) if (!this.gone.has(id)) this.gone.set(id, new Set());
      for (const id of namedBy(term)) {
        const list = this.termsOf.get(id);
        if (list) list.push(term);
        else this.termsOf.set(id, [term]);
      }
    }
  }

  count(id: string): number {
    return countOf(this.kept, id);
  }

  /** What is saved when these units of a group go, too; all else as it is. */
  saving(id: string, units: readonly number[]): Cost {
    return this.difference(id, units, true);
  }

  /** What is added when these units of a group come back. */
  adding(id: string, units: readonly number[]): Cost {
    const { macs, parameters } = this.difference(id, units, false);
    return { macs: -macs, parameters: -parameters };
  }

  /** Takes units of a group out. */
  remove(id: string, units: readonly number[]): void {
    this.change(id, units, true);
  }

  /** Brings units of a group back. */
  restore(id: string, units: readonly number[]): void {
    this.change(id, units, false);
  }

  /** Groups whose savings depend on what this one keeps, itself included. */
  related(id: string): ReadonlySet<string> {
    let ids = this.relatedTo.get(id);
    if (!ids) {
      ids = new Set([id]);
      for (const term of this.termsOf.get(id) ?? []) for (const other of namedBy(term)) ids.add(other);
      this.relatedTo.set(id, ids);
    }
    return ids;
  }

  private difference(id: string, units: readonly number[], go: boolean): Cost {
    const saved = { macs: 0, parameters: 0 };
    const count = (g: string): number => countOf(this.kept, g);
    const stays = (g: string, unit: number): boolean => !this.gone.get(g)?.has(unit);
    const changed = countOf(this.kept, id) + (go ? -units.length : units.length);
    const countThen = (g: string): number => (g === id ? changed : count(g));
    const staysThen = (g: string, unit: number): boolean => (g === id && units.includes(unit) ? !go : stays(g, unit));
    for (const term of this.termsOf.get(id) ?? []) {
      const difference = termProduct(term, count, stays) - termProduct(term, countThen, staysThen);
      saved.macs += term.macs * difference;
      saved.parameters += term.parameters * difference;
    }
    return saved;
  }

  private change(id: string, units: readonly number[], go: boolean): void {
    const saved = this.difference(id, units, go);
    this.cost.macs -= saved.macs;
    this.cost.parameters -= saved.parameters;
    this.kept.set(id, countOf(this.kept, id) + (go ? -units.length : units.length));
    const gone = this.gone.get(id);
    if (gone) for (const unit of units) gone[go ? 'add' : 'delete'](unit);
  }
}

function namedBy(term: CostTerm): Set<string> {
  const ids = new Set(term.factors.flatMap((f) => f.groups.map((g) => g.id)));
  for (const { id } of term.needs ?? []) ids.add(id);
  return ids;
}

function termProduct(
  term: CostTerm,
  count: (id: string) => number,
  stays: (id: string, unit: number) => boolean,
): number {
  if (term.needs?.some(({ id, units }) => !units.some((unit) => stays(id, unit)))) return 0;
  let product = 1;
  for (const factor of term.factors) {
    let size = factor.fixed;
    for (const { id, multiplicity } of factor.groups) size += multiplicity * count(id);
    product *= size;
  }
  return product;
}

function countOf(kept: Kept, id: string): number {
  const units = kept.get(id);
  if (units === undefined) throw new SecateurError('internal', `A cost term names group '${id}', which is not there.`);
  return typeof units === 'number' ? units : units.length;
}
