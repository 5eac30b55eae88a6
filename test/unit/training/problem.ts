import type { Dataset } from '../../../src/evaluation/data/index.ts';
import { makeDataset } from '../../../src/evaluation/data/dataset.ts';
import type { OutputReading } from '../../../src/evaluation/types.ts';
import type { Model } from '../../../src/graph/ir.ts';
import { Builder, numbers } from '../../support/build.ts';

/** Small problems to train on. */

export const READING: OutputReading = { output: 'y', reading: 'logits', classAxis: 1 };

export const CLASSES = 3;

/** Points of `shape` around one of three centres, with the centre as their label. */
export function clusters(samples: number, shape: number[] = [4], batchSize: number | null = null, seed = 3): Dataset {
  const size = shape.reduce((a, b) => a * b, 1);
  const next = numbers(17);
  const centres = Array.from({ length: CLASSES }, () => Float32Array.from({ length: size }, () => 1.5 * next()));
  const noise = numbers(seed);
  const values = Int32Array.from({ length: samples }, (_, i) => i % CLASSES);
  const data = new Float32Array(samples * size);
  for (let i = 0; i < data.length; i++) data[i] = centres[values[Math.floor(i / size)]][i % size] + noise();
  return makeDataset({
    path: null,
    samples,
    inputs: [{ name: 'x', type: 'float32', kind: 'rows', sampleShape: shape, data, dataType: 'float32' }],
    labels: { values, perSample: 1, classes: CLASSES },
    fingerprint: `clusters ${seed}`,
    synthetic: false,
    warnings: [],
    batchSize,
  });
}

function named(b: Builder, output: ReturnType<Builder['op']>): Model {
  b.graph.values.delete(output.name);
  output.name = 'y';
  b.graph.values.set('y', output);
  return b.output(output).build();
}

/** Two layers; `rows` is the batch axis of the input. */
export function mlp(rows: number | string = 'N', seed = 5): Model {
  const b = new Builder({ seed });
  return named(b, b.gemm(b.relu(b.gemm(b.input('x', [rows, 4]), 4, 8, 'fc1')), 8, CLASSES, 'fc2'));
}

/** Convolution, batch norm, pool and a layer. */
export function cnn(opset = 17): Model {
  const b = new Builder({ seed: 6, opset });
  const h = b.relu(b.bn(b.conv(b.input('x', ['N', 2, 6, 6]), 2, 4, 3, { pads: [1, 1, 1, 1] }), 4, 'bn'));
  return named(b, b.gemm(b.flatten(b.globalPool(b.maxPool(h))), 4, CLASSES, 'fc2'));
}

/** Numbers of a weight, wherever the model keeps it. */
export function weightOf(model: Model, name: string): number[] {
  return model.graph.values.get(name)!.initializer!.toNumbers();
}
