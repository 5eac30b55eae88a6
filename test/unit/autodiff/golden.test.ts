import { readdirSync, readFileSync } from 'node:fs';
import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addGradients } from '../../../src/autodiff/gradient.ts';
import { parseModel } from '../../../src/graph/load.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { runValues } from '../../support/gradients.ts';

/** Written by scripts/golden/autodiff.py. */
interface Golden {
  made_with: string;
  x: { dims: number[]; values: number[] };
  labels: number[];
  loss: number;
  gradients: Record<string, number[]>;
}

const FOLDER = new URL('../../fixtures/autodiff/', import.meta.url);
const names = readdirSync(FOLDER).flatMap((f) => (f.endsWith('.json') ? [f.slice(0, -5)] : []));

describe('gradients of whole networks, as an exporter wrote them, are those of torch.autograd', () => {
  it.each(names)('%s', async (name) => {
    const golden = JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8')) as Golden;
    const model = parseModel(new Uint8Array(readFileSync(new URL(`${name}.onnx`, FOLDER))));
    const { graph } = model;
    const labels = graph.addInput('labels', { kind: 'tensor', elemType: DataType.INT64, shape: ['N'] });
    const node = graph.addNode('SoftmaxCrossEntropyLoss', [graph.outputs[0], labels], ['loss']);
    const loss = node.outputs[0]!;
    const wrt = Object.keys(golden.gradients).map((n) => graph.values.get(n)!);
    const { gradients } = addGradients(model, loss, wrt);
    const out = await runValues(model, [loss, ...gradients.values()], {
      x: new ort.Tensor('float32', Float32Array.from(golden.x.values), golden.x.dims),
      labels: new ort.Tensor('int64', BigInt64Array.from(golden.labels, BigInt), [golden.labels.length]),
    });
    expect((out[loss.name].data as Float32Array)[0]).toBeCloseTo(golden.loss, 5);
    for (const [v, gradient] of gradients) {
      const wanted = golden.gradients[v.name];
      const got = out[gradient.name].data as Float32Array;
      expect(got.length, v.name).toBe(wanted.length);
      const scale = Math.max(...wanted.map(Math.abs));
      const worst = Math.max(...wanted.map((w, i) => Math.abs(w - got[i]))) / scale;
      expect(worst, v.name).toBeLessThan(2e-5);
    }
  });
});
