import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ModelStore } from '../../../src/vscode/model-store.ts';

let folder: string;
let warnings: string[];
const open = (): ModelStore<{ n: number }> => {
  const context = { storageUri: { fsPath: folder } } as unknown as ConstructorParameters<typeof ModelStore>[0];
  const log = { warn: (line: string) => warnings.push(line) } as unknown as ConstructorParameters<typeof ModelStore>[2];
  return new ModelStore(context, 'things', log);
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'secateur-store-'));
  warnings = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('the store of the workspace', () => {
  it('knows nothing of a model at first, and later what was saved last', async () => {
    expect(await open().load('/a.onnx')).toBeUndefined();
    const store = open();
    await Promise.all([1, 2, 3, 4].map((n) => store.save('/a.onnx', { n })));
    await store.save('/b.onnx', { n: 7 });
    expect(await store.load('/a.onnx')).toEqual({ n: 4 });
    // Another window, or the same after a reload.
    expect(await open().load('/a.onnx')).toEqual({ n: 4 });
    expect(await open().load('/b.onnx')).toEqual({ n: 7 });
    expect(readdirSync(join(folder, 'things'))).toHaveLength(2);
  });

  it('takes a damaged file for none, and goes on when it cannot write', async () => {
    await open().save('/a.onnx', { n: 1 });
    const [file] = readdirSync(join(folder, 'things'));
    writeFileSync(join(folder, 'things', file), '{"n":');
    expect(await open().load('/a.onnx')).toBeUndefined();
    rmSync(join(folder, 'things'), { recursive: true });
    writeFileSync(join(folder, 'things'), 'not a folder');
    const store = open();
    await store.save('/a.onnx', { n: 2 });
    expect(warnings).toHaveLength(1);
    expect(await store.load('/a.onnx')).toEqual({ n: 2 });
  });
});
