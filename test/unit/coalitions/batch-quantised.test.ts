import { describe, expect, it } from 'vitest';
import type { Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { freeBatch } from '../../../src/units/batch-axis.ts';
import { Builder, numbers } from '../../support/build.ts';

const MS = 'com.microsoft.';
const SAMPLE = [3, 4, 4];

/** A quantised network for one sample, from a convolution to logits. */
function network(dynamic: boolean) {
  const b = new Builder({ seed: 3 });
  const next = numbers(4);
  const whole = (dims: number[]) => {
    const count = dims.reduce((p, q) => p * q, 1);
    const data = Array.from({ length: count }, () => Math.round(50 * next()));
    return b.constant(Tensor.fromNumbers('q', DataType.INT8, dims, data));
  };
  const zero = (type: number = DataType.UINT8, value = 100) => b.constant(Tensor.fromNumbers('z', type, [], [value]));
  const scale = (s = 0.05) => b.floats([s], [], 'scale');
  const pair = () => [scale(), zero()];
  const weight = (dims: number[]) => [whole(dims), scale(0.02), zero(DataType.INT8, 0)];
  const x = b.input('x', [1, ...SAMPLE]);
  let q: Value = dynamic ? b.nodes('DynamicQuantizeLinear', [x], {}, 3)[0] : b.op('QuantizeLinear', [x, ...pair()]);
  q = b.op('QLinearConv', [q, ...pair(), ...weight([6, 3, 1, 1]), ...pair()], { kernel_shape: [1, 1] });
  const leaky = b.op(`${MS}QLinearLeakyRelu`, [q, ...pair(), ...pair()], { alpha: { float: 0.1 } });
  const sum = b.op(`${MS}QLinearAdd`, [q, ...pair(), leaky, ...pair(), ...pair()]);
  q = b.op(`${MS}QLinearConcat`, [...pair(), sum, ...pair(), leaky, ...pair()], { axis: 1 });
  q = b.op(`${MS}QLinearGlobalAveragePool`, [q, ...pair(), ...pair()]);
  q = b.op('QLinearMatMul', [b.reshape(q, [1, 12]), ...pair(), ...weight([12, 5]), ...pair()]);
  b.output(b.op('DequantizeLinear', [q, ...pair()]));
  return b.build();
}

describe('freeBatch of quantised graphs', () => {
  it('three samples together give what each gives alone', async () => {
    const model = network(false);
    const freed = freeBatch(model, new Map([['x', SAMPLE]]));
    expect(freed.proof.reason).toBeUndefined();
    const next = numbers(9);
    const size = SAMPLE.reduce((p, q) => p * q, 1);
    const data = Float32Array.from({ length: 3 * size }, () => 3 * next());
    const [together, apart] = [await createSession(freed.model), await createSession(model)];
    const output = model.graph.outputs[0].name;
    const all = (await together.run({ x: { type: 'float32', dims: [3, ...SAMPLE], data } }))[output];
    for (let i = 0; i < 3; i++) {
      const own = data.subarray(i * size, (i + 1) * size);
      const one = (await apart.run({ x: { type: 'float32', dims: [1, ...SAMPLE], data: own } }))[output];
      expect([...(all.data as Float32Array).subarray(5 * i, 5 * i + 5)]).toEqual([...(one.data as Float32Array)]);
    }
    expect(new Set(all.data as Float32Array).size).toBeGreaterThan(4);
    await together.release();
    await apart.release();
  });

  it('a range that is found while running mixes the samples', () => {
    const { proof } = freeBatch(network(true), new Map([['x', SAMPLE]]));
    expect(proof.carried).toBe(false);
    expect(proof.reason).toContain('DynamicQuantizeLinear');
  });
});
