/** What the tests of the jobs share: running them, and making data files. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { zipSync } from 'fflate';
import { afterEach } from 'vitest';
import { handlers } from '../../../src/engine/jobs/index.ts';
import type { EngineMethod, ParamsOf, ResultOf } from '../../../src/engine/process/wire.ts';
import { SecateurError } from '../../../src/errors.ts';
import type { DataSpec, Progress } from '../../../src/protocol.ts';

export const example = resolve(import.meta.dirname, '../../../examples/digits');
export const model = join(example, 'model.onnx');
export const calib: DataSpec = { path: join(example, 'calib.npz'), seed: 0 };

/** Runs a method of the engine in this process. */
export function run<M extends EngineMethod>(
  method: M,
  params: ParamsOf<M>,
  options: { signal?: AbortSignal; progress?: (p: Progress) => void } = {},
): Promise<ResultOf<M>> {
  const handler = handlers[method] as (
    p: ParamsOf<M>,
    c: { signal: AbortSignal; progress(p: Progress): void },
  ) => Promise<ResultOf<M>>;
  return handler(params, {
    signal: options.signal ?? new AbortController().signal,
    progress: options.progress ?? (() => undefined),
  });
}

/** The SecateurError that a promise ends with; its message must be one line. */
export async function failure(promise: Promise<unknown>): Promise<SecateurError> {
  try {
    await promise;
  } catch (thrown) {
    if (!(thrown instanceof SecateurError)) throw thrown;
    if (/\n|\.ts:\d|at \w+ \(/.test(thrown.toLine()))
      throw new Error(`not one clear sentence: ${thrown.toLine()}`, { cause: thrown });
    return thrown;
  }
  throw new Error('it did not fail');
}

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A folder that goes after the test. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'secateur-jobs-'));
  folders.push(folder);
  return folder;
}

/** Writes arrays as .npz. */
export function writeNpz(
  path: string,
  arrays: Record<string, { dims: number[]; data: Float32Array | BigInt64Array }>,
): string {
  const files: Record<string, Uint8Array> = {};
  for (const [name, { dims, data }] of Object.entries(arrays)) {
    const dtype = data instanceof Float32Array ? '<f4' : '<i8';
    const shape = dims.length === 1 ? `(${dims[0]},)` : `(${dims.join(', ')})`;
    const text = `{'descr': '${dtype}', 'fortran_order': False, 'shape': ${shape}, }`;
    const header = `${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`;
    const bytes = Buffer.concat([
      Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]),
      Buffer.from(header, 'latin1'),
      Buffer.from(data.buffer, data.byteOffset, data.byteLength),
    ]);
    files[`${name}.npy`] = bytes;
  }
  writeFileSync(path, zipSync(files));
  return path;
}
