import { readFileSync } from 'node:fs';
import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addVectorJacobianProducts } from '../../../src/autodiff/gradient.ts';
import { parseModel } from '../../../src/graph/load.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { runValues } from '../../support/gradients.ts';

interface Numbers {
  dims: number[];
  values: number[];
}

/** Written by scripts/golden/autodiff_moving.py. */
interface Golden {
  cases: {
    name: string;
    model: string;
    inputs: Record<string, Numbers & { type: string }>;
    seed: Numbers;
    objective: number;
    gradients: Record<string, number[]>;
  }[];
}

const FILE = new URL('../../fixtures/autodiff-moving.json', import.meta.url);
const { cases } = JSON.parse(readFileSync(FILE, 'utf8')) as Golden;

function feed({ dims, values, type }: Numbers & { type: string }): ort.Tensor {
  return type === 'int64'
    ? new ort.Tensor('int64', BigInt64Array.from(values, BigInt), dims)
    : new ort.Tensor('float32', Float32Array.from(values), dims);
}

function expectClose(what: string, got: Float32Array, wanted: number[]): void {
  expect(got.length, what).toBe(wanted.length);
  const scale = Math.max(...wanted.map(Math.abs));
  const worst = Math.max(...wanted.map((w, i) => Math.abs(w - got[i]))) / scale;
  expect(worst, what).toBeLessThan(2e-5);
}

describe('ops that move, pick, resize and reduce, as an exporter wrote them, have the gradients of torch.autograd', () => {
  it.each(cases)('$name', async (golden) => {
    const model = parseModel(new Uint8Array(Buffer.from(golden.model, 'base64')));
    const { graph } = model;
    const [y] = graph.outputs;
    const { dims, values } = golden.seed;
    const seed = graph.addInitializer('seed', Tensor.fromFloat32('', dims, Float32Array.from(values)));
    const wrt = Object.keys(golden.gradients).map((n) => graph.values.get(n)!);
    const { gradients } = addVectorJacobianProducts(model, new Map([[y, seed]]), wrt);
    const feeds = Object.fromEntries(graph.inputs.map((v) => [v.name, feed(golden.inputs[v.name])]));
    const out = await runValues(model, [y, ...gradients.values()], feeds);
    const terms = Array.from(out[y.name].data as Float32Array, (x, i) => x * values[i]);
    const sum = terms.reduce((a, b) => a + b, 0);
    expect(Math.abs(sum - golden.objective) / Math.max(...terms.map(Math.abs))).toBeLessThan(2e-5);
    for (const [v, gradient] of gradients)
      expectClose(v.name, out[gradient.name].data as Float32Array, golden.gradients[v.name]);
  });
});
