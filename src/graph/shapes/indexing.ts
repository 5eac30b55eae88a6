import { DataType } from '../../onnx/data-type.ts';
import type { Dim } from '../ir.ts';
import type { Content, Rule, RuleContext, RuleTable } from './context.ts';
import { normalAxis, unknownDims } from './context.ts';
import { takeContent } from './content.ts';
import { addDims, extremeDim, mulDims, subDims } from './dims.ts';

/** Ops that pick, repeat or pad elements: Slice, Gather, Expand, Tile, Pad, Resize, TopK and their like. */

const slice: Rule = (c) => {
  const data = c.shape(0);
  if (!data) return c.out(0, c.elem(0), undefined);
  const old = c.opset < 10;
  const starts = old ? c.ints('starts') : c.content(1);
  const ends = old ? c.ints('ends') : c.content(2);
  const axes = old ? c.ints('axes') : c.has(3) ? c.numbers(3) : undefined;
  const steps = c.has(4) ? c.content(4) : undefined;
  const unknownAxes = !old && c.has(3) && !axes;
  const count = starts?.length ?? ends?.length;
  if (unknownAxes || (count === undefined && !axes)) return c.out(0, c.elem(0), unknownDims(data.length));
  const shape = [...data];
  const which = axes ?? Array.from({ length: count! }, (_, i) => i);
  which.forEach((a, i) => {
    const axis = normalAxis(a, data.length);
    if (axis === undefined) return;
    const step = c.has(4) ? (steps?.[i] ?? null) : 1;
    shape[axis] = sliceLength(data[axis], starts?.[i] ?? null, ends?.[i] ?? null, step);
  });
  let content = c.content(0);
  const dims = [...data];
  which.forEach((a, i) => {
    const axis = normalAxis(a, data.length);
    const picked =
      axis === undefined
        ? undefined
        : slicePositions(dims[axis], starts?.[i], ends?.[i], steps ? steps[i] : c.has(4) ? null : 1);
    content = picked && axis !== undefined ? takeContent(content, dims, axis, picked) : undefined;
    if (picked && axis !== undefined) dims[axis] = picked.length;
  });
  c.out(0, c.elem(0), shape, content);
};

/** Ends from here on stand for "to the end": no axis is that long. */
const HUGE = 1e8;

/** Elements that start:end:step takes out of `size`. */
export function sliceLength(size: Dim, start: Dim, end: Dim, step: Dim): Dim {
  if (typeof step !== 'number' || step === 0 || start === null || end === null) return null;
  if (typeof size === 'number' && typeof start === 'number' && typeof end === 'number') {
    const at = (i: number, low: number, high: number) => Math.max(low, Math.min(high, i < 0 ? i + size : i));
    if (step > 0) return Math.max(0, Math.ceil((at(end, 0, size) - at(start, 0, size)) / step));
    return Math.max(0, Math.ceil((at(start, -1, size - 1) - (end < -size ? -1 : at(end, -1, size - 1))) / -step));
  }
  if (step === -1 && start === -1 && typeof end === 'number' && end < -(2 ** 30)) return size;
  if (step !== 1 || size === null) return null;
  // Symbols: the usual forms, x[a:], x[:b], x[:-b], x[-a:], with a and b taken to be inside.
  const huge = typeof end === 'number' && end >= HUGE;
  const toEnd = huge || end === size;
  const from: Dim = typeof start === 'number' && start < 0 ? addDims(size, start) : start;
  const to: Dim = toEnd ? size : typeof end === 'number' && end < 0 ? addDims(size, end) : end;
  if (toEnd && typeof start === 'number' && start < 0) return -start;
  if (
    typeof to === 'string' &&
    typeof size === 'string' &&
    to !== size &&
    !toEnd &&
    !(typeof end === 'number' && end < 0)
  ) {
    return from === 0 ? extremeDim(to, size, 'min') : null;
  }
  if (typeof end === 'number' && end >= 0 && !toEnd && typeof size === 'string') return null; // the end may lie beyond the size
  return subDims(to, from);
}

function slicePositions(
  n: Dim,
  start: Dim | undefined,
  end: Dim | undefined,
  step: Dim | undefined,
): number[] | undefined {
  if (
    typeof n !== 'number' ||
    typeof start !== 'number' ||
    typeof end !== 'number' ||
    typeof step !== 'number' ||
    step === 0
  )
    return undefined;
  const within = (i: number, low: number, high: number) => Math.max(low, Math.min(high, i < 0 ? i + n : i));
  const out: number[] = [];
  if (n > 1024) return undefined;
  if (step > 0) for (let i = within(start, 0, n), stop = within(end, 0, n); i < stop; i += step) out.push(i);
  else
    for (let i = within(start, -1, n - 1), stop = end < -n ? -1 : within(end, -1, n - 1); i > stop; i += step)
      out.push(i);
  return out;
}

const gather: Rule = (c) => {
  const [data, indices] = [c.shape(0), c.shape(1)];
  if (!data || !indices) return c.out(0, c.elem(0), undefined);
  const axis = normalAxis(c.int('axis', 0), data.length);
  if (axis === undefined) return;
  const shape = [...data.slice(0, axis), ...indices, ...data.slice(axis + 1)];
  const size = data[axis];
  const at = typeof size === 'number' ? c.numbers(1)?.map((i) => (i < 0 ? i + size : i)) : undefined;
  c.out(0, c.elem(0), shape, at && takeContent(c.content(0), data, axis, at));
};

const gatherND: Rule = (c) => {
  const [data, indices] = [c.shape(0), c.shape(1)];
  const depth = indices?.[indices.length - 1];
  if (!data || !indices || typeof depth !== 'number') return c.out(0, c.elem(0), undefined);
  const batch = c.int('batch_dims', 0);
  c.out(0, c.elem(0), [...indices.slice(0, -1), ...data.slice(batch + depth)]);
};

const expand: Rule = (c) => {
  const data = c.shape(0);
  const target = c.content(1);
  if (!target) {
    const n = c.shape(1)?.[0];
    const rank = data && typeof n === 'number' && n <= 64 ? Math.max(n, data.length) : undefined;
    return c.out(0, c.elem(0), rank === undefined ? undefined : unknownDims(rank));
  }
  if (!data) return c.out(0, c.elem(0), undefined);
  const rank = Math.max(target.length, data.length);
  const shape = Array.from({ length: rank }, (_, i): Dim => {
    const d = i - (rank - data.length) >= 0 ? data[i - (rank - data.length)] : 1;
    const t = i - (rank - target.length) >= 0 ? target[i - (rank - target.length)] : 1;
    if (d === 1) return t;
    if (t === 1 || d === t) return d;
    // Sizes that are written differently must be equal, or the target 1: taken to be what was asked for.
    return typeof d === 'number' ? d : t;
  });
  const content = c.content(0);
  const count = shape.length === 1 ? shape[0] : undefined;
  const repeated =
    content?.length === 1 && typeof count === 'number' && count <= 1024
      ? Array<Dim>(count).fill(content[0])
      : undefined;
  c.out(0, c.elem(0), shape, repeated);
};

const tile: Rule = (c) => {
  const data = c.shape(0);
  if (!data) return c.out(0, c.elem(0), undefined);
  if (c.opset < 6) {
    const [tiles, axis] = [c.number(1), c.number(2)];
    return c.out(
      0,
      c.elem(0),
      data.map((d, i) => (i === axis && tiles !== undefined ? mulDims(d, tiles) : axis === undefined ? null : d)),
    );
  }
  const repeats = c.content(1);
  c.out(
    0,
    c.elem(0),
    data.map((d, i) => mulDims(d, repeats?.[i] ?? null)),
  );
};

const pad: Rule = (c) => {
  const data = c.shape(0);
  if (!data) return c.out(0, c.elem(0), undefined);
  const pads = c.ints('pads') ?? c.ints('paddings') ?? c.content(1);
  const axes = c.has(3) ? c.numbers(3) : data.map((_, i) => i);
  if (!pads || !axes) return c.out(0, c.elem(0), unknownDims(data.length));
  const shape = [...data];
  axes.forEach((a, i) => {
    const axis = normalAxis(a, data.length);
    if (axis !== undefined) shape[axis] = addDims(addDims(data[axis], pads[i] ?? null), pads[i + axes.length] ?? null);
  });
  c.out(0, c.elem(0), shape);
};

const resize: Rule = (c) => {
  const data = c.shape(0);
  if (!data) return c.out(0, c.elem(0), undefined);
  const upsample = c.node.opType === 'Upsample';
  const old = upsample || c.opset < 11;
  const scalesAt = old ? 1 : 2;
  const sizes = old ? undefined : c.content(3);
  const [tall, wide] = [c.float('height_scale'), c.float('width_scale')];
  const scales = c.floats('scales') ?? (tall && wide ? [1, 1, tall, wide] : c.numbers(scalesAt));
  const axes = (c.ints('axes') ?? data.map((_, i) => i)).map((a) => normalAxis(a, data.length) ?? 0);
  const shape: Dim[] = data.map((d, i) => (axes.includes(i) ? null : d));
  if (sizes && sizes.length > 0) {
    axes.forEach((a, i) => (shape[a] = sizes[i] ?? null));
    keepAspect(c, data, axes, sizes, shape);
  } else if (scales && scales.length > 0 && scales.length <= axes.length) {
    // Some old writers give scales for the last axes only.
    const missing = axes.length - scales.length;
    axes.forEach((a, i) => {
      const d = data[a];
      const scale = i < missing ? 1 : scales[i - missing];
      // In 32 bits as the runtime computes it.
      if (typeof d === 'number') shape[a] = Math.floor(Math.fround(Math.fround(d) * Math.fround(scale)));
      else if (Number.isInteger(scale)) shape[a] = mulDims(d, scale);
    });
  }
  c.out(0, c.elem(0), shape);
};

function keepAspect(c: RuleContext, data: readonly Dim[], axes: readonly number[], sizes: Content, shape: Dim[]): void {
  const policy = c.string('keep_aspect_ratio_policy', 'stretch');
  if (policy === 'stretch') return;
  const ratios = axes.map((a, i) =>
    typeof sizes[i] === 'number' && typeof data[a] === 'number' ? sizes[i] / data[a] : NaN,
  );
  const scale = policy === 'not_larger' ? Math.min(...ratios) : Math.max(...ratios);
  axes.forEach((a) => (shape[a] = Number.isNaN(scale) ? null : Math.round(scale * (data[a] as number))));
}

const topK: Rule = (c) => {
  const data = c.shape(0);
  const k = c.opset < 10 ? c.int('k') : c.content(1)?.[0];
  const axis = data && normalAxis(c.int('axis', -1), data.length);
  const shape = data?.map((d, i) => (i === axis ? (k ?? null) : d));
  c.out(0, c.elem(0), shape);
  c.out(1, DataType.INT64, shape);
};

const oneHot: Rule = (c) => {
  const indices = c.shape(0);
  const depth = c.content(1)?.[0] ?? null;
  if (!indices) return c.out(0, c.elem(2), undefined);
  const axis = normalAxis(c.int('axis', -1), indices.length + 1) ?? indices.length;
  c.out(0, c.elem(2), [...indices.slice(0, axis), depth, ...indices.slice(axis)]);
};

const scatterND: Rule = (c) => {
  const data = c.content(0);
  const at = c.numbers(1);
  const updates = c.content(2);
  let content: Content | undefined;
  if (
    data &&
    at &&
    updates &&
    c.rank(0) === 1 &&
    at.length === updates.length &&
    c.string('reduction', 'none') === 'none'
  ) {
    const next = [...data];
    at.forEach((i, n) => (next[i < 0 ? i + next.length : i] = updates[n]));
    content = next;
  }
  c.same(0, 0, content);
};

const nonZero: Rule = (c) => {
  const rank = c.rank(0);
  const content = c.numbers(0);
  if (rank === 1 && content) {
    const found = content.flatMap((x, i) => (x !== 0 ? [i] : []));
    return c.out(0, DataType.INT64, [1, found.length], found);
  }
  c.out(0, DataType.INT64, [rank === undefined ? null : Math.max(rank, 1), null]);
};

const unique: Rule = (c) => {
  const data = c.shape(0);
  const axis = c.int('axis');
  const at = data && axis !== undefined ? normalAxis(axis, data.length) : undefined;
  c.out(0, c.elem(0), axis === undefined ? [null] : data?.map((d, i) => (i === at ? null : d)));
  for (let i = 1; i < 4; i++) c.out(i, DataType.INT64, [null]);
};

export const indexingRules: RuleTable = {
  Slice: slice,
  Gather: gather,
  GatherElements: (c) => c.out(0, c.elem(0), c.shape(1)),
  GatherND: gatherND,
  'com.microsoft.GatherND': gatherND,
  Scatter: (c) => c.same(0),
  ScatterElements: (c) => c.same(0),
  ScatterND: scatterND,
  TensorScatter: (c) => c.same(0),
  Expand: expand,
  Tile: tile,
  Pad: pad,
  'com.microsoft.Pad': pad,
  Resize: resize,
  Upsample: resize,
  TopK: topK,
  OneHot: oneHot,
  NonZero: nonZero,
  Unique: unique,
  Compress: (c) => {
    const data = c.shape(0);
    const axis = c.int('axis');
    const at = data && axis !== undefined ? normalAxis(axis, data.length) : undefined;
    const count = c.numbers(1)?.filter((x) => x !== 0).length ?? null;
    c.out(0, c.elem(0), axis === undefined ? [count] : data?.map((d, i) => (i === at ? count : d)));
  },
  NonMaxSuppression: (c) => c.out(0, DataType.INT64, [null, 3]),
  CenterCropPad: (c) => {
    const data = c.shape(0);
    const target = c.content(1);
    const axes = c.ints('axes') ?? data?.map((_, i) => i);
    if (!data || !axes) return;
    const shape: Dim[] = [...data];
    axes.forEach((a, i) => (shape[normalAxis(a, data.length) ?? 0] = target?.[i] ?? null));
    c.out(0, c.elem(0), shape);
  },
};
