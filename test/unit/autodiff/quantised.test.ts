import { describe, expect, it } from 'vitest';
import ort from 'onnxruntime-node';
import { addGradients, addVectorJacobianProducts } from '../../../src/autodiff/gradient.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { builder } from '../../support/build.ts';
import { runValues } from '../../support/gradients.ts';

describe('quantised models', () => {
  it('rounding passes the gradient on, also through ops on the codes', async () => {
    const b = builder({ opset: 13 });
    const [x, w, seed] = [b.input('x', [2, 3]), b.weight([3]), b.input('seed', [2, 3])];
    const [scale, zero] = [b.floats([0.02], []), b.constant(Tensor.fromNumbers('zero', DataType.INT8, [], [3]))];
    const codes = b.op('QuantizeLinear', [b.mul(x, w), scale, zero]);
    const moved = b.op('Identity', [codes]);
    const y = b.op('DequantizeLinear', [moved, scale, zero]);
    const { gradients } = addVectorJacobianProducts(b.model, new Map([[y, seed]]), [x, w]);
    const [dx, dw] = [gradients.get(x)!, gradients.get(w)!];
    const values = [0.1, -0.3, 0.5, 0.2, 0.7, -0.6];
    const r = [1, 2, -1, 0.5, -0.25, 3];
    const feeds = {
      x: new ort.Tensor('float32', Float32Array.from(values), [2, 3]),
      seed: new ort.Tensor('float32', Float32Array.from(r), [2, 3]),
    };
    const out = await runValues(b.model, [dx, dw], feeds);
    const weights = w.initializer!.toNumbers();
    [...(out[dx.name].data as Float32Array)].forEach((g, i) => expect(g).toBeCloseTo(r[i] * weights[i % 3], 6));
    [...(out[dw.name].data as Float32Array)].forEach((g, i) =>
      expect(g).toBeCloseTo(r[i] * values[i] + r[i + 3] * values[i + 3], 6),
    );
  });

  // torch.fake_quantize_per_tensor_affine and …_per_channel_affine pass on what rounds to a code.
  it('what is cut off gets no gradient', async () => {
    const b = builder({ opset: 13 });
    const [x, seed] = [b.input('x', ['N', 2]), b.input('seed', ['N', 2])];
    const scale = b.floats([0.1, 0.5]);
    const zero = b.constant(Tensor.fromNumbers('zero', DataType.UINT8, [2], [0, 10]));
    const y = b.op('DequantizeLinear', [b.op('QuantizeLinear', [x, scale, zero], { axis: 1 }), scale, zero], {
      axis: 1,
    });
    const dx = addVectorJacobianProducts(b.model, new Map([[y, seed]]), [x]).gradients.get(x)!;
    const codes = [-0.4, -1, 0, 255, 255.4, 264, -3, -0.3];
    const data = codes.map((q, i) => (i % 2 ? (q - 10) * 0.5 : q * 0.1));
    const feeds = {
      x: new ort.Tensor('float32', Float32Array.from(data), [4, 2]),
      seed: new ort.Tensor('float32', new Float32Array(8).fill(1), [4, 2]),
    };
    const out = await runValues(b.model, [dx], feeds);
    expect([...(out[dx.name].data as Float32Array)]).toEqual([1, 0, 1, 1, 1, 0, 0, 1]);
  });

  it('scales have none', () => {
    const b = builder({ opset: 13 });
    const [x, scale] = [b.input('x', [1]), b.input('scale', [])];
    const zero = b.constant(Tensor.fromNumbers('zero', DataType.INT8, [], [0]));
    const y = b.op('DequantizeLinear', [b.op('QuantizeLinear', [x, scale, zero]), scale, zero]);
    expect(() => addGradients(b.model, y, [scale])).toThrow(/gradients of scales/);
  });
});
