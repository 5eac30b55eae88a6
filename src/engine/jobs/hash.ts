import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { fileError } from '../../pruning/export/files.ts';
import { Cache } from './cache.ts';
import { fileKey } from './file-key.ts';

const CHUNK = 8 << 20;
const hashes = new Cache<string>(64);

/**
 * SHA-256 of a file's bytes in hexadecimal, read in pieces (one is read while the other is hashed) and kept by path,
 * time of change and size.
 * @throws SecateurError 'io'
 */
export function fileSha256(path: string): Promise<string> {
  return hashes.get(fileKey(path), () => hashFile(path));
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    const file = await open(path);
    try {
      let [filling, hashing] = [Buffer.allocUnsafeSlow(CHUNK), Buffer.allocUnsafeSlow(CHUNK)];
      let read = file.read(filling, 0, CHUNK, null);
      for (;;) {
        const { bytesRead } = await read;
        if (bytesRead === 0) return hash.digest('hex');
        [filling, hashing] = [hashing, filling];
        read = file.read(filling, 0, CHUNK, null);
        hash.update(hashing.subarray(0, bytesRead));
      }
    } finally {
      await file.close();
    }
  } catch (thrown) {
    throw fileError(thrown, `read ${path}`);
  }
}
