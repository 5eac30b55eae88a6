import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { emitterFor } from '../../../src/autodiff/emit.ts';
import type { Value } from '../../../src/graph/ir.ts';
import { parseModel } from '../../../src/graph/load.ts';
import { serializeModel } from '../../../src/graph/save.ts';
import { builder } from '../../support/build.ts';
import { runOutputs } from '../../support/gradients.ts';

/** What every opset makes of the same request: x is [N, 3] and holds 0 to 5. */
describe.each([7, 8, 9, 10, 11, 13, 18, 21])('nodes in opset %i', (opset) => {
  const setup = () => {
    const b = builder({ opset });
    const x = b.input('x', ['N', 3]);
    return { b, x, e: emitterFor(b.model, 'made') };
  };
  const feeds = { x: new ort.Tensor('float32', Float32Array.of(0, 1, 2, 3, 4, 5), [2, 3]) };
  const run = async (b: ReturnType<typeof builder>, v: Value) => {
    const out = (await runOutputs(b.model, [v], feeds))[v.name];
    return { dims: [...out.dims], data: Array.from(out.data as Float32Array, (v) => v + 0) };
  };

  it('reduces, and knows the shape of the result', async () => {
    const { b, x, e } = setup();
    const sum = e.reduceSum(x, [-1]);
    expect(sum.type?.shape).toEqual(['N', 1]);
    expect(await run(b, sum)).toEqual({ dims: [2, 1], data: [3, 12] });
    expect(await run(b, e.reduceMean(x, [0], false))).toEqual({ dims: [3], data: [1.5, 2.5, 3.5] });
    expect(await run(b, e.sumAll(x))).toEqual({ dims: [], data: [15] });
    expect(await run(b, e.meanAll(x))).toEqual({ dims: [], data: [2.5] });
  });

  it('counts, known or not', async () => {
    const { b, x, e } = setup();
    expect(e.count(x, [1]).initializer).not.toBeNull();
    expect(await run(b, e.count(x, [0, 1]))).toEqual({ dims: [], data: [6] });
  });

  it('inserts and takes out axes, spreads, cuts and pads', async () => {
    const { b, x, e } = setup();
    const wide = e.unsqueeze(e.reduceMean(x, [1], false), [1]);
    expect(wide.type?.shape).toEqual(['N', 1]);
    expect(await run(b, e.expandLike(wide, x))).toEqual({ dims: [2, 3], data: [1, 1, 1, 4, 4, 4] });
    expect(await run(b, e.squeeze(wide, [1]))).toEqual({ dims: [2], data: [1, 4] });
    expect(await run(b, e.slice(x, [1], [3], [1]))).toEqual({ dims: [2, 2], data: [1, 2, 4, 5] });
    expect(await run(b, e.pad(e.slice(x, [0], [1], [1]), [0, 1, 0, 1]))).toEqual({
      dims: [2, 3],
      data: [0, 0, 0, 0, 3, 0],
    });
    expect(await run(b, e.zerosLike(x))).toEqual({ dims: [2, 3], data: [0, 0, 0, 0, 0, 0] });
    const back = e.reshapeLike(e.reshape(x, [-1]), x);
    expect(await run(b, back)).toEqual({ dims: [2, 3], data: [0, 1, 2, 3, 4, 5] });
    // Files state the shape.
    const read = parseModel(serializeModel(b.model)).graph;
    expect(read.values.get(back.name)?.type?.shape).toEqual(['N', 3]);
  });

  it('chooses by a condition and compares', async () => {
    const { b, x, e } = setup();
    const large = e.greater(x, e.scalar(3, x));
    expect((await run(b, e.keep(large, x))).data).toEqual([0, 0, 0, 0, 4, 5]);
    expect((await run(b, e.where(large, x, e.neg(x)))).data).toEqual([0, -1, -2, -3, 4, 5]);
    expect((await run(b, e.keep(e.equal(x, e.scalar(3, x)), x))).data).toEqual([0, 0, 0, 3, 0, 0]);
  });

  it('stores equal constants once', () => {
    const { e } = setup();
    expect(e.ints([1, 2])).toBe(e.ints([1, 2]));
    expect(e.ints([1, 2])).not.toBe(e.numbers([1, 2], [1, 2], 7));
    expect(e.scalar(0, 1)).not.toBe(e.scalar(-0, 1));
  });
});
