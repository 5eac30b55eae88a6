import type { Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import type { Maker, Template, Val } from './maker.ts';
import { product } from './maker.ts';

/** Ops that work element by element, with what they broadcast. */

const UNARY: [string, number][] = [
  ...'Relu LeakyRelu Elu Selu Sigmoid Tanh HardSigmoid Softplus Softsign Erf Abs Neg Sin Cos Identity ThresholdedRelu'
    .split(' ')
    .map((op): [string, number] => [op, op === 'Erf' ? 9 : op === 'ThresholdedRelu' ? 10 : 7]),
  ['Celu', 12],
  ['HardSwish', 14],
  ['Mish', 18],
  ['Gelu', 20],
  ['com.microsoft.Gelu', 7],
  ['com.microsoft.QuickGelu', 7],
];

function unary(x: Val, g: Maker): Val {
  const [op] = g.pick(UNARY.filter(([name, since]) => since <= g.opset && name !== 'ThresholdedRelu'));
  return g.like(op, [x], x);
}

/** A constant that broadcasts to x: along some of its axes, the leading ones possibly left out. */
function broadcastConstant(x: Val, g: Maker, centre: number): Value {
  const dims = x.dims.map((d, i) => (i !== x.rows && g.chance(0.5) ? d : 1));
  const first = dims.findIndex((d) => d !== 1);
  if (first > 0 && g.chance(0.5)) dims.splice(0, first);
  return g.around(dims, centre);
}

/** Another value of x's rank or less that broadcasts to x: a mean of something over some axes, say. */
function broadcastMate(x: Val, g: Maker): Val {
  const y = g.mate(x);
  const axes = g.shuffle(g.axes(x)).slice(0, g.int(1, Math.max(1, x.dims.length - 2)));
  const op = g.pick(['ReduceMean', 'ReduceMax', 'ReduceSum', 'ReduceMin']);
  const reduced = g.reduce(
    op,
    y,
    axes.sort((a, b) => a - b),
    true,
  );
  if (op !== 'ReduceSum') return reduced;
  return g.like('Mul', [reduced, g.scalar(1 / product(axes.map((i) => x.dims[i])))], reduced);
}

function binary(x: Val, g: Maker): Val {
  const op = g.pick(['Add', 'Add', 'Add', 'Mul', 'Mul', 'Sub', 'Max', 'Min', 'Mean', 'Sum', 'Div', 'PRelu', 'Where']);
  const form = g.random();
  const constant = op === 'PRelu' || form < 0.3;
  if (constant) {
    const centre = op === 'Div' ? 2 : op === 'Mul' ? 1 : 0;
    const c = broadcastConstant(x, g, centre);
    if (op === 'Where') return where(x, c, g);
    const swapped = ['Add', 'Mul', 'Sub', 'Max'].includes(op) && g.chance(0.4);
    return g.like(op, swapped ? [c, x] : [x, c], x);
  }
  let y = form < 0.75 ? g.mate(x) : broadcastMate(x, g);
  if (op === 'Where') return where(x, y.value, g);
  if (op === 'Mul') y = g.like(g.pick(['Sigmoid', 'Tanh']), [y], y);
  if (op === 'Div') {
    const square = g.like('Mul', [y, y], y);
    y = g.like('Add', [square, g.scalar(1)], square);
  }
  if (op === 'Sum' || op === 'Mean') return g.like(op, [x, y, broadcastConstant(x, g, 0)], x);
  return g.like(op, g.chance(0.5) && op !== 'Div' ? [y, x] : [x, y], x);
}

/** Where, by a constant condition or by which of the two is greater. */
function where(x: Val, y: Value, g: Maker): Val {
  if (g.opset < 9) return g.like('Add', [x, y], x);
  let condition: Value;
  if (g.chance(0.5)) {
    const dims = x.dims.map((d, i) => (i !== x.rows && g.chance(0.6) ? d : 1));
    const bits = Uint8Array.from({ length: product(dims) }, () => g.int(0, 1));
    condition = g.b.constant(Tensor.fromBytes('mask', DataType.BOOL, dims, bits));
  } else condition = g.b.op('Greater', [x.value, y]);
  return g.like('Where', g.chance(0.5) ? [condition, x, y] : [condition, y, x], x);
}

function clip(x: Val, g: Maker): Val {
  if (g.opset < 11) return g.like('Clip', [x], x, { min: { float: -0.5 }, max: { float: 1.5 } });
  return g.like('Clip', [x, g.chance(0.8) ? g.scalar(-0.5) : null, g.scalar(1.5)], x);
}

export const pointwise: Template[] = [
  { name: 'activation', weight: 5, make: unary },
  { name: 'binary', weight: 8, make: binary },
  { name: 'Clip', make: clip },
  {
    name: 'swish',
    make: (x, g) => g.like('Mul', [x, g.like('Sigmoid', [x], x)], x),
  },
  {
    name: 'GELU in parts',
    opset: [9],
    make: (x, g) => {
      const erf = g.like('Erf', [g.like('Div', [x, g.scalar(Math.SQRT2)], x)], x);
      const half = g.like('Mul', [x, g.like('Add', [erf, g.scalar(1)], x)], x);
      return g.like('Mul', [half, g.scalar(0.5)], x);
    },
  },
  {
    name: 'root of a square',
    make: (x, g) => {
      const square = g.like('Pow', [x, g.scalar(2)], x);
      return g.like('Sqrt', [g.like('Add', [square, g.scalar(0.1)], x)], x);
    },
  },
  {
    name: 'Exp',
    make: (x, g) => g.like('Exp', [g.like('Neg', [g.like('Abs', [x], x)], x)], x),
  },
  { name: 'Dropout', weight: 0.5, make: (x, g) => g.like('Dropout', [x], x) },
  {
    name: 'Cast there and back',
    weight: 0.5,
    make: (x, g) => g.like('Cast', [g.like('Cast', [x], x, { to: DataType.DOUBLE })], x, { to: DataType.FLOAT }),
  },
  {
    name: 'Div by the root of a size',
    make: (x, g) => {
      const size = g.b.op('Gather', [g.b.op('Shape', [x.value]), g.b.ints([g.pick(g.axes(x))])], { axis: 0 });
      const root = g.b.op('Sqrt', [g.b.op('Cast', [size], { to: DataType.FLOAT })]);
      return g.like('Div', [x, root], x);
    },
  },
  {
    name: 'Add of zeros of the shape',
    opset: [9],
    weight: 0.5,
    make: (x, g) => {
      const value = Tensor.fromFloat32('', [1], Float32Array.of(0.2));
      const zeros = g.b.op('ConstantOfShape', [g.b.op('Shape', [x.value])], { value });
      return g.like('Add', [x, zeros], x);
    },
  },
];
