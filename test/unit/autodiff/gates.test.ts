import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addGradients } from '../../../src/autodiff/gradient.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { gateModel } from '../../../src/units/gating.ts';
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
