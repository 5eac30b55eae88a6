import type { Maker, Template, Val } from './maker.ts';
import { product } from './maker.ts';

/** What architectures are assembled from, several nodes each. */

const sequence = (x: Val) => x.dims.length === 3 && x.rows <= 0;
const image = (x: Val) => x.dims.length === 4 && x.rows <= 0;

/** Multi-head attention over [batch, time, features]: separate or fused projections, several queries per key now and then. */
function attention(x: Val, g: Maker): Val {
  const [n, t, c] = x.dims;
  const [heads, d] = [g.pick([2, 3, 4]), g.pick([2, 3, 4])];
  const shared = g.chance(0.25) ? g.pick([1, 2].filter((k) => heads % k === 0)) : heads;
  const wide = (count: number) => count * d;
  const projected = (): Val[] => {
    if (g.chance(0.5)) return [heads, shared, shared].map((count) => g.linear(x, 2, wide(count)));
    const all = g.linear(x, 2, wide(heads + 2 * shared));
    return g.split(all, 2, [wide(heads), wide(shared), wide(shared)]);
  };
  const [q, k, v] = projected();
  const apart = (y: Val, count: number, perm: number[]) => g.transpose(g.reshape(y, [n, t, count, d], y.rows), perm);
  const repeated = (y: Val) => {
    if (shared === heads) return y;
    const tall = g.unsqueeze(y, 2);
    const times = heads / shared;
    const dims = tall.dims.map((s, i) => (i === 2 ? times : s));
    const shape = dims.map((_, i) => (i === 2 ? times : 1));
    const expanded = g.emit('Expand', [tall, g.b.ints(shape)], dims, tall.rows);
    return g.reshape(expanded, [y.dims[0], heads, ...y.dims.slice(2)], y.rows);
  };
  const qh = apart(q, heads, [0, 2, 1, 3]);
  const kh = repeated(apart(k, shared, [0, 2, 3, 1]));
  const vh = repeated(apart(v, shared, [0, 2, 1, 3]));
  const logits = g.emit('MatMul', [qh, kh], [n, heads, t, t], x.rows);
  const scaled = g.like('Mul', [logits, g.scalar(1 / Math.sqrt(d))], logits);
  const weights = g.like('Softmax', [scaled], scaled, { axis: g.opset < 13 ? 3 : -1 });
  const read = g.transpose(g.emit('MatMul', [weights, vh], vh.dims, x.rows), [0, 2, 1, 3]);
  const out = g.linear(g.reshape(read, [n, t, wide(heads)], x.rows), 2, c);
  return g.chance(0.7) ? g.like('Add', [x, out], x) : out;
}

/** The channels are dealt out anew: [batch, groups, channels of a group, space] with the middle axes exchanged. */
function shuffleChannels(x: Val, g: Maker): Val {
  const [n, c, ...space] = x.dims;
  const groups = g.pick([2, 3, 4].filter((d) => c % d === 0 && c > d));
  const apart = g.reshape(x, [n, groups, c / groups, ...space], x.rows);
  const turned = g.transpose(apart, [0, 2, 1, ...space.map((_, i) => i + 3)]);
  return g.reshape(turned, x.dims, x.rows);
}

/** Squeeze and excitation: a gate for each channel, computed from the means of all. */
function excite(x: Val, g: Maker): Val {
  const [n, c] = x.dims;
  const flat: Val = { ...g.emit('GlobalAveragePool', [x], [n, c, 1, 1], x.rows) };
  const inner = g.linear(flat, 1, g.pick([3, 4]));
  const gate = g.linear(g.like('Relu', [inner], inner), 1, c);
  return g.like('Mul', [x, g.like('Sigmoid', [gate], gate)], x);
}

/** A gated linear unit: one half is multiplied by what the other half lets through. */
function gatedHalves(x: Val, g: Maker): Val {
  const axis = g.pick(g.axes(x));
  const half = g.pick([4, 6]);
  if (g.chance(0.5)) {
    const [a, b] = g.split(g.linear(x, axis, 2 * half), axis, [half, half]);
    return g.like('Mul', [a, g.like('Sigmoid', [b], b)], a);
  }
  const [a, b] = [g.linear(x, axis, half), g.linear(x, axis, half)];
  return g.like('Mul', [a, g.like('Mul', [b, g.like('Sigmoid', [b], b)], b)], a);
}

/** x + f(x) along one axis. */
function residual(x: Val, g: Maker): Val {
  const axis = g.pick(g.axes(x));
  const inner = g.linear(x, axis, g.width());
  const back = g.linear(g.like(g.pick(['Relu', 'Tanh']), [inner], inner), axis, x.dims[axis]);
  return g.like('Add', g.chance(0.5) ? [x, back] : [back, x], x);
}

/** Windows of an image become samples of their own, something happens in them, and they are put together again. */
function windows(x: Val, g: Maker): Val {
  const [n, c, h, w] = x.dims;
  const apart = g.reshape(x, [n, c, 2, h / 2, 2, w / 2], x.rows);
  const turned = g.transpose(apart, [0, 2, 4, 3, 5, 1]);
  const tokens = g.reshape(turned, [n * 4, (h * w) / 4, c], x.rows);
  const done = g.linear(tokens, 2, c);
  const back = g.transpose(g.reshape(done, [n, 2, 2, h / 2, w / 2, c], x.rows), [0, 5, 1, 3, 2, 4]);
  return g.reshape(back, x.dims, x.rows);
}

/** An image's positions become tokens. */
function tokens(x: Val, g: Maker): Val {
  const [n, c, ...space] = x.dims;
  const flat = g.reshape(x, [n, c, product(space)], x.rows);
  return g.transpose(flat, [0, 2, 1]);
}

/** Scores over positions weigh a mean of them: attention pooling. */
function weightedMean(x: Val, g: Maker): Val {
  const axis = 1;
  const scores = g.linear(x, 2, 1);
  const weights = g.like('Softmax', [scores], scores, { axis: g.opset < 13 ? 1 : axis });
  return g.reduce('ReduceSum', g.like('Mul', [x, weights], x), [axis], false);
}

export const patterns: Template[] = [
  { name: 'attention', weight: 8, fits: (x) => sequence(x) && x.dims[1] <= 16, make: attention },
  {
    name: 'channel shuffle',
    weight: 4,
    fits: (x) => image(x) && [2, 3, 4].some((d) => x.dims[1] % d === 0 && x.dims[1] > d),
    make: shuffleChannels,
  },
  { name: 'squeeze and excitation', weight: 2, fits: image, make: excite },
  { name: 'GLU', weight: 2, make: gatedHalves },
  { name: 'residual', weight: 3, make: residual },
  { name: 'windows', weight: 3, fits: (x) => image(x) && x.dims[2] % 2 === 0 && x.dims[3] % 2 === 0, make: windows },
  { name: 'tokens', weight: 3, fits: image, make: tokens },
  { name: 'weighted mean', fits: sequence, make: weightedMean },
];
