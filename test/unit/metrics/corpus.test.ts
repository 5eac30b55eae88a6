import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openDataset } from '../../../src/evaluation/data/index.ts';
import { evaluateModel, readOutput } from '../../../src/evaluation/metrics/index.ts';
import type { MetricName } from '../../../src/formats.ts';
import { loadModel } from '../../../src/graph/load.ts';
import { SecateurError } from '../../../src/errors.ts';
import { createSession } from '../../../src/runtime/session.ts';

const corpus = process.env.SECATEUR_CORPUS;
const trained = join(corpus ?? '', 'trained');

async function measure(
  file: string,
  metric: MetricName,
  options: { output?: string; samples?: number; constants?: Record<string, number> } = {},
) {
  const path = join(trained, file);
  const model = loadModel(path);
  const { output, ...spec } = options;
  const dataset = await openDataset(model, { path: join(path, '../test.npz'), seed: 0, ...spec });
  const session = await createSession(path);
  const reading = await readOutput(model, dataset, { output, session });
  const result = await evaluateModel(session, dataset, { metric, reading });
  await session.release();
  return { reading, ...result };
}
const info = (name: string) => JSON.parse(readFileSync(join(trained, name, 'info.json'), 'utf8'));

describe.skipIf(!corpus)('trained models give the accuracy they were recorded with', () => {
  test.each(['model.onnx', 'model_external.onnx', 'model_dynamo_op18.onnx', 'model_int8_qdq.onnx'])(
    'LeNet-5, %s',
    async (file) => {
      const { value, reading } = await measure(`lenet5_mnist/${file}`, 'accuracy');
      expect(value).toBeCloseTo(info('lenet5_mnist').ort_accuracy_on_test_npz_2000, 3);
      expect(reading.reading).toBe('logits');
    },
  );
  test('three exits: the last is read; each by its name', async () => {
    const recorded = info('earlyexit_cifar10').policy_test_npz.at(-1).accuracy;
    const last = await measure('earlyexit_cifar10/model.onnx', 'accuracy');
    expect(last.reading.output).toBe('exit3');
    expect(last.value).toBeCloseTo(recorded, 6);
    const [first] = info('earlyexit_cifar10').test_accuracy_10000_per_exit;
    expect((await measure('earlyexit_cifar10/model.onnx', 'accuracy', { output: 'exit1' })).value).toBeCloseTo(
      first,
      1,
    );
  });
  test('nested If with a fixed batch of 1 and a threshold as a constant', async () => {
    const { threshold, accuracy } = info('earlyexit_cifar10').policy_test_npz[4];
    const result = await measure('earlyexit_cifar10/model_if.onnx', 'accuracy', { constants: { threshold } });
    expect(result.value).toBeCloseTo(accuracy, 3);
  });
  test('tabular MLP', async () => {
    expect((await measure('mlp_adult/model.onnx', 'accuracy')).value).toBeCloseTo(info('mlp_adult').test_accuracy, 6);
  });
  test('language model with experts: one label per character', async () => {
    const recorded = info('moe_charlm_shakespeare').ort_on_first_400_test_windows['model.onnx'];
    const path = join(trained, 'moe_charlm_shakespeare/model.onnx');
    const model = loadModel(path);
    const all = await openDataset(model, { path: join(path, '../test.npz'), seed: 0 });
    const dataset = all.subset(Int32Array.from({ length: 400 }, (_, i) => i));
    const session = await createSession(path);
    const reading = await readOutput(model, dataset, { session });
    expect(reading).toMatchObject({ output: 'logits', classAxis: 2 });
    expect((await evaluateModel(session, dataset, { metric: 'cross-entropy', reading })).value).toBeCloseTo(
      -recorded.cross_entropy,
      5,
    );
    expect((await evaluateModel(session, dataset, { metric: 'accuracy', reading })).value).toBeCloseTo(
      recorded.accuracy,
      4,
    );
    await session.release();
  });
});

describe.skipIf(!corpus)('third-party models', () => {
  const models = join(corpus ?? '', 'models');
  const folders = corpus ? readdirSync(models).filter((name) => !name.startsWith('bulk') && !name.includes('.')) : [];

  test.each(folders)('%s: synthetic inputs run, or one clear sentence says why not', async (name) => {
    for (const file of readdirSync(join(models, name)).filter((f) => f.endsWith('.onnx'))) {
      try {
        const path = join(models, name, file);
        const model = loadModel(path);
        const dataset = await openDataset(model, { path: null, seed: 0, samples: 2 });
        const session = await createSession(path);
        const reading = await readOutput(model, dataset, { session });
        expect(reading.output).not.toBe('');
        await session.release();
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(SecateurError);
        const { message } = thrown as SecateurError;
        expect(message).toMatch(/^\S.*[.]$/);
        expect(message).not.toMatch(/\n|onnxruntime_src|::|\.cc:/);
        if (process.env.SECATEUR_VERBOSE) console.log(name, (thrown as SecateurError).code, message);
      }
    }
  });

  test('conformance models give their reference outputs', async () => {
    let compared = 0;
    const bulk = join(models, 'bulk_onnx_pytorch_operator');
    const { fromBinary } = await import('@bufbuild/protobuf');
    const { TensorProtoSchema } = await import('../../../src/onnx/onnx_pb.ts');
    const { tensorFromProto } = await import('../../../src/onnx/tensor-proto.ts');
    const { toFloat32 } = await import('../../../src/runtime/host-tensor.ts');
    for (const name of existsSync(bulk) ? readdirSync(bulk).slice(0, 40) : []) {
      const set = join(bulk, name, 'test_data_set_0');
      if (!existsSync(join(set, 'output_0.pb'))) continue;
      const path = join(bulk, name, 'model.onnx');
      const model = loadModel(path);
      const dataset = await openDataset(model, { path: join(bulk, name), seed: 0 });
      // Ops of opset 6 that the runtime no longer has.
      const session = await createSession(path).catch((e: Error) => {
        expect(e.message).toMatch(/Could not find an implementation|ShapeInferenceError/);
        return null;
      });
      if (!session) continue;
      const all = Int32Array.from({ length: dataset.samples }, (_, i) => i);
      const out = await session.run(dataset.feeds(all));
      const want = tensorFromProto(fromBinary(TensorProtoSchema, readFileSync(join(set, 'output_0.pb'))), undefined);
      const mine = toFloat32(out[session.outputs[0].name]);
      const wrong = want
        .toFloat32()
        .findIndex((v, i) => !Object.is(mine[i], v) && !(Math.abs(mine[i] - v) <= 1e-3 + 1e-3 * Math.abs(v)));
      expect(wrong, name).toBe(-1);
      compared++;
      await session.release();
    }
    expect(compared).toBeGreaterThan(5);
  });
});
