import { createHash } from 'node:crypto';
import type { NamedArray } from './npy.ts';

/** SHA-256 over arrays in the order of their names: name, type, dims and elements (little-endian). */
export function fingerprint(arrays: readonly NamedArray[]): string {
  const hash = createHash('sha256');
  for (const array of [...arrays].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))) {
    hash.update(JSON.stringify([array.name, array.type, array.dims]));
    if (array.type === 'string') hash.update(JSON.stringify(array.data));
    else {
      const data = array.data as Uint8Array;
      hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
  }
  return hash.digest('hex');
}
