import { createHash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { fileError } from '../../pruning/export/files.ts';
import { Cache } from './cache.ts';
import { fileKey } from './file-key.ts';

const CHUNK = 4 << 20;
/** From this size on, hashing gets a thread of its own: the engine goes on meanwhile. */
const LARGE = 64 << 20;

const hashes = new Cache<string>(64);

/**
 * SHA-256 of a file's bytes in hexadecimal, read in pieces and kept by path, time of change and size.
 * @throws SecateurError 'io'
 */
export function fileSha256(path: string): Promise<string> {
  return hashes.get(fileKey(path), async () => {
    try {
      const { size } = await stat(path);
      return await (size < LARGE ? hashHere(path) : hashAside(path));
    } catch (thrown) {
      throw fileError(thrown, `read ${path}`);
    }
  });
}

async function hashHere(path: string): Promise<string> {
  const hash = createHash('sha256');
  const file = await open(path);
  try {
    const chunk = Buffer.allocUnsafeSlow(CHUNK);
    for (;;) {
      const { bytesRead } = await file.read(chunk, 0, CHUNK, null);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(chunk.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}

/** Source of the thread: plain JavaScript, so that it needs no file of its own beside the bundle. */
const THREAD = `
const { createHash } = require('node:crypto');
const { openSync, readSync } = require('node:fs');
const { parentPort, workerData } = require('node:worker_threads');
try {
  const hash = createHash('sha256');
  const file = openSync(workerData.path, 'r');
  const chunk = Buffer.allocUnsafeSlow(workerData.chunk);
  for (let n; (n = readSync(file, chunk, 0, chunk.length, null)) > 0; ) hash.update(chunk.subarray(0, n));
  parentPort.postMessage({ sha256: hash.digest('hex') });
} catch (error) {
  parentPort.postMessage({ code: error.code, message: error.message });
}
`;

function hashAside(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(THREAD, { eval: true, workerData: { path, chunk: CHUNK } });
    thread.once('message', (answer: { sha256?: string; code?: string; message?: string }) => {
      if (answer.sha256) resolve(answer.sha256);
      else reject(Object.assign(new Error(answer.message), { code: answer.code }));
    });
    thread.once('error', reject);
  });
}
