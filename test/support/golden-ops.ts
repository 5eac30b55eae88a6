import { readFileSync } from 'node:fs';
import ort from 'onnxruntime-node';
import { expect } from 'vitest';
import { addVectorJacobianProducts } from '../../src/autodiff/gradient.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { builder, type Attrs } from './build.ts';
import { runValues } from './gradients.ts';

interface Numbers {
  dims: number[];
  values: number[];
}

/** One node with its gradients by torch.autograd, as scripts/golden/autodiff_*.py write it. */
export interface GoldenOp {
  op: string;
  name: string;
  opset: number;
  /** Whole numbers stand for attributes of type int where ONNX has one, for floats else. */
  attributes: Record<string, number | string | number[]>;
  /** By name; null for an input left out. */
  inputs: Record<string, Numbers | null>;
  outputs: Numbers[];
  /** What the outputs are weighed with. */
  seeds: Numbers[];
  gradients: Record<string, Numbers>;
}

/** Cases of a family: test/fixtures/autodiff/ops/FAMILY.json. */
export function goldenOps(family: string): GoldenOp[] {
  const url = new URL(`../fixtures/autodiff/ops/${family}.json`, import.meta.url);
  return (JSON.parse(readFileSync(url, 'utf8')) as { cases: GoldenOp[] }).cases;
}

/** Holds a node's outputs and gradients against torch's: relative to the largest element of each. */
export async function checkGolden(golden: GoldenOp, tolerance = 1e-5): Promise<void> {
  const b = builder({ opset: golden.opset });
  const inputs = Object.entries(golden.inputs).map(([name, t]) => t && b.input(name, t.dims));
  const outputs = b.nodes(golden.op, inputs, attributesOf(golden), golden.outputs.length, 'golden');
  const seeds = golden.seeds.map(
    (s, i) => [outputs[i], b.constant(Tensor.fromFloat32('seed', s.dims, Float32Array.from(s.values)))] as const,
  );
  const wrt = inputs.filter((v) => v && golden.gradients[v.name]).map((v) => v!);
  const { gradients } = addVectorJacobianProducts(b.model, new Map(seeds), wrt);
  const feeds = Object.fromEntries(
    Object.entries(golden.inputs).flatMap(([name, t]) =>
      t ? [[name, new ort.Tensor('float32', Float32Array.from(t.values), t.dims)]] : [],
    ),
  );
  const results = await runValues(b.model, [...new Set([...outputs, ...gradients.values()])], feeds);
  const compare = (what: string, got: ort.Tensor, wanted: Numbers) => {
    expect([...got.dims], `shape of ${what}`).toEqual(wanted.dims);
    const scale = Math.max(...wanted.values.map(Math.abs), 1e-6);
    const data = got.data as Float32Array;
    const worst = Math.max(...wanted.values.map((w, i) => Math.abs(w - data[i]))) / scale;
    expect(worst, what).toBeLessThan(tolerance);
  };
  golden.outputs.forEach((wanted, i) => compare(`output ${i}`, results[outputs[i].name], wanted));
  for (const v of wrt) compare(`gradient of ${v.name}`, results[gradients.get(v)!.name], golden.gradients[v.name]);
}

const FLOATS = ['epsilon', 'momentum', 'alpha', 'beta', 'bias', 'scale', 'softcap', 'clip'];

function attributesOf(golden: GoldenOp): Attrs {
  return Object.fromEntries(
    Object.entries(golden.attributes).map(([name, x]) => [
      name,
      typeof x === 'number' && FLOATS.includes(name) ? { float: x } : x,
    ]),
  );
}
