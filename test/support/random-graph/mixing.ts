import type { Maker, Template, Val } from './maker.ts';
import { product } from './maker.ts';

/** Ops that mix positions without weights of their own: normalisations, pools, reductions. */

const image = (x: Val) => x.dims.length >= 3 && x.dims.length <= 5 && x.rows <= 0;
/** Large enough that what is nearly constant is not blown up to noise. */
const epsilon = { float: 0.05 };

function batchNorm(x: Val, g: Maker): Val {
  const c = [x.dims[1]];
  const parameters = [g.around(c, 1), g.around(c, 0), g.around(c, 0), g.around(c, 1)];
  return g.like('BatchNormalization', [x, ...parameters], x, { epsilon });
}

function layerNorm(x: Val, g: Maker): Val {
  const rank = x.dims.length;
  const from = g.chance(0.7) || x.rows >= rank - 2 ? rank - 1 : Math.max(x.rows + 1, rank - 2);
  const dims = x.dims.slice(from);
  const inputs = [x, g.around(dims, 1), ...(g.chance(0.7) ? [g.around(dims, 0)] : [])];
  return g.like('LayerNormalization', inputs, x, { axis: g.chance(0.5) ? from : from - rank, epsilon });
}

/** The mean and the variance over some axes, with a scale along them. */
function layerNormInParts(x: Val, g: Maker): Val {
  const axes = g.shuffle(g.axes(x)).slice(0, g.pick([1, 1, 1, 2]));
  const mean = g.reduce('ReduceMean', x, axes, true);
  const centred = g.like('Sub', [x, mean], x);
  const square = g.chance(0.5) ? g.like('Pow', [centred, g.scalar(2)], x) : g.like('Mul', [centred, centred], x);
  const variance = g.reduce('ReduceMean', square, axes, true);
  const deviation = g.like('Sqrt', [g.like('Add', [variance, g.scalar(0.05)], variance)], variance);
  const y = g.like('Div', [centred, deviation], x);
  const dims = x.dims.map((d, i) => (axes.includes(i) ? d : 1));
  return g.like('Mul', [y, g.around(dims, 1)], x);
}

function rmsNormInParts(x: Val, g: Maker): Val {
  const axis = g.pick(g.axes(x));
  const mean = g.reduce('ReduceMean', g.like('Mul', [x, x], x), [axis], true);
  const root = g.like('Sqrt', [g.like('Add', [mean, g.scalar(0.05)], mean)], mean);
  return g.like('Mul', [x, g.like('Reciprocal', [root], root)], x);
}

function groupNorm(x: Val, g: Maker): Val {
  const c = x.dims[1];
  const groups = g.pick([1, 2, 3, 4, c].filter((n) => c % n === 0));
  const parameters = g.opset < 21 ? groups : c;
  return g.like('GroupNormalization', [x, g.around([parameters], 1), g.around([parameters], 0)], x, {
    num_groups: groups,
    epsilon,
  });
}

/** As exporters write it before opset 18: InstanceNormalization over [batch, groups, what is in a group]. */
function groupNormAsInstances(x: Val, g: Maker): Val {
  const c = x.dims[1];
  const groups = g.pick([1, 2, 3, 4].filter((n) => c % n === 0));
  const y = g.reshape(x, [x.dims[0], groups, product(x.dims.slice(1)) / groups], x.rows);
  const ones = g.b.floats(Array<number>(groups).fill(1));
  const zeros = g.b.floats(Array<number>(groups).fill(0));
  const normed = g.like('InstanceNormalization', [y, ones, zeros], y, { epsilon });
  const back = g.reshape(normed, x.dims, x.rows);
  const dims = [c, ...x.dims.slice(2).map(() => 1)];
  return g.like('Mul', [back, g.around(dims, 1)], x);
}

function pool(x: Val, g: Maker): Val {
  const op = g.pick(['MaxPool', 'AveragePool', 'MaxPool', 'AveragePool', 'LpPool']);
  const kernel = x.dims.slice(2).map((s) => (s >= 2 ? 2 : 1));
  const stride = g.int(1, 2);
  const space = x.dims.slice(2).map((s, i) => Math.floor((s - kernel[i]) / stride) + 1);
  const attrs = { kernel_shape: kernel, strides: kernel.map(() => stride) };
  return g.emit(op, [x], [...x.dims.slice(0, 2), ...space], x.rows, attrs);
}

const REDUCTIONS =
  'ReduceSum ReduceMean ReduceMean ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSumExp ReduceProd ReduceLogSum'.split(
    ' ',
  );

function reduce(x: Val, g: Maker): Val {
  const most = x.dims.length - 1;
  const axes = g.shuffle(g.axes(x)).slice(0, g.int(1, Math.min(most, 3)));
  const op = g.pick(REDUCTIONS);
  let y = x;
  if (op === 'ReduceProd')
    y = g.like('Add', [g.like('Mul', [g.like('Tanh', [x], x), g.scalar(0.2)], x), g.scalar(1)], x);
  if (op === 'ReduceLogSum') {
    // A sum that stays away from 0 also where units are gated.
    y = g.reduce('ReduceSumSquare', x, axes, g.chance(0.5));
    return g.like('Log', [g.like('Add', [y, g.scalar(1)], y)], y);
  }
  const reduced = g.reduce(op, y, axes, g.chance(0.5));
  const n = product(axes.map((i) => x.dims[i]));
  const scale = { ReduceSum: 1 / Math.sqrt(n), ReduceL1: 1 / n, ReduceSumSquare: 1 / n }[op];
  return scale ? g.like('Mul', [reduced, g.scalar(scale)], reduced) : reduced;
}

/** Softmax over any axis; before opset 13 over all axes from one on. */
function softmax(x: Val, g: Maker): Val {
  const op = g.chance(0.8) ? 'Softmax' : 'LogSoftmax';
  const axis = g.opset < 13 ? g.int(x.rows + 1, x.dims.length - 1) : g.pick(g.axes(x));
  return g.like(op, [x], x, { axis: g.chance(0.5) || g.opset < 11 ? axis : axis - x.dims.length });
}

export const mixing: Template[] = [
  { name: 'BatchNormalization', weight: 2.5, fits: (x) => x.dims.length > 1 && x.rows !== 1, make: batchNorm },
  {
    name: 'LayerNormalization',
    weight: 2,
    opset: [17],
    fits: (x) => x.rows < x.dims.length - 1,
    make: layerNorm,
  },
  {
    name: 'RMSNormalization',
    opset: [23],
    weight: 3,
    fits: (x) => x.rows < x.dims.length - 1,
    make: (x, g) => g.like('RMSNormalization', [x, g.around(x.dims.slice(-1), 1)], x, { epsilon }),
  },
  {
    name: 'SkipLayerNormalization',
    fits: (x) => x.dims.length === 3 && x.rows <= 1,
    make: (x, g) => {
      const c = x.dims.slice(-1);
      return g.like('com.microsoft.SkipLayerNormalization', [x, g.mate(x), g.around(c, 1), g.around(c, 0)], x, {
        epsilon,
      });
    },
  },
  { name: 'LayerNorm in parts', weight: 1.5, make: layerNormInParts },
  { name: 'RMSNorm in parts', make: rmsNormInParts },
  { name: 'GroupNormalization', weight: 2, opset: [18], fits: image, make: groupNorm },
  { name: 'GroupNorm as InstanceNormalization', fits: image, make: groupNormAsInstances },
  {
    name: 'InstanceNormalization',
    fits: (x) => image(x) && product(x.dims.slice(2)) > 1,
    make: (x, g) => {
      const c = [x.dims[1]];
      return g.like('InstanceNormalization', [x, g.around(c, 1), g.around(c, 0)], x, { epsilon });
    },
  },
  {
    name: 'LpNormalization',
    weight: 0.5,
    make: (x, g) => {
      const y = g.like('Add', [g.like('Abs', [x], x), g.scalar(0.3)], x);
      return g.like('LpNormalization', [y], y, { axis: g.pick(g.axes(x)), p: g.int(1, 2) });
    },
  },
  { name: 'pool', weight: 1.5, fits: image, make: pool },
  {
    name: 'global pool',
    fits: image,
    make: (x, g) => {
      const op = g.pick(['GlobalAveragePool', 'GlobalMaxPool']);
      return g.emit(op, [x], [...x.dims.slice(0, 2), ...x.dims.slice(2).map(() => 1)], x.rows);
    },
  },
  { name: 'reduction', weight: 4, fits: (x) => x.dims.length > 1, make: reduce },
  { name: 'Softmax', weight: 2.5, fits: (x, g) => g.opset >= 13 || x.rows < x.dims.length - 1, make: softmax },
  {
    name: 'CumSum',
    weight: 0.7,
    opset: [11],
    make: (x, g) => g.like('CumSum', [x, g.b.ints([g.pick(g.axes(x))], [])], x, { reverse: g.int(0, 1) }),
  },
  {
    name: 'TopK',
    weight: 0.5,
    opset: [11],
    fits: (x, g) => g.axes(x).some((i) => x.dims[i] > 2),
    make: (x, g) => {
      const axis = g.pick(g.axes(x).filter((i) => x.dims[i] > 2));
      const [value] = g.many('TopK', [x, g.b.ints([2])], 2, { axis });
      return { value, dims: x.dims.map((d, i) => (i === axis ? 2 : d)), rows: x.rows };
    },
  },
  {
    name: 'LRN',
    weight: 0.3,
    fits: (x) => x.dims.length === 4 && x.rows <= 0,
    make: (x, g) => g.like('LRN', [x], x, { size: 3 }),
  },
];
