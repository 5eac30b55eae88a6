import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { float32Tensor, hostTensor } from '../../../src/runtime/host-tensor.ts';
import { readCheckpoint, writeCheckpoint } from '../../../src/training/checkpoint.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const state = new Map([
  ['half', hostTensor('float16', [3], Uint16Array.of(1, 2, 3))],
  ['w', float32Tensor([2, 2], [1, -0, NaN, 1e-45])],
  ['double', hostTensor('float64', [], Float64Array.of(Math.PI))],
  ['empty', float32Tensor([0, 4], [])],
]);
const checkpoint = { key: 'k', progress: { epoch: 2, losses: [0.1, 1 / 3] }, tensors: { state, best: new Map() } };

describe('checkpoints', () => {
  const folder = temporaryFolder();
  const path = join(folder, 'a.ckpt');

  test('come back as they were written, bit by bit, and leave nothing beside them', async () => {
    await writeCheckpoint(path, checkpoint);
    await writeCheckpoint(path, checkpoint);
    const read = await readCheckpoint(path, 'k');
    expect(read?.progress).toEqual(checkpoint.progress);
    expect([...read!.tensors.state.keys()]).toEqual([...state.keys()]);
    for (const [name, { type, dims, data }] of state) {
      const tensor = read!.tensors.state.get(name)!;
      expect([tensor.type, tensor.dims]).toEqual([type, dims]);
      expect(Buffer.from(tensor.data.buffer as ArrayBuffer)).toEqual(Buffer.from(data.buffer as ArrayBuffer));
    }
    expect(readdirSync(folder)).toEqual(['a.ckpt']);
  });

  test('none is no error', async () => {
    expect(await readCheckpoint(join(folder, 'none'), 'k')).toBeNull();
  });

  test('of another training, damaged, cut off, or of another kind are refused', async () => {
    await writeCheckpoint(path, checkpoint);
    await expect(readCheckpoint(path, 'other')).rejects.toMatchObject({ code: 'usage' });
    const bytes = readFileSync(path);
    const other = join(folder, 'b.ckpt');
    const written = async (change: (copy: Buffer) => Buffer) => {
      writeFileSync(other, change(Buffer.from(bytes)));
      return readCheckpoint(other, 'k');
    };
    const at = (i: number, value: number) => (copy: Buffer) => {
      copy[i] = value;
      return copy;
    };
    const flipped = at(bytes.length - 40, bytes[bytes.length - 40] ^ 1);
    await expect(written(flipped)).rejects.toMatchObject({ code: 'bad-data', message: /damaged/ });
    await expect(written((copy) => copy.subarray(0, 200))).rejects.toMatchObject({ code: 'bad-data' });
    await expect(written((copy) => copy.subarray(0, 5))).rejects.toThrow(/is not a checkpoint/);
    await expect(written(at(0, 65))).rejects.toThrow(/is not a checkpoint/);
    await expect(written(at(8, 2))).rejects.toThrow(/format version 2, not 1/);
  });

  test('that cannot be written or read say so', async () => {
    const nowhere = join(folder, 'no', 'folder', 'x');
    await expect(writeCheckpoint(nowhere, checkpoint)).rejects.toMatchObject({ code: 'io' });
    await expect(readCheckpoint(folder, 'k')).rejects.toMatchObject({ code: 'io' });
  });
});
