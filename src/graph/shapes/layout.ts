import type { Dim } from '../ir.ts';
import type { Content, Rule, RuleContext, RuleTable } from './context.ts';
import { normalAxis, unknownDims } from './context.ts';
import { permuteContent } from './content.ts';
import { addDims, exactDiv, floorDiv, mulDims, productOf } from './dims.ts';

/** Ops that only rearrange elements: Reshape, Transpose, Concat, Split and their like. */

const reshape: Rule = (c) => {
  const data = c.shape(0);
  const target = c.content(1) ?? c.ints('shape');
  if (!target) {
    const count = c.shape(1)?.[0];
    return c.out(0, c.elem(0), typeof count === 'number' && count <= 64 ? unknownDims(count) : undefined);
  }
  const zeroIsZero = c.int('allowzero', 0) === 1;
  const dims = target.map((d, i): Dim => (d === 0 && !zeroIsZero ? (data ? (data[i] ?? null) : null) : d));
  const free = target.indexOf(-1);
  if (free >= 0) {
    dims[free] = null;
    const others = dims.filter((_, i) => i !== free);
    // Dims that stand on both sides cancel, also where their sizes are unknown but kept by a zero.
    if (data) dims[free] = quotient(data, others, target);
  }
  c.out(0, c.elem(0), dims, c.content(0));
};

/** Size of the −1 of a Reshape. */
function quotient(data: readonly Dim[], others: readonly Dim[], target: Content): Dim {
  const keptUnknown = target.map((d, i) => (d === 0 && data[i] === null ? i : -1)).filter((i) => i >= 0);
  const left = data.filter((_, i) => !keptUnknown.includes(i));
  const right = others.filter((d) => d !== null);
  if (right.length + keptUnknown.length !== others.length) return null;
  const top = productOf(left);
  const bottom = productOf(right);
  if (top === null) return cancelled(left, right);
  return exactDiv(top, bottom);
}

/** As exactDiv over products, where one unknown factor on the left remains or cancels nothing. */
function cancelled(left: readonly Dim[], right: readonly Dim[]): Dim {
  return left.length === 1 && right.every((d) => d === 1) ? left[0] : null;
}

const flatten: Rule = (c) => {
  const data = c.shape(0);
  if (!data) return c.out(0, c.elem(0), [null, null]);
  const axis = c.int('axis', 1);
  const at = axis < 0 ? axis + data.length : axis;
  c.out(0, c.elem(0), [productOf(data.slice(0, at)), productOf(data.slice(at))]);
};

const squeeze: Rule = (c) => {
  const data = c.shape(0);
  const axes = c.axes('axes', 1);
  if (!data || axes === null) return c.out(0, c.elem(0), undefined);
  if (!axes) {
    const known = data.every((d) => typeof d === 'number');
    const shape = known ? data.filter((d) => d !== 1) : undefined;
    return c.out(0, c.elem(0), shape, c.content(0));
  }
  const drop = new Set(axes.map((a) => normalAxis(a, data.length)));
  const shape = data.filter((_, i) => !drop.has(i));
  c.out(0, c.elem(0), shape, c.content(0));
};

const unsqueeze: Rule = (c) => {
  const data = c.shape(0);
  const axes = c.axes('axes', 1);
  if (!data || !axes) return c.out(0, c.elem(0), undefined);
  const rank = data.length + axes.length;
  const added = new Set(axes.map((a) => normalAxis(a, rank)));
  const shape: Dim[] = [];
  for (let i = 0, next = 0; i < rank; i++) shape.push(added.has(i) ? 1 : (data[next++] ?? null));
  c.out(0, c.elem(0), shape, c.content(0));
};

const transpose: Rule = (c) => {
  const data = c.shape(0);
  const perm = c.ints('perm') ?? data?.map((_, i) => data.length - 1 - i);
  c.out(
    0,
    c.elem(0),
    perm?.map((p) => (data ? (data[p] ?? null) : null)),
    data && perm && permuteContent(c.content(0), data, perm),
  );
};

const concat: Rule = (c) => {
  const present = c.node.inputs.flatMap((v, i) => (v ? [i] : []));
  const shapes = present.map((i) => c.shape(i));
  const rank = shapes.find((s) => s)?.length;
  if (rank === undefined) return c.out(0, c.elem(0), undefined);
  const axis = normalAxis(c.int('axis', 1), rank);
  const shape = Array.from({ length: rank }, (_, i): Dim => {
    const dims = shapes.map((s) => s?.[i] ?? null);
    if (i === axis) return dims.reduce<Dim>(addDims, 0);
    return dims.find((d) => typeof d === 'number') ?? dims.find((d) => d !== null) ?? null;
  });
  let content: Content | undefined;
  if (axis === 0) {
    const parts = present.map((i): Content | undefined => {
      const size = c.shape(i)?.[0];
      return c.content(i) ?? (rank === 1 && typeof size === 'number' && size <= 64 ? unknownDims(size) : undefined);
    });
    if (parts.every((p) => p)) content = parts.flatMap((p) => [...p!]);
  }
  c.out(0, c.elem(present[0] ?? 0), shape, content);
};

const split: Rule = (c) => {
  const data = c.shape(0);
  const n = c.node.outputs.length;
  if (!data) return c.node.outputs.forEach((_, i) => c.out(i, c.elem(0), undefined));
  const axis = normalAxis(c.int('axis', 0), data.length) ?? 0;
  const sizes = splitSizes(c, data[axis], n);
  const content = data.length === 1 ? c.content(0) : undefined;
  let at = 0;
  for (let i = 0; i < n; i++) {
    const size = sizes[i] ?? null;
    const part = content && typeof size === 'number' ? content.slice(at, at + size) : undefined;
    if (typeof size === 'number') at += size;
    c.out(
      i,
      c.elem(0),
      data.map((d, k) => (k === axis ? size : d)),
      part,
    );
  }
};

function splitSizes(c: RuleContext, total: Dim, n: number): readonly Dim[] {
  const given = c.ints('split') ?? (c.has(1) ? (c.content(1) ?? unknownDims(n)) : undefined);
  if (given) return given;
  const parts = c.int('num_outputs', n);
  if (typeof total === 'number') {
    const chunk = Math.ceil(total / parts);
    return Array.from({ length: n }, (_, i) => Math.max(0, Math.min(chunk, total - i * chunk)));
  }
  return Array.from({ length: n }, () => exactDiv(total, parts) ?? (n === 1 ? total : null));
}

const depthToSpace: Rule = (c) => {
  const data = c.shape(0);
  const block = c.int('blocksize', 1);
  if (data?.length !== 4) return c.out(0, c.elem(0), unknownDims(4));
  c.out(0, c.elem(0), [data[0], floorDiv(data[1], block * block), mulDims(data[2], block), mulDims(data[3], block)]);
};

const spaceToDepth: Rule = (c) => {
  const data = c.shape(0);
  const block = c.int('blocksize', 1);
  if (data?.length !== 4) return c.out(0, c.elem(0), unknownDims(4));
  c.out(0, c.elem(0), [data[0], mulDims(data[1], block * block), floorDiv(data[2], block), floorDiv(data[3], block)]);
};

export const layoutRules: RuleTable = {
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: transpose,
  Concat: concat,
  'com.microsoft.QLinearConcat': (c) => {
    // Y_scale, Y_zero_point, then (tensor, scale, zero point) for each input.
    const shapes = c.node.inputs.flatMap((_, i) => (i >= 2 && (i - 2) % 3 === 0 ? [c.shape(i)] : []));
    if (shapes.length === 0 || shapes.some((s) => !s)) return;
    const axis = normalAxis(c.int('axis', 1), shapes[0]!.length);
    c.out(
      0,
      c.elem(2),
      shapes[0]!.map((d, k) => (k === axis ? shapes.reduce<Dim>((sum, s) => addDims(sum, s![k]), 0) : d)),
    );
  },
  Split: split,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  ReverseSequence: (c) => c.same(0),
  Trilu: (c) => c.same(0),
  'com.microsoft.Trilu': (c) => c.same(0),
};
