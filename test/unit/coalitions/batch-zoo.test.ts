import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../../src/runtime/host-tensor.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { freeBatch } from '../../../src/units/batch-axis.ts';
import { numbers } from '../../support/build.ts';
import { loadZoo, zooModels, type ZooInput } from '../../support/zoo.ts';

const ROWS = 3;

/** Rows of an input; later rows of a mask end earlier. */
function rowsOf({ name, dtype, shape, low = 0, high = 1 }: ZooInput, next: () => number): HostTensor {
  const dims = [ROWS, ...shape.slice(1)];
  const length = dims.reduce((a, b) => a * b, 1);
  if (dtype === 'float32') return { type: 'float32', dims, data: Float32Array.from({ length }, () => 2 * next()) };
  const entry = (i: number) =>
    /mask/.test(name)
      ? Number((i % dims[1]) + Math.floor(i / dims[1]) < dims[1])
      : low + Math.floor(((next() + 1) / 2) * (high + 1 - low));
  return { type: 'int64', dims, data: BigInt64Array.from({ length }, (_, i) => BigInt(entry(i))) };
}

function rowOf(t: HostTensor, row: number): HostTensor {
  const length = t.data.length / ROWS;
  return { ...t, dims: [1, ...t.dims.slice(1)], data: t.data.slice(row * length, (row + 1) * length) } as HostTensor;
}

/** Exports of transformers, with random weights: their samples share a run, and every one gives what it gives alone. */
describe('the batch axis of exported transformers', () => {
  for (const name of [
    'bert.dynamo18',
    'bert.ts14',
    'gpt2.dynamo18',
    'llama_gqa.dynamo23',
    't5_decoder.ts14',
    'vit.ts14',
  ]) {
    it(name, async () => {
      const { inputs } = zooModels().find((e) => e.name === name)!;
      const { model } = analyseStructure(loadZoo(name));
      const freed = freeBatch(model, new Map(inputs.map((i) => [i.name, i.shape.slice(1)])));
      expect(freed.proof.reason).toBeUndefined();
      const next = numbers(17);
      const feeds = Object.fromEntries(inputs.map((i) => [i.name, rowsOf(i, next)]));
      const [together, apart] = [await createSession(freed.model), await createSession(model)];
      const [output] = model.graph.outputs;
      const all = (await together.run(feeds, [output.name]))[output.name].data as Float32Array;
      const rows: Float32Array[] = [];
      for (let i = 0; i < ROWS; i++) {
        const own = Object.fromEntries(Object.entries(feeds).map(([key, t]) => [key, rowOf(t, i)]));
        rows.push((await apart.run(own, [output.name]))[output.name].data as Float32Array);
      }
      await together.release();
      await apart.release();
      const alone = rows.flatMap((r) => [...r]);
      expect(all.length).toBe(alone.length);
      expect(Math.max(...alone.map((v, i) => Math.abs(v - all[i])))).toBeLessThan(1e-5);
      // Rows differ, so that one in the place of another would be seen.
      expect(Math.max(...rows[0].map((v, i) => Math.abs(v - rows[1][i])))).toBeGreaterThan(1e-3);
    });
  }
});
