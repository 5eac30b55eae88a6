import type { Attrs } from '../build.ts';
import type { Maker, Template, Val } from './maker.ts';
import { product } from './maker.ts';

/** Layers with weights: what produces and contracts units. */

const image = (x: Val) => x.dims.length >= 3 && x.dims.length <= 5 && x.rows <= 0;

/** Kernel, strides and pads for the spatial axes, and what they leave. */
function window(g: Maker, x: Val): { attrs: Attrs; kernel: number[]; space: number[] } {
  const sizes = x.dims.slice(2);
  const kernel = sizes.map((s) => (s >= 3 && g.chance(0.5) ? 3 : 1));
  const pad = g.chance(0.7);
  const stride = g.chance(0.2) ? 2 : 1;
  const pads = kernel.map((k) => (pad && k === 3 ? 1 : 0));
  const space = sizes.map((s, i) => Math.floor((s + 2 * pads[i] - kernel[i]) / stride) + 1);
  const same = pad && stride === 1 && g.chance(0.2);
  return {
    kernel,
    space,
    attrs: {
      kernel_shape: kernel,
      strides: sizes.map(() => stride),
      ...(same ? { auto_pad: 'SAME_UPPER' } : { pads: [...pads, ...pads] }),
    },
  };
}

function conv(g: Maker, x: Val, groups: number, out: number): Val {
  const { attrs, kernel, space } = window(g, x);
  const w = g.weight([out, x.dims[1] / groups, ...kernel]);
  const inputs = g.chance(0.6) ? [x, w, g.around([out], 0)] : [x, w];
  return g.emit('Conv', inputs, [x.dims[0], out, ...space], x.rows, { ...attrs, group: groups });
}

const divisors = (n: number) => [2, 3, 4].filter((d) => n % d === 0 && n > d);

function transposed(g: Maker, x: Val, groups: number): Val {
  const out = groups * g.int(1, 3);
  const up = g.chance(0.5) && product(x.dims) < 600;
  const kernel = x.dims.slice(2).map(() => (up ? 2 : 1));
  const w = g.weight([x.dims[1], out / groups, ...kernel]);
  const inputs = g.chance(0.6) ? [x, w, g.around([out], 0)] : [x, w];
  const space = x.dims.slice(2).map((s) => (up ? 2 * s : s));
  const attrs = { kernel_shape: kernel, strides: kernel, group: groups };
  return g.emit('ConvTranspose', inputs, [x.dims[0], out, ...space], x.rows, attrs);
}

/** LSTM, GRU or RNN over [time, batch, features], in front of which a Transpose puts the batch. */
function recurrent(x: Val, g: Maker): Val {
  const op = g.pick(['LSTM', 'GRU', 'RNN']);
  const gates = { LSTM: 4, GRU: 3, RNN: 1 }[op]!;
  const [hidden, directions] = [g.pick([3, 4, 6]), g.int(1, 2)];
  const turned = x.rows === 0 || g.chance(0.5) ? g.transpose(x, [1, 0, 2]) : x;
  const [time, batch, features] = turned.dims;
  const { b } = g;
  const w = b.weight([directions, gates * hidden, features], 'W', 0.6 / Math.sqrt(features));
  const r = b.weight([directions, gates * hidden, hidden], 'R', 0.6 / Math.sqrt(hidden));
  const inputs = [turned.value, w, r];
  if (g.chance(0.6)) inputs.push(b.weight([directions, 2 * gates * hidden], 'B', 0.2));
  const attrs: Attrs = { hidden_size: hidden, ...(directions === 2 ? { direction: 'bidirectional' } : {}) };
  if (op === 'GRU') attrs.linear_before_reset = g.int(0, 1);
  const [y, last] = b.nodes(op, inputs, attrs, 2);
  if (g.chance(0.3)) {
    const h: Val = { value: last, dims: [directions, batch, hidden], rows: turned.rows };
    return directions === 1 ? g.squeeze(h, 0) : g.transpose(h, [1, 0, 2]);
  }
  const all: Val = { value: y, dims: [time, directions, batch, hidden], rows: turned.rows < 0 ? -1 : 2 };
  if (directions === 1) return g.squeeze(all, 1);
  const arranged = g.transpose(all, [0, 2, 1, 3]);
  return g.reshape(arranged, [time, batch, 2 * hidden], turned.rows);
}

/** A weight with random letters: some of x's axes are summed over, some shared, new ones come in. */
function einsum(x: Val, g: Maker): Val {
  const letters = [...'abcdef'.slice(0, x.dims.length)];
  const size = new Map(letters.map((l, i) => [l, x.dims[i]]));
  const free = g.shuffle(g.axes(x).map((i) => letters[i]));
  const summed = free.splice(0, g.int(1, Math.min(2, free.length)));
  const shared = g.chance(0.3) ? free.splice(0, 1) : [];
  const fresh = ['y', 'z'].slice(0, g.int(1, x.dims.length - summed.length > 3 ? 1 : 2));
  for (const l of fresh) size.set(l, g.width());
  const weight = g.shuffle([...summed, ...shared, ...fresh]);
  const kept = letters.filter((l) => !summed.includes(l));
  const output = g.chance(0.5) ? g.shuffle([...kept, ...fresh]) : [...kept, ...fresh];
  const equation = `${letters.join('')},${weight.join('')}->${output.join('')}`;
  const dims = output.map((l) => size.get(l)!);
  if (!g.small(dims)) return g.linear(x, g.pick(g.axes(x)));
  const rows = x.rows < 0 ? -1 : output.indexOf(letters[x.rows]);
  return g.emit('Einsum', [x, g.weight(weight.map((l) => size.get(l)!))], dims, rows, { equation });
}

/** Two activations of the same sizes are multiplied: every axis is shared, summed over, or told apart. */
function einsumOfTwo(x: Val, g: Maker): Val {
  const y = g.mate(x);
  const letters = [...'abcdef'.slice(0, x.dims.length)];
  const order = g.shuffle(g.axes(x));
  const summed = letters[order[0]];
  const apart = order.slice(1, g.int(1, 2)).map((i) => letters[i]);
  const second = letters.map((l) => (apart.includes(l) ? l.toUpperCase() : l));
  const output = g.shuffle([...letters.filter((l) => l !== summed), ...apart.map((l) => l.toUpperCase())]);
  const dims = output.map((l) => x.dims[letters.indexOf(l.toLowerCase())]);
  if (!g.small(dims)) return g.like('Tanh', [x], x);
  const rows = x.rows < 0 ? -1 : output.indexOf(letters[x.rows]);
  const equation = `${letters.join('')},${second.join('')}->${output.join('')}`;
  return g.emit('Einsum', [x, y], dims, rows, { equation });
}

/** x·yᵀ or xᵀ·y over the last two axes. */
function matMulOfTwo(x: Val, g: Maker): Val {
  const y = g.mate(x);
  const rank = x.dims.length;
  const perm = [...x.dims.keys()].map((i) => (i === rank - 1 ? rank - 2 : i === rank - 2 ? rank - 1 : i));
  const [m, k] = x.dims.slice(-2);
  const lead = x.dims.slice(0, -2);
  const scaled = (v: Val, n: number) => g.like('Mul', [v, g.scalar(1 / Math.sqrt(n))], v);
  if (g.chance(0.6)) return scaled(g.emit('MatMul', [x, g.transpose(y, perm)], [...lead, m, m], x.rows), k);
  return scaled(g.emit('MatMul', [g.transpose(x, perm), y], [...lead, k, k], x.rows), m);
}

export const layers: Template[] = [
  { name: 'Conv', weight: 4, fits: image, make: (x, g) => conv(g, x, 1, g.width()) },
  { name: 'depthwise Conv', weight: 1.5, fits: image, make: (x, g) => conv(g, x, x.dims[1], x.dims[1] * g.int(1, 2)) },
  {
    name: 'grouped Conv',
    weight: 2,
    fits: (x) => image(x) && divisors(x.dims[1]).length > 0,
    make: (x, g) => {
      const groups = g.pick(divisors(x.dims[1]));
      return conv(g, x, groups, groups * g.int(1, 4));
    },
  },
  {
    name: 'ConvTranspose',
    fits: (x) => image(x) && x.dims.length < 5,
    make: (x, g) => transposed(g, x, g.pick([1, 1, ...divisors(x.dims[1]), x.dims[1]])),
  },
  {
    name: 'linear along any axis',
    weight: 5,
    make: (x, g) => g.linear(x, g.pick(g.axes(x)), g.width()),
  },
  {
    name: 'Gemm of a transposed operand',
    fits: (x) => x.dims.length === 2,
    make: (x, g) => {
      const turned = x.rows >= 0 ? g.transpose(x, [1, 0]) : x;
      const [k, m] = turned.dims;
      const out = g.width();
      const c = g.pick([g.around([out], 0), g.around([1, out], 0), g.around([1], 0)]);
      return g.emit('Gemm', [turned, g.weight([k, out]), c], [m, out], turned.rows < 0 ? -1 : turned.rows - 1, {
        transA: 1,
        alpha: { float: 0.7 },
      });
    },
  },
  { name: 'recurrent', weight: 5, fits: (x) => x.dims.length === 3 && x.rows < 2, make: recurrent },
  { name: 'Einsum', weight: 2, opset: [12], fits: (x) => x.dims.length > 1 && x.dims.length < 5, make: einsum },
  {
    name: 'Einsum of two',
    weight: 1.5,
    opset: [12],
    fits: (x) => x.dims.length > 1 && x.dims.length < 5,
    make: einsumOfTwo,
  },
  {
    name: 'MatMul of two',
    weight: 1.5,
    fits: (x, g) =>
      x.dims.length > 1 && x.rows < x.dims.length - 2 && g.small([...x.dims.slice(0, -1), ...x.dims.slice(-2)]),
    make: matMulOfTwo,
  },
];
