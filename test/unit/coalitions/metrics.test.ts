import { describe, expect, it } from 'vitest';
import { openGame } from '../../../src/evaluation/coalitions/index.ts';
import { makeDataset, type Dataset } from '../../../src/evaluation/data/dataset.ts';
import { evaluateModel, referenceOutputs } from '../../../src/evaluation/metrics/index.ts';
import type { OutputReading } from '../../../src/evaluation/types.ts';
import type { MetricName, Reading } from '../../../src/formats.ts';
import type { Model, Value } from '../../../src/graph/ir.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { builder, numbers, type Builder } from '../../support/build.ts';
import { coalitions, randomData } from './models.ts';

interface Case {
  name: string;
  /** From hidden units [N, 7] to the outputs. */
  head(b: Builder, hidden: Value): Value[];
  reading: Reading;
  classAxis: number;
  classes: number;
  perSample?: number;
  metrics: MetricName[];
  also?: Omit<OutputReading, 'output'>[];
  opset?: number;
}

const cases: Case[] = [
  {
    name: 'logits',
    head: (b, h) => [b.gemm(h, 7, 4)],
    reading: 'logits',
    classAxis: 1,
    classes: 4,
    metrics: ['accuracy', 'cross-entropy', 'kl', 'mse', 'agreement'],
  },
  {
    name: 'logits, old opset',
    head: (b, h) => [b.gemm(h, 7, 4)],
    reading: 'logits',
    classAxis: 1,
    classes: 4,
    metrics: ['accuracy', 'cross-entropy', 'kl', 'mse'],
    opset: 11,
  },
  {
    name: 'logits, older opset',
    head: (b, h) => [b.gemm(h, 7, 4)],
    reading: 'logits',
    classAxis: 1,
    classes: 4,
    metrics: ['accuracy', 'cross-entropy', 'kl', 'mse'],
    opset: 9,
  },
  {
    name: 'binary logit, older opset',
    head: (b, h) => [b.gemm(h, 7, 1)],
    reading: 'binary-logit',
    classAxis: -1,
    classes: 2,
    metrics: ['accuracy', 'cross-entropy', 'kl'],
    opset: 9,
  },
  {
    name: 'logits, opset 18',
    head: (b, h) => [b.gemm(h, 7, 4)],
    reading: 'logits',
    classAxis: 1,
    classes: 4,
    metrics: ['accuracy', 'cross-entropy', 'mse'],
    opset: 18,
  },
  {
    name: 'probabilities',
    head: (b, h) => [b.softmax(b.gemm(h, 7, 4))],
    reading: 'probabilities',
    classAxis: 1,
    classes: 4,
    metrics: ['accuracy', 'cross-entropy', 'kl', 'agreement'],
  },
  {
    name: 'log-probabilities',
    head: (b, h) => [b.op('LogSoftmax', [b.gemm(h, 7, 4)], { axis: 1 })],
    reading: 'log-probabilities',
    classAxis: 1,
    classes: 4,
    metrics: ['accuracy', 'cross-entropy', 'kl'],
  },
  {
    name: 'binary logit',
    head: (b, h) => [b.gemm(h, 7, 1)],
    reading: 'binary-logit',
    classAxis: -1,
    classes: 2,
    metrics: ['accuracy', 'cross-entropy', 'kl', 'agreement'],
  },
  {
    name: 'binary probability',
    head: (b, h) => [b.op('Sigmoid', [b.gemm(h, 7, 1)])],
    reading: 'binary-probability',
    classAxis: -1,
    classes: 2,
    metrics: ['accuracy', 'cross-entropy', 'kl'],
  },
  {
    name: 'classes in the middle',
    head: (b, h) => [b.reshape(b.gemm(h, 7, 12), [-1, 3, 4])],
    reading: 'logits',
    classAxis: 1,
    classes: 3,
    perSample: 4,
    metrics: ['accuracy', 'cross-entropy', 'kl', 'mse', 'agreement'],
  },
  {
    name: 'flattened tokens',
    head: (b, h) => [b.reshape(b.gemm(h, 7, 12), [-1, 4])],
    reading: 'logits',
    classAxis: 1,
    classes: 4,
    perSample: 3,
    metrics: ['accuracy', 'cross-entropy', 'kl', 'mse', 'agreement'],
  },
  {
    name: 'several outputs',
    head: (b, h) => [b.gemm(h, 7, 4), b.softmax(b.gemm(h, 7, 3)), b.gemm(h, 7, 2)],
    reading: 'logits',
    classAxis: 1,
    classes: 4,
    metrics: ['accuracy', 'kl', 'mse', 'agreement'],
    also: [
      { reading: 'probabilities', classAxis: 1 },
      { reading: 'regression', classAxis: -1 },
    ],
  },
  {
    name: 'regression',
    head: (b, h) => [b.gemm(h, 7, 2)],
    reading: 'regression',
    classAxis: -1,
    classes: 2,
    perSample: 2,
    metrics: ['mse'],
  },
];

function withTargets(data: Dataset): Dataset {
  const next = numbers(8);
  const targets = Float32Array.from({ length: data.samples * 2 }, () => 3 * next());
  const x = data.feeds(Array.from({ length: data.samples }, (_, i) => i)).x;
  return makeDataset({
    path: null,
    samples: data.samples,
    inputs: [{ name: 'x', type: 'float32', kind: 'rows', sampleShape: [5], data: x.data, dataType: 'float32' }],
    labels: { values: targets, perSample: 2, classes: null },
    fingerprint: 'targets',
    synthetic: true,
    warnings: [],
    batchSize: null,
  });
}

describe('metrics inside the graph', () => {
  for (const c of cases) {
    it(`equal those outside of it: ${c.name}`, async () => {
      const b = builder({ seed: 31, opset: c.opset });
      const hidden = b.relu(b.gemm(b.relu(b.gemm(b.input('x', ['N', 5]), 5, 6, 'one')), 6, 7, 'two'));
      b.output(...c.head(b, hidden));
      const model: Model = b.build();
      const plain = randomData({ sampleShape: [5], classes: c.classes }, 19, { perSample: c.perSample });
      const data = c.reading === 'regression' ? withTargets(plain) : plain;
      const outputs = model.graph.outputs.map((v) => v.name);
      const also = c.also?.map((r, i) => ({ ...r, output: outputs[i + 1] }));
      const reading: OutputReading = {
        output: outputs[0],
        reading: c.reading,
        classAxis: c.classAxis,
        ...(also ? { also } : {}),
      };
      const structure = analyseStructure(model);
      const session = await createSession(model);
      const reference = await referenceOutputs(session, data, reading);
      for (const metric of c.metrics) {
        for (const id of ['one', 'two']) {
          const masks = coalitions(structure.groups.find((g) => g.id === id)!.size, 5);
          const values: number[][] = [];
          for (const strategy of ['naive', 'auto', 'cut'] as const) {
            const game = await openGame(structure, id, data, { metric, reading, device: 'cpu', strategy });
            values.push([...(await game.evaluate(masks))]);
            if (strategy !== 'naive') expect(game.info.notes).toEqual([]);
            await game.close();
          }
          const whole = await evaluateModel(session, data, { metric, reading, reference });
          expect(values[0][0]).toBeCloseTo(whole.value, 5);
          values[0].forEach((v, i) => {
            const tolerance = 1e-5 * Math.max(1, Math.abs(v));
            expect(Math.abs(values[1][i] - v), `${metric} ${id} ${i}: ${values[1][i]} for ${v}`).toBeLessThan(
              tolerance,
            );
            expect(Math.abs(values[2][i] - v), `${metric} ${id} ${i}: ${values[2][i]} for ${v}`).toBeLessThan(
              tolerance,
            );
          });
        }
      }
      await session.release();
    });
  }

  it('says which labels do not fit, and calls NaN by its name', async () => {
    const b = builder({ seed: 32 });
    const hidden = b.relu(b.gemm(b.input('x', ['N', 5]), 5, 6, 'one'));
    b.output(b.op('Div', [b.gemm(hidden, 6, 3, 'two'), b.op('ReduceSum', [hidden, b.ints([1])], { keepdims: 1 })]));
    const model = b.build();
    const structure = analyseStructure(model);
    const reading: OutputReading = { output: model.graph.outputs[0].name, reading: 'logits', classAxis: 1 };
    const options = { metric: 'cross-entropy', reading, device: 'cpu' } as const;
    const group = structure.groups.find((g) => g.prunable)?.id ?? '';
    await expect(
      openGame(structure, group, randomData({ sampleShape: [5], classes: 9 }, 30), options),
    ).rejects.toMatchObject({ code: 'bad-data' });
    await expect(
      openGame(structure, 'nothing', randomData({ sampleShape: [5], classes: 3 }, 3), options),
    ).rejects.toMatchObject({ code: 'usage' });
    for (const strategy of ['auto', 'naive'] as const) {
      const game = await openGame(structure, group, randomData({ sampleShape: [5], classes: 3 }, 4), {
        ...options,
        strategy,
      });
      await expect(game.evaluate([new Uint8Array(6)])).rejects.toMatchObject({
        code: 'runtime',
        message: expect.stringContaining('not a number'),
      });
      await game.close();
    }
  });
});
