import { makeDataset, type Dataset } from '../../../src/evaluation/data/dataset.ts';
import type { OutputReading } from '../../../src/evaluation/types.ts';
import type { MetricName, Reading } from '../../../src/formats.ts';
import type { Model, Value } from '../../../src/graph/ir.ts';
import { builder, numbers, type Builder } from '../../support/build.ts';
import { randomData } from './models.ts';

/** An output of each kind that a metric can read. */
export interface Case {
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

export const cases: Case[] = [
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

/** A model of two hidden layers that ends as the case does, with data for it. */
export function readingCase(c: Case): { model: Model; data: Dataset; reading: OutputReading } {
  const b = builder({ seed: 31, opset: c.opset });
  const hidden = b.relu(b.gemm(b.relu(b.gemm(b.input('x', ['N', 5]), 5, 6, 'one')), 6, 7, 'two'));
  b.output(...c.head(b, hidden));
  const model = b.build();
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
  return { model, data, reading };
}
