/**
 * Positions of axes, and which of them must go together. Every position of a weight's axis is an atom; ops unite atoms
 * (residual Add, element-wise products, …) or freeze them. A class of united atoms is removed whole or not at all.
 *
 * Where an axis is split into several (features into heads × dimensions), a position of the whole goes when its head
 * goes or its dimension does: its class is a *composite* of other classes, its causes. Classes that are not composite are
 * primitive; only those are removed in their own right.
 */
export type Labels = Int32Array;

/** How a family of atoms came to be: the axis of a weight, or one of the parts that an axis was split into. */
type Origin = 'weight' | 'part';

export class Atoms {
  private readonly parent: number[] = [];
  private readonly rank: number[] = [];
  private readonly frozen = new Map<number, string>();
  /** Root of a composite class → the atoms that it goes with, outermost part first. */
  private readonly composites = new Map<number, readonly number[]>();
  private readonly joined = new Map<string, number>();
  /** Atoms that were created together, or whose classes met, are of one family. */
  private readonly familyOf: number[] = [];
  private readonly familyParent: number[] = [];
  private readonly origins: Origin[] = [];
  private readonly familySizes: number[] = [];

  /** The parts that axes were split into, those of one axis together. */
  readonly splits: Labels[][] = [];

  get count(): number {
    return this.parent.length;
  }

  /** New, free atoms for an axis of `size` positions. */
  fresh(size: number, origin: Origin = 'weight'): Labels {
    const family = this.familyParent.length;
    this.familyParent.push(family);
    this.origins.push(origin);
    this.familySizes.push(size);
    return Int32Array.from({ length: size }, () => this.add(family));
  }

  /** New, free atoms for parts of these sizes that an axis is split into, or repeated along. */
  split(sizes: readonly number[]): Labels[] {
    const parts = sizes.map((size) => this.fresh(size, 'part'));
    this.splits.push(parts);
    return parts;
  }

  private add(family: number): number {
    const atom = this.parent.length;
    this.parent.push(atom);
    this.rank.push(0);
    this.familyOf.push(family);
    return atom;
  }

  /** Representative of the class of an atom. */
  find(atom: number): number {
    let root = atom;
    while (this.parent[root] !== root) root = this.parent[root];
    while (this.parent[atom] !== root) {
      const next = this.parent[atom];
      this.parent[atom] = root;
      atom = next;
    }
    return root;
  }

  /** True when the position goes with others rather than in its own right. */
  isComposite(atom: number): boolean {
    return this.composites.size > 0 && this.composites.has(this.find(atom));
  }

  /**
   * The primitive classes (their representatives) with any of which the position goes, outermost part first. Frozen
   * ones never go and are left out, unless all are.
   */
  causes(atom: number): readonly number[] {
    const root = this.find(atom);
    if (!this.composites.has(root)) return [root];
    const all = this.allCauses(root);
    const free = all.filter((c) => !this.frozen.has(c));
    return free.length ? free : all;
  }

  private allCauses(atom: number): number[] {
    const root = this.find(atom);
    const parts = this.composites.get(root);
    return parts ? [...new Set(parts.flatMap((p) => this.allCauses(p)))] : [root];
  }

  /** True when two positions always go together. */
  same(a: number, b: number): boolean {
    if (this.find(a) === this.find(b)) return true;
    if (!this.isComposite(a) && !this.isComposite(b)) return false;
    const [x, y] = [this.causes(a), this.causes(b)];
    return x.length === y.length && x.every((c) => y.includes(c));
  }

  /** A position that goes when any of these does. */
  join(atoms: readonly number[]): number {
    const causes = [...new Set(atoms.flatMap((a) => this.allCauses(a)))];
    if (causes.length === 1) return causes[0];
    const key = [...causes].sort((a, b) => a - b).join();
    let atom = this.joined.get(key);
    if (atom === undefined) {
      atom = this.add(this.familyOf[causes[0]]);
      this.composites.set(atom, causes);
      this.joined.set(key, atom);
    }
    return atom;
  }

  /** Makes two positions go together; a frozen part freezes the whole. */
  unite(a: number, b: number): void {
    const [x, y] = [this.find(a), this.find(b)];
    if (x === y) return;
    if (!this.composites.has(x) && !this.composites.has(y)) return this.merge(x, y);
    // Also those that never go: a head of one side belongs to the head of the other even where a dimension is fixed.
    const [left, right] = [this.allCauses(x), this.allCauses(y)];
    const onlyLeft = left.filter((c) => !right.includes(c));
    const onlyRight = right.filter((c) => !left.includes(c));
    if (onlyLeft.length === 0 || onlyRight.length === 0) {
      // One goes with all that the other goes with, and more: the more must not happen.
      for (const c of [...onlyLeft, ...onlyRight]) this.freezeClass(c, 'is combined with an axis that lacks it');
    } else if (onlyLeft.length === 1) this.substitute(onlyLeft[0], onlyRight);
    else if (onlyRight.length === 1) this.substitute(onlyRight[0], onlyLeft);
    else this.pair(onlyLeft, onlyRight);
  }

  /** A primitive class becomes what others make of it. */
  private substitute(primitive: number, by: readonly number[]): void {
    const target = this.join(by);
    const root = this.find(target);
    const reason = this.frozen.get(primitive);
    if (!this.composites.has(root)) return this.merge(primitive, root);
    this.frozen.delete(primitive);
    this.parent[primitive] = root;
    if (reason !== undefined) for (const c of by) this.freezeClass(c, reason);
  }

  /** Causes of as many positions belong to each other; what finds no partner must not go. */
  private pair(left: readonly number[], right: readonly number[]): void {
    const open = [...right];
    const rest: number[] = [];
    for (const c of left) {
      const at = open.findIndex((d) => this.familySize(d) === this.familySize(c));
      if (at < 0) rest.push(c);
      else this.unite(c, open.splice(at, 1)[0]);
    }
    if (rest.length === 1 && open.length > 0) this.unite(rest[0], this.join(open));
    else if (open.length === 1 && rest.length > 0) this.unite(open[0], this.join(rest));
    else for (const c of [...rest, ...open]) this.freezeClass(this.find(c), 'is split in different ways that meet');
  }

  private merge(x: number, y: number): void {
    if (this.rank[x] < this.rank[y]) [x, y] = [y, x];
    this.parent[y] = x;
    if (this.rank[x] === this.rank[y]) this.rank[x]++;
    const reason = this.frozen.get(x) ?? this.frozen.get(y);
    this.frozen.delete(y);
    if (reason !== undefined) this.frozen.set(x, reason);
    this.mergeFamilies(x, y);
  }

  private freezeClass(root: number, reason: string): void {
    if (this.composites.has(root)) this.allCauses(root).forEach((c) => this.freezeClass(c, reason));
    else if (!this.frozen.has(root)) this.frozen.set(root, reason);
  }

  /** Marks the classes of these atoms as not removable; the first reason given stays. */
  freeze(labels: Labels, reason: string): void {
    for (const atom of labels) this.freezeClass(this.find(atom), reason);
  }

  /** Why a primitive class may not be removed, or undefined when it may. */
  frozenReason(atom: number): string | undefined {
    return this.frozen.get(this.find(atom));
  }

  /** The family of an atom: one number for all that were created together or met. */
  family(atom: number): number {
    let f = this.familyOf[atom];
    while (this.familyParent[f] !== f) f = this.familyParent[f];
    return f;
  }

  /** True when no weight's axis belongs to the family: it came from splitting or repeating axes only. */
  isPart(family: number): boolean {
    return this.origins[family] === 'part';
  }

  private familySize(atom: number): number {
    return this.familySizes[this.familyOf[atom]];
  }

  /** Counts the units of the families of two atoms as one. */
  mergeFamilies(a: number, b: number): void {
    const [f, g] = [this.family(a), this.family(b)];
    if (f === g) return;
    const [into, from] = f < g ? [f, g] : [g, f];
    this.familyParent[from] = into;
    if (this.origins[from] === 'weight') this.origins[into] = 'weight';
  }
}
