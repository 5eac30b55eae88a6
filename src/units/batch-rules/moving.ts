import { FREE, along, mixed, rank, rows, rowsOf, settled } from './rule.ts';
import type { BatchState, Rule, RuleContext, SizeEntry } from './rule.ts';

/** Ops that move, join, cut or repeat entries. */

export const transpose: Rule = (c) => {
  const s = rowsOf(c, 0);
  const r = rank(c, 0);
  if (!s || r === undefined) return mixed('unknown rank');
  const perm = c.node.ints(
    'perm',
    Array.from({ length: r }, (_, i) => r - 1 - i),
  );
  return rows(perm.indexOf(s.axis), s.inner);
};

const product = (dims: readonly number[]) => dims.reduce((p, d) => p * d, 1);

/** The only entry that counts rows, or -1; undefined where there are several or where others may depend on them. */
function countsRows(target: SizeEntry[], free: boolean): number | undefined {
  if (!free && target.includes(null)) return undefined;
  const found = target.flatMap((e, i) => (e !== null && typeof e === 'object' ? [i] : []));
  return found.length > 1 ? undefined : (found[0] ?? -1);
}

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
  if (s.kind !== 'rows' || !inDims || !target || countsRows(target, c.state(1).kind === 'free') === undefined)
    return mixed('the target shape is unknown');
  const copies = c.node.int('allowzero', 0) === 0;
  const before = product(inDims.slice(0, s.axis));
  const perRow = s.inner * product(inDims.slice(s.axis + 1));
  const resolved = target.map((e, i) =>
    e === 0 && copies ? (i === s.axis ? { rows: s.inner } : (inDims[i] ?? null)) : e === -1 ? null : e,
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
  if (at < 0) return intoLayers(resolved, before, perRow);
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

/** An axis that takes what lies in front of the samples, too. */
function intoLayers(target: readonly SizeEntry[], before: number, perRow: number): BatchState {
  const apart = mixed('the reshape does not keep the samples apart');
  const at = target.findIndex((e) => typeof e !== 'number');
  const others = target.filter((_, i) => i !== at);
  if (at < 0 || !others.every((e): e is number => typeof e === 'number' && e > 0)) return apart;
  const [outer, inner] = [before / product(others.slice(0, at)), perRow / product(others.slice(at))];
  const e = target[at];
  const fits = e === null || (e as { rows: number }).rows === outer * inner;
  if (!fits || !Number.isInteger(outer) || !Number.isInteger(inner) || inner < 1) return apart;
  return outer === 1 ? rows(at, inner) : { kind: 'layers', axis: at, outer, inner };
}

/** Layers of samples are parted again: the axis with the rows stands behind as many as there are layers. */
export const reshapeLayers: Rule = (c) => {
  const s = c.state(0);
  const inDims = c.dims(c.node.inputs[0]);
  const target = c.sizes(1);
  if (s.kind !== 'layers' || !inDims || !target || countsRows(target, c.state(1).kind === 'free') === undefined)
    return mixed('the target shape is unknown');
  const copies = c.node.int('allowzero', 0) === 0;
  const resolved = target.map((e, i): SizeEntry => {
    if (e !== 0 || !copies) return e === -1 ? null : e;
    return i === s.axis ? { rows: s.outer * s.inner } : (inDims[i] ?? null);
  });
  const before = s.outer * product(inDims.slice(0, s.axis));
  return intoLayers(resolved, before, s.inner * product(inDims.slice(s.axis + 1)));
};

export const flatten: Rule = (c) => {
  const s = rowsOf(c, 0);
  const dims = c.dims(c.node.inputs[0]);
  if (!s || !dims) return mixed('unknown rank');
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
  const s = rowsOf(c, 0);
  const dims = c.dims(c.node.inputs[0]);
  const given = axesOf(c);
  if (!s || !dims || given === null) return mixed('axes are unknown');
  const axes = given ? given.map((a) => (a < 0 ? a + dims.length : a)) : dims.flatMap((d, i) => (d === 1 ? [i] : []));
  if (axes.includes(s.axis)) return mixed('it drops the batch axis');
  return rows(s.axis - axes.filter((a) => a < s.axis).length, s.inner);
};

export const unsqueeze: Rule = (c) => {
  const s = rowsOf(c, 0);
  const r = rank(c, 0);
  const given = axesOf(c);
  if (!s || r === undefined || !given) return mixed('axes are unknown');
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
  const s = rowsOf(c, 0);
  const dims = c.dims(c.node.inputs[0]);
  if (!s || !dims) return mixed('unknown rank');
  const numbers = (i: number) => c.sizes(i)?.map((e) => (typeof e === 'number' ? e : NaN));
  const starts = c.node.ints('starts') ?? numbers(1);
  const axes = c.node.ints('axes') ?? (c.node.inputs[3] ? numbers(3) : undefined) ?? starts?.map((_, i) => i);
  if (!axes || axes.some((a) => Number.isNaN(a))) return mixed('axes are unknown');
  const at = axes.map((a) => (a < 0 ? a + dims.length : a)).indexOf(s.axis);
  for (let i = 1; i < c.node.inputs.length; i++)
    if (!settled(c, i, (entry) => entry !== at)) return mixed('bounds depend on the samples');
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
  if (!s || r === undefined || !pads || !settled(c, 1) || !settled(c, 2) || c.node.inputs[3])
    return mixed('pads are unknown');
  return pads[s.axis] === 0 && pads[s.axis + r] === 0 ? rows(s.axis, s.inner) : mixed('it pads the samples');
};

export const resize: Rule = (c) => {
  const s = rowsOf(c, 0);
  if (!s || ![1, 2].every((i) => settled(c, i)) || !settled(c, 3, (i) => i !== (c.node.ints('axes') ? -1 : s.axis)))
    return mixed('sizes depend on the samples');
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
  const at = countsRows(target, c.state(1).kind === 'free');
  if (at === undefined) return mixed('the target shape is unknown');
  if (s.kind === 'free') {
    if (target.includes(null)) return mixed('the target shape is unknown');
    if (at < 0) return FREE;
    const axis = outRank - target.length + at;
    const own = dims[axis - (outRank - dims.length)] ?? 1;
    return own === 1
      ? rows(axis, (target[at] as { rows: number }).rows)
      : mixed('a constant operand differs along the samples');
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
  const at = target ? countsRows(target, false) : undefined;
  if (!target || at === undefined) return mixed('the shape is unknown');
  return at < 0 ? FREE : rows(at, (target[at] as { rows: number }).rows);
};

/** Copies of a constant lie behind one another: as many per row as the repeats say. */
export const tile: Rule = (c) => {
  const s = c.state(0);
  const dims = c.dims(c.node.inputs[0]);
  const repeats = c.sizes(1);
  const at = repeats ? countsRows(repeats, c.state(1).kind === 'free') : undefined;
  if (!dims || !repeats || at === undefined || repeats.includes(null)) return mixed('the repeats are unknown');
  if (s.kind === 'free') return at < 0 ? FREE : rows(at, (repeats[at] as { rows: number }).rows * dims[at]);
  return s.kind === 'rows' && at < 0 && repeats[s.axis] === 1 ? rows(s.axis, s.inner) : mixed('it repeats samples');
};

/** Range over a number of rows: the numbers of the rows, or of their entries. */
export const range: Rule = (c) => {
  const [start, limit, delta] = [0, 1, 2].map((i) => c.sizes(i)?.[0]);
  if (start !== 0 || delta !== 1 || limit === null || typeof limit !== 'object')
    return mixed('its length depends on the batch size');
  const inner = limit.rows;
  return { kind: 'numbers', axis: 0, inner, step: inner, low: 0, high: inner - 1 };
};

/** Tuples of the samples look up a constant, or constant tuples look up the samples behind the axes that they index. */
export const gatherND: Rule = (c) => {
  const [data, indices] = [rowsOf(c, 0), rowsOf(c, 1)];
  const [shape, ri] = [c.dims(c.node.inputs[1]), rank(c, 1)];
  if (!shape || ri === undefined) return mixed('unknown rank');
  const batchDims = c.node.int('batch_dims', 0);
  if (data && indices)
    return data.axis === indices.axis && data.axis < batchDims && data.inner === indices.inner
      ? rows(data.axis, data.inner)
      : mixed('data and indices both depend on the samples');
  if (batchDims > 0 || c.node.inputs.some((_, i) => !rowsOf(c, i) && c.state(i).kind !== 'free'))
    return mixed('it picks samples');
  const components = shape[ri - 1];
  if (indices) return indices.axis < ri - 1 ? rows(indices.axis, indices.inner) : mixed('a tuple spans samples');
  return data && data.axis >= components
    ? rows(ri - 1 + data.axis - components, data.inner)
    : mixed('it picks samples');
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

/** CastLike reads nothing but the type of its second operand. */
export const castLike: Rule = (c) => {
  const s = c.state(0);
  return s.kind === 'rows' || s.kind === 'free' ? s : mixed('the operand is not understood');
};
