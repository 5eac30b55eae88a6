import type { Attrs } from '../build.ts';
import type { Maker, Template, Val } from './maker.ts';
import { product } from './maker.ts';

/** Ops that move positions: nothing is computed. */

/** Two or three factors of n, none of them 1; undefined where there are none. */
function factors(n: number, g: Maker): number[] | undefined {
  const first = [2, 3, 4, 5, 6].filter((d) => n % d === 0 && n > d);
  if (first.length === 0) return undefined;
  const a = g.pick(first);
  const rest = n / a;
  const more = rest > 3 && g.chance(0.3) ? factors(rest, g) : undefined;
  return g.shuffle([a, ...(more ? more.slice(0, 1).concat(product(more.slice(1))) : [rest])]);
}

/** Splits an axis, or merges two neighbours, or first one and then the other in one Reshape. */
function reshape(x: Val, g: Maker): Val {
  const dims = [...x.dims];
  let { rows } = x;
  const merge = () => {
    if (dims.length < 2) return;
    const i = g.int(0, dims.length - 2);
    dims.splice(i, 2, dims[i] * dims[i + 1]);
    if (rows > i) rows--;
  };
  const split = () => {
    const choices = dims.flatMap((d, i) => (d > 3 && (i !== rows || d > 4) ? [i] : []));
    if (choices.length === 0 || dims.length > 4) return;
    const i = g.pick(choices);
    // The batch itself is the first of the parts.
    const own = i === rows ? x.dims[x.rows] : 0;
    if (own && dims[i] === own) return;
    const parts = own ? [own, dims[i] / own] : factors(dims[i], g);
    if (!parts) return;
    dims.splice(i, 1, ...parts);
    if (rows > i) rows += parts.length - 1;
  };
  const steps = g.pick([
    [split],
    [split],
    [merge],
    [split, merge],
    [merge, split],
    [merge, split, split],
    [merge, merge],
  ]);
  for (const step of steps) step();
  return g.reshape(x, dims, rows);
}

/** A batch that was merged with other axes is taken apart, or the first axis into two. */
function splitRows(x: Val, g: Maker): Val {
  const batch = 2;
  const dims = [...x.dims];
  dims.splice(x.rows, 1, batch, dims[x.rows] / batch);
  return g.reshape(x, dims, x.rows);
}

function slice(x: Val, g: Maker): Val {
  const axes = g.shuffle(g.axes(x).filter((i) => x.dims[i] > 2)).slice(0, g.int(1, 2));
  const cuts = axes.map((axis) => {
    const size = x.dims[axis];
    const step = g.opset < 10 ? 1 : g.pick([1, 1, 1, 2, -1]);
    if (step < 0) return { axis, start: size - 1, end: -1, step };
    const start = g.int(0, size - 2);
    return { axis, start, end: g.int(start + 1, size), step };
  });
  return g.slice(x, cuts);
}

function gather(x: Val, g: Maker): Val {
  const axis = g.pick(g.axes(x));
  const size = x.dims[axis];
  const form = g.random();
  const index = () => g.int(g.opset >= 11 ? -size : 0, size - 1);
  if (form < 0.25 && x.dims.length > 2) {
    const dims = x.dims.filter((_, i) => i !== axis);
    return g.emit('Gather', [x, g.b.ints([index()], [])], dims, x.rows > axis ? x.rows - 1 : x.rows, { axis });
  }
  const all = [...Array(size).keys()];
  const picks = form < 0.6 ? g.shuffle(all) : Array.from({ length: g.int(1, size + 2) }, index);
  const dims = x.dims.map((d, i) => (i === axis ? picks.length : d));
  return g.emit('Gather', [x, g.b.ints(picks)], dims, x.rows, { axis });
}

function pad(x: Val, g: Maker): Val {
  const mode = g.pick(['constant', 'constant', 'reflect', 'edge']);
  const axis = g.pick(g.axes(x));
  // No wider than the runtime can fuse with a pool that follows.
  const before = x.dims.map((d, i) => (i === axis && d > 2 ? g.int(0, 1) : 0));
  const after = x.dims.map((d, i) => (i === axis && d > 2 ? g.int(0, 1) : 0));
  const dims = x.dims.map((d, i) => d + before[i] + after[i]);
  const pads = [...before, ...after];
  if (g.opset < 11) return g.emit('Pad', [x], dims, x.rows, { mode, pads });
  return g.emit('Pad', [x, g.b.ints(pads)], dims, x.rows, { mode });
}

function concat(x: Val, g: Maker): Val {
  const axis = g.pick(g.axes(x));
  const fits = g.pool.filter(
    (v) =>
      v !== x &&
      v.rows === x.rows &&
      v.dims.length === x.dims.length &&
      v.dims.every((d, i) => i === axis || d === x.dims[i]),
  );
  const form = g.random();
  let other: Val;
  if (form < 0.5 && fits.length) other = g.pick(fits);
  else if (form < 0.6) other = x;
  else if (form < 0.7 && x.rows < 0) {
    const dims = x.dims.map((d, i) => (i === axis ? 2 : d));
    other = { value: g.around(dims, 0), dims, rows: -1 };
  } else other = g.linear(x, axis, g.width());
  const values = g.shuffle([x, other]);
  if (g.chance(0.2)) values.push(g.linear(x, axis, 4));
  return g.small(values.flatMap((v) => v.dims)) ? g.concat(values, axis) : x;
}

function split(x: Val, g: Maker): Val[] {
  const axis = g.pick(g.axes(x).filter((i) => x.dims[i] > 1));
  const size = x.dims[axis];
  const even = [2, 3].filter((n) => size % n === 0);
  if (even.length && g.chance(0.6)) {
    const parts = g.pick(even);
    return g.split(x, axis, Array<number>(parts).fill(size / parts));
  }
  const first = g.int(1, size - 1);
  return g.split(x, axis, [first, size - first]);
}

/** A new axis of copies, at the front or in the place of one of size 1. */
function expand(x: Val, g: Maker): Val {
  const ones = g.axes(x).filter((i) => x.dims[i] === 1);
  const n = g.int(2, 3);
  if (ones.length === 0) {
    const y = g.unsqueeze(x, g.int(0, x.dims.length));
    const at = y.dims.findIndex((d, i) => d === 1 && i !== y.rows);
    return g.emit('Expand', [y, g.b.ints(y.dims.map((_, i) => (i === at ? n : 1)))], set(y.dims, at, n), y.rows);
  }
  const at = g.pick(ones);
  if (g.chance(0.5)) {
    const shape = x.dims.map((d, i) => (i === at ? n : i === x.rows || g.chance(0.5) ? 1 : d));
    return g.emit('Expand', [x, g.b.ints(shape)], set(x.dims, at, n), x.rows);
  }
  const [front, back] = [x.dims.slice(0, at), x.dims.slice(at + 1)];
  const sizes = g.b.op('Shape', [x.value]);
  const parts = [
    ...front.map((_, i) => g.b.op('Gather', [sizes, g.b.ints([i])], { axis: 0 })),
    g.b.ints([n]),
    ...back.map((_, i) => g.b.op('Gather', [sizes, g.b.ints([at + 1 + i])], { axis: 0 })),
  ];
  return g.emit('Expand', [x, g.b.concat(parts, 0)], set(x.dims, at, n), x.rows);
}

const set = (dims: readonly number[], at: number, n: number) => dims.map((d, i) => (i === at ? n : d));

function tile(x: Val, g: Maker): Val {
  const axis = g.pick(g.axes(x));
  const repeats = x.dims.map((_, i) => (i === axis ? 2 : 1));
  return g.emit('Tile', [x, g.b.ints(repeats)], set(x.dims, axis, 2 * x.dims[axis]), x.rows);
}

function resize(x: Val, g: Maker): Val {
  const dims = x.dims.map((d, i) => (i > 1 ? 2 * d : d));
  const scales = g.b.floats(
    x.dims.map((_, i) => (i > 1 ? 2 : 1)),
    [x.dims.length],
    'scales',
  );
  const mode = g.pick(['nearest', 'linear']);
  if (g.opset < 10) return g.emit('Upsample', [x], dims, x.rows, { mode, scales: { floats: [1, 1, 2, 2] } });
  if (g.opset === 10) return g.emit('Resize', [x, scales], dims, x.rows, { mode });
  const roi = g.opset < 13 ? g.b.floats([], [0], 'roi') : null;
  const attrs = {
    mode,
    coordinate_transformation_mode: 'asymmetric',
    ...(mode === 'nearest' ? { nearest_mode: 'floor' } : {}),
  };
  if (x.rows >= 0 || g.chance(0.5)) return g.emit('Resize', [x, roi, scales], dims, x.rows, attrs);
  const empty = g.opset < 13 ? g.b.floats([], [0], 'none') : null;
  return g.emit('Resize', [x, roi, empty, g.b.ints(dims)], dims, x.rows, attrs);
}

const doubles = (x: Val, g: Maker, times: number) => g.small([times, ...x.dims]);
const image = (x: Val) => x.dims.length === 4 && x.rows <= 0;

export const moving: Template[] = [
  { name: 'Reshape', weight: 7, make: reshape },
  {
    name: 'Reshape of the batch',
    weight: 2,
    fits: (x) => x.rows >= 0 && x.dims[x.rows] > 2 && x.dims.length < 5,
    make: splitRows,
  },
  { name: 'Flatten', fits: (x) => x.dims.length > 1 && x.rows <= 0, make: flatten },
  {
    name: 'Transpose',
    weight: 3,
    fits: (x) => x.dims.length > 1,
    make: (x, g) => g.transpose(x, g.shuffle([...x.dims.keys()])),
  },
  { name: 'Unsqueeze', fits: (x) => x.dims.length < 5, make: (x, g) => g.unsqueeze(x, g.int(0, x.dims.length)) },
  {
    name: 'Squeeze',
    weight: 2,
    fits: (x, g) => x.dims.length > 2 && g.axes(x).some((i) => x.dims[i] === 1),
    make: (x, g) => g.squeeze(x, g.pick(g.axes(x).filter((i) => x.dims[i] === 1))),
  },
  { name: 'Concat', weight: 5, fits: (x, g) => doubles(x, g, 4), make: concat },
  { name: 'Split', weight: 3, fits: (x, g) => g.axes(x).some((i) => x.dims[i] > 1), make: split },
  { name: 'Slice', weight: 2, fits: (x, g) => g.axes(x).some((i) => x.dims[i] > 2), make: slice },
  { name: 'Gather', weight: 2, make: gather },
  { name: 'Pad', weight: 1.5, fits: (x, g) => doubles(x, g, 3), make: pad },
  { name: 'Expand', weight: 1.5, opset: [8], fits: (x, g) => doubles(x, g, 3) && x.dims.length < 5, make: expand },
  { name: 'Tile', fits: (x, g) => doubles(x, g, 2), make: tile },
  { name: 'Resize', fits: (x, g) => image(x) && doubles(x, g, 4), make: resize },
  {
    name: 'DepthToSpace',
    fits: (x) => image(x) && x.dims[1] % 4 === 0,
    make: (x, g) => {
      const [n, c, h, w] = x.dims;
      const mode: Attrs = g.opset >= 11 ? { mode: g.pick(['DCR', 'CRD']) } : {};
      return g.emit('DepthToSpace', [x], [n, c / 4, 2 * h, 2 * w], x.rows, { blocksize: 2, ...mode });
    },
  },
  {
    name: 'SpaceToDepth',
    fits: (x) => image(x) && x.dims[2] % 2 === 0 && x.dims[3] % 2 === 0,
    make: (x, g) => {
      const [n, c, h, w] = x.dims;
      return g.emit('SpaceToDepth', [x], [n, 4 * c, h / 2, w / 2], x.rows, { blocksize: 2 });
    },
  },
];

/** Flatten at any axis behind the batch. */
export function flatten(x: Val, g: Maker): Val {
  const axis = x.rows === 0 ? g.int(1, Math.min(2, x.dims.length - 1)) : g.int(0, x.dims.length);
  const dims = [product(x.dims.slice(0, axis)), product(x.dims.slice(axis))];
  return g.emit('Flatten', [x], dims, x.rows, { axis });
}
