import { along, firstAxis, mixed, rank, rows, rowsOf, settled } from './rule.ts';
import type { Rule } from './rule.ts';
import { axesOf } from './moving.ts';

/** Ops that sum over or mix entries. */

export const matmul: Rule = (c) => {
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

export const gemm: Rule = (c) => {
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

export const reduce: Rule = (c) => {
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

export const arg: Rule = (c) => {
  const s = rowsOf(c, 0);
  const r = rank(c, 0);
  if (!s || r === undefined) return mixed('unknown rank');
  let axis = c.node.int('axis', 0);
  if (axis < 0) axis += r;
  if (axis === s.axis) return mixed('it compares the samples');
  return rows(c.node.int('keepdims', 1) || axis > s.axis ? s.axis : s.axis - 1, s.inner);
};

export const cumSum: Rule = (c) => {
  const s = rowsOf(c, 0);
  const r = rank(c, 0);
  const axis = c.sizes(1)?.[0];
  if (!s || r === undefined || typeof axis !== 'number') return mixed('its axis is unknown');
  return (axis < 0 ? axis + r : axis) === s.axis ? mixed('it sums over the samples') : rows(s.axis, s.inner);
};

/** Softmax of opset < 13 works on all axes from `axis` on. */
export const softmax: Rule = (c) => (c.opset < 13 ? along(1, true)(c) : along(-1)(c));

export const topK = along(-1);

/** Normalises over `axis` and all that follow. */
export const normalise = along(-1, true);

/** Trilu works on the last two axes. */
export const trilu: Rule = (c) => {
  const s = rowsOf(c, 0);
  const r = rank(c, 0);
  if (!s || r === undefined || !settled(c, 1)) return mixed('its diagonal is unknown');
  return s.axis < r - 2 ? rows(s.axis, s.inner) : mixed('it works along the samples');
};

export const recurrent: Rule = (c) => {
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

export const einsum: Rule = (c) => {
  const [left, out] = c.node.string('equation', '').replace(/\s/g, '').split('->');
  if (!out || left.includes('.')) return mixed('the equation is not understood');
  let letter = '';
  let inner = 1;
  const terms = left.split(',');
  for (const [i, term] of terms.entries()) {
    const s = rowsOf(c, i);
    if (!s && c.state(i).kind !== 'free') return mixed('the batch size is used in arithmetic');
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
export const fused: Rule = (c) => {
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
export const experts: Rule = (c) => {
  const x = rowsOf(c, 0);
  const others = c.node.inputs.slice(2).every((v, i) => !v || c.state(i + 2).kind === 'free');
  return x?.axis === 0 && rowsOf(c, 1)?.axis === 0 && others
    ? rows(0, x.inner)
    : mixed('the samples are not on axis 0');
};

/** BatchNormalization in training mode mixes the samples. */
export const batchNorm: Rule = (c) =>
  c.node.int('training_mode', 0) ? mixed('it normalises over the batch') : firstAxis(c);

/** MeanVarianceNormalization takes the samples together where their axis is among its own, as it is by default. */
export const meanVariance: Rule = (c) => {
  const s = rowsOf(c, 0);
  const r = rank(c, 0);
  if (!s || r === undefined) return mixed('unknown rank');
  const axes = c.node.ints('axes', [0, 2, 3]).map((a) => (a < 0 ? a + r : a));
  return axes.includes(s.axis) ? mixed('it normalises over the samples') : rows(s.axis, s.inner);
};
