import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadModel } from '../../../src/graph/load.ts';
import { saveModel, serializeModel } from '../../../src/graph/save.ts';
import { externalModel } from '../../support/everything.ts';
import { temporaryFolder } from '../../support/temporary.ts';

describe('external data', () => {
  const root = temporaryFolder();
  const folder = join(root, 'model');
  mkdirSync(folder);
  const data = Float32Array.from({ length: 500 }, (_, i) => i);
  writeFileSync(join(folder, 'weights.bin'), data);
  writeFileSync(join(root, 'outside.bin'), data);
  symlinkSync(join(root, 'outside.bin'), join(folder, 'link.bin'));
  symlinkSync(root, join(folder, 'up'));
  mkdirSync(join(folder, 'sub'));
  let number = 0;
  const open = (entries: Record<string, string>, count = 500) => {
    const path = join(folder, `m${number++}.onnx`);
    writeFileSync(path, externalModel(count, entries));
    return loadModel(path);
  };
  const weight = (entries: Record<string, string>, count = 500) =>
    open(entries, count).graph.initializers[0].initializer!;

  test('is read lazily, with and without offset and length', () => {
    expect(weight({ location: 'weights.bin' }).toFloat32()).toEqual(data);
    expect(weight({ location: './weights.bin', offset: '400', length: '40' }, 10).toFloat32()).toEqual(
      data.slice(100, 110),
    );
    expect(weight({ location: 'weights.bin' }).location).toMatchObject({ offset: 0, length: 2000 });
  });

  test.each([
    [{ location: '../outside.bin' }, /outside of the model's folder/],
    [{ location: 'up/outside.bin' }, /outside of the model's folder/],
    [{ location: 'link.bin' }, /outside of the model's folder/],
    [{ location: join(root, 'outside.bin') }, /not a path inside/],
    [{ location: '..\\outside.bin' }, /missing|outside/],
    [{ location: '' }, /not a path inside/],
    [{ location: 'none.bin' }, /tensor "w".*"none\.bin", which is missing/],
    [{ location: 'weights.bin', offset: '4' }, /takes 2000 bytes, but its data has 1996/],
    [{ location: 'weights.bin', offset: '4', length: '2000' }, /has only 2000/],
    [{ location: 'weights.bin', offset: '-4', length: '2000' }, /bytes/],
    [{ location: 'weights.bin', offset: '99999999999999999999' }, /has only/],
    [{ location: '.' }, /not a path|outside|folder/],
    [{ location: 'sub' }, /not a file/],
  ])('%j opens, but its bytes are refused', (entries, message) => {
    const tensor = weight(entries as Record<string, string>);
    expect(tensor.dims).toEqual([500]);
    expect(() => tensor.bytes()).toThrowError(
      expect.objectContaining({ code: 'bad-model', message: expect.stringMatching(message) }),
    );
    expect(tensor.location).toBeUndefined();
  });

  test('stays external where it was, and comes inside when asked', () => {
    const out = join(root, 'copy.onnx');
    const model = open({ location: 'weights.bin' });
    expect(saveModel(model, out).files).toEqual([out, `${out}.data`]);
    expect(loadModel(out).graph.initializers[0].initializer!.toFloat32()).toEqual(data);
    expect(saveModel(model, join(root, 'inline.onnx'), { external: false }).files).toHaveLength(1);
    expect(serializeModel(model).length).toBeGreaterThan(2000);
  });

  test('a failed save leaves nothing behind', () => {
    const out = join(root, 'broken.onnx');
    expect(() => saveModel(open({ location: 'none.bin' }), out)).toThrowError(
      expect.objectContaining({ code: 'bad-model' }),
    );
    expect(() => loadModel(out)).toThrowError(expect.objectContaining({ code: 'io' }));
  });

  test.skipIf(process.platform === 'win32')('a pipe is refused instead of waited for', () => {
    const pipe = join(root, 'pipe.onnx');
    execFileSync('mkfifo', [pipe]);
    expect(() => loadModel(pipe)).toThrowError(expect.objectContaining({ code: 'io' }));
  });

  test('a file that changed since it was opened is noticed', () => {
    const path = join(root, 'changing.onnx');
    const first = open({ location: 'weights.bin' });
    saveModel(first, path, { external: false });
    const model = loadModel(path);
    writeFileSync(path, 'something else');
    expect(() => model.graph.initializers[0].initializer!.bytes()).toThrowError(
      expect.objectContaining({ code: 'io', message: expect.stringContaining('changed') }),
    );
  });
});
