import { describe, expect, it } from 'vitest';
import { addGradients } from '../../../src/autodiff/gradient.ts';
import { emitterFor } from '../../../src/autodiff/emit.ts';
import { makeDataset, type Dataset } from '../../../src/evaluation/data/dataset.ts';
import { gateGradients, openSampleLoss, type SampleLoss } from '../../../src/evaluation/gradients/index.ts';
import { sortTopologically } from '../../../src/graph/edit.ts';
import type { Model } from '../../../src/graph/ir.ts';
import { Rng } from '../../../src/math/random.ts';
import { isFloatType } from '../../../src/onnx/data-type.ts';
import { allocate, convertInto, float32Tensor, toFloat32 } from '../../../src/runtime/host-tensor.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { gateModel } from '../../../src/units/gating.ts';
import type { Structure } from '../../../src/units/types.ts';
import { builder } from '../../support/build.ts';
import { loadZoo, zooModels } from '../../support/zoo.ts';
import { randomData } from '../coalitions/models.ts';

const SAMPLES = 2;

/** Random samples for a model of the zoo. */
function dataFor(name: string, model: Model): Dataset {
  const rng = Rng.from(1, name);
  const { inputs } = zooModels().find((z) => z.name === name)!;
  const first = model.graph.inputs[0].type!.shape![0];
  return makeDataset({
    path: null,
    samples: SAMPLES,
    inputs: inputs.map(({ name: input, dtype, shape, low = 0, high = 1 }) => {
      const sampleShape = shape.slice(1);
      const count = SAMPLES * sampleShape.reduce((a, b) => a * b, 1);
      const whole = !dtype.startsWith('float');
      const numbers = Float32Array.from({ length: count }, () =>
        whole ? low + rng.int(high - low + 1) : 2 * rng.float() - 1,
      );
      const data = allocate(dtype, count);
      convertInto(numbers, 'float32', 0, data, dtype, 0, count);
      return { name: input, type: dtype, kind: 'rows', sampleShape, data, dataType: dtype };
    }),
    labels: null,
    fingerprint: name,
    synthetic: true,
    warnings: [],
    batchSize: typeof first === 'number' ? first : null,
  });
}

/** Means over samples of derivatives with respect to gates that are in the graph, one sample a run. */
async function byGates(structure: Structure, ids: readonly string[], data: Dataset, loss: SampleLoss) {
  const { model, gates } = gateModel(structure, ids);
  const losses = loss.addTo(model);
  const total = emitterFor(model, 'total').meanAll(losses);
  const { gradients } = addGradients(
    model,
    total,
    gates.map((g) => g.input),
  );
  const e = emitterFor(model, 'gradient');
  const outputs = gates.map((g) => e.op('Identity', [gradients.get(g.input)!]));
  model.graph.outputs.splice(0, model.graph.outputs.length, ...outputs);
  sortTopologically(model.graph);
  const session = await createSession(model);
  const means = gates.map((g) => new Float64Array(g.size));
  const open = Object.fromEntries(
    gates.map((g) => [g.input.name, float32Tensor([1, g.size], new Float32Array(g.size).fill(1))]),
  );
  for (const { indices } of data.batches(null, 1)) {
    const found = await session.run({ ...data.feeds(indices), ...loss.feeds(indices), ...open });
    outputs.forEach((o, k) => toFloat32(found[o.name]).forEach((x, u) => (means[k][u] += x / data.samples)));
  }
  await session.release();
  return new Map(ids.map((id, k) => [id, means[k]]));
}

describe('derivatives without gates in the graph are those with respect to gates', () => {
  it.each([
    ['resnet18.ts7', false],
    ['shufflenet_v2.dynamo18', false],
    ['unet2d_group.dynamo21', false],
    ['bert.dynamo18', false],
    // Recurrent weights are read with their units on axis 0.
    ['lstm.ts14', true],
  ] as const)('of %s', async (name, noted) => {
    const structure = analyseStructure(loadZoo(name));
    const data = dataFor(name, structure.model);
    const output = structure.model.graph.outputs.find((v) => isFloatType(v.type!.elemType))!.name;
    const ids = structure.groups.filter((g) => g.prunable && g.kind !== 'block').map((g) => g.id);
    const drawn = await openSampleLoss(structure, data, {
      loss: 'projection',
      reading: { output, reading: 'regression', classAxis: -1 },
      device: 'cpu',
    });
    // One of the draws is enough.
    const loss = Object.create(drawn, { draws: { value: 1 } }) as SampleLoss;
    const found = await gateGradients(structure, ids, data, loss, { device: 'cpu' });
    expect(found.failures.size).toBe(0);
    expect(found.notes.length > 0).toBe(noted);
    const wanted = await byGates(structure, ids, data, loss);
    for (const id of ids) {
      const [got, expected] = [found.moments.get(id)!.signed.mean, wanted.get(id)!];
      const scale = Math.max(...expected.map(Math.abs));
      expect(scale, id).toBeGreaterThan(0);
      got.forEach((x, u) => expect(Math.abs(x - expected[u]) / scale, `${id}, unit ${u}`).toBeLessThan(1e-4));
    }
  });

  it('are 0 for groups that only other outputs read', async () => {
    const b = builder({ seed: 3 });
    const x = b.relu(b.gemm(b.input('x', ['N', 5]), 5, 6, 'shared'));
    b.output(b.gemm(x, 6, 3, 'head'), b.gemm(b.relu(b.gemm(x, 6, 4, 'aside')), 4, 2, 'other'));
    const model = b.build();
    const structure = analyseStructure(model);
    const data = randomData({ sampleShape: [5], classes: 3 }, 4);
    const reading = { output: model.graph.outputs[0].name, reading: 'logits', classAxis: 1 } as const;
    const loss = await openSampleLoss(structure, data, { loss: 'cross-entropy', reading, device: 'cpu' });
    const { moments, failures } = await gateGradients(structure, ['shared', 'aside'], data, loss, { device: 'cpu' });
    expect(failures.size).toBe(0);
    expect([...moments.get('aside')!.absolute.mean]).toEqual([0, 0, 0, 0]);
    expect([...moments.get('aside')!.absolute.standardError()]).toEqual([0, 0, 0, 0]);
    expect(Math.max(...moments.get('shared')!.absolute.mean)).toBeGreaterThan(0);
  });
});
