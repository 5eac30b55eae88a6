import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { makeDataset, type Dataset } from '../../../src/evaluation/data/dataset.ts';
import { gateGradients, openSampleLoss, type LossKind } from '../../../src/evaluation/gradients/index.ts';
import type { OutputReading } from '../../../src/evaluation/types.ts';
import { parseModel } from '../../../src/graph/load.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';

/** Written by scripts/golden/taylor.py: numbers by layer, sample and unit. */
interface Golden {
  made_with: string;
  x: { dims: number[]; values: number[] };
  labels: number[];
  losses: number[];
  /** Σ a·∂loss/∂a over positions. */
  changes: Record<string, number[][]>;
  /** Mean over the model's own answers of its square, with the answer for a label. */
  fisher?: Record<string, number[][]>;
}

const FOLDER = new URL('../../fixtures/taylor/', import.meta.url);
/** The group of a layer, where it is not the layer's own. */
const GROUPS: Record<string, string> = { heads: '/q/MatMul' };

function open(name: string) {
  const golden = JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8')) as Golden;
  const structure = analyseStructure(parseModel(new Uint8Array(readFileSync(new URL(`${name}.onnx`, FOLDER)))));
  const [samples, ...sampleShape] = golden.x.dims;
  const data = makeDataset({
    path: null,
    samples,
    inputs: [
      {
        name: 'x',
        type: 'float32',
        kind: 'rows',
        sampleShape,
        data: Float32Array.from(golden.x.values),
        dataType: 'float32',
      },
    ],
    labels: { values: Int32Array.from(golden.labels), perSample: golden.labels.length / samples, classes: 3 },
    fingerprint: name,
    synthetic: false,
    warnings: [],
    batchSize: null,
  });
  const classAxis = sampleShape.length === 3 ? 1 : 2;
  const reading: OutputReading = { output: 'logits', reading: 'logits', classAxis };
  const layers = Object.keys(golden.changes).map((layer) => {
    const group = structure.groups.find((g) => g.id === GROUPS[layer] || g.id.startsWith(`/${layer}/`))!;
    return { layer, id: group.id };
  });
  const ids = structure.groups.filter((g) => g.prunable).map((g) => g.id);
  const moments = async (loss: LossKind, samplesOf: Dataset) => {
    const own = await openSampleLoss(structure, samplesOf, { loss, reading, device: 'cpu' });
    const found = await gateGradients(structure, ids, samplesOf, own, { device: 'cpu' });
    expect(found.notes).toEqual([]);
    return found.moments;
  };
  return { golden, data, layers, moments };
}

function expectClose(got: ArrayLike<number>, wanted: readonly number[], what: string): void {
  expect(got.length, what).toBe(wanted.length);
  const scale = Math.max(...wanted.map(Math.abs));
  wanted.forEach((w, i) => expect(Math.abs(got[i] - w) / scale, `${what}, unit ${i}`).toBeLessThan(2e-5));
}

const column = (rows: number[][], of: (x: number) => number): number[] =>
  rows[0].map((_, unit) => rows.reduce((sum, row) => sum + of(row[unit]), 0) / rows.length);

describe('derivatives by gates are Σ a·∂loss/∂a of torch.autograd', () => {
  it.each(['cnn', 'transformer'])('of the %s, sample by sample', async (name) => {
    const { golden, data, layers, moments } = open(name);
    for (let n = 0; n < data.samples; n++) {
      const found = await moments('cross-entropy', data.subset([n]));
      for (const { layer, id } of layers)
        expectClose(found.get(id)!.signed.mean, golden.changes[layer][n], `${layer}, sample ${n}`);
    }
  });

  it.each(['cnn', 'transformer'])('of the %s, in the mean over samples', async (name) => {
    const { golden, data, layers, moments } = open(name);
    const found = await moments('cross-entropy', data);
    for (const { layer, id } of layers) {
      const { signed, absolute, square } = found.get(id)!;
      const rows = golden.changes[layer];
      expectClose(
        signed.mean,
        column(rows, (x) => x),
        `mean of ${layer}`,
      );
      expectClose(absolute.mean, column(rows, Math.abs), `mean size of ${layer}`);
      expectClose(
        square.mean,
        column(rows, (x) => x * x),
        `mean square of ${layer}`,
      );
    }
  });

  it('and of the Fisher information of a classifier', async () => {
    const { golden, data, layers, moments } = open('cnn');
    const found = await moments('own-distribution', data);
    for (const { layer, id } of layers)
      expectClose(
        found.get(id)!.square.mean,
        column(golden.fisher![layer], (x) => x),
        `Fisher of ${layer}`,
      );
  });
});
