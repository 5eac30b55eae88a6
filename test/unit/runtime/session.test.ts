import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { serializeModel } from '../../../src/graph/save.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { fromHalfBits, type HostTensor, toHalfBits } from '../../../src/runtime/host-tensor.ts';
import { compareLatency, measureLatency } from '../../../src/runtime/latency.ts';
import { prepareModel } from '../../../src/runtime/model-bytes.ts';
import { firstSentence, runtimeError } from '../../../src/runtime/onnxruntime.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { Builder } from '../../support/build.ts';

function doubler(elemType: number): Builder {
  const b = new Builder();
  const x = b.input('x', ['n', 2], elemType);
  return b.output(b.op('Add', [x, x], {}, 'double'));
}

const feed = (type: HostTensor['type'], data: HostTensor['data']): HostTensor => ({
  type,
  dims: [data.length / 2, 2],
  data,
});

describe('sessions', () => {
  test('from a path, from bytes and from a model give the same', async () => {
    const b = doubler(DataType.FLOAT);
    const folder = mkdtempSync(join(tmpdir(), 'secateur-session-'));
    const path = join(folder, 'm.onnx');
    const bytes = serializeModel(b.model);
    writeFileSync(path, bytes);
    for (const source of [path, bytes, b.model]) {
      const session = await createSession(source);
      expect(session.inputs).toEqual([{ name: 'x', type: 'float32', shape: ['n', 2] }]);
      const out = await session.run({ x: feed('float32', Float32Array.of(1, 2, 3, 4)) });
      expect(out.double_out).toEqual({ type: 'float32', dims: [2, 2], data: Float32Array.of(2, 4, 6, 8) });
      await session.release();
      await session.release();
    }
    rmSync(folder, { recursive: true });
  });

  test('half precision travels as bits', async () => {
    const session = await createSession(doubler(DataType.FLOAT16).model);
    const data = Uint16Array.from([1.5, -0.25], toHalfBits);
    const { double_out: y } = await session.run({ x: feed('float16', data) });
    expect(y.type).toBe('float16');
    expect([...(y.data as Uint16Array)].map(fromHalfBits)).toEqual([3, -0.5]);
    await session.release();
  });

  test('64-bit integers and booleans keep their types', async () => {
    const b = new Builder();
    const x = b.input('x', ['n', 2], DataType.INT64);
    const flag = b.input('flag', ['n', 2], DataType.BOOL);
    b.output(b.op('Add', [x, x], {}, 'sum'), b.op('Not', [flag], {}, 'not'));
    const session = await createSession(b.model);
    const out = await session.run({
      x: feed('int64', BigInt64Array.of(2n ** 40n, -3n)),
      flag: feed('bool', Uint8Array.of(1, 0)),
      unknown: feed('bool', Uint8Array.of(1, 0)),
    });
    expect(out.sum_out.data).toEqual(BigInt64Array.of(2n ** 41n, -6n));
    expect(out.not_out).toEqual({ type: 'bool', dims: [1, 2], data: Uint8Array.of(0, 1) });
    await session.release();
  });

  test('weights can go to the runtime apart from the model', async () => {
    const b = new Builder();
    const x = b.input('x', ['n', 64]);
    b.output(b.linear(x, 64, 32));
    const apart = prepareModel(b.model, 1000);
    expect(apart.externalData).toHaveLength(1);
    expect(apart.externalData[0].data.length).toBe(64 * 32 * 4);
    expect(apart.bytes.length).toBeLessThan(1500);
    const { loadOnnxRuntime } = await import('../../../src/runtime/onnxruntime.ts');
    const ort = await loadOnnxRuntime();
    const native = await ort.InferenceSession.create(apart.bytes, { externalData: apart.externalData });
    const input = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
    const theirs = await native.run({ x: new ort.Tensor('float32', input, [1, 64]) });
    const session = await createSession(b.model);
    const mine = await session.run({ x: { type: 'float32', dims: [1, 64], data: input } });
    expect(Object.values(theirs)[0].data).toEqual(Object.values(mine)[0].data);
    await session.release();
  });

  test('only wanted outputs come back; unknown ones are refused', async () => {
    const b = doubler(DataType.FLOAT);
    const session = await createSession(b.model);
    await expect(session.run({ x: feed('float32', Float32Array.of(1, 2)) }, ['nope'])).rejects.toMatchObject({
      code: 'runtime',
      message: 'The model has no output named nope.',
    });
    await expect(session.run({})).rejects.toMatchObject({
      code: 'runtime',
      message: "The model's input x was not given.",
    });
    await expect(session.run({ x: feed('int32', Int32Array.of(1, 2)) })).rejects.toMatchObject({
      message: "The model's input x is float32, but int32 was given.",
    });
    await session.release();
    await expect(session.run({ x: feed('float32', Float32Array.of(1, 2)) })).rejects.toMatchObject({
      message: 'The session was already released.',
    });
  });

  test('what the runtime refuses is one sentence', async () => {
    await expect(createSession(new TextEncoder().encode('not a model'))).rejects.toMatchObject({
      name: 'SecateurError', code: 'runtime', message: 'onnxruntime does not run the model: Failed to load model because protobuf parsing failed.',
    }); // prettier-ignore
    const session = await createSession(doubler(DataType.FLOAT).model);
    await expect(session.run({ x: { type: 'float32', dims: [4], data: new Float32Array(4) } })).rejects.toMatchObject({
      code: 'runtime', message: expect.stringMatching(/^Running the model failed: Invalid rank for input: x Got: 1 Expected: 2/),
    }); // prettier-ignore
    await session.release();
  });

  test('latency is measured, also of two models in turn', async () => {
    const session = await createSession(doubler(DataType.FLOAT).model);
    const feeds = { x: feed('float32', Float32Array.of(1, 2)) };
    const one = await measureLatency(session, feeds, { runs: 5, minMs: 0 });
    expect(one.runs).toBe(5);
    expect(one.lowMs).toBeLessThanOrEqual(one.medianMs);
    const both = await compareLatency({ session, feeds }, { session, feeds }, { runs: 5, minMs: 0 });
    expect(both.speedup).toBeCloseTo(both.a.medianMs / both.b.medianMs);
    const aborted = AbortSignal.abort();
    await expect(measureLatency(session, feeds, { signal: aborted })).rejects.toMatchObject({ code: 'cancelled' });
    await session.release();
  });
});

describe('messages of the runtime', () => {
  test.each([
    ['Load model from /a b/x.onnx failed:Protobuf parsing failed.', 'Protobuf parsing failed.'],
    [
      "Load model from x.onnx failed:Load model x.onnx failed. File doesn't exist",
      "Load model x.onnx failed. File doesn't exist.",
    ],
    [
      'Load model from m.onnx failed:/onnxruntime_src/onnxruntime/core/graph/model.cc:191 onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&, const onnxruntime::IOnnxRuntimeOpSchemaRegistryList*, const onnxruntime::logging::Logger&, const onnxruntime::ModelOptions&) Missing opset in the model. All ModelProtos MUST have at least one entry.\n',
      'Missing opset in the model. All ModelProtos MUST have at least one entry.',
    ],
    [
      'Exception during initialization: /onnxruntime_src/onnxruntime/core/framework/session_state_utils.cc:264 onnxruntime::common::Status onnxruntime::session_state_utils::SaveInitializedTensors(const onnxruntime::Env&, const std::__cxx11::basic_string<char>&) ort_value_name_idx_map.MaxIdx() > -1 was false. OrtValue indexes should have been populated.\n',
      'OrtValue indexes should have been populated.',
    ],
    [
      '/onnxruntime_src/onnxruntime/core/providers/webgpu/webgpu_context.cc:136 onnxruntime::webgpu::WebGpuContext::Initialize(const onnxruntime::webgpu::WebGpuContextConfig&)::<lambda()> adapter_result.status == wgpu::RequestAdapterStatus::Success was false. Failed to get a WebGPU adapter: No supported adapters\n',
      'Failed to get a WebGPU adapter: No supported adapters.',
    ],
    [
      "Non-zero status code returned while running Reshape node. Name:'r1' Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:47 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, onnxruntime::TensorShapeVector&, bool) input_shape_size == size was false. The input tensor cannot be reshaped to the requested shape. Input shape:{2,3}, requested shape:{4}\n",
      "Reshape node 'r1' failed: The input tensor cannot be reshaped to the requested shape. Input shape:{2,3}, requested shape:{4}.",
    ],
  ])('%s', (raw, clear) => {
    expect(firstSentence(new Error(raw))).toBe(clear);
  });

  test('running out of memory says what to do', () => {
    const error = runtimeError(new Error('std::bad_alloc'), 'Running the model failed');
    expect(error.message).toBe('Running the model failed: there is not enough memory.');
    expect(error.hint).toContain('fewer samples');
  });
});
