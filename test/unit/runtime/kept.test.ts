import { describe, expect, test } from 'vitest';
import { DataType } from '../../../src/onnx/data-type.ts';
import { listDevices } from '../../../src/runtime/devices.ts';
import { float32Tensor } from '../../../src/runtime/host-tensor.ts';
import { createSession, type Session } from '../../../src/runtime/session.ts';
import { Builder } from '../../support/build.ts';

/** next = w · rate, sum = Σ w. */
function decay() {
  const b = new Builder();
  const w = b.input('w', [2, 3]);
  const rate = b.input('rate', []);
  const next = b.op('Mul', [w, rate], {}, 'next');
  const sum = b.op('ReduceSum', [w], { keepdims: 0 }, 'sum');
  return b.output(next, sum).model;
}

const rate = float32Tensor([], [0.5]);
const start = () => float32Tensor([2, 3], [1, 2, 3, 4, 5, 6]);
const halved = (times: number) => Float32Array.from([1, 2, 3, 4, 5, 6], (v) => v / 2 ** times);

/** Three steps, each fed with what the one before left; every result is read only afterwards. */
async function threeSteps(session: Session) {
  const first = await session.runKept({ w: start(), rate }, ['next_out', 'sum_out']);
  const second = await session.runKept({ w: first.next_out, rate }, ['next_out', 'sum_out']);
  const before = await first.next_out.read();
  const third = await session.runKept({ w: second.next_out, rate }, ['next_out'], { next_out: first.next_out });
  return { first, second, third, before };
}

describe('tensors that stay where they were computed', () => {
  test('are fed again, and their memory is used again', async () => {
    const session = await createSession(decay(), { keep: ['next_out'] });
    const { first, second, third, before } = await threeSteps(session);
    expect(before).toEqual({ type: 'float32', dims: [2, 3], data: halved(1) });
    expect((await second.next_out.read()).data).toEqual(halved(2));
    expect((await third.next_out.read()).data).toEqual(halved(3));
    expect((await second.sum_out.read()).data).toEqual(Float32Array.of(10.5));
    expect(third.next_out.onDevice).toBe(false);
    await expect(first.next_out.read()).rejects.toMatchObject({ code: 'runtime' });
    await session.release();
  });

  test('a copy that was read does not change with the memory', async () => {
    const session = await createSession(decay());
    const { second, third } = await threeSteps(session);
    const read = await second.next_out.read();
    await session.runKept({ w: third.next_out, rate }, ['next_out'], { next_out: second.next_out });
    expect(read.data).toEqual(halved(2));
    await session.release();
  });

  test('disposing twice is safe, reading afterwards fails', async () => {
    const session = await createSession(decay());
    const { next_out: kept } = await session.runKept({ w: start(), rate }, ['next_out']);
    kept.dispose();
    kept.dispose();
    await expect(kept.read()).rejects.toMatchObject({ code: 'runtime' });
    await expect(session.runKept({ w: kept, rate }, ['next_out'])).rejects.toMatchObject({ code: 'runtime' });
    await session.release();
  });

  test('a type that does not fit is refused', async () => {
    const b = new Builder();
    const x = b.input('x', [6], DataType.DOUBLE);
    const session = await createSession(decay());
    const other = await createSession(b.output(b.op('Add', [x, x])).model);
    const { next_out: kept } = await session.runKept({ w: start(), rate }, ['next_out']);
    await expect(other.runKept({ x: kept }, [])).rejects.toThrow(/float64/);
    await session.release();
    await other.release();
  });

  test('on a GPU they stay in its memory, and are read from there', async (context) => {
    const gpu = (await listDevices()).find((d) => d.name === 'webgpu');
    if (!gpu?.available) return context.skip();
    const session = await createSession(decay(), { device: 'webgpu', keep: ['next_out'] });
    const { second, third } = await threeSteps(session);
    expect(third.next_out.onDevice).toBe(true);
    expect(second.sum_out.onDevice).toBe(false);
    expect((await third.next_out.read()).data).toEqual(halved(3));
    expect((await session.run({ w: second.next_out, rate })).next_out.data).toEqual(halved(3));
    await session.release();
  });
});
