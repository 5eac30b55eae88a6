import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SecateurError } from '../../../src/errors.ts';
import {
  checkTarget,
  fileError,
  isSameFile,
  TemporaryFolder,
  writeJsonFile,
} from '../../../src/pruning/export/files.ts';

let folder: string;
let model: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'secateur-files-'));
  model = join(folder, 'model.onnx');
  writeFileSync(model, 'weights');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const theModel = () => [{ path: model, what: 'the model' }];

function thrown(run: () => unknown): SecateurError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(SecateurError);
    return error as SecateurError;
  }
  throw new Error('nothing was thrown');
}

test('a new name in an existing folder may be written', () => {
  expect(checkTarget(join(folder, 'small.onnx'), theModel())).toBe(join(folder, 'small.onnx'));
});

test.each([
  ['by name', () => model],
  ['by another spelling', () => join(folder, '.', 'x', '..', 'model.onnx')],
  ['through a symbolic link', () => (symlinkSync(model, join(folder, 'link.onnx')), join(folder, 'link.onnx'))],
  ['through a hard link', () => (linkSync(model, join(folder, 'hard.onnx')), join(folder, 'hard.onnx'))],
  ['through a linked folder', () => (symlinkSync(folder, join(folder, 'again')), join(folder, 'again', 'model.onnx'))],
])('the model is never written %s', (_, name) => {
  const path = name();
  expect(isSameFile(path, model)).toBe(true);
  const error = thrown(() => checkTarget(path, theModel()));
  expect(error.code).toBe('usage');
  expect(error.message).toContain('never overwritten');
});

test('a missing folder, a file as a folder and a folder as a file are one sentence each', () => {
  expect(thrown(() => checkTarget(join(folder, 'no', 'a.onnx'), [])).message).toContain('the folder does not exist');
  expect(thrown(() => checkTarget(join(model, 'a.onnx'), [])).message).toContain('its folder is not a folder');
  mkdirSync(join(folder, 'dir.onnx'));
  expect(thrown(() => checkTarget(join(folder, 'dir.onnx'), [])).message).toContain('it is a folder');
});

test('errors of the file system get words', () => {
  expect(fileError({ code: 'ENOSPC' }, 'write a.onnx').toLine()).toBe(
    'Cannot write a.onnx: the disk is full. Nothing was written; free some space and try again.',
  );
  expect(fileError({ code: 'EROFS' }, 'write a.onnx').code).toBe('io');
  expect(fileError(new Error('odd\nstack'), 'write a.onnx').message).toBe('Cannot write a.onnx: odd.');
});

test('publishing moves all files, and takes all back when one fails', () => {
  const [first, second] = [join(folder, 'a.onnx.data'), join(folder, 'a.onnx')];
  writeFileSync(first, 'earlier data');
  const temporary = new TemporaryFolder(second);
  writeFileSync(temporary.file('a.onnx.data'), 'new data');
  // The second file was never made: its move fails.
  const moves = [
    { name: 'a.onnx.data', target: first },
    { name: 'a.onnx', target: second },
  ];
  expect(() => temporary.publish(moves)).toThrow(SecateurError);
  expect(readFileSync(first, 'utf8')).toBe('earlier data');
  expect(existsSync(second)).toBe(false);

  writeFileSync(temporary.file('a.onnx.data'), 'new data');
  writeFileSync(temporary.file('a.onnx'), 'new model');
  temporary.publish(moves);
  temporary.remove();
  expect(readFileSync(first, 'utf8')).toBe('new data');
  expect(readFileSync(second, 'utf8')).toBe('new model');
  expect(readdirSync(folder).filter((name) => name.startsWith('.secateur-'))).toEqual([]);
});

test('JSON files are written whole, and replace only what Secateur wrote', () => {
  const path = join(folder, 'a.json');
  writeJsonFile(path, { format: 'secateur-plan/1', a: 1 });
  writeJsonFile(path, { format: 'secateur-plan/1', a: 2 });
  expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ format: 'secateur-plan/1', a: 2 });
  writeFileSync(join(folder, 'package.json'), '{"name": "mine"}');
  expect(thrown(() => writeJsonFile(join(folder, 'package.json'), {})).message).toContain('not written by Secateur');
  expect(thrown(() => writeJsonFile(model, {})).message).toContain('not written by Secateur');
  expect(readFileSync(model, 'utf8')).toBe('weights');
  expect(readdirSync(folder).sort()).toEqual(['a.json', 'model.onnx', 'package.json']);
});
