import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dataToBeginWith, proposeData } from '../../../src/vscode/data-choices.ts';

let folder: string;
const put = (...files: string[]): void => {
  for (const file of files) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), '');
  }
};
const propose = async (): Promise<string[]> =>
  (await proposeData(join(folder, 'model.onnx'))).map(({ label }) => label);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'secateur-data-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('proposed data', () => {
  it('puts calibration data first and held-out data last', async () => {
    put('test.npz', 'a.npy', 'calib.npz', 'table.csv', 'notes.txt', 'model.onnx');
    expect(await propose()).toEqual(['calib.npz', 'a.npy', 'table.csv', 'test.npz']);
  });

  it('finds image folders and arrays in folders named like data, and nothing in others', async () => {
    put('data/cats/1.png', 'data/x.npz', 'images/1.jpg', 'src/1.png', 'src/y.npz', 'calib/readme.md');
    expect(await propose()).toEqual(['data', 'images', 'data/x.npz']);
  });

  it('finds texts where a tokenizer lies beside the model', async () => {
    put('book.txt', 'train.jsonl', 'merges.txt', 'README.txt', 'data/val.txt');
    expect(await propose()).toEqual([]);
    put('tokenizer.json');
    expect(await propose()).toEqual(['data/val.txt', 'train.jsonl', 'book.txt']);
  });

  it('tells held-out data of the same kind in the same folder', async () => {
    put('calib.npz', 'heldout.npz', 'other.npy', 'data/calib.npz');
    const choices = await proposeData(join(folder, 'model.onnx'));
    expect(choices.map(({ label, holdout }) => [label, holdout && holdout.slice(folder.length + 1)])).toEqual([
      ['calib.npz', 'heldout.npz'],
      ['data/calib.npz', undefined],
      ['other.npy', undefined],
      ['heldout.npz', undefined],
    ]);
    expect(dataToBeginWith(choices)?.label).toBe('calib.npz');
  });

  it('begins without data where nothing is called calibration data', async () => {
    put('something.npz');
    expect(dataToBeginWith(await proposeData(join(folder, 'model.onnx')))).toBeUndefined();
    expect(await proposeData(join(folder, 'missing', 'model.onnx'))).toEqual([]);
  });
});
