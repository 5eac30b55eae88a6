import type { Node } from '../../graph/ir.ts';
import { normal, rankOf } from './constants.ts';
import { axesOf, type Rule, type Tracking } from './rule.ts';
import type { Tag } from './tags.ts';

/** Ops whose first input decides, moved to another axis. `move` gives the new place, −1 when it is lost. */
const moved =
  (move: (axis: number, node: Node, t: Tracking) => number): Rule =>
  (node, t) => {
    const tag = t.tag(node.inputs[0]);
    if (tag?.kind !== 'axis' && tag?.kind !== 'hits') return node.outputs.map(() => tag);
    const axis = tag.axis < 0 ? -1 : move(tag.axis, node, t);
    return node.outputs.map(() => ({ ...tag, axis }));
  };

function transposed(axis: number, node: Node): number {
  const perm = node.ints('perm');
  return perm ? perm.indexOf(axis) : (rankOf(node.inputs[0]) ?? 0) - 1 - axis;
}

function unsqueezed(axis: number, node: Node, t: Tracking): number {
  const rank = rankOf(node.outputs[0]);
  const axes = axesOf(node, t)?.map((a) => normal(a, rank));
  if (!axes) return -1;
  let place = axis;
  for (const added of [...axes].sort((a, b) => a - b)) if (added <= place) place++;
  return place;
}

function squeezed(axis: number, node: Node, t: Tracking): number {
  const shape = node.inputs[0]?.type?.shape;
  const axes = axesOf(node, t)?.map((a) => normal(a, shape?.length));
  const gone = axes ?? shape?.flatMap((d, i) => (d === 1 ? [i] : [])) ?? [];
  return gone.includes(axis) ? -1 : axis - gone.filter((a) => a < axis).length;
}

/** Where the experts lie behind a Reshape: as many axes from one end as before, or the only axis of that size. */
function reshaped(node: Node, t: Tracking): (Tag | undefined)[] {
  const tag = t.tag(node.inputs[0]);
  if (tag?.kind !== 'axis') return node.outputs.map(() => tag);
  const from = node.inputs[0]?.type?.shape;
  const to = node.outputs[0]?.type?.shape;
  return node.outputs.map(() => ({ ...tag, axis: from && to ? placeAfter(tag.axis, from, to, t.width) : -1 }));
}

type Dims = readonly (number | string | null)[];

function placeAfter(axis: number, from: Dims, to: Dims, width: number): number {
  const size = axis < 0 ? width : from[axis];
  const fits = to.flatMap((d, i) => (d === size ? [i] : []));
  if (fits.length === 1) return fits[0];
  if (axis < 0) return -1;
  const right = to.length - (from.length - axis);
  const same = (i: number, j: number) => from[i] === to[j] && from[i] !== null;
  if (fits.includes(right) && from.slice(axis).every((_, i) => same(axis + i, right + i))) return right;
  if (fits.includes(axis) && from.slice(0, axis + 1).every((_, i) => same(i, i))) return axis;
  return -1;
}

/** Rules of ops that only move axes. */
export const MOVES: Record<string, Rule> = {
  Transpose: moved(transposed),
  Unsqueeze: moved(unsqueezed),
  Squeeze: moved(squeezed),
  'Reshape Flatten': reshaped,
};
