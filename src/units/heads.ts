import type { Node } from '../graph/ir.ts';
import type { Labels } from './atoms.ts';
import { Tiled, type Axis, type Flow, type Kept, type WideAxis } from './flow.ts';
import { regroup } from './regroup.ts';

/** The heads of an operand of a fused attention, and the dimensions of each. */
export interface Heads {
  heads: Axis;
  dims: Axis;
  count: number;
  size: number;
}

/** Features as heads × dimensions, exactly as a Reshape would split them. */
export function splitHeads(flow: Flow, node: Node, features: Axis, count: number, size: number): Heads {
  if (typeof features === 'string') return { heads: features, dims: features, count, size };
  const [heads, dims] = regroup(flow, node, [features], [count * size], [count, size]).map(narrow);
  return { heads, dims, count, size };
}

/** Heads × dimensions as features, exactly as a Reshape would merge them. */
export function mergeHeads(flow: Flow, node: Node, { heads, dims, count, size }: Heads): Axis {
  if (typeof heads === 'string' && typeof dims === 'string') return heads;
  return regroup(flow, node, [heads, dims], [count, size], [count * size]).map(narrow)[0];
}

/** Sizes are known here: there are no rows of unknown number among them. */
function narrow(axis: WideAxis): Axis {
  return axis instanceof Tiled ? 'is merged with rows of unknown number' : axis;
}

/**
 * Ties the heads of queries to those of keys. Where several query heads share one, a query head goes when its key head
 * goes or its index within each group does: every group keeps equally many.
 * @returns false when the heads do not make groups of equal size
 */
export function shareHeads(flow: Flow, q: Heads, kv: Heads): boolean {
  if (q.count === kv.count) {
    flow.unite(q.heads, kv.heads);
    return true;
  }
  const each = q.count / kv.count;
  if (!Number.isInteger(each)) return false;
  const [index] = flow.atoms.split([each]);
  const { heads } = kv;
  const labels = Int32Array.from({ length: q.count }, (_, i) => {
    const mine = index[i % each];
    return heads instanceof Int32Array ? flow.atoms.join([heads[Math.floor(i / each)], mine]) : mine;
  });
  flow.unite(q.heads, labels);
  return true;
}

/** Ties dimensions that a rotation turns into each other; gives the axis of the angles, one for each pair. */
export function tieRotated(flow: Flow, dims: Axis, rotated: number, interleaved: boolean): Axis {
  if (typeof dims === 'string') return dims;
  const half = rotated / 2;
  return Int32Array.from({ length: half }, (_, k) => {
    const [a, b] = interleaved ? [2 * k, 2 * k + 1] : [k, k + half];
    flow.atoms.unite(dims[a], dims[b]);
    return dims[a];
  });
}

/** Ties neighbours so that dimensions go in runs of `run`; positions that make no whole run stay. */
export function tieRuns(flow: Flow, labels: Labels, run: number, reason: string): void {
  const whole = labels.length - (labels.length % run);
  for (let p = 0; p < whole; p++) flow.atoms.unite(labels[p - (p % run)], labels[p]);
  flow.freeze(labels.subarray(whole), reason);
}

/** How many positions of an axis of this size stay. */
export function remaining(axis: Axis, size: number, kept: Kept): number {
  return axis instanceof Int32Array ? kept.count(axis) : size;
}
