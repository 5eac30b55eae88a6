import { FREE, along, mixed, rank, rows, rowsOf } from './rule.ts';
import type { Rule, RuleContext } from './rule.ts';

/** Ops that move, join, cut or repeat entries. */

export const transpose: Rule = (c) => {
  const s = rowsOf(c, 0)!;
  const r = rank(c, 0);
  if (r === undefined) return mixed('unknown rank');
  const perm = c.node.ints(
    'perm',
    Array.from({ length: r }, (_, i) => r - 1 - i),
  );
  return rows(perm.indexOf(s.axis), s.inner);
};

const product = (dims: readonly number[]) => dims.reduce((p, d) => p * d, 1);

/**
 * Row-major order is kept: rows stay together on the output axis that has as many elements in front of it and
 * whose followers divide the elements of a row.
 */
export const reshape: Rule = (c) => {
  const s = c.state(0);
  const inDims = c.dims(c.node.inputs[0]);
  if (s.kind === 'free')
    return c.sizes(1)?.some((e) => e === null || typeof e === 'object')
      ? mixed('a constant takes the batch size')
      : FREE;
  const target = c.sizes(1);
  if (s.kind !== 'rows' || !inDims || !target) return mixed('the target shape is unknown');
  const copies = c.node.int('allowzero', 0) === 0;
  const before = product(inDims.slice(0, s.axis));
  const perRow = s.inner * product(inDims.slice(s.axis + 1));
  const resolved = target.map((e, i) =>
    e === 0 && copies ? (i === s.axis ? { rows: s.inner } : inDims[i]) : e === -1 ? null : e,
  );
  let at = -1;
  let inner = 0;
  for (let i = 0, front = 1; i < resolved.length; i++) {
    const rest = resolved.slice(i + 1);
    const unknown = rest.filter((e) => e === null).length;
    if (front === before && rest.every((e) => e === null || typeof e === 'number') && unknown <= 1) {
      // With an unknown dim behind it, the axis itself must say how many entries a row has.
      const known = product(rest.filter((e): e is number => e !== null));
      const e = resolved[i];
      const wanted =
        unknown === 0
          ? perRow / known
          : e && typeof e === 'object'
            ? e.rows
            : c.fixed && typeof e === 'number' && e % c.batch === 0
              ? e / c.batch
              : NaN;
      const fits = e === null || (typeof e === 'object' ? e.rows === wanted : c.fixed && e === wanted * c.batch);
      if (Number.isInteger(wanted) && wanted > 0 && perRow % (wanted * known) === 0 && fits) {
        at = i;
        inner = wanted;
        break;
      }
    }
    const e = resolved[i];
    if (typeof e !== 'number') break;
    front *= e;
  }
  if (at < 0) return mixed('the reshape does not keep the samples apart');
  if (typeof resolved[at] === 'number') {
    // The fixed batch is written into the shape: leave it open.
    const contents = target.map((e, i) => {
      if (i === at) return -1;
      if (e === null || (e as number) === -1)
        return perRow / (inner * product(resolved.slice(at + 1).filter((d): d is number => typeof d === 'number')));
      return e as number;
    });
    if (contents.some((e) => !Number.isInteger(e))) return mixed('the reshape does not keep the samples apart');
    c.rewrite(1, contents);
  }
  return rows(at, inner);
};

export const flatten: Rule = (c) => {
  const s = rowsOf(c, 0)!;
  const dims = c.dims(c.node.inputs[0]);
  if (!dims) return mixed('unknown rank');
  let axis = c.node.int('axis', 1);
  if (axis < 0) axis += dims.length;
  if (s.axis < axis) {
    return product(dims.slice(0, s.axis)) === 1
      ? rows(0, s.inner * product(dims.slice(s.axis + 1, axis)))
      : mixed('samples are merged into another axis');
  }
  return product(dims.slice(axis, s.axis)) === 1
    ? rows(1, s.inner * product(dims.slice(s.axis + 1)))
    : mixed('samples are merged into another axis');
};

/** Axes of Squeeze, Unsqueeze, Reduce*: an attribute in old opsets, an input in new ones. */
export function axesOf(c: RuleContext): number[] | undefined | null {
  const attribute = c.node.ints('axes');
  if (attribute) return attribute;
  if (!c.node.inputs[1]) return undefined;
  const sizes = c.sizes(1);
  return sizes?.every((e): e is number => typeof e === 'number') ? (sizes as number[]) : null;
}

export const squeeze: Rule = (c) => {
  const s = rowsOf(c, 0)!;
  const dims = c.dims(c.node.inputs[0]);
  const given = axesOf(c);
  if (!dims || given === null) return mixed('axes are unknown');
  const axes = given ? given.map((a) => (a < 0 ? a + dims.length : a)) : dims.flatMap((d, i) => (d === 1 ? [i] : []));
  if (axes.includes(s.axis)) return mixed('it drops the batch axis');
  return rows(s.axis - axes.filter((a) => a < s.axis).length, s.inner);
};

export const unsqueeze: Rule = (c) => {
  const s = rowsOf(c, 0)!;
  const r = rank(c, 0);
  const given = axesOf(c);
  if (r === undefined || !given) return mixed('axes are unknown');
  const axes = given.map((a) => (a < 0 ? a + r + given.length : a)).sort((a, b) => a - b);
  let axis = s.axis;
  for (const a of axes) if (a <= axis) axis++;
  return rows(axis, s.inner);
};

export const concat: Rule = (c) => {
  let found: { axis: number; inner: number } | undefined;
  for (let i = 0; i < c.node.inputs.length; i++) {
    const s = rowsOf(c, i);
    if (!s || (found && (s.axis !== found.axis || s.inner !== found.inner)))
      return mixed('an operand does not hold the samples');
    found = s;
  }
  const r = rank(c, 0);
  if (!found || r === undefined) return mixed('unknown rank');
  let axis = c.node.int('axis', 1);
  if (axis < 0) axis += r;
  return axis === found.axis ? mixed('it joins samples') : rows(found.axis, found.inner);
};

export const slice: Rule = (c) => {
  const s = rowsOf(c, 0)!;
  const dims = c.dims(c.node.inputs[0]);
  if (!dims) return mixed('unknown rank');
  for (let i = 1; i < c.node.inputs.length; i++) {
    if (c.node.inputs[i] && c.state(i).kind === 'mixed') return mixed('bounds depend on the samples');
    if (c.node.inputs[i] && c.state(i).kind === 'rows') return mixed('bounds depend on the samples');
  }
  const numbers = (i: number) => c.sizes(i)?.map((e) => (typeof e === 'number' ? e : NaN));
  const starts = c.node.ints('starts') ?? numbers(1);
  const axes = c.node.ints('axes') ?? (c.node.inputs[3] ? numbers(3) : undefined) ?? starts?.map((_, i) => i);
  if (!axes || axes.some((a) => Number.isNaN(a))) return mixed('axes are unknown');
  const at = axes.map((a) => (a < 0 ? a + dims.length : a)).indexOf(s.axis);
  if (at < 0) return rows(s.axis, s.inner);
  // A slice that takes all of them.
  const end = c.node.ints('ends')?.[at] ?? c.sizes(2)?.[at];
  const step = c.node.inputs[4] ? c.sizes(4)?.[at] : 1;
  const toEnd = typeof end === 'number' ? end >= 2 ** 31 - 1 : end?.rows === s.inner;
  return starts?.[at] === 0 && step === 1 && toEnd ? rows(s.axis, s.inner) : mixed('it picks samples');
};

export const gather: Rule = (c) => {
  const [data, indices] = [rowsOf(c, 0), rowsOf(c, 1)];
  const [rd, ri] = [rank(c, 0), rank(c, 1)];
  if (rd === undefined || ri === undefined) return mixed('unknown rank');
  let axis = c.node.int('axis', 0);
  if (axis < 0) axis += rd;
  if (data && !indices && c.state(1).kind === 'free') {
    if (axis === data.axis) return mixed('it picks samples');
    return rows(data.axis < axis ? data.axis : data.axis + ri - 1, data.inner);
  }
  if (indices && c.state(0).kind === 'free') return rows(axis + indices.axis, indices.inner);
  return mixed('data and indices both depend on the samples');
};

export const gatherElements: Rule = (c) => {
  const [a, b] = [rowsOf(c, 0), rowsOf(c, 1)];
  const r = rank(c, 0);
  let axis = c.node.int('axis', 0);
  if (r !== undefined && axis < 0) axis += r;
  return a && b && a.axis === b.axis && a.inner === b.inner && axis !== a.axis
    ? rows(a.axis, a.inner)
    : mixed('it picks samples');
};

export const pad: Rule = (c) => {
  const s = rowsOf(c, 0);
  const r = rank(c, 0);
  const pads = c.node.ints('pads') ?? c.sizes(1);
  if (!s || r === undefined || !pads || c.node.inputs[3]) return mixed('pads are unknown');
  return pads[s.axis] === 0 && pads[s.axis + r] === 0 ? rows(s.axis, s.inner) : mixed('it pads the samples');
};

export const resize: Rule = (c) => {
  const s = rowsOf(c, 0);
  if (!s) return mixed('sizes depend on the samples');
  const axes = c.node.ints('axes');
  if (axes && !axes.includes(s.axis) && axes.every((a) => a >= 0)) return rows(s.axis, s.inner);
  const [i, o] = [c.dims(c.node.inputs[0]), c.dims(c.node.outputs[0])];
  if (!i || !o || o.length !== i.length || i[s.axis] !== o[s.axis]) return mixed('it may resize the batch axis');
  const sizes = c.node.inputs[3] ? c.sizes(3) : undefined;
  if (!c.node.inputs[3]) return rows(s.axis, s.inner);
  const e = sizes?.[s.axis];
  if (!sizes || axes || e === null || e === undefined) return mixed('it may resize the batch axis');
  if (typeof e === 'object') return e.rows === s.inner ? rows(s.axis, s.inner) : mixed('it resizes the batch axis');
  if (!c.fixed || c.node.string('keep_aspect_ratio_policy', 'stretch') !== 'stretch')
    return mixed('it may resize the batch axis');
  // Sizes cannot leave the batch open; scales can.
  c.rescale(Float32Array.from(i, (d, k) => (k === s.axis ? 1 : scaleFor(d, o[k]))));
  return rows(s.axis, s.inner);
};

/** A scale with which Resize makes `to` of `from` positions, in spite of rounding. */
function scaleFor(from: number, to: number): number {
  const scale = Math.fround(to / from);
  return Math.floor(Math.fround(from * scale)) === to ? scale : Math.fround(scale * (1 + 2 ** -22));
}

export const expand: Rule = (c) => {
  const s = c.state(0);
  const dims = c.dims(c.node.inputs[0]);
  const target = c.sizes(1);
  if (!dims || !target) return mixed('the target shape is unknown');
  const outRank = Math.max(dims.length, target.length);
  const at = target.findIndex((e) => e !== null && typeof e === 'object');
  if (s.kind === 'free') {
    if (target.includes(null)) return mixed('the target shape is unknown');
    return at < 0 ? FREE : rows(outRank - target.length + at, (target[at] as { rows: number }).rows);
  }
  if (s.kind !== 'rows') return mixed('the operand is not understood');
  const axis = outRank - dims.length + s.axis;
  const t = axis - (outRank - target.length);
  if (at >= 0 && at !== t) return mixed('the batch size appears on another axis');
  if (t >= 0) {
    const e = target[t];
    if (typeof e === 'number' && e !== 1) {
      if (!c.fixed || e !== s.inner * c.batch || target.some((d) => typeof d !== 'number'))
        return mixed('it repeats samples');
      c.rewrite(
        1,
        target.map((d, i) => (i === t ? 1 : (d as number))),
      );
    } else if (e !== null && typeof e === 'object' && e.rows !== s.inner) return mixed('it repeats samples');
    else if (e === null) return mixed('the target shape is unknown');
  }
  return rows(axis, s.inner);
};

export const constantOfShape: Rule = (c) => {
  const target = c.sizes(0);
  if (!target || target.includes(null)) return mixed('the shape is unknown');
  const at = target.findIndex((e) => typeof e === 'object');
  return at < 0 ? FREE : rows(at, (target[at] as { rows: number }).rows);
};

export const tile: Rule = (c) => {
  const s = rowsOf(c, 0);
  const repeats = c.sizes(1);
  return s && repeats?.[s.axis] === 1 ? rows(s.axis, s.inner) : mixed('it repeats samples');
};

/** Data, indices and updates hold the same samples, and positions are taken along another axis. */
export const scatterElements: Rule = (c) => {
  const r = rank(c, 0);
  let axis = c.node.int('axis', 0);
  if (r !== undefined && axis < 0) axis += r;
  const [data, indices, updates] = [0, 1, 2].map((i) => rowsOf(c, i));
  const same = [data, indices, updates].every((s) => s && s.axis === data!.axis && s.inner === data!.inner);
  return r !== undefined && same && axis !== data!.axis
    ? rows(data!.axis, data!.inner)
    : mixed('it may write across samples');
};

export const split: Rule = (c) => along(0)(c);
