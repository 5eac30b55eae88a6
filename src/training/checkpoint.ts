import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { SecateurError } from '../errors.ts';
import { bytesPerElement, elementCount, isHostType, viewBytes, type HostTensor } from '../runtime/host-tensor.ts';

/**
 * A training that stopped, in one file: the letters SECTRAIN, the format version and the length of a JSON header (both
 * uint32, little endian), the header, the bytes of all tensors one after the other in the header's order, and the SHA-256
 * of all that. Written whole or not at all.
 */
export interface Checkpoint<Progress> {
  /** Tells whether it belongs to a training: model, data and options, as a hash. */
  key: string;
  progress: Progress;
  /** Sets of tensors by name. */
  tensors: Record<string, ReadonlyMap<string, HostTensor>>;
}

const MAGIC = Buffer.from('SECTRAIN');
const VERSION = 1;
const PREFIX = MAGIC.length + 8;
const CHECKSUM = 32;

interface Header {
  key: string;
  progress: unknown;
  tensors: { set: string; name: string; type: string; dims: number[] }[];
}

/** @throws SecateurError 'io' when the file cannot be written */
export async function writeCheckpoint(path: string, checkpoint: Checkpoint<unknown>): Promise<void> {
  const listed = Object.entries(checkpoint.tensors).flatMap(([set, tensors]) =>
    [...tensors].map(([name, tensor]) => ({ set, name, tensor })),
  );
  const header: Header = {
    key: checkpoint.key,
    progress: checkpoint.progress,
    tensors: listed.map(({ set, name, tensor: { type, dims } }) => ({ set, name, type, dims })),
  };
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(PREFIX);
  MAGIC.copy(prefix);
  prefix.writeUInt32LE(VERSION, MAGIC.length);
  prefix.writeUInt32LE(json.length, MAGIC.length + 4);
  const pieces = [prefix, json, ...listed.map(({ tensor: { data } }) => bytesOf(data))];
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  const fresh = `${path}.${process.pid}.new`;
  try {
    await writeFile(fresh, [...pieces, hash.digest()]);
    await rename(fresh, path);
  } catch (thrown) {
    await rm(fresh, { force: true });
    const reason = thrown instanceof Error ? thrown.message.split(',')[0] : String(thrown);
    throw new SecateurError('io', `The checkpoint ${path} cannot be written: ${reason}.`, '', { cause: thrown });
  }
}

/**
 * Reads a checkpoint; null when there is no such file.
 * @throws SecateurError 'io' when the file cannot be read, 'bad-data' when it is none or damaged, 'usage' when it belongs
 * to another training
 */
export async function readCheckpoint<Progress>(path: string, key: string): Promise<Checkpoint<Progress> | null> {
  if (!existsSync(path)) return null;
  let file: Buffer;
  try {
    file = await readFile(path);
  } catch (thrown) {
    throw new SecateurError('io', `The checkpoint ${path} cannot be read.`, '', { cause: thrown });
  }
  const { header, at } = readHeader(path, file);
  if (header.key !== key)
    throw new SecateurError(
      'usage',
      `The checkpoint ${path} belongs to a training of another model, on other data or with other options.`,
      'Delete it, or choose another file.',
    );
  return { key, progress: header.progress as Progress, tensors: readTensors(path, file, header, at) };
}

function readHeader(path: string, file: Buffer): { header: Header; at: number } {
  if (file.length < PREFIX + CHECKSUM || !file.subarray(0, MAGIC.length).equals(MAGIC))
    throw new SecateurError('bad-data', `${path} is not a checkpoint of a training.`, 'Choose another file.');
  const version = file.readUInt32LE(MAGIC.length);
  if (version !== VERSION)
    throw new SecateurError(
      'bad-data',
      `The checkpoint ${path} has the format version ${version}, not ${VERSION}.`,
      'It was written by another version of the program: delete it.',
    );
  const end = file.length - CHECKSUM;
  const sum = createHash('sha256').update(file.subarray(0, end)).digest();
  if (!sum.equals(file.subarray(end))) throw damaged(path);
  const at = PREFIX + file.readUInt32LE(MAGIC.length + 4);
  return { header: JSON.parse(file.toString('utf8', PREFIX, at)) as Header, at };
}

function readTensors(path: string, file: Buffer, header: Header, start: number): Checkpoint<never>['tensors'] {
  const sets: Record<string, Map<string, HostTensor>> = {};
  let at = start;
  for (const { set, name, type, dims } of header.tensors) {
    if (!isHostType(type)) throw damaged(path);
    const length = elementCount(dims) * bytesPerElement(type);
    // A copy of its own, so that the file's memory is not held.
    const data = viewBytes(type, Uint8Array.from(file.subarray(at, at + length)));
    (sets[set] ??= new Map()).set(name, { type, dims, data });
    at += length;
  }
  if (at !== file.length - CHECKSUM) throw damaged(path);
  return sets;
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}

function damaged(path: string): SecateurError {
  return new SecateurError('bad-data', `The checkpoint ${path} is damaged.`, 'Delete it and start anew.');
}
