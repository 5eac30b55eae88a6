import { describe, expect, it } from 'vitest';
import { makeDataset } from '../../../src/evaluation/data/dataset.ts';
import type { LossKind } from '../../../src/evaluation/gradients/loss-terms.ts';
import { openSampleLoss } from '../../../src/evaluation/gradients/sample-loss.ts';
import { evaluateModel, referenceOutputs, type Reference } from '../../../src/evaluation/metrics/index.ts';
import type { Dataset } from '../../../src/evaluation/data/index.ts';
import type { OutputReading } from '../../../src/evaluation/types.ts';
import { cloneModel } from '../../../src/graph/clone.ts';
import type { Model } from '../../../src/graph/ir.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { toFloat32 } from '../../../src/runtime/host-tensor.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { builder } from '../../support/build.ts';
import { randomData } from '../coalitions/models.ts';
import { cases, readingCase } from '../coalitions/readings.ts';

const KINDS = ['cross-entropy', 'kl', 'mse'] as const;

/** Losses of a model's rows for these samples, with what the original answers as reference. */
async function losses(
  original: Model,
  changed: Model,
  data: Dataset,
  loss: LossKind,
  reading: OutputReading,
  samples: number[],
  reference?: Reference,
): Promise<number[]> {
  const open = await openSampleLoss(analyseStructure(original), data, { loss, reading, device: 'cpu', reference });
  const { model } = cloneModel(changed);
  const value = open.addTo(model);
  model.graph.outputs.push(value);
  const session = await createSession(model);
  const results = await session.run({ ...data.feeds(samples), ...open.feeds(samples) }, [value.name]);
  await session.release();
  expect(results[value.name].type).toBe('float32');
  expect(results[value.name].dims).toEqual([samples.length]);
  return [...toFloat32(results[value.name])];
}

/** The model with weights a little different, so that it does not answer as the original. */
function perturbed(model: Model): Model {
  const clone = cloneModel(model);
  const weight = [...clone.model.graph.values.values()].find((v) => v.name === 'two.weight')!;
  const { dims } = weight.initializer!;
  const moved = weight.initializer!.toFloat32().map((x, i) => x + 0.3 * Math.sin(i));
  weight.initializer = Tensor.fromFloat32(weight.name, dims, moved);
  return clone.model;
}

describe('loss of every sample', () => {
  it.each(cases)('is minus the metric of the sample: $name', async (c) => {
    const { model, data, reading } = readingCase(c);
    const original = await createSession(model);
    const reference = await referenceOutputs(original, data, reading);
    await original.release();
    const changed = perturbed(model);
    const session = await createSession(changed);
    const samples = [3, 0, 17, 3, 5, 18, 0];
    for (const loss of KINDS.filter((k) => c.metrics.includes(k))) {
      const wanted = await evaluateModel(session, data, { metric: loss, reading, reference });
      const got = await losses(model, changed, data, loss, reading, samples);
      samples.forEach((s, row) => {
        const value = -wanted.perSample[s];
        expect(value).toBeGreaterThan(0);
        expect(Math.abs(got[row] - value), `${loss} of sample ${s}`).toBeLessThan(1e-5 * Math.max(1, value));
      });
    }
    await session.release();
  });

  it('is cross-entropy with the own answer where that is asked for', async () => {
    const c = cases.find((k) => k.name === 'classes in the middle')!;
    const { model, data, reading } = readingCase(c);
    const session = await createSession(model);
    const indices = Array.from({ length: data.samples }, (_, i) => i);
    const out = (await session.run(data.feeds(indices)))[reading.output];
    await session.release();
    // [19, 3, 4]: three classes at each of four positions.
    const z = toFloat32(out);
    const wanted = indices.map((n) => {
      let sum = 0;
      for (let p = 0; p < 4; p++) {
        const row = [0, 1, 2].map((k) => z[n * 12 + k * 4 + p]);
        sum += Math.log(row.reduce((s, v) => s + Math.exp(v - Math.max(...row)), 0));
      }
      return sum / 4;
    });
    const got = await losses(model, model, data, 'own-answer', reading, indices);
    got.forEach((v, n) => expect(v).toBeCloseTo(wanted[n], 5));
  });

  it('needs what the metric of that name needs', async () => {
    const b = builder({ seed: 4 });
    b.output(b.gemm(b.relu(b.gemm(b.input('x', ['N', 5]), 5, 6, 'one')), 6, 3, 'two'));
    const model = b.build();
    const reading: OutputReading = { output: model.graph.outputs[0].name, reading: 'logits', classAxis: 1 };
    const structure = analyseStructure(model);
    const wrong = randomData({ sampleShape: [5], classes: 9 }, 12);
    const options = { reading, device: 'cpu' } as const;
    await expect(openSampleLoss(structure, wrong, { loss: 'cross-entropy', ...options })).rejects.toMatchObject({
      code: 'bad-data',
    });
    const x = wrong.feeds(Array.from({ length: 12 }, (_, i) => i)).x;
    const unlabelled = makeDataset({
      path: null,
      samples: 12,
      inputs: [{ name: 'x', type: 'float32', kind: 'rows', sampleShape: [5], data: x.data, dataType: 'float32' }],
      labels: null,
      fingerprint: 'unlabelled',
      synthetic: true,
      warnings: [],
      batchSize: null,
    });
    await expect(openSampleLoss(structure, unlabelled, { loss: 'cross-entropy', ...options })).rejects.toMatchObject({
      code: 'usage',
    });
    const regression: OutputReading = { output: reading.output, reading: 'regression', classAxis: -1 };
    const asNumbers = { loss: 'kl', reading: regression, device: 'cpu' } as const;
    await expect(openSampleLoss(structure, unlabelled, asNumbers)).rejects.toMatchObject({ code: 'usage' });
  });
});
