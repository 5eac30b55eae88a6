/**
 * Positions of axes, and which of them must go together. Every position of a weight's axis is an atom; ops unite atoms
 * (residual Add, element-wise products, …) or freeze them. A class of united atoms is removed whole or not at all.
 *
 * Where an axis is split into several (features into heads × dimensions), a position of the whole goes when its head
 * goes or its dimension does: its class is a *composite* of other classes, its causes. Classes that are not composite are
 * primitive; only those are removed in their own right.
 */
export type Labels = Int32Array;

/** Atoms that there is room for at first. */
const ROOM = 1 << 16;
/** Entries for each composite class: begin, end, time. */
const SPAN = 4;
/** So many times as much where there is no more; memory that is not used costs nothing. */
const GROWTH = 4;

export class Atoms {
  private size = 0;
  private parent = new Int32Array(ROOM);
  private rank = new Uint8Array(ROOM);
  /** Of a representative the number of its class among `composites`, 0 where it is primitive. */
  private composite = new Int32Array(ROOM);
  /** Of a representative the number of the reason why its class stays among `reasons`, 0 where it may go. */
  private frozen = new Int32Array(ROOM);
  /** Atoms that were created together, or whose classes met, are of one family. */
  private familyOf = new Int32Array(ROOM);
  /** The atoms that composite classes go with, outermost part first. */
  private pool = new Int32Array(ROOM);
  private pooled = 0;
  /** For each composite class where its part of the pool begins, where it ends, and at what time it was true. */
  private spans = new Int32Array(SPAN * ROOM);
  private composites = 0;
  /** Counts the changes that may make causes untrue. */
  private time = 0;
  /** Composite atoms by a hash of their causes; 0 where there is none (atom 0 is no composite). */
  private joined = new Int32Array(2 * ROOM);
  private readonly reasons: string[] = [''];
  private readonly reasonNumbers = new Map<string, number>();
  private readonly familyParent: number[] = [];
  private readonly familySizes: number[] = [];

  /** The parts that axes were split into, those of one axis together. */
  readonly splits: Labels[][] = [];

  get count(): number {
    return this.size;
  }

  /** New, free atoms for an axis of `size` positions. */
  fresh(size: number): Labels {
    const family = this.familyParent.length;
    this.familyParent.push(family);
    this.familySizes.push(size);
    const first = this.add(size, family);
    const labels = new Int32Array(size);
    for (let i = 0; i < size; i++) labels[i] = first + i;
    return labels;
  }

  /** New, free atoms for parts of these sizes that an axis is split into, or repeated along. */
  split(sizes: readonly number[]): Labels[] {
    const parts = sizes.map((size) => this.fresh(size));
    this.splits.push(parts);
    return parts;
  }

  /** Makes `count` atoms and gives the first. */
  private add(count: number, family: number): number {
    const first = this.size;
    this.size += count;
    if (this.size > this.parent.length) {
      const room = Math.max(GROWTH * this.parent.length, this.size);
      this.parent = grown(this.parent, new Int32Array(room));
      this.rank = grown(this.rank, new Uint8Array(room));
      this.composite = grown(this.composite, new Int32Array(room));
      this.frozen = grown(this.frozen, new Int32Array(room));
      this.familyOf = grown(this.familyOf, new Int32Array(room));
    }
    for (let atom = first; atom < this.size; atom++) this.parent[atom] = atom;
    this.familyOf.fill(family, first, this.size);
    return first;
  }

  /** Representative of the class of an atom. */
  find(atom: number): number {
    const { parent } = this;
    let root = parent[atom];
    if (parent[root] === root) return root;
    while (parent[root] !== root) root = parent[root];
    while (parent[atom] !== root) {
      const next = parent[atom];
      parent[atom] = root;
      atom = next;
    }
    return root;
  }

  /** True when the position goes with others rather than in its own right. */
  isComposite(atom: number): boolean {
    return this.composite[this.find(atom)] > 0;
  }

  /**
   * The primitive classes (their representatives) with any of which the position goes, outermost part first. Frozen
   * ones never go and are left out, unless all are.
   */
  causes(atom: number): readonly number[] {
    const causes: number[] = [];
    this.readCauses(atom, causes);
    return causes;
  }

  /** Visits the causes of all positions of an axis, in order. */
  forCauses(labels: Labels, visit: (root: number) => void): void {
    const causes: number[] = [];
    for (const atom of labels) {
      const count = this.readCauses(atom, causes);
      for (let i = 0; i < count; i++) visit(causes[i]);
    }
  }

  /** Writes `causes` to the beginning of a list, and gives their number: for loops over many positions. */
  readCauses(atom: number, into: number[]): number {
    const root = this.find(atom);
    if (!this.composite[root]) {
      into[0] = root;
      return 1;
    }
    const span = this.settle(root);
    const [begin, end] = [this.spans[span], this.spans[span + 1]];
    let count = 0;
    for (let i = begin; i < end; i++) if (!this.frozen[this.pool[i]]) into[count++] = this.pool[i];
    if (count === 0) for (let i = begin; i < end; i++) into[count++] = this.pool[i];
    return count;
  }

  /** The first of a position's causes that has this mark, −1 where none has. */
  causeWith(atom: number, marks: Int32Array, mark: number): number {
    const root = this.find(atom);
    if (!this.composite[root]) return marks[root] === mark ? root : -1;
    const span = this.settle(root);
    const end = this.spans[span + 1];
    let [found, free] = [-1, 0];
    for (let i = this.spans[span]; i < end; i++) {
      const cause = this.pool[i];
      if (!this.frozen[cause]) {
        if (marks[cause] === mark) return cause;
        free++;
      } else if (found < 0 && marks[cause] === mark) found = cause;
    }
    return free ? -1 : found;
  }

  private allCauses(atom: number): readonly number[] {
    const root = this.find(atom);
    if (!this.composite[root]) return [root];
    const span = this.settle(root);
    const end = this.spans[span + 1];
    const causes: number[] = [];
    for (let i = this.spans[span]; i < end; i++) causes.push(this.pool[i]);
    return causes;
  }

  /** Follows what the causes of a composite class have become since, notes it, and gives where its span is. */
  private settle(composite: number): number {
    const span = SPAN * this.composite[composite];
    if (this.spans[span + 2] === this.time) return span;
    this.spans[span + 2] = this.time;
    const [begin, end] = [this.spans[span], this.spans[span + 1]];
    for (let i = begin; i < end; i++) {
      const part = this.pool[i];
      if (this.parent[part] === part && !this.composite[part]) continue;
      const parts = Array.from(this.pool.subarray(begin, end));
      this.note(span, unique(parts.flatMap((p) => this.allCauses(p))));
      break;
    }
    return span;
  }

  /** Sets the causes of a composite class. */
  private note(span: number, causes: readonly number[]): void {
    if (this.pooled + causes.length > this.pool.length)
      this.pool = grown(this.pool, new Int32Array(GROWTH * this.pool.length + causes.length));
    this.spans[span] = this.pooled;
    for (const c of causes) this.pool[this.pooled++] = c;
    this.spans[span + 1] = this.pooled;
    this.spans[span + 2] = this.time;
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
    const causes = unique(atoms.flatMap((a) => this.allCauses(a)));
    return causes.length === 1 ? causes[0] : this.composed(causes);
  }

  /** The same of two. */
  joinTwo(a: number, b: number): number {
    const [x, y] = [this.find(a), this.find(b)];
    if (this.composite[x] || this.composite[y]) return this.join([x, y]);
    return x === y ? x : this.composed([x, y]);
  }

  /** The class of a position that goes with several primitive classes: one for the same causes, whatever their order. */
  private composed(causes: readonly number[]): number {
    let at = this.slot(causes);
    for (; this.joined[at]; at = (at + 1) & (this.joined.length - 1))
      if (this.hasCauses(this.joined[at], causes)) return this.joined[at];
    const atom = this.add(1, this.familyOf[causes[0]]);
    const number = ++this.composites;
    if (SPAN * number === this.spans.length) this.spans = grown(this.spans, new Int32Array(GROWTH * this.spans.length));
    this.composite[atom] = number;
    this.note(SPAN * number, causes);
    this.joined[at] = atom;
    if (2 * number > this.joined.length) this.rehash();
    return atom;
  }

  private slot(causes: ArrayLike<number>): number {
    let hash = 0;
    for (let i = 0; i < causes.length; i++) hash = (hash + Math.imul(causes[i] ^ (causes[i] >>> 15), 0x9e3779b1)) | 0;
    return (hash ^ (hash >>> 15)) & (this.joined.length - 1);
  }

  private hasCauses(composite: number, causes: readonly number[]): boolean {
    const span = SPAN * this.composite[composite];
    const begin = this.spans[span];
    if (this.spans[span + 1] - begin !== causes.length) return false;
    for (let i = 0; i < causes.length; i++) if (!causes.includes(this.pool[begin + i])) return false;
    return true;
  }

  private rehash(): void {
    const atoms = this.joined;
    this.joined = new Int32Array(GROWTH * atoms.length);
    for (const atom of atoms) {
      if (!atom) continue;
      const span = SPAN * this.composite[atom];
      let at = this.slot(this.pool.subarray(this.spans[span], this.spans[span + 1]));
      while (this.joined[at]) at = (at + 1) & (this.joined.length - 1);
      this.joined[at] = atom;
    }
  }

  /**
   * Makes positions of equal index go together. Where they are one class, both axes name it by its representative from now
   * on: fewer atoms are met later.
   */
  uniteAll(a: Labels, b: Labels): void {
    for (let i = 0; i < a.length; i++) {
      this.unite(a[i], b[i]);
      const root = this.find(a[i]);
      if (this.find(b[i]) === root) a[i] = b[i] = root;
    }
  }

  /** Makes two positions go together; a frozen part freezes the whole. */
  unite(a: number, b: number): void {
    const [x, y] = [this.find(a), this.find(b)];
    if (x === y) return;
    if (!this.composite[x] && !this.composite[y]) return this.merge(x, y);
    if (!this.composite[x] && this.adopt(x, y)) return;
    if (!this.composite[y] && this.adopt(y, x)) return;
    // Also those that never go: a head of one side belongs to the head of the other even where a dimension is fixed.
    const [left, right] = [this.allCauses(x), this.allCauses(y)];
    if (left.length === right.length && left.every((c, i) => c === right[i])) return;
    const onlyLeft = left.filter((c) => !right.includes(c));
    const onlyRight = right.filter((c) => !left.includes(c));
    if (onlyLeft.length === 0 || onlyRight.length === 0) {
      // One goes with all that the other goes with, and more: the more must not happen.
      for (const c of [...onlyLeft, ...onlyRight]) this.freezeClass(c, 'is combined with an axis that lacks it');
    } else if (onlyLeft.length === 1) this.substitute(onlyLeft[0], onlyRight);
    else if (onlyRight.length === 1) this.substitute(onlyRight[0], onlyLeft);
    else this.pair(onlyLeft, onlyRight);
  }

  /** A primitive class becomes a composite one; false when it is among its causes. */
  private adopt(primitive: number, composite: number): boolean {
    const causes = this.allCauses(composite);
    if (causes.includes(primitive)) return false;
    if (causes.length === 1) this.merge(primitive, causes[0]);
    else this.follow(primitive, composite, causes);
    return true;
  }

  private follow(primitive: number, composite: number, causes: readonly number[]): void {
    const reason = this.frozen[primitive];
    this.parent[primitive] = composite;
    this.time++;
    if (reason) for (const c of causes) this.freezeNumbered(c, reason);
  }

  /** A primitive class becomes what others make of it. */
  private substitute(primitive: number, by: readonly number[]): void {
    const target = this.join(by);
    const root = this.find(target);
    if (this.composite[root]) this.follow(primitive, root, by);
    else this.merge(primitive, root);
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
    this.time++;
    if (this.rank[x] === this.rank[y]) this.rank[x]++;
    if (!this.frozen[x]) this.frozen[x] = this.frozen[y];
    this.mergeFamilies(x, y);
  }

  private freezeClass(root: number, reason: string): void {
    this.freezeNumbered(root, this.reasonNumber(reason));
  }

  private freezeNumbered(root: number, reason: number): void {
    if (this.composite[root]) this.allCauses(root).forEach((c) => this.freezeNumbered(c, reason));
    else if (!this.frozen[root]) this.frozen[root] = reason;
  }

  private reasonNumber(reason: string): number {
    let number = this.reasonNumbers.get(reason);
    if (number === undefined) {
      number = this.reasons.push(reason) - 1;
      this.reasonNumbers.set(reason, number);
    }
    return number;
  }

  /** Marks the classes of these atoms as not removable; the first reason given stays. */
  freeze(labels: Labels, reason: string): void {
    const number = this.reasonNumber(reason);
    for (const atom of labels) this.freezeNumbered(this.find(atom), number);
  }

  /** Why a primitive class may not be removed, or undefined when it may. */
  frozenReason(atom: number): string | undefined {
    const number = this.frozen[this.find(atom)];
    return number ? this.reasons[number] : undefined;
  }

  /** True when a primitive class may not be removed. */
  isFrozen(atom: number): boolean {
    return this.frozen[this.find(atom)] > 0;
  }

  /** The family of an atom: one number for all that were created together or met. */
  family(atom: number): number {
    const up = this.familyParent;
    let f = this.familyOf[atom];
    while (up[f] !== f) f = up[f] = up[up[f]];
    return f;
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
  }
}

function unique(atoms: readonly number[]): number[] {
  return [...new Set(atoms)];
}

function grown<T extends Int32Array | Uint8Array>(from: T, into: T): T {
  into.set(from);
  return into;
}
