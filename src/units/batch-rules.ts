import type { Node, Value } from '../graph/ir.ts';

/**
 * How a value depends on the sample axis.
 * - `free`: the same for any samples (constants, and what is computed from them).
 * - `rows`: axis `axis` holds rows × `inner` entries, row-major, and every row depends on its own sample alone.
 * - `sizes`: integers computed from shapes only; `entries` as far as they are known.
 * - `mixed`: none of these could be shown.
 */
export type BatchState =
  | { kind: 'free' }
  | { kind: 'rows'; axis: number; inner: number }
  | { kind: 'sizes'; entries: SizeEntry[] | null }
  | { kind: 'mixed'; reason: string };

/** A number, a multiple of the row count, or unknown. */
export type SizeEntry = number | { rows: number } | null;

export const FREE: BatchState = { kind: 'free' };

/** What a rule sees of a node. `dims` are concrete: the batch has its size in the model (or a stand-in). */
export interface RuleContext {
  node: Node;
  opset: number;
  /** The size that the batch has in `dims`. */
  batch: number;
  /** True when the model itself fixes it: then constants may hold it. */
  fixed: boolean;
  state(input: number): BatchState;
  dims(value: Value | null | undefined): readonly number[] | undefined;
  /** Integer contents of an input, as far as they are known. */
  sizes(input: number): SizeEntry[] | null;
  /** Replaces a shape operand, because it holds the fixed batch. */
  rewrite(input: number, contents: number[]): void;
  /** Gives Resize scales in place of sizes. */
  rescale(scales: Float32Array): void;
}

/** State of all outputs alike, or one per output. */
export type Rule = (c: RuleContext) => BatchState | BatchState[];

const rows = (axis: number, inner = 1): BatchState => ({ kind: 'rows', axis, inner });
const mixed = (reason: string): BatchState => ({ kind: 'mixed', reason });

const rank = (c: RuleContext, input: number) => c.dims(c.node.inputs[input])?.length;

/** The row axis of an input, or undefined when it holds no rows. */
function rowsOf(c: RuleContext, input: number): { axis: number; inner: number } | undefined {
  const s = c.state(input);
  return s.kind === 'rows' ? s : undefined;
}

/** Element-wise with broadcasting: row axes must line up, counted from the right. */
function broadcast(c: RuleContext): BatchState {
  const ranks = c.node.inputs.map((v) => (v ? c.dims(v)?.length : 0));
  if (ranks.some((r) => r === undefined)) return mixed('an operand has an unknown rank');
  const outRank = Math.max(...(ranks as number[]));
  let fromRight = -1;
  let inner = 1;
  for (let i = 0; i < c.node.inputs.length; i++) {
    const s = rowsOf(c, i);
    if (!s) continue;
    const p = ranks[i]! - s.axis;
    if (fromRight >= 0 && (p !== fromRight || s.inner !== inner))
      return mixed('two operands hold the samples on different axes');
    fromRight = p;
    inner = s.inner;
  }
  for (let i = 0; i < c.node.inputs.length; i++) {
    if (!c.node.inputs[i] || rowsOf(c, i)) continue;
    if (c.state(i).kind === 'sizes') return mixed('the batch size is used in arithmetic');
    const dims = c.dims(c.node.inputs[i])!;
    const at = dims.length - fromRight;
    if (at >= 0 && dims[at] !== 1) return mixed('a constant operand differs along the samples');
  }
  return rows(outRank - fromRight, inner);
}

/** Axis 0 of input 0 holds the samples, the other inputs are weights. */
const firstAxis: Rule = (c) => {
  const s = rowsOf(c, 0);
  if (!s || s.axis !== 0) return mixed('the samples are not on axis 0');
  for (let i = 1; i < c.node.inputs.length; i++) {
    if (c.node.inputs[i] && c.state(i).kind !== 'free') return mixed('a weight depends on the samples');
  }
  return rows(0, s.inner);
};

/** Keeps all axes of input 0, works along `axis` (and, if `after`, all that follow). */
function along(defaultAxis: number, after = false): Rule {
  return (c) => {
    const s = rowsOf(c, 0);
    const r = rank(c, 0);
    if (!s || r === undefined) return mixed('a parameter depends on the samples');
    for (let i = 1; i < c.node.inputs.length; i++) {
      if (c.node.inputs[i] && c.state(i).kind !== 'free') return mixed('a parameter depends on the samples');
    }
    let axis = c.node.int('axis', defaultAxis);
    if (axis < 0) axis += r;
    if (after ? s.axis >= axis : s.axis === axis) return mixed('it works along the samples');
    return rows(s.axis, s.inner);
  };
}

const matmul: Rule = (c) => {
  const [a, b] = [rowsOf(c, 0), rowsOf(c, 1)];
  const [ra, rb] = [rank(c, 0), rank(c, 1)];
  if (ra === undefined || rb === undefined || c.state(0).kind === 'sizes' || c.state(1).kind === 'sizes')
    return mixed('an operand is not understood');
  if (ra < 2 || rb < 2)
    return ra >= 2 && a && a.axis < ra - 1 && !b ? rows(a.axis, a.inner) : mixed('a vector operand');
  const outRank = Math.max(ra, rb);
  if (a && a.axis === ra - 1) return mixed('it sums over the samples');
  if (b && b.axis >= rb - 2) return mixed('the second operand holds samples in its matrix');
  if (a && a.axis === ra - 2)
    return b || rb > 2 ? mixed('samples are in the matrix of the first operand') : rows(outRank - 2, a.inner);
  if (a && b && (ra - a.axis !== rb - b.axis || a.inner !== b.inner))
    return mixed('operands hold the samples on different axes');
  const p = a ? ra - a.axis : rb - b!.axis;
  const other = a ? (b ? undefined : c.dims(c.node.inputs[1])) : c.dims(c.node.inputs[0]);
  if (other && other.length >= p && other[other.length - p] !== 1)
    return mixed('a constant operand differs along the samples');
  return rows(outRank - p, (a ?? b)!.inner);
};

const gemm: Rule = (c) => {
  const a = rowsOf(c, 0);
  if (!a || c.state(1).kind !== 'free') return mixed('the weight depends on the samples');
  if (a.axis !== (c.node.int('transA', 0) ? 1 : 0)) return mixed('it sums over the samples');
  if (c.node.inputs[2]) {
    const s = c.state(2);
    const dims = c.dims(c.node.inputs[2]);
    if (
      s.kind === 'rows'
        ? s.axis !== 0 || dims?.length !== 2 || s.inner !== a.inner
        : s.kind !== 'free' || !dims || (dims.length === 2 && dims[0] !== 1)
    ) {
      return mixed('the bias differs along the samples');
    }
  }
  return rows(0, a.inner);
};

const transpose: Rule = (c) => {
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
const reshape: Rule = (c) => {
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

const flatten: Rule = (c) => {
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
function axesOf(c: RuleContext): number[] | undefined | null {
  const attribute = c.node.ints('axes');
  if (attribute) return attribute;
  if (!c.node.inputs[1]) return undefined;
  const sizes = c.sizes(1);
  return sizes?.every((e): e is number => typeof e === 'number') ? (sizes as number[]) : null;
}

const squeeze: Rule = (c) => {
  const s = rowsOf(c, 0)!;
  const dims = c.dims(c.node.inputs[0]);
  const given = axesOf(c);
  if (!dims || given === null) return mixed('axes are unknown');
  const axes = given ? given.map((a) => (a < 0 ? a + dims.length : a)) : dims.flatMap((d, i) => (d === 1 ? [i] : []));
  if (axes.includes(s.axis)) return mixed('it drops the batch axis');
  return rows(s.axis - axes.filter((a) => a < s.axis).length, s.inner);
};

const unsqueeze: Rule = (c) => {
  const s = rowsOf(c, 0)!;
  const r = rank(c, 0);
  const given = axesOf(c);
  if (r === undefined || !given) return mixed('axes are unknown');
  const axes = given.map((a) => (a < 0 ? a + r + given.length : a)).sort((a, b) => a - b);
  let axis = s.axis;
  for (const a of axes) if (a <= axis) axis++;
  return rows(axis, s.inner);
};

const reduce: Rule = (c) => {
  const s = rowsOf(c, 0);
  const r = rank(c, 0);
  const given = axesOf(c);
  if (!s || r === undefined || given === null) return mixed('axes are unknown');
  if (!given?.length)
    return c.node.int('noop_with_empty_axes', 0) ? rows(s.axis, s.inner) : mixed('it reduces over the samples');
  const axes = given.map((a) => (a < 0 ? a + r : a));
  if (axes.includes(s.axis)) return mixed('it reduces over the samples');
  return rows(c.node.int('keepdims', 1) ? s.axis : s.axis - axes.filter((a) => a < s.axis).length, s.inner);
};

const arg: Rule = (c) => {
  const s = rowsOf(c, 0)!;
  const r = rank(c, 0);
  if (r === undefined) return mixed('unknown rank');
  let axis = c.node.int('axis', 0);
  if (axis < 0) axis += r;
  if (axis === s.axis) return mixed('it compares the samples');
  return rows(c.node.int('keepdims', 1) || axis > s.axis ? s.axis : s.axis - 1, s.inner);
};

const concat: Rule = (c) => {
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

const slice: Rule = (c) => {
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

const gather: Rule = (c) => {
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

const gatherElements: Rule = (c) => {
  const [a, b] = [rowsOf(c, 0), rowsOf(c, 1)];
  const r = rank(c, 0);
  let axis = c.node.int('axis', 0);
  if (r !== undefined && axis < 0) axis += r;
  return a && b && a.axis === b.axis && a.inner === b.inner && axis !== a.axis
    ? rows(a.axis, a.inner)
    : mixed('it picks samples');
};

const pad: Rule = (c) => {
  const s = rowsOf(c, 0);
  const r = rank(c, 0);
  const pads = c.node.ints('pads') ?? c.sizes(1);
  if (!s || r === undefined || !pads || c.node.inputs[3]) return mixed('pads are unknown');
  return pads[s.axis] === 0 && pads[s.axis + r] === 0 ? rows(s.axis, s.inner) : mixed('it pads the samples');
};

const resize: Rule = (c) => {
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

const expand: Rule = (c) => {
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

const constantOfShape: Rule = (c) => {
  const target = c.sizes(0);
  if (!target || target.includes(null)) return mixed('the shape is unknown');
  const at = target.findIndex((e) => typeof e === 'object');
  return at < 0 ? FREE : rows(at, (target[at] as { rows: number }).rows);
};

const tile: Rule = (c) => {
  const s = rowsOf(c, 0);
  const repeats = c.sizes(1);
  return s && repeats?.[s.axis] === 1 ? rows(s.axis, s.inner) : mixed('it repeats samples');
};

const cumSum: Rule = (c) => {
  const s = rowsOf(c, 0);
  const r = rank(c, 0);
  const axis = c.sizes(1)?.[0];
  if (!s || r === undefined || typeof axis !== 'number') return mixed('its axis is unknown');
  return (axis < 0 ? axis + r : axis) === s.axis ? mixed('it sums over the samples') : rows(s.axis, s.inner);
};

/** Softmax of opset < 13 works on all axes from `axis` on. */
const softmax: Rule = (c) => (c.opset < 13 ? along(1, true)(c) : along(-1)(c));

const topK = along(-1);

const recurrent: Rule = (c) => {
  const x = rowsOf(c, 0);
  const layout = c.node.int('layout', 0);
  if (!x || x.axis !== (layout ? 0 : 1)) return mixed('the samples are not on the batch axis');
  for (let i = 1; i < c.node.inputs.length; i++) {
    if (!c.node.inputs[i]) continue;
    const isState = i === 5 || i === 6;
    const s = rowsOf(c, i);
    if (i === 4 ? !s : isState ? s?.axis !== (layout ? 0 : 1) : c.state(i).kind !== 'free')
      return mixed('an initial state does not follow the samples');
  }
  return [rows(layout ? 0 : 2, x.inner), rows(layout ? 0 : 1, x.inner), rows(layout ? 0 : 1, x.inner)];
};

const einsum: Rule = (c) => {
  const [left, out] = c.node.string('equation', '').replace(/\s/g, '').split('->');
  if (!out || left.includes('.')) return mixed('the equation is not understood');
  let letter = '';
  let inner = 1;
  const terms = left.split(',');
  for (const [i, term] of terms.entries()) {
    const s = rowsOf(c, i);
    if (!s) continue;
    if (letter && (term[s.axis] !== letter || inner !== s.inner))
      return mixed('operands hold the samples on different axes');
    letter = term[s.axis];
    inner = s.inner;
  }
  if (!letter || terms.some((t, i) => t.includes(letter) && !rowsOf(c, i)))
    return mixed('a constant operand differs along the samples');
  return out.includes(letter) ? rows(out.indexOf(letter), inner) : mixed('it sums over the samples');
};

/** Inputs that hold samples do so on axis 0, the others are weights; all outputs have them on axis 0. */
const fused: Rule = (c) => {
  let inner = 0;
  for (let i = 0; i < c.node.inputs.length; i++) {
    if (!c.node.inputs[i]) continue;
    const s = c.state(i);
    if (s.kind === 'free') continue;
    if (s.kind !== 'rows' || s.axis !== 0 || (inner && s.inner !== inner))
      return mixed('the samples are not on axis 0');
    inner = s.inner;
  }
  return rows(0, inner);
};

/** Tokens and the router's numbers for them, flattened or not: token by token, in the shape of the tokens. */
const experts: Rule = (c) => {
  const x = rowsOf(c, 0);
  const others = c.node.inputs.slice(2).every((v, i) => !v || c.state(i + 2).kind === 'free');
  return x?.axis === 0 && rowsOf(c, 1)?.axis === 0 && others
    ? rows(0, x.inner)
    : mixed('the samples are not on axis 0');
};

/** Data, indices and updates hold the same samples, and positions are taken along another axis. */
const scatterElements: Rule = (c) => {
  const r = rank(c, 0);
  let axis = c.node.int('axis', 0);
  if (r !== undefined && axis < 0) axis += r;
  const [data, indices, updates] = [0, 1, 2].map((i) => rowsOf(c, i));
  const same = [data, indices, updates].every((s) => s && s.axis === data!.axis && s.inner === data!.inner);
  return r !== undefined && same && axis !== data!.axis
    ? rows(data!.axis, data!.inner)
    : mixed('it may write across samples');
};

const split: Rule = (c) => along(0)(c);

/** BatchNormalization in training mode mixes the samples. */
const batchNorm: Rule = (c) => (c.node.int('training_mode', 0) ? mixed('it normalises over the batch') : firstAxis(c));

const names = (text: string) => text.trim().split(/\s+/);
const table = (rule: Rule, text: string): [string, Rule][] => names(text).map((name) => [name, rule]);

/** Rules by `node.op`. An operator that is not here is not understood. */
export const RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ...table(
    broadcast,
    `Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu
     Clip Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN
     LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign
     Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
     com.microsoft.Gelu com.microsoft.BiasGelu com.microsoft.FastGelu com.microsoft.QuickGelu`,
  ),
  ...table(
    firstAxis,
    `Conv ConvTranspose ConvInteger QLinearConv MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool
     InstanceNormalization GroupNormalization LRN SpaceToDepth DepthToSpace com.microsoft.FusedConv com.microsoft.QLinearAveragePool
     com.microsoft.QLinearGlobalAveragePool`,
  ),
  ...table(
    reduce,
    'ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare',
  ),
  ...table(arg, 'ArgMax ArgMin'),
  ...table(softmax, 'Softmax LogSoftmax Hardmax'),
  ...table(along(-1), 'LpNormalization'),
  ...table(along(-1, true), 'LayerNormalization RMSNormalization SimplifiedLayerNormalization'),
  // Scales per channel lie along `axis`; along the samples they could not be constant.
  ...table(along(1), 'QuantizeLinear DequantizeLinear'),
  ...table(recurrent, 'LSTM GRU RNN'),
  ...table(
    fused,
    `com.microsoft.Attention com.microsoft.MultiHeadAttention com.microsoft.SkipLayerNormalization com.microsoft.EmbedLayerNormalization
     com.microsoft.SkipSimplifiedLayerNormalization Attention`,
  ),
  ...table(experts, 'com.microsoft.MoE com.microsoft.QMoE'),
  ['BatchNormalization', batchNorm],
  ['MatMul', matmul],
  [
    'com.microsoft.FusedMatMul',
    (c) => (c.node.int('transA', 0) || c.node.int('transB', 0) ? mixed('transposed operands') : matmul(c)),
  ],
  ['com.microsoft.MatMulNBits', firstAxis],
  ['Gemm', gemm],
  ['com.microsoft.FusedGemm', gemm],
  ['Transpose', transpose],
  ['Reshape', reshape],
  ['Flatten', flatten],
  ['Squeeze', squeeze],
  ['Unsqueeze', unsqueeze],
  ['Concat', concat],
  ['Split', split],
  ['Slice', slice],
  ['Gather', gather],
  ['GatherElements', gatherElements],
  ['ScatterElements', scatterElements],
  ['Pad', pad],
  ['Resize', resize],
  ['Upsample', resize],
  ['Expand', expand],
  ['ConstantOfShape', constantOfShape],
  ['Tile', tile],
  ['TopK', topK],
  ['CumSum', cumSum],
  ['Einsum', einsum],
]);
