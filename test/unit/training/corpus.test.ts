import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openDataset } from '../../../src/evaluation/data/index.ts';
import { readOutput } from '../../../src/evaluation/metrics/index.ts';
import { loadModel } from '../../../src/graph/load.ts';
import { labelLoss } from '../../../src/training/losses.ts';
import { train } from '../../../src/training/train.ts';
import { validationBy } from '../../../src/training/validation.ts';

const corpus = process.env.SECATEUR_CORPUS;
const trained = (name: string) => join(corpus ?? '', 'trained', name);

async function open(folder: string, data: string, samples: number) {
  const model = loadModel(trained(`${folder}/model.onnx`));
  const dataset = await openDataset(model, { path: trained(`${folder}/${data}`), samples, seed: 1 });
  return { model, dataset };
}

describe.skipIf(!corpus)('trained networks of the corpus', () => {
  // A convolutional network, a perceptron of one logit, a language model of experts that are chosen.
  test.each(['lenet5_mnist', 'mlp_adult', 'moe_charlm_shakespeare'])(
    'more epochs on a few samples of %s fit these better',
    async (folder) => {
      const { model, dataset } = await open(folder, 'calib.npz', 16);
      const reading = await readOutput(model, dataset);
      const value = validationBy(dataset, { metric: 'cross-entropy', reading });
      const result = await train(model, dataset, {
        loss: labelLoss(dataset, reading),
        optimiser: { kind: 'adam' },
        learningRate: 1e-3,
        epochs: 2,
        batchSize: 8,
      });
      expect(await value(result.model)).toBeGreaterThan((await value(model)) + 1e-4);
    },
    60_000,
  );

  test('an exit trains for itself: body and other exits keep their bits', async () => {
    const { model, dataset } = await open('earlyexit_cifar10', 'calib.npz', 96);
    const [first] = model.graph.outputs;
    const reading = await readOutput(model, dataset, { output: first.name });
    // What the other outputs depend on.
    const body = new Set<string>();
    const stack = model.graph.outputs.slice(1);
    for (let v = stack.pop(); v; v = stack.pop()) {
      if (v.initializer) body.add(v.name);
      for (const input of v.producer?.inputs ?? []) if (input) stack.push(input);
    }
    const result = await train(model, dataset, {
      loss: labelLoss(dataset, reading),
      optimiser: { kind: 'adamw' },
      learningRate: 3e-3,
      epochs: 4,
      parameters: ({ name }) => !body.has(name),
    });
    const moved = result.model.graph.initializers.filter(
      (v) => !Buffer.from(v.initializer!.bytes()).equals(model.graph.values.get(v.name)!.initializer!.bytes()),
    );
    expect(moved.length).toBeGreaterThan(0);
    expect(moved.filter((v) => body.has(v.name))).toEqual([]);
    expect(result.history[4].loss).toBeLessThan(0.95 * result.history[1].loss!);
  }, 60_000);
});
