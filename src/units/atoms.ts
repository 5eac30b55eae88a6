/**
 * Positions of axes, and which of them must go together. Every position of a weight's axis is an atom; ops unite atoms
 * (residual Add, element-wise products, …) or freeze them. A class of united atoms is removed whole or not at all.
 */
export type Labels = Int32Array;

/** A run of atoms that was created together: the positions of one axis of one weight. */
export interface Dimension {
  first: number;
  size: number;
}

export class Atoms {
  private parent: number[] = [];
  private rank: number[] = [];
  private readonly frozen = new Map<number, string>();
  readonly dimensions: Dimension[] = [];

  get count(): number {
    return this.parent.length;
  }

  /** New, free atoms for an axis of `size` positions. */
  fresh(size: number): Labels {
    const first = this.parent.length;
    const labels = new Int32Array(size);
    for (let i = 0; i < size; i++) {
      labels[i] = first + i;
      this.parent.push(first + i);
      this.rank.push(0);
    }
    this.dimensions.push({ first, size });
    return labels;
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

  /** Puts two atoms into one class; a frozen part freezes the whole. */
  unite(a: number, b: number): void {
    let x = this.find(a);
    let y = this.find(b);
    if (x === y) return;
    if (this.rank[x] < this.rank[y]) [x, y] = [y, x];
    this.parent[y] = x;
    if (this.rank[x] === this.rank[y]) this.rank[x]++;
    const reason = this.frozen.get(x) ?? this.frozen.get(y);
    this.frozen.delete(y);
    if (reason !== undefined) this.frozen.set(x, reason);
  }

  /** Marks the classes of these atoms as not removable; the first reason given stays. */
  freeze(labels: Labels, reason: string): void {
    for (const atom of labels) {
      const root = this.find(atom);
      if (!this.frozen.has(root)) this.frozen.set(root, reason);
    }
  }

  /** Why the class of an atom may not be removed, or undefined when it may. */
  frozenReason(atom: number): string | undefined {
    return this.frozen.get(this.find(atom));
  }
}
