import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addVectorJacobianProducts } from '../../../src/autodiff/gradient.ts';
import type { Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { builder, type Builder } from '../../support/build.ts';
import { runValues } from '../../support/gradients.ts';
import { seeded } from '../../support/invariant.ts';

/** Codes with their scale and zero point. */
type Coded = [Value, Value, Value];

/** An op on codes, and the op of floats that it stands for. */
interface Pair {
  shapes: number[][];
  result: number[];
  coded: (b: Builder, operands: Coded[], scale: Value, zero: Value) => Value;
  plain: (b: Builder, operands: Value[]) => Value;
}

const codes = (b: Builder, type: DataType, values: number[], dims = [values.length]) =>
  b.constant(Tensor.fromNumbers('q', type, dims, values));

/** Gradients of Σ R · Y for fixed random numbers R, where X are multiples of the scale that their codes have. */
async function slopes(pair: Pair, coded: boolean): Promise<Float32Array[]> {
  const b = builder({ opset: 13 });
  const random = seeded(3);
  const draw = (dims: number[], f: () => number) => Float32Array.from({ length: dims.reduce((a, c) => a * c, 1) }, f);
  const step = 0.01;
  const inputs = pair.shapes.map((shape, i) => b.input(`x${i}`, shape));
  const feeds = Object.fromEntries(
    pair.shapes.map((shape, i) => [
      `x${i}`,
      new ort.Tensor(
        'float32',
        draw(shape, () => step * Math.round(60 * random() - 30)),
        shape,
      ),
    ]),
  );
  const seed = b.graph.addInitializer('seed', Tensor.fromFloat32('', pair.result, draw(pair.result, random)));
  let y: Value;
  if (coded) {
    const [scale, zero] = [b.floats([step], []), codes(b, DataType.UINT8, [128], [])];
    const made = inputs.map((x): Coded => [b.op('QuantizeLinear', [x, scale, zero]), scale, zero]);
    const [yScale, yZero] = [b.floats([0.02], []), codes(b, DataType.UINT8, [120], [])];
    y = b.op('DequantizeLinear', [pair.coded(b, made, yScale, yZero), yScale, yZero]);
  } else y = pair.plain(b, inputs);
  const { gradients } = addVectorJacobianProducts(b.model, new Map([[y, seed]]), inputs);
  const made = inputs.map((x) => gradients.get(x)!);
  const out = await runValues(b.model, made, feeds);
  return made.map((v) => out[v.name].data as Float32Array);
}

const image = [2, 2, 4, 4];
const weightCodes = Array.from({ length: 24 }, (_, i) => ((i * 37) % 200) - 100);
const kernelCodes = weightCodes.map((q) => q + 100);
const matrixCodes = [40, -30, 17, 88, -90, 5, 61, -12];
const weightScales = [0.004, 0.006, 0.003];
const biasCodes = [300, -200, 100];

const pairs: Record<string, Pair> = {
  'QLinearConv with scales of channels': {
    shapes: [image],
    result: [2, 3, 2, 2],
    coded: (b, [x], scale, zero) => {
      const w = codes(b, DataType.INT8, weightCodes, [3, 2, 2, 2]);
      const wZero = codes(b, DataType.INT8, [0, 0, 0]);
      const bias = codes(b, DataType.INT32, biasCodes);
      const operands = [...x, w, b.floats(weightScales), wZero, scale, zero, bias];
      return b.op('QLinearConv', operands, { strides: [2, 2] });
    },
    plain: (b, [x]) => {
      const w = b.floats(
        weightCodes.map((q, i) => q * weightScales[Math.floor(i / 8)]),
        [3, 2, 2, 2],
      );
      return b.op('Conv', [x, w], { strides: [2, 2] });
    },
  },
  QLinearMatMul: {
    shapes: [
      [2, 3],
      [3, 4],
    ],
    result: [2, 4],
    coded: (b, [x, w], scale, zero) => b.op('QLinearMatMul', [...x, ...w, scale, zero]),
    plain: (b, [x, w]) => b.op('MatMul', [x, w]),
  },
  QLinearAdd: {
    shapes: [image, image],
    result: image,
    coded: (b, [x, w], scale, zero) => b.op('com.microsoft.QLinearAdd', [...x, ...w, scale, zero]),
    plain: (b, [x, w]) => b.op('Add', [x, w]),
  },
  QLinearMul: {
    shapes: [image, image],
    result: image,
    coded: (b, [x, w], scale, zero) => b.op('com.microsoft.QLinearMul', [...x, ...w, scale, zero]),
    plain: (b, [x, w]) => b.op('Mul', [x, w]),
  },
  QLinearAveragePool: {
    shapes: [image],
    result: [2, 2, 2, 2],
    coded: (b, [x], scale, zero) =>
      b.op('com.microsoft.QLinearAveragePool', [...x, scale, zero], { kernel_shape: [2, 2], strides: [2, 2] }),
    plain: (b, [x]) => b.op('AveragePool', [x], { kernel_shape: [2, 2], strides: [2, 2] }),
  },
  QLinearGlobalAveragePool: {
    shapes: [image],
    result: [2, 2, 1, 1],
    coded: (b, [x], scale, zero) => b.op('com.microsoft.QLinearGlobalAveragePool', [...x, scale, zero]),
    plain: (b, [x]) => b.op('GlobalAveragePool', [x]),
  },
  QLinearLeakyRelu: {
    shapes: [image],
    result: image,
    coded: (b, [x], scale, zero) => b.op('com.microsoft.QLinearLeakyRelu', [...x, scale, zero], { alpha: 0.25 }),
    plain: (b, [x]) => b.op('LeakyRelu', [x], { alpha: 0.25 }),
  },
  QLinearSigmoid: {
    shapes: [image],
    result: image,
    coded: (b, [x], scale, zero) => b.op('com.microsoft.QLinearSigmoid', [...x, scale, zero]),
    plain: (b, [x]) => b.op('Sigmoid', [x]),
  },
  MatMulInteger: {
    shapes: [
      [2, 3],
      [3, 4],
    ],
    result: [2, 4],
    coded: (b, [[x, scale, zero], [w, wScale, wZero]], yScale, yZero) => {
      const sums = b.op('Cast', [b.op('MatMulInteger', [x, w, zero, wZero])], { to: DataType.FLOAT });
      return b.op('QuantizeLinear', [b.mul(sums, b.mul(scale, wScale)), yScale, yZero]);
    },
    plain: (b, [x, w]) => b.op('MatMul', [x, w]),
  },
  'MatMulInteger, quantised by itself, with zero points of columns': {
    shapes: [[2, 3, 4]],
    result: [2, 3, 2],
    coded: (b, [x], yScale, yZero) => {
      const own = b.op('DequantizeLinear', x);
      const [q, scale, zero] = b.nodes('DynamicQuantizeLinear', [own], {}, 3);
      const [w, wZero] = [codes(b, DataType.INT8, matrixCodes, [4, 2]), codes(b, DataType.INT8, [3, -4])];
      const sums = b.op('Cast', [b.op('MatMulInteger', [q, w, zero, wZero])], { to: DataType.FLOAT });
      return b.op('QuantizeLinear', [b.mul(sums, b.mul(scale, b.floats([0.003, 0.005]))), yScale, yZero]);
    },
    plain: (b, [x]) => {
      const w = matrixCodes.map((q, i) => (i % 2 ? (q + 4) * 0.005 : (q - 3) * 0.003));
      return b.op('MatMul', [x, b.floats(w, [4, 2])]);
    },
  },
  'ConvInteger, behind a MaxPool of codes': {
    shapes: [image],
    result: [2, 3, 2, 2],
    coded: (b, [[x, scale, zero]], yScale, yZero) => {
      const pool = b.op('MaxPool', [x], { kernel_shape: [2, 2], strides: [1, 1] });
      const [w, wZero] = [codes(b, DataType.UINT8, kernelCodes, [3, 2, 2, 2]), codes(b, DataType.UINT8, [90], [])];
      const sums = b.op('Cast', [b.op('ConvInteger', [pool, w, zero, wZero])], { to: DataType.FLOAT });
      return b.op('QuantizeLinear', [b.mul(sums, b.mul(scale, b.floats([0.002], []))), yScale, yZero]);
    },
    plain: (b, [x]) => {
      const w = kernelCodes.map((q) => 0.002 * (q - 90));
      const pool = b.op('MaxPool', [x], { kernel_shape: [2, 2], strides: [1, 1] });
      return b.op('Conv', [pool, b.floats(w, [3, 2, 2, 2])]);
    },
  },
  'MaxPool of codes': {
    shapes: [image],
    result: [2, 2, 2, 2],
    coded: (b, [[x]], scale, zero) => {
      const pool = b.op('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2] });
      const own = b.op('DequantizeLinear', [pool, b.floats([0.01], []), codes(b, DataType.UINT8, [128], [])]);
      return b.op('QuantizeLinear', [own, scale, zero]);
    },
    plain: (b, [x]) => b.op('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2] }),
  },
};

describe('ops on codes pass on the gradients of the ops of floats that they stand for', () => {
  it.each(Object.keys(pairs))('%s', async (name) => {
    const [got, wanted] = [await slopes(pairs[name], true), await slopes(pairs[name], false)];
    wanted.forEach((w, k) => {
      const scale = Math.max(...w.map(Math.abs));
      expect(scale).toBeGreaterThan(0.01);
      w.forEach((x, i) => expect(Math.abs(got[k][i] - x) / scale).toBeLessThan(1e-5));
    });
  });
  it('codes that are taken as numbers are named in the error', () => {
    const b = builder({ opset: 13 });
    const [x, seed] = [b.input('x', [3]), b.input('seed', [3])];
    const q = b.op('QuantizeLinear', [x, b.floats([0.02], []), codes(b, DataType.UINT8, [128], [])]);
    const y = b.op('Cast', [q], { to: DataType.FLOAT }, 'taken');
    expect(() => addVectorJacobianProducts(b.model, new Map([[y, seed]]), [x])).toThrow(/"taken".*codes as numbers/);
  });
  it('channels as the last axis are named in the error', () => {
    const b = builder({ opset: 13 });
    const [x, seed] = [b.input('x', [1, 3, 3, 2]), b.input('seed', [1, 1, 1, 2])];
    const [scale, zero] = [b.floats([0.02], []), codes(b, DataType.UINT8, [128], [])];
    const q = b.op('QuantizeLinear', [x, scale, zero]);
    const pool = b.op('com.microsoft.QLinearGlobalAveragePool', [q, scale, zero, scale, zero], { channels_last: 1 });
    const y = b.op('DequantizeLinear', [pool, scale, zero]);
    expect(() => addVectorJacobianProducts(b.model, new Map([[y, seed]]), [x])).toThrow(/channels as the last axis/);
  });
});
