import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { crossEntropy } from '../../../src/autodiff/losses.ts';
import { emitterFor } from '../../../src/autodiff/emit.ts';
import { constantTensor } from '../../../src/graph/edit.ts';
import type { Model } from '../../../src/graph/ir.ts';
import { parseModel } from '../../../src/graph/load.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { hostTensor, type HostTensor } from '../../../src/runtime/host-tensor.ts';
import { trainingGraph, type TrainingLoss } from '../../../src/training/graph.ts';
import type { OptimiserOptions } from '../../../src/training/optimiser.ts';
import { Trainer } from '../../../src/training/trainer.ts';

/** Written by scripts/golden/training.py. */
interface Golden {
  batches: { x: number[]; dims: number[]; labels: number[] }[];
  runs: Record<string, Run>;
}
interface Run {
  optimiser: OptimiserOptions;
  learningRate: number;
  smoothing?: number;
  clipNorm?: number;
  losses: number[];
  weights: Record<string, number[]>;
}

const FOLDER = new URL('../../fixtures/training/', import.meta.url);

function loss(smoothing?: number): TrainingLoss {
  return {
    addTo(model) {
      const labels = model.graph.addInput('labels', { kind: 'tensor', elemType: DataType.INT32, shape: ['N'] });
      return crossEntropy(emitterFor(model, 'loss'), model.graph.outputs[0], labels, { smoothing });
    },
    feeds: () => ({}),
  };
}

function feedsOf(model: Model, { x, dims, labels }: Golden['batches'][0]): Record<string, HostTensor> {
  const float = model.graph.inputs[0].type!.elemType === DataType.FLOAT;
  return {
    x: float
      ? hostTensor('float32', dims, Float32Array.from(x))
      : hostTensor('int64', dims, BigInt64Array.from(x, BigInt)),
    labels: hostTensor('int32', [labels.length], Int32Array.from(labels)),
  };
}

const cases = ['mlp', 'cnn', 'transformer'].flatMap((name) => {
  const golden = JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8')) as Golden;
  return Object.entries(golden.runs).map(([run, wanted]) => ({ name, run, wanted, golden }));
});

describe('ten steps are those of torch', () => {
  it.each(cases)('$name, $run', async ({ name, wanted, golden }) => {
    const model = parseModel(new Uint8Array(readFileSync(new URL(`${name}.onnx`, FOLDER))));
    const { optimiser, clipNorm, smoothing, learningRate } = wanted;
    const trainer = await Trainer.open(trainingGraph(model, { loss: loss(smoothing), optimiser, clipNorm }));
    for (const [i, expected] of wanted.losses.entries()) {
      const step = await trainer.step(feedsOf(model, golden.batches[i % 2]), learningRate);
      expect(Math.abs(step.loss - expected) / expected, `loss of step ${i}`).toBeLessThan(1e-4);
    }
    const trained = await trainer.model();
    await trainer.release();
    for (const [weight, values] of Object.entries(wanted.weights)) {
      const got = constantTensor(trained.graph.values.get(weight))!.values();
      const scale = Math.max(...values.map(Math.abs));
      const worst = Math.max(...values.map((v, i) => Math.abs(v - got[i]))) / scale;
      expect(worst, weight).toBeLessThan(1e-4);
    }
  });
});
