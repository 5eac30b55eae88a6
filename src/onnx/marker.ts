import { randomBytes } from 'node:crypto';
import type { Stream } from './cut.ts';
import type { FileIdentity, FileRange } from './source.ts';
import { readVarint, varint } from './wire.ts';

/**
 * A marker stands in a TensorProto for data that was left where it is: an unknown field, so that the protobuf library
 * carries it along, with a secret of this process, so that no file can contain one.
 */
export const MARKER_FIELD = 536_870_911;
const SECRET = new Uint8Array(randomBytes(16));

/** Data in memory, or made from what is in memory or in files when they are written. */
export type InMemory = Uint8Array | Stream;

/** Data of one TensorProto field, left in a file or in memory. */
export interface Deferred {
  /** Field number of TensorProto. */
  field: number;
  data: FileRange | InMemory;
}

const files: FileIdentity[] = [];
const fileNumbers = new Map<string, number>();

function fileNumber(file: FileIdentity): number {
  const key = `${file.path}\0${file.size}\0${file.mtimeMs}`;
  let number = fileNumbers.get(key);
  if (number === undefined) {
    number = files.push(file) - 1;
    fileNumbers.set(key, number);
  }
  return number;
}

/** Marker contents for bytes of a file. */
export function fileMarker(field: number, range: FileRange): Uint8Array {
  return concat([SECRET, varint(field), varint(fileNumber(range.file)), varint(range.offset), varint(range.length)]);
}

/** Marker contents for entry `index` of a table of data that lives as long as one save. */
export function memoryMarker(field: number, index: number): Uint8Array {
  return concat([SECRET, varint(field), varint(Number.MAX_SAFE_INTEGER), varint(index)]);
}

/** What a marker stands for; null when the bytes are not a marker of this process. */
export function readMarker(bytes: Uint8Array, memory: readonly InMemory[] = []): Deferred | null {
  if (bytes.length < SECRET.length || SECRET.some((b, i) => bytes[i] !== b)) return null;
  const numbers: number[] = [];
  for (let at = SECRET.length; at < bytes.length;) {
    const read = readVarint(bytes, at);
    if (!read) return null;
    numbers.push(read.value);
    at = read.next;
  }
  const [field, file, offset, length] = numbers;
  if (file === Number.MAX_SAFE_INTEGER) return { field, data: memory[offset] };
  return { field, data: { file: files[file], offset, length } };
}

/** One array after another. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
