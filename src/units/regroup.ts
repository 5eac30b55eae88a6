import type { Dim, Node } from '../graph/ir.ts';
import type { Labels } from './atoms.ts';
import { describe, type Axis, type Flow } from './flow.ts';

/**
 * Axes of a reshaped value. Input and output dims are matched into the smallest runs of equal product; within a run,
 * merged axes label each flat position, and an axis that is split gives its labels to one of the parts, along which
 * positions of equal index then go together.
 */
export function regroup(
  flow: Flow,
  node: Node,
  axes: readonly Axis[],
  before: readonly Dim[],
  after: readonly Dim[],
): Axis[] {
  const out: Axis[] = after.map(() => `is reshaped by ${describe(node)}`);
  for (const run of matchRuns(before, after)) {
    const sources = run.from.filter((i) => axes[i] instanceof Int32Array);
    if (sources.length === 0) {
      run.from.forEach((i, k) => run.from.length === run.to.length && (out[run.to[k]] = axes[i]));
      continue;
    }
    const sizes = run.from.map((i) => before[i]);
    const targets = run.to.map((j) => after[j]);
    const concrete = [...sizes, ...targets].every((d) => typeof d === 'number');
    if (sources.length === 1 && run.from.length === 1 && run.to.length === 1) {
      out[run.to[0]] = axes[run.from[0]];
    } else if (!concrete || run.to.length === 0) {
      for (const i of sources)
        flow.freeze(axes[i], `is reshaped by ${describe(node)} together with axes of unknown size`);
    } else {
      const flat = flatLabels(
        flow,
        node,
        run.from.map((i) => axes[i]),
        sizes as number[],
      );
      if (flat) placeLabels(flow, flat, targets as number[], run.to, out, before.length - 1 === sources[0]);
    }
  }
  return out;
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
  const result: (string | undefined)[] = ['1'];
  let number = 1;
  const symbols: string[] = [];
  let known = true;
  for (const dim of dims) {
    if (typeof dim === 'number') number *= dim;
    else if (typeof dim === 'string') symbols.push(dim);
    else known = false;
    result.push(known ? [number, ...[...symbols].sort()].join('·') : undefined);
  }
  return result;
}

/** One label per position of the merged axes; two tracked axes in one run cannot be told apart afterwards. */
function flatLabels(flow: Flow, node: Node, axes: Axis[], sizes: number[]): Labels | undefined {
  const tracked = axes.flatMap((a, i) => (a instanceof Int32Array && sizes[i] > 1 ? [i] : []));
  if (tracked.length > 1) {
    tracked.forEach((i) => flow.freeze(axes[i], `is merged with another axis of units by ${describe(node)}`));
    return undefined;
  }
  const at = tracked[0] ?? axes.findIndex((a) => a instanceof Int32Array);
  const labels = axes[at] as Labels;
  const inner = sizes.slice(at + 1).reduce((a, b) => a * b, 1);
  const total = sizes.reduce((a, b) => a * b, 1);
  const flat = new Int32Array(total);
  for (let p = 0; p < total; p++) flat[p] = labels[Math.floor(p / inner) % labels.length];
  return flat;
}

/** Gives flat labels to the output axis that they depend on; where they depend on several, to one of them. */
function placeLabels(flow: Flow, flat: Labels, sizes: number[], to: number[], out: Axis[], last: boolean): void {
  const coordinate = (p: number, axis: number) => {
    const inner = sizes.slice(axis + 1).reduce((a, b) => a * b, 1);
    return Math.floor(p / inner) % sizes[axis];
  };
  const candidates = sizes.flatMap((s, k) => (s > 1 ? [k] : []));
  const alongOnly = (axis: number): Labels | undefined => {
    const labels = new Int32Array(sizes[axis]).fill(-1);
    for (let p = 0; p < flat.length; p++) {
      const c = coordinate(p, axis);
      if (labels[c] === -1) labels[c] = flat[p];
      else if (flow.atoms.find(labels[c]) !== flow.atoms.find(flat[p])) return undefined;
    }
    return labels;
  };
  for (const k of candidates.length ? candidates : [0]) {
    const labels = alongOnly(k);
    if (labels) {
      out[to[k]] = labels;
      return;
    }
  }
  // Features at the end are split into heads × dims: whole heads go. Channels in the middle are split into
  // groups × channels: the same channel of every group goes.
  const k = last ? candidates[0] : candidates[candidates.length - 1];
  const labels = new Int32Array(sizes[k]).fill(-1);
  for (let p = 0; p < flat.length; p++) {
    const c = coordinate(p, k);
    if (labels[c] === -1) labels[c] = flat[p];
    else flow.atoms.unite(labels[c], flat[p]);
  }
  out[to[k]] = labels;
  if (last) flow.headSplits.push(labels);
}
