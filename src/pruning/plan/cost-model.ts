import { SecateurError } from '../../errors.ts';
import type { CostTerm } from '../../formats.ts';

export interface Cost {
  macs: number;
  parameters: number;
}

/**
 * Cost of the whole model when each group keeps so many units: Σ over terms of rate × Π over factors.
 * @param kept number of kept units by group id, for every group that a term names
 * @throws SecateurError 'internal' when a group is missing
 */
export function predictCost(terms: readonly CostTerm[], kept: ReadonlyMap<string, number>): Cost {
  const cost = { macs: 0, parameters: 0 };
  for (const term of terms) {
    const product = termProduct(term, (id) => countOf(kept, id));
    cost.macs += term.macs * product;
    cost.parameters += term.parameters * product;
  }
  return cost;
}

/** Cost terms with a state of kept counts, for searches that change one group at a time. */
export class CostModel {
  /** Cost at the present counts. */
  readonly cost: Cost;
  private readonly kept: Map<string, number>;
  private readonly relatedTo = new Map<string, Set<string>>();
  private readonly termsOf = new Map<string, CostTerm[]>();

  /** @param sizes number of units by group id; the state starts with all kept */
  constructor(terms: readonly CostTerm[], sizes: ReadonlyMap<string, number>) {
    this.kept = new Map(sizes);
    this.cost = predictCost(terms, this.kept);
    for (const term of terms) {
      for (const id of new Set(term.factors.flatMap((f) => f.groups.map((g) => g.id)))) {
        const list = this.termsOf.get(id);
        if (list) list.push(term);
        else this.termsOf.set(id, [term]);
      }
    }
  }

  count(id: string): number {
    return countOf(this.kept, id);
  }

  /** What is saved by going from the present count of a group to another, all other groups as they are. */
  saving(id: string, count: number): Cost {
    const saved = { macs: 0, parameters: 0 };
    for (const term of this.termsOf.get(id) ?? []) {
      const now = termProduct(term, (g) => countOf(this.kept, g));
      const then = termProduct(term, (g) => (g === id ? count : countOf(this.kept, g)));
      saved.macs += term.macs * (now - then);
      saved.parameters += term.parameters * (now - then);
    }
    return saved;
  }

  /** Changes the count of a group. */
  set(id: string, count: number): void {
    const saved = this.saving(id, count);
    this.cost.macs -= saved.macs;
    this.cost.parameters -= saved.parameters;
    this.kept.set(id, count);
  }

  /** Groups whose savings depend on the count of this one, itself included. */
  related(id: string): ReadonlySet<string> {
    let ids = this.relatedTo.get(id);
    if (!ids) {
      ids = new Set([id]);
      for (const term of this.termsOf.get(id) ?? [])
        for (const factor of term.factors) for (const g of factor.groups) ids.add(g.id);
      this.relatedTo.set(id, ids);
    }
    return ids;
  }
}

function termProduct(term: CostTerm, count: (id: string) => number): number {
  let product = 1;
  for (const factor of term.factors) {
    let size = factor.fixed;
    for (const { id, multiplicity } of factor.groups) size += multiplicity * count(id);
    product *= size;
  }
  return product;
}

function countOf(kept: ReadonlyMap<string, number>, id: string): number {
  const count = kept.get(id);
  if (count === undefined) throw new SecateurError('internal', `A cost term names group '${id}', which is not there.`);
  return count;
}
