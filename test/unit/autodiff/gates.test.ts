import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addGradients } from '../../../src/autodiff/gradient.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { gateModel } from '../../../src/units/gating.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { builder } from '../../support/build.ts';
import { runValues } from '../../support/gradients.ts';

/** Sum of a small network's outputs with gates on its hidden units, and the derivatives by those. */
async function gated(normalised: boolean, gates: number[]): Promise<{ sum: number; slopes: number[] }> {
  const b = builder();
  const x = b.input('x', ['N', 3]);
  const h = b.gemm(x, 3, 4, 'hidden');
  const norm = () => b.op('LayerNormalization', [h, b.floats([1, 2, 0.5, 1]), b.weight([4])], {}, 'norm');
  b.output(b.gemm(b.op('Tanh', [normalised ? norm() : h]), 4, 2, 'head'));
  const { model, gates: made } = gateModel(analyseStructure(b.build()), ['hidden']);
  const node = model.graph.addNode('ReduceSum', [model.graph.outputs[0]], ['sum']).setInt('keepdims', 0);
  const [sum, gate] = [node.outputs[0]!, made[0].input];
  const gradient = addGradients(model, sum, [gate]).gradients.get(gate)!;
  const out = await runValues(model, [sum, gradient], {
    x: new ort.Tensor('float32', [0.3, -1, 0.8, 1.1, 0.4, -0.5], [2, 3]),
    [gate.name]: new ort.Tensor('float32', gates, [1, 4]),
  });
  const [value, slopes] = [sum, gradient].map((v) => Array.from(out[v.name].data as Float32Array));
  return { sum: value[0], slopes };
}

describe.each([
  ['in front of a matrix alone', false],
  ['under a norm', true],
])('gates %s', (_, normalised) => {
  it('have the slope at exactly 0 that they have around it', async () => {
    const step = 3e-3;
    const [below, closed, above] = await Promise.all(
      [-step, 0, step].map((by) => gated(normalised, [1, by, 0.8, 0.5])),
    );
    const slope = (above.sum - below.sum) / (2 * step);
    expect(Math.abs(slope)).toBeGreaterThan(0.01);
    expect(closed.slopes[1]).toBeCloseTo(slope, 3);
    closed.slopes.forEach((g, i) => expect(g).toBeCloseTo((above.slopes[i] + below.slopes[i]) / 2, 3));
  });
});

describe('gates on quantised codes', () => {
  const codes = (type: DataType, dims: number[], values: number[]) => Tensor.fromNumbers('codes', type, dims, values);
  const weights = [40, -30, 17, 88, -90, 5, 61, -12];

  /** A hidden layer whose codes are read by an op on codes, directly or cast by hand. */
  function network(op: 'MatMulInteger' | 'QLinearMatMul', byHand = false) {
    const b = builder({ opset: 13 });
    const h = b.relu(b.gemm(b.input('x', ['N', 3]), 3, 4, 'hidden'));
    const [scale, zero] = [b.floats([0.01], []), b.constant(codes(DataType.UINT8, [], [3]))];
    const q = byHand
      ? b.op('Cast', [b.mul(h, b.floats([100], []))], { to: DataType.UINT8 })
      : b.op('QuantizeLinear', [h, scale, zero]);
    const [w, wScale, wZero] = [
      b.constant(codes(DataType.INT8, [4, 2], weights)),
      b.floats([0.02], []),
      b.constant(codes(DataType.INT8, [], [0])),
    ];
    if (op === 'MatMulInteger') {
      const sums = b.op('Cast', [b.op('MatMulInteger', [q, w, zero, wZero], {}, 'head')], { to: DataType.FLOAT });
      b.output(b.mul(sums, b.mul(scale, wScale)));
    } else {
      const [yScale, yZero] = [b.floats([0.1], []), b.constant(codes(DataType.UINT8, [], [128]))];
      const y = b.op('QLinearMatMul', [q, scale, zero, w, wScale, wZero, yScale, yZero], {}, 'head');
      b.output(b.op('DequantizeLinear', [y, yScale, yZero]));
    }
    const { model, gates } = gateModel(analyseStructure(b.build()), ['hidden']);
    const sum = model.graph.addNode('ReduceSum', [model.graph.outputs[0]], ['sum']).setInt('keepdims', 0).outputs[0]!;
    return { model, sum, gate: gates[0].input };
  }

  it.each(['MatMulInteger', 'QLinearMatMul'] as const)('have the slopes of gates on the numbers, %s', async (op) => {
    const { model, sum, gate } = network(op);
    const gradient = addGradients(model, sum, [gate]).gradients.get(gate)!;
    const hidden = [...model.graph.values.values()].find((v) => v.producer?.op === 'Relu')!;
    const out = await runValues(model, [gradient, hidden], {
      x: new ort.Tensor('float32', [0.3, -1, 0.8], [1, 3]),
      [gate.name]: new ort.Tensor('float32', [1, 1, 1, 1], [1, 4]),
    });
    const numbers = Array.from(out[hidden.name].data as Float32Array, (x) => 0.01 * Math.round(x / 0.01));
    const wanted = numbers.map((x, i) => x * 0.02 * (weights[2 * i] + weights[2 * i + 1]));
    expect(Math.max(...wanted.map(Math.abs))).toBeGreaterThan(0.1);
    wanted.forEach((w, i) => expect((out[gradient.name].data as Float32Array)[i]).toBeCloseTo(w, 4));
  });

  it('are not said to be 0 where the scale is not known', () => {
    const { model, sum, gate } = network('MatMulInteger', true);
    expect(() => addGradients(model, sum, [gate])).toThrow(/scale of the codes .* is not known/);
  });
});
