import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Model } from '../../../src/graph/ir.ts';
import { labelLoss } from '../../../src/training/losses.ts';
import { train, type TrainOptions } from '../../../src/training/train.ts';
import { validationBy } from '../../../src/training/validation.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { clusters, cnn, mlp, READING, weightOf } from './problem.ts';

const data = clusters(50);
const images = clusters(26, [2, 6, 6]);

const settings = (more: Partial<TrainOptions> = {}): TrainOptions => ({
  loss: labelLoss(data, READING),
  optimiser: { kind: 'sgd' },
  learningRate: 0.05,
  epochs: 6,
  batchSize: 8,
  ...more,
});

const ofImages = (more: Partial<TrainOptions> = {}): TrainOptions =>
  settings({ loss: labelLoss(images, READING), optimiser: { kind: 'adamw' }, epochs: 3, ...more });

/** All initializers, as their bytes. */
function bits(model: Model): Record<string, string> {
  return Object.fromEntries(
    model.graph.initializers.map((v) => [v.name, Buffer.from(v.initializer!.bytes()).toString('base64')]),
  );
}

/** A signal that fires in the given step. */
function abortAt(step: number) {
  const controller = new AbortController();
  let last = 0;
  const onProgress = (p: { step: number }) => {
    last = p.step;
    if (p.step === step) controller.abort();
  };
  return { signal: controller.signal, onProgress, lastStep: () => last };
}

describe('training', () => {
  test('learns: on samples that it has not seen too', async () => {
    const model = mlp();
    const before = bits(model);
    const value = validationBy(clusters(60, [4], null, 99), { metric: 'accuracy', reading: READING });
    expect(await value(model)).toBeLessThan(0.6);
    const result = await train(model, data, settings({ epochs: 10 }));
    expect(await value(result.model)).toBeGreaterThan(0.9);
    expect(result.losses).toHaveLength(10 * 7);
    expect(result.history).toHaveLength(11);
    expect(result.history[10].loss).toBeLessThan(0.5 * result.history[1].loss!);
    expect(result).toMatchObject({ stopped: 'epochs', best: { epoch: 10 }, resumedAt: 0 });
    expect(bits(model)).toEqual(before);
  });

  test('the same seed gives the same bits, another seed another order', async () => {
    const [a, b, c] = await Promise.all([1, 1, 2].map((seed) => train(cnn(), images, ofImages({ seed }))));
    expect(bits(a.model)).toEqual(bits(b.model));
    expect(a.losses).toEqual(b.losses);
    expect(a.losses).not.toEqual(c.losses);
  });

  test('the learning rate follows the schedule', async () => {
    const rates: number[] = [];
    const schedule = { kind: 'cosine', warmup: 2, floor: 0.1 } as const;
    const options = settings({ epochs: 1, learningRate: 0.3, batchSize: 5, schedule });
    await train(mlp(), data, options, undefined, (p) => rates.push(p.learningRate));
    expect(rates).toHaveLength(10);
    rates.forEach((rate, i) => {
      const wanted = i < 2 ? (0.3 * (i + 1)) / 3 : 0.03 + (0.27 * (1 + Math.cos((Math.PI * (i - 2)) / 8))) / 2;
      expect(rate).toBeCloseTo(wanted, 12);
    });
  });

  test('senseless options are refused', async () => {
    for (const wrong of [{ learningRate: 0 }, { learningRate: NaN }, { epochs: 0 }, { epochs: 1.5 }, { patience: 3 }])
      await expect(train(mlp(), data, settings(wrong))).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('a training that goes on is the one that was not interrupted, bit for bit', () => {
  test.each([
    ['in the middle of an epoch', 6],
    ['at the end of an epoch', 4],
    ['in the first step', 1],
  ])('stopped %s', async (_, at) => {
    const path = join(temporaryFolder(), 'training.ckpt');
    const validate = validationBy(images, { metric: 'cross-entropy', reading: READING });
    const whole = await train(cnn(), images, ofImages({ validate }));
    const options = ofImages({ validate, checkpoint: { path } });
    const stop = abortAt(at);
    await expect(train(cnn(), images, options, stop.signal, stop.onProgress)).rejects.toMatchObject({
      code: 'cancelled',
    });
    expect(stop.lastStep()).toBe(at);
    const rest = await train(cnn(), images, options);
    expect(rest.resumedAt).toBe(at);
    expect(rest.losses).toEqual(whole.losses);
    expect(rest.history).toEqual(whole.history);
    expect(bits(rest.model)).toEqual(bits(whole.model));
    // A training that is complete has nothing left to do.
    const again = await train(cnn(), images, options);
    expect(again.resumedAt).toBe(whole.losses.length);
    expect(bits(again.model)).toEqual(bits(whole.model));
  });

  test('when the process died between two checkpoints', async () => {
    const path = join(temporaryFolder(), 'training.ckpt');
    const options = settings({ optimiser: { kind: 'sgd', nesterov: true }, checkpoint: { path, everySteps: 5 } });
    const whole = await train(mlp(), data, settings({ optimiser: { kind: 'sgd', nesterov: true } }));
    let copy: Buffer | undefined;
    await train(mlp(), data, options, undefined, ({ step }) => {
      // Step 13 is the 6th of its epoch; the file is of step 12.
      if (step === 13) copy = readFileSync(path);
    });
    writeFileSync(path, copy!);
    const rest = await train(mlp(), data, options);
    expect(rest.resumedAt).toBe(12);
    expect(bits(rest.model)).toEqual(bits(whole.model));
  });

  test('a checkpoint of other options or data is not taken', async () => {
    const path = join(temporaryFolder(), 'training.ckpt');
    await train(mlp(), data, settings({ epochs: 1, checkpoint: { path } }));
    for (const other of [
      { epochs: 2 },
      { epochs: 1, seed: 8 },
      { epochs: 1, batchSize: 9 },
      { epochs: 1, clipNorm: 1 },
    ])
      await expect(train(mlp(), data, settings({ ...other, checkpoint: { path } }))).rejects.toMatchObject({
        code: 'usage',
        message: expect.stringContaining('another model, on other data or with other options'),
      });
    const otherModel = mlp('N', 77);
    await expect(train(otherModel, data, settings({ epochs: 1, checkpoint: { path } }))).rejects.toMatchObject({
      code: 'usage',
    });
  });
});

describe('early stopping', () => {
  /** Says these values in turn, and remembers the models that it was asked about. */
  function scripted(values: number[]) {
    const models: Model[] = [];
    return { models, validate: (model: Model) => Promise.resolve(values[models.push(model) - 1]) };
  }

  test('stops after so many epochs without a better value, and gives back the best', async () => {
    const { models, validate } = scripted([1, 3, 2, 4, 3.9, 4, 1]);
    const result = await train(mlp(), data, settings({ epochs: 20, validate, patience: 3 }));
    expect(result.stopped).toBe('patience');
    expect(result.history.map((h) => h.value)).toEqual([1, 3, 2, 4, 3.9, 4, 1]);
    expect(result.best).toEqual({ epoch: 3, value: 4 });
    expect(bits(result.model)).toEqual(bits(models[3]));
    expect(bits(result.model)).not.toEqual(bits(models[6]));
  });

  test('small gains do not count where a least one is named', async () => {
    const { validate } = scripted([1, 1.05, 1.1, 1.15, 1.3, 1.31]);
    const result = await train(mlp(), data, settings({ epochs: 20, validate, patience: 2, minDelta: 0.12 }));
    expect(result.history).toHaveLength(3);
    expect(result.best).toEqual({ epoch: 0, value: 1 });
    expect(weightOf(result.model, 'fc1.weight')).toEqual(weightOf(mlp(), 'fc1.weight'));
  });

  test('a value that is no number is an error', async () => {
    const { validate } = scripted([1, NaN]);
    await expect(train(mlp(), data, settings({ validate }))).rejects.toMatchObject({
      code: 'check-failed',
      message: expect.stringContaining('validation value'),
    });
  });

  test('goes on over an interruption', async () => {
    const path = join(temporaryFolder(), 'training.ckpt');
    const values = [1, 3, 2, 2.5];
    const stop = abortAt(17);
    const options = (rest: number[]) =>
      settings({ epochs: 20, validate: scripted(rest).validate, patience: 2, checkpoint: { path } });
    await expect(train(mlp(), data, options(values), stop.signal, stop.onProgress)).rejects.toThrow();
    const result = await train(mlp(), data, options(values.slice(3)));
    expect(result).toMatchObject({ stopped: 'patience', best: { epoch: 1, value: 3 }, resumedAt: 17 });
    const whole = await train(mlp(), data, settings({ epochs: 20, validate: scripted(values).validate, patience: 2 }));
    expect(bits(result.model)).toEqual(bits(whole.model));
  });
});

test('cancelling takes effect before the next step', async () => {
  const stop = abortAt(3);
  await expect(train(mlp(), data, settings(), stop.signal, stop.onProgress)).rejects.toMatchObject({
    code: 'cancelled',
  });
  expect(stop.lastStep()).toBe(3);
});

test('a loss that is no number any more is an error that says what to do', async () => {
  await expect(train(mlp(), data, settings({ learningRate: 1e30 }))).rejects.toMatchObject({
    code: 'check-failed',
    message: expect.stringMatching(/not a finite number after \d+ steps? \(learning rate/),
    hint: expect.stringContaining('lower learning rate'),
  });
});
