import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { openDataset } from '../../../src/evaluation/data/index.ts';
import { readOutput, referenceOutputs } from '../../../src/evaluation/metrics/index.ts';
import { cloneModel } from '../../../src/graph/clone.ts';
import { loadModel } from '../../../src/graph/load.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { distillationLoss } from '../../../src/training/losses.ts';
import { train } from '../../../src/training/train.ts';
import { validationBy } from '../../../src/training/validation.ts';
import { numbers } from '../../support/build.ts';

const example = (name: string) => fileURLToPath(new URL(`../../../examples/digits/${name}`, import.meta.url));

test('the example, its weights disturbed, learns from its former self to answer as before', async () => {
  const original = loadModel(example('model.onnx'));
  const open = (name: string, samples: number) => openDataset(original, { path: example(name), samples, seed: 1 });
  const [calib, heldout] = [await open('calib.npz', 256), await open('heldout.npz', 300)];
  const reading = await readOutput(original, calib);
  const session = await createSession(original);
  const reference = await referenceOutputs(session, calib, reading);
  await session.release();

  const { model: disturbed } = cloneModel(original);
  const next = numbers(1);
  for (const v of disturbed.graph.initializers) {
    const tensor = v.initializer!;
    if (tensor.dims.length !== 4) continue;
    const size = 1.8 * Math.sqrt(tensor.toNumbers().reduce((s, w) => s + w * w, 0) / tensor.elementCount);
    v.initializer = Tensor.fromFloat32(
      v.name,
      tensor.dims,
      tensor.toFloat32().map((w) => w + size * next()),
    );
  }
  const accuracy = validationBy(heldout, { metric: 'accuracy', reading });
  const before = await accuracy(disturbed);
  const { model, history } = await train(disturbed, calib, {
    loss: distillationLoss(calib, reading, reference, { temperature: 2, labels: 0.3 }),
    optimiser: { kind: 'adamw' },
    learningRate: 3e-3,
    epochs: 5,
    batchSize: 32,
    schedule: { warmup: 4 },
  });
  expect(before).toBeLessThan(0.4);
  expect(await accuracy(model)).toBeGreaterThan(0.9);
  expect(history[5].loss).toBeLessThan(0.3 * history[1].loss!);
}, 60_000);
