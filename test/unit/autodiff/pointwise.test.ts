import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addGradients } from '../../../src/autodiff/gradient.ts';
import type { GradientRule } from '../../../src/autodiff/rules/rule.ts';
import type { Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { builder, type Attrs, type Builder } from '../../support/build.ts';
import { checkGradient, runValues } from '../../support/gradients.ts';

/** Numbers that are away from every kink of the functions below, on all sides of them. */
const SPREAD = [-4.1, -2.6, -1.2, -0.63, -0.3, -0.08, 0.11, 0.27, 0.7, 1.35, 2.4, 3.7];
const INSIDE = [-0.9, -0.62, -0.4, -0.21, -0.1, -0.03, 0.04, 0.17, 0.33, 0.5, 0.71, 0.88];
const ABOVE = [0.2, 0.35, 0.5, 0.8, 1.05, 1.3, 1.6, 2.1, 2.9, 3.3, 4.2, 5.1];

const feed = (values: number[]) => ({ x: new ort.Tensor('float32', Float32Array.from(values), [3, 4]) });

async function checkUnary(op: string, opset: number, values: number[], attrs: Attrs = {}): Promise<void> {
  const b = builder({ opset });
  const x = b.input('x', ['N', 4]);
  const y = b.op(op, [x], attrs);
  // The runtime's Shrink computes float64 in float32 in part.
  const tolerance = op === 'Shrink' ? 5e-3 : undefined;
  const { compared } = await checkGradient(b.model, y, [x], { feeds: feed(values), tolerance });
  expect(compared).toBe(12);
}

describe('functions of one value', () => {
  it.each([
    ['Neg', 7, SPREAD],
    ['Abs', 7, SPREAD],
    ['Abs', 13, SPREAD],
    ['Sqrt', 13, ABOVE],
    ['Reciprocal', 13, SPREAD],
    ['Exp', 7, INSIDE],
    ['Exp', 13, SPREAD],
    ['Log', 13, ABOVE],
    ['Erf', 13, INSIDE],
    ['Erf', 9, SPREAD],
    ['Sin', 13, SPREAD],
    ['Cos', 13, SPREAD],
    ['Tan', 13, INSIDE],
    ['Asin', 13, INSIDE],
    ['Acos', 13, INSIDE],
    ['Atan', 13, SPREAD],
    ['Sinh', 13, INSIDE],
    ['Cosh', 13, INSIDE],
    ['Tanh', 13, SPREAD],
    ['Asinh', 13, SPREAD],
    ['Acosh', 13, ABOVE.map((v) => v + 1)],
    ['Atanh', 13, INSIDE],
    ['Identity', 13, SPREAD],
    ['Dropout', 7, SPREAD],
    ['Dropout', 12, SPREAD],
    ['Relu', 7, SPREAD],
    ['Relu', 14, SPREAD],
    ['Sigmoid', 13, SPREAD],
    ['Softplus', 13, SPREAD],
    ['Softsign', 13, SPREAD],
    ['HardSwish', 14, SPREAD],
    ['Mish', 18, SPREAD],
    ['Gelu', 20, SPREAD],
    ['com.microsoft.Gelu', 17, SPREAD],
    ['com.microsoft.FastGelu', 17, SPREAD],
    ['com.microsoft.QuickGelu', 17, SPREAD],
  ] as [string, number, number[]][])('%s, opset %i', (op, opset, values) => checkUnary(op, opset, values));

  it.each([
    ['LeakyRelu', 7, { alpha: 0.3 }],
    ['LeakyRelu', 16, {}],
    ['ThresholdedRelu', 10, { alpha: 0.5 }],
    ['Elu', 13, { alpha: 1.4 }],
    ['Selu', 13, {}],
    ['Selu', 13, { alpha: 1.3, gamma: 1.1 }],
    ['Celu', 12, { alpha: 1.7 }],
    ['Shrink', 9, { lambd: 0.4, bias: 0.2 }],
    ['HardSigmoid', 7, {}],
    ['HardSigmoid', 14, { alpha: 1 / 6, beta: 0.5 }],
    ['Clip', 7, { min: -0.5, max: 1.5 }],
    ['Clip', 10, { min: -0.5 }],
    ['Gelu', 20, { approximate: 'tanh' }],
    ['Floor', 13, {}],
    ['Round', 13, {}],
    ['Swish', 24, { alpha: 1.5 }],
  ] as [string, number, Attrs][])('%s, opset %i, %o', (op, opset, attrs) => checkUnary(op, opset, SPREAD, attrs));
});

describe('arithmetic', () => {
  type Make = (b: Builder, x: Value, y: Value) => Value;
  const positive = (n: number) => Float32Array.from({ length: n }, (_, i) => 0.4 + ((i * 7) % 11) / 5);
  const pairs: [string, number, Make][] = [
    ['Add', 7, (b, x, y) => b.op('Add', [x, y])],
    ['Sub', 7, (b, x, y) => b.op('Sub', [x, y])],
    ['Mul', 14, (b, x, y) => b.op('Mul', [x, y])],
    ['Div', 14, (b, x, y) => b.op('Div', [x, y])],
    ['Pow', 7, (b, x, y) => b.op('Pow', [x, y])],
    ['Pow', 15, (b, x, y) => b.op('Pow', [x, y])],
    ['Max', 8, (b, x, y) => b.op('Max', [x, y])],
    ['Min', 13, (b, x, y) => b.op('Min', [x, y, b.floats([1.1], [1])])],
    ['Sum', 8, (b, x, y) => b.op('Sum', [x, y, x])],
    ['Mean', 13, (b, x, y) => b.op('Mean', [x, y, b.floats([1])])],
    ['Mod', 13, (b, x, y) => b.op('Mod', [x, y], { fmod: 1 })],
    ['PRelu', 9, (b, x, y) => b.op('PRelu', [b.op('Sub', [x, b.floats([1.3])]), y])],
    ['Where', 9, (b, x, y) => b.op('Where', [b.op('Greater', [x, y]), b.op('Mul', [x, y]), y])],
  ];
  it.each(pairs)('%s, opset %i, of values that are broadcast', async (_, opset, make) => {
    const b = builder({ opset });
    const [x, y] = [b.input('x', ['N', 3]), b.input('y', [3])];
    const feeds = {
      x: new ort.Tensor('float32', positive(6), [2, 3]),
      y: new ort.Tensor('float32', Float32Array.of(0.93, 1.71, 2.27), [3]),
    };
    const { compared } = await checkGradient(b.model, make(b, x, y), [x, y], { feeds });
    expect(compared).toBe(9);
  });

  it.each([0, 1, 2, 3, 0.5, -1.5])('x to a constant power %f', async (power) => {
    const b = builder();
    const x = b.input('x', ['N', 4]);
    await checkGradient(b.model, b.op('Pow', [x, b.floats([power], [])]), [x], { feeds: feed(ABOVE) });
  });

  it('a whole number as the exponent, and negative bases', async () => {
    const b = builder();
    const x = b.input('x', ['N', 4]);
    await checkGradient(b.model, b.op('Pow', [x, b.ints([2, 3, 1, 0])]), [x], { feeds: feed(SPREAD) });
  });

  it('powers of 0 have finite gradients', async () => {
    const b = builder();
    const [x, y] = [b.input('x', [3]), b.input('y', [3])];
    const total = b.op('ReduceSum', [b.op('Pow', [x, y])], { keepdims: 0 });
    const { gradients } = addGradients(b.model, total, [x, y], { rules: sumRule });
    const made = [gradients.get(x)!, gradients.get(y)!];
    const feeds = { x: floats([0, 0, 2]), y: floats([2, 0, 0]) };
    const out = await runValues(b.model, made, feeds);
    expect([...(out[made[0].name].data as Float32Array)]).toEqual([0, 0, 0]);
    expect(Array.from(out[made[1].name].data as Float32Array)).toEqual([0, 0, Math.fround(Math.log(2))]);
  });

  it('equal largest values share', async () => {
    const b = builder();
    const [x, y] = [b.input('x', [3]), b.input('y', [3])];
    const total = b.op('ReduceSum', [b.op('Max', [x, y])], { keepdims: 0 });
    const { gradients } = addGradients(b.model, total, [x, y], { rules: sumRule });
    const feeds = { x: floats([1, 2, 3]), y: floats([2, 2, 2]) };
    const made = [gradients.get(x)!, gradients.get(y)!];
    const out = await runValues(b.model, made, feeds);
    expect([...(out[made[0].name].data as Float32Array)]).toEqual([0, 0.5, 1]);
    expect([...(out[made[1].name].data as Float32Array)]).toEqual([1, 0.5, 0]);
  });

  it('Clip with bounds that are values gives them what it cuts off', async () => {
    const b = builder({ opset: 13 });
    const [x, low, high] = [b.input('x', ['N', 4]), b.input('low', []), b.input('high', [])];
    const feeds = { ...feed(SPREAD), low: floats([-1], []), high: floats([1.1], []) };
    await checkGradient(b.model, b.op('Clip', [x, low, high]), [x, low, high], { feeds });
    await checkGradient(b.model, b.op('Clip', [x, null, high]), [x, high], { feeds });
  });

  it('biases of activations, and the slope of PRelu by channel', async () => {
    const b = builder();
    const [x, bias] = [b.input('x', ['N', 4]), b.weight([4])];
    for (const op of ['BiasGelu', 'FastGelu'])
      await checkGradient(b.model, b.op(`com.microsoft.${op}`, [x, bias]), [x, bias], { feeds: feed(SPREAD) });
    const image = b.input('image', ['N', 3, 2, 2]);
    const slope = b.weight([3, 1, 1]);
    await checkGradient(b.model, b.op('PRelu', [image, slope]), [image, slope]);
  });

  it('Cast there and back, to float16 and through integers', async () => {
    const b = builder();
    const x = b.input('x', ['N', 4]);
    const wide = b.op('Cast', [x], { to: DataType.DOUBLE });
    const back = b.op('Cast', [b.op('Mul', [wide, wide])], { to: DataType.FLOAT });
    await checkGradient(b.model, back, [x], { feeds: feed(SPREAD) });
    const whole = b.op('Cast', [b.op('Cast', [x], { to: DataType.INT64 })], { to: DataType.FLOAT });
    await checkGradient(b.model, b.mul(x, whole), [x], { feeds: feed(SPREAD) });
  });

  it('Dropout that trains passes what its mask kept', async () => {
    const b = builder({ opset: 13 });
    const x = b.input('x', [3, 4]);
    const on = b.constant(Tensor.fromBytes('on', DataType.BOOL, [], Uint8Array.of(1)));
    const y = b.op('Dropout', [x, b.floats([0.4], []), on]);
    const total = b.op('ReduceSum', [y], { keepdims: 0 });
    const { gradients } = addGradients(b.model, total, [x], { rules: sumRule });
    const gradient = gradients.get(x)!;
    const out = await runValues(b.model, [y, gradient], feed(SPREAD));
    const [values, slopes] = [out[y.name].data as Float32Array, out[gradient.name].data as Float32Array];
    SPREAD.forEach((v, i) => expect(slopes[i]).toBeCloseTo(values[i] / v, 5));
    expect([...slopes].some((s) => s !== 0)).toBe(true);
  });
});

/** A rule for the sum at the end of a test. */
const sumRule = new Map<string, GradientRule>([['ReduceSum', (c) => c.give(0, c.expandLike(c.grad()!, c.input(0)))]]);

function floats(values: number[], dims = [values.length]): ort.Tensor {
  return new ort.Tensor('float32', Float32Array.from(values), dims);
}
