import type { Dim, Node } from '../graph/ir.ts';
import type { Labels } from './atoms.ts';
import { factorDim, mulDims, productOf } from '../graph/shapes/dims.ts';
import { describe, Tiled, type Axis, type Flow, type WideAxis } from './flow.ts';

/**
 * Axes of a reshaped value. Input and output dims are matched into the smallest runs of equal product; within a run,
 * merged axes label each flat position, and the parts that an axis is split into get what depends on them.
 */
export function regroup(
  flow: Flow,
  node: Node,
  axes: readonly WideAxis[],
  before: readonly Dim[],
  after: readonly Dim[],
): WideAxis[] {
  const fixed = `is reshaped by ${describe(node)}`;
  const out: WideAxis[] = after.map(() => fixed);
  for (const run of matchRuns(before, after)) {
    const sources = run.from.filter((i) => typeof axes[i] !== 'string');
    if (run.from.length === 1 && run.to.length === 1) {
      out[run.to[0]] = axes[run.from[0]];
      continue;
    }
    if (sources.length === 0) {
      run.from.forEach((i, k) => run.from.length === run.to.length && (out[run.to[k]] = axes[i]));
      continue;
    }
    const sizes = run.from.map((i) => before[i]);
    const targets = run.to.map((j) => after[j]);
    if (![...sizes, ...targets].every((d) => typeof d === 'number') || run.to.length === 0) {
      const rows = rearrangeRows(
        flow,
        run.from.map((i) => axes[i]),
        sizes,
        targets,
        fixed,
      );
      if (rows) {
        rows.forEach((axis, k) => (out[run.to[k]] = axis));
        continue;
      }
      const first = sources.length === 1 && sources[0] === run.from[0] ? axes[sources[0]] : undefined;
      const outer = first instanceof Int32Array ? outermost(flow, first, targets[0], fixed) : undefined;
      if (outer) out[run.to[0]] = outer;
      else for (const i of sources) flow.freeze(axes[i], `${fixed} together with axes of unknown size`);
      continue;
    }
    // Rows × units have no size that is a number.
    const merged = run.from.map((i) => axes[i] as Axis);
    const found = rearrange(flow, merged, sizes as number[], targets as number[], fixed);
    found.forEach((axis, k) => (out[run.to[k]] = axis));
  }
  return out;
}

/**
 * The outermost target of a run that begins with labels, whatever unknown sizes follow: whole runs of positions (the
 * groups that a GroupNorm splits channels into, for images of any size), or each position several times.
 */
function outermost(flow: Flow, labels: Labels, target: Dim | undefined, fixed: string): Labels | undefined {
  if (typeof target !== 'number' || target < 2) return undefined;
  if (target % labels.length === 0) {
    const each = target / labels.length;
    return Int32Array.from({ length: target }, (_, i) => labels[Math.floor(i / each)]);
  }
  if (labels.length % target !== 0) return undefined;
  const [outer, inner] = placeLabels(flow, labels, [target, labels.length / target], fixed);
  flow.freeze(inner, `${fixed} together with axes of unknown size`);
  return outer instanceof Int32Array ? outer : undefined;
}

/**
 * The same behind rows of unknown number, outermost on both sides: [rows, heads × dimensions] to [rows × heads, dimensions]
 * and back. Undefined when the shapes are not of that kind.
 */
function rearrangeRows(
  flow: Flow,
  axes: readonly WideAxis[],
  sizes: readonly Dim[],
  targets: readonly Dim[],
  fixed: string,
): WideAxis[] | undefined {
  const [from, to] = [rowsOf(sizes), rowsOf(targets)];
  if (!from || !to || from.rest !== to.rest) return undefined;
  const [before, lead] = [axes.slice(0, from.last), axes[from.last]];
  if (lead instanceof Int32Array || !before.every((axis) => typeof axis === 'string')) return undefined;
  if (lead instanceof Tiled && lead.labels.length !== from.coefficient) return undefined;
  const inner = axes.slice(from.last + 1);
  const found = rearrange(
    flow,
    [lead instanceof Tiled ? lead.labels : lead, ...(inner as Axis[])],
    [from.coefficient, ...(sizes.slice(from.last + 1) as number[])],
    [to.coefficient, ...(targets.slice(to.last + 1) as number[])],
    fixed,
  );
  const first = found[0] instanceof Int32Array ? new Tiled(found[0]) : found[0];
  return [...targets.slice(0, to.last).map(() => fixed), first, ...found.slice(1)];
}

/** The dims up to the last that is no number, as coefficient × symbols, the coefficient all in that last one. */
function rowsOf(dims: readonly Dim[]): { last: number; coefficient: number; rest: Dim } | undefined {
  const last = dims.findLastIndex((d) => typeof d !== 'number');
  if (last < 0) return undefined;
  const all = factorDim(productOf(dims.slice(0, last + 1)));
  const own = factorDim(dims[last]);
  return all && own && all.coefficient === own.coefficient ? { last, ...all } : undefined;
}

/** Splits axes into the finest parts that both shapes are made of, and merges these; all at once where there are none. */
function rearrange(
  flow: Flow,
  axes: readonly Axis[],
  sizes: readonly number[],
  targets: readonly number[],
  fixed: string,
): Axis[] {
  const finest = commonParts(sizes, targets);
  if (!finest) return placeLabels(flow, flatLabels(flow, axes, sizes), targets, fixed);
  const parts = takeParts(finest, sizes).flatMap((own, i): Axis[] => {
    const axis = axes[i];
    if (own.length === 1) return [axis];
    return typeof axis === 'string' ? own.map(() => fixed) : placeLabels(flow, axis, own, fixed);
  });
  let at = 0;
  return takeParts(finest, targets).map((own): Axis => {
    const mine = parts.slice(at, (at += own.length));
    if (mine.length === 1) return mine[0];
    if (mine.every((axis) => typeof axis === 'string')) return mine.length ? fixed : 'has one position';
    return flatLabels(flow, mine, own);
  });
}

/** Sizes of which both lists are products of consecutive ones, outermost first; undefined when there are none. */
function commonParts(a: readonly number[], b: readonly number[]): number[] | undefined {
  const ends = (sizes: readonly number[]) => sizes.map((_, i) => product(sizes, i));
  const all = [...new Set([1, ...ends(a), ...ends(b)])].sort((x, y) => x - y);
  const parts = all.slice(1).map((end, i) => end / all[i]);
  return parts.every(Number.isInteger) ? parts.reverse() : undefined;
}

/** The parts that each size is the product of; none for size 1. */
function takeParts(parts: readonly number[], sizes: readonly number[]): number[][] {
  let at = 0;
  return sizes.map((size) => {
    const own: number[] = [];
    for (let n = 1; n < size; n *= own[own.length - 1]) own.push(parts[at++]);
    return own;
  });
}

interface Run {
  from: number[];
  to: number[];
}

/** Splits two shapes at all places where the products to the left, or to the right, agree. */
export function matchRuns(before: readonly Dim[], after: readonly Dim[]): Run[] {
  const [leftA, leftB] = [products(before), products(after)];
  const [rightA, rightB] = [products([...before].reverse()).reverse(), products([...after].reverse()).reverse()];
  const agrees = (i: number, j: number) =>
    (leftA[i] !== undefined && leftA[i] === leftB[j]) || (rightA[i] !== undefined && rightA[i] === rightB[j]);
  const runs: Run[] = [];
  let [i, j] = [0, 0];
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, k) => from + k);
  while (i < before.length || j < after.length) {
    let [nextI, nextJ] = [before.length, after.length];
    // The nearest common boundary, preferring one that takes something from both sides.
    search: for (let total = 2; total <= before.length - i + (after.length - j); total++) {
      for (let a = Math.min(total - 1, before.length - i); a >= 1; a--) {
        const b = total - a;
        if (b >= 1 && j + b <= after.length && agrees(i + a, j + b)) {
          [nextI, nextJ] = [i + a, j + b];
          break search;
        }
      }
    }
    runs.push({ from: range(i, nextI), to: range(j, nextJ) });
    [i, j] = [nextI, nextJ];
  }
  return runs;
}

/** Product of the first k dims for k = 0…n, as text that is equal only when the products are; undefined from an unknown dim on. */
function products(dims: readonly Dim[]): (string | undefined)[] {
  let product: Dim = 1;
  const all: Dim[] = [product, ...dims.map((dim) => (product = mulDims(product, dim)))];
  return all.map((d) => (d === null ? undefined : String(d)));
}

/** One label per position of the merged axes. A position of several tracked axes goes when its place on any of them does. */
function flatLabels(flow: Flow, axes: readonly Axis[], sizes: readonly number[]): Labels {
  const tracked = axes.flatMap((a, i) =>
    a instanceof Int32Array ? [{ labels: a, inner: product(sizes, i + 1) }] : [],
  );
  const flat = new Int32Array(product(sizes, 0));
  if (tracked.length === 2) {
    const [a, b] = tracked;
    for (let p = 0; p < flat.length; p++) flat[p] = flow.atoms.joinTwo(labelAt(a, p), labelAt(b, p));
    return flat;
  }
  for (let p = 0; p < flat.length; p++) {
    const places = tracked.map((axis) => labelAt(axis, p));
    flat[p] = places.length === 1 ? places[0] : flow.atoms.join(places);
  }
  return flat;
}

/** The label along one axis of a flat position. */
function labelAt({ labels, inner }: { labels: Labels; inner: number }, p: number): number {
  return labels[Math.floor(p / inner) % labels.length];
}

/** Product of the sizes from one on. */
function product(sizes: readonly number[], from: number): number {
  return sizes.slice(from).reduce((a, b) => a * b, 1);
}

/** Axes of these sizes for flat labels: those that the labels depend on get them, the others are `fixed`. */
function placeLabels(flow: Flow, flat: Labels, sizes: readonly number[], fixed: string): Axis[] {
  const out: Axis[] = sizes.map((size) => (size === 1 ? 'has one position' : fixed));
  const parts = sizes.flatMap((size, axis) => {
    const inner = product(sizes, axis + 1);
    return size > 1 ? [{ axis, size, place: (p: number) => Math.floor(p / inner) % size }] : [];
  });
  if (parts.length === 0) flow.freeze(flat, 'is alone on its axis');
  else if (parts.length === 1) out[parts[0].axis] = flat;
  else if (!splitFreely(flow, flat, parts, out) && !dealOut(flow, flat, parts, out, fixed))
    coarsen(flow, flat, parts, out);
  return out;
}

/** An axis that flat positions are split into. */
interface Part {
  axis: number;
  size: number;
  /** Index along the part of a flat position. */
  place(p: number): number;
}

/**
 * Where each family's cause at a position, or that there is none, depends on the index along one part alone
 * (heads × dimensions that were merged before, or one axis next to others), that part gets it.
 */
function dealOut(flow: Flow, flat: Labels, parts: readonly Part[], out: Axis[], fixed: string): boolean {
  const { atoms } = flow;
  const families = new Map<number, number[][]>();
  for (let p = 0; p < flat.length; p++) {
    for (const c of atoms.causes(flat[p])) {
      const family = atoms.family(c);
      let all = families.get(family);
      if (!all) families.set(family, (all = Array.from({ length: flat.length }, () => [])));
      all[p].push(c);
    }
  }
  const labels = new Map<Part, number[][]>();
  for (const causes of families.values()) {
    const part = parts.find((candidate) => along(candidate, causes));
    if (!part) return false;
    const own = labels.get(part) ?? Array.from({ length: part.size }, () => []);
    causes.forEach((list, p) => (own[part.place(p)] = [...new Set([...own[part.place(p)], ...list])]));
    labels.set(part, own);
  }
  // What never goes is no cause: a part whose other indices do go stays where there is none.
  const place = (causes: number[]) => (causes.length ? atoms.join(causes) : flow.labels(fixed, 1)[0]);
  for (const [part, own] of labels) out[part.axis] = Int32Array.from(own, place);
  return true;
}

/** True when the causes at a position are those of every other position of the same index along the part. */
function along(part: Part, causes: readonly number[][]): boolean {
  const seen: (string | undefined)[] = Array<undefined>(part.size).fill(undefined);
  return causes.every((list, p) => {
    const key = list.join();
    const place = part.place(p);
    seen[place] ??= key;
    return seen[place] === key;
  });
}

/** Positions that nothing tied so far: each goes with its index along the first part, or along the second, … */
function splitFreely(flow: Flow, flat: Labels, parts: readonly Part[], out: Axis[]): boolean {
  const { atoms } = flow;
  const classes = new Set<number>();
  for (const atom of flat) {
    if (atoms.isComposite(atom) || atoms.isFrozen(atom)) return false;
    classes.add(atoms.find(atom));
  }
  if (classes.size !== flat.length) return false;
  const labels = atoms.split(parts.map((part) => part.size));
  const [a, b] = parts;
  const joined = (p: number) =>
    parts.length === 2
      ? atoms.joinTwo(labels[0][a.place(p)], labels[1][b.place(p)])
      : atoms.join(parts.map((part, i) => labels[i][part.place(p)]));
  flat.forEach((atom, p) => atoms.unite(atom, joined(p)));
  parts.forEach((part, i) => (out[part.axis] = labels[i]));
  return true;
}

/** Otherwise the positions of equal index along the largest part go together, and the other parts stay whole. */
function coarsen(flow: Flow, flat: Labels, parts: readonly Part[], out: Axis[]): void {
  const part = parts.reduce((a, b) => (b.size >= a.size ? b : a));
  const labels = new Int32Array(part.size).fill(-1);
  flat.forEach((atom, p) => {
    const place = part.place(p);
    if (labels[place] === -1) labels[place] = atom;
    else flow.atoms.unite(labels[place], atom);
  });
  out[part.axis] = labels;
}
