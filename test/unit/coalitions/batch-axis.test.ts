import { describe, expect, it } from 'vitest';
import type { Model } from '../../../src/graph/ir.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { freeBatch } from '../../../src/units/batch-axis.ts';
import { builder, numbers } from '../../support/build.ts';
import { testModels } from './models.ts';

const next = numbers(77);
const random = (n: number) => Float32Array.from({ length: n }, () => next());
const size = (dims: number[]) => dims.reduce((a, b) => a * b, 1);

/** Largest difference between three samples run in the freed model and each alone in the model as it was. */
async function compare(model: Model, sampleShape: number[]): Promise<number> {
  const freed = freeBatch(model, new Map([['x', sampleShape]]));
  expect(freed.proof.reason).toBeUndefined();
  const [together, apart] = [await createSession(freed.model), await createSession(model)];
  const output = model.graph.outputs[0].name;
  const data = random(3 * size(sampleShape));
  const all = (await together.run({ x: { type: 'float32', dims: [3, ...sampleShape], data } }))[output]
    .data as Float32Array;
  let worst = 0;
  for (let i = 0; i < 3; i++) {
    const own = data.subarray(i * size(sampleShape), (i + 1) * size(sampleShape));
    const one = (await apart.run({ x: { type: 'float32', dims: [1, ...sampleShape], data: own } }))[output]
      .data as Float32Array;
    expect(all.length).toBe(3 * one.length);
    one.forEach((v, j) => (worst = Math.max(worst, Math.abs(v - all[i * one.length + j]))));
  }
  await together.release();
  await apart.release();
  return worst;
}

describe('freeBatch', () => {
  for (const t of testModels()) {
    it(`${t.batchable ? 'frees' : 'refuses'}: ${t.name}`, async () => {
      if (t.batchable) expect(await compare(t.model, t.sampleShape)).toBeLessThan(1e-5);
      else
        expect(freeBatch(t.model, new Map([['x', t.sampleShape]])).proof).toMatchObject({
          carried: false,
          reason: expect.stringContaining('ReduceMax'),
        });
    });
  }

  it('leaves the model that it was given alone', () => {
    const { model, sampleShape } = testModels()[4];
    freeBatch(model, new Map([['x', sampleShape]]));
    expect(model.graph.inputs[0].type?.shape).toEqual([1, 1, 12, 12]);
  });

  it('follows attention with heads, sizes taken from shapes, and a fixed batch in Expand', async () => {
    for (const batch of [1, 'N'] as const) {
      const b = builder({ seed: 21 });
      const x = b.input('x', [batch, 6, 8]);
      const shape = b.op('Shape', [x]);
      const rows = b.op('Gather', [shape, b.ints([0])], { axis: 0 });
      const heads = (v: ReturnType<typeof b.relu>) =>
        b.transpose(b.op('Reshape', [v, b.op('Concat', [rows, b.ints([6, 2, 4])], { axis: 0 })]), [0, 2, 1, 3]);
      const [q, k, v] = ['q', 'k', 'v'].map((name) => heads(b.linear(x, 8, 8, name)));
      const scores = b.softmax(b.op('MatMul', [q, b.transpose(k, [0, 1, 3, 2])]));
      const joined = b.transpose(b.op('MatMul', [scores, v]), [0, 2, 1, 3]);
      const out = b.op('Reshape', [joined, b.op('Concat', [rows, b.ints([6, 8])], { axis: 0 })]);
      const token = b.op('Expand', [b.weight([1, 1, 8]), b.op('Concat', [rows, b.ints([1, 8])], { axis: 0 })]);
      b.output(b.op('ReduceMean', [b.op('Add', [out, token])], { axes: [1], keepdims: 0 }));
      expect(await compare(b.build(), [6, 8])).toBeLessThan(1e-5);
    }
  });

  it('follows transposed rows, recurrent layers and slices', async () => {
    const b = builder({ seed: 22 });
    const x = b.input('x', [1, 5, 3]);
    const steps = b.transpose(x, [1, 0, 2]);
    const w = b.weight([1, 12, 3]);
    const [y] = b.nodes('GRU', [steps, w, b.weight([1, 12, 4])], { hidden_size: 4 }, 2);
    const squeezed = b.op('Squeeze', [y, b.ints([1])]);
    const last = b.op('Gather', [squeezed, b.ints([4], [])], { axis: 0 });
    b.output(b.op('Slice', [last, b.ints([0]), b.ints([2]), b.ints([1])]));
    expect(await compare(b.build(), [5, 3])).toBeLessThan(1e-5);
  });

  it('takes the fixed batch out of the sizes of Resize, and lets a slice of all samples pass', async () => {
    const b = builder({ seed: 23 });
    const x = b.op('Slice', [b.input('x', [1, 2, 3, 5]), b.ints([0, 1]), b.ints([2 ** 31 - 1, 3]), b.ints([0, 3])]);
    b.output(b.op('Resize', [x, null, null, b.ints([1, 2, 7, 5])], { mode: 'linear' }));
    expect(await compare(b.build(), [2, 3, 5])).toBeLessThan(1e-5);
  });

  const refused: [
    string,
    (b: ReturnType<typeof builder>, x: ReturnType<ReturnType<typeof builder>['relu']>) => ReturnType<typeof b.relu>,
  ][] = [
    ['softmax over the samples', (b, x) => b.softmax(x, 0)],
    ['a constant per sample', (b, x) => b.op('Add', [x, b.weight([4, 6])])],
    ['a mean over the samples', (b, x) => b.op('ReduceMean', [x], { axes: [0], keepdims: 1 })],
    ['a product of samples', (b, x) => b.op('MatMul', [b.transpose(x, [1, 0]), x])],
    ['an unknown operator', (b, x) => b.op('custom.Mystery', [x])],
    ['a reshape across samples', (b, x) => b.reshape(x, [6, -1])],
    [
      'the batch size in arithmetic',
      (b, x) => b.op('Mul', [x, b.op('Cast', [b.op('Gather', [b.op('Shape', [x]), b.ints([0])])], { to: 1 })]),
    ],
  ];
  for (const [name, make] of refused) {
    it(`refuses ${name}`, () => {
      const b = builder();
      b.output(make(b, b.input('x', name.includes('constant') ? [4, 6] : ['N', 6])));
      expect(freeBatch(b.build(), new Map([['x', [6]]])).proof.carried).toBe(false);
    });
  }
});
