import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { inflateSync } from 'fflate';
import { SecateurError } from '../../errors.ts';
import { type NamedArray, parseNpy } from './npy.ts';

interface Entry {
  name: string;
  method: number;
  compressed: number;
  size: number;
  crc: number;
  /** Of the local header. */
  offset: number;
}

const END = 0x06054b50;
const END64 = 0x06064b50;
const END64_LOCATOR = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const MAX_DIRECTORY = 64 * 1024 * 1024;
/** Deflate never packs more than 1032 to 1: a larger claim is a lie, and memory is not taken for it. */
const MAX_RATIO = 1032;
/** The longest typed array that Node can make. */
const MAX_BYTES = 2 ** 32;

/** A .npz archive: array names are the entries' without `.npy`. Nothing but the directory is read on opening. */
export class NpzFile {
  private readonly entries: Map<string, Entry>;

  private constructor(
    readonly path: string,
    private readonly fd: number,
    private readonly length: number,
  ) {
    this.entries = new Map(this.directory().map((e) => [e.name.replace(/\.npy$/, ''), e]));
  }

  /** Runs `use` on an opened archive and closes it. @throws SecateurError 'bad-data' or 'io' */
  static read<T>(path: string, use: (file: NpzFile) => T): T {
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (thrown) {
      throw new SecateurError('io', `${path} cannot be opened: ${(thrown as Error).message}.`, '', { cause: thrown });
    }
    try {
      return use(new NpzFile(path, fd, fstatSync(fd).size));
    } finally {
      closeSync(fd);
    }
  }

  /** Names of the arrays, in the order of the archive. */
  get names(): string[] {
    return [...this.entries.keys()];
  }

  /** Reads one array. @throws SecateurError 'bad-data' */
  array(name: string): NamedArray {
    const entry = this.entries.get(name);
    if (!entry) throw new SecateurError('bad-data', `${this.path} has no array ${name}.`);
    return parseNpy(this.contents(entry), `${this.path}: ${entry.name}`, name);
  }

  private contents(entry: Entry): Uint8Array {
    const bad = (why: string): SecateurError => new SecateurError('bad-data', `${this.path}: ${entry.name} ${why}.`);
    if (entry.size > MAX_BYTES) throw bad('is larger than 4 GB');
    if (entry.method === 0 ? entry.size !== entry.compressed : entry.size > entry.compressed * MAX_RATIO + 1024)
      throw bad('has sizes that cannot be true');
    const local = this.bytes(entry.offset, 30);
    const head = new DataView(local.buffer, local.byteOffset, 30);
    if (head.getUint32(0, true) !== LOCAL) throw bad('is not where the archive says');
    const start = entry.offset + 30 + head.getUint16(26, true) + head.getUint16(28, true);
    const packed = this.bytes(start, entry.compressed);
    let data: Uint8Array;
    if (entry.method === 0) data = packed;
    else if (entry.method === 8) {
      try {
        data = inflateSync(packed, { out: new Uint8Array(entry.size) });
      } catch (thrown) {
        throw new SecateurError('bad-data', `${this.path}: ${entry.name} is damaged.`, '', { cause: thrown });
      }
    } else throw bad(`is packed by a method (${entry.method}) that NumPy does not write`);
    if (data.length !== entry.size || crc32(data) !== entry.crc) throw bad('is damaged (its checksum differs)');
    return data;
  }

  private bytes(offset: number, length: number): Uint8Array {
    if (offset < 0 || length < 0 || offset + length > this.length)
      throw new SecateurError('bad-data', `${this.path} is cut off or damaged.`);
    const out = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const got = readSync(this.fd, out, done, Math.min(length - done, 1 << 30), offset + done);
      if (got === 0) throw new SecateurError('bad-data', `${this.path} is cut off.`);
      done += got;
    }
    return out;
  }

  /** The central directory (APPNOTE 4.3.12), with zip64 sizes (4.5.3). */
  private directory(): Entry[] {
    const bad = (): SecateurError =>
      new SecateurError('bad-data', `${this.path} is not a readable .npz archive (or is cut off).`);
    const tailLength = Math.min(this.length, 22 + 65535);
    const tailStart = this.length - tailLength;
    const tail = this.bytes(tailStart, tailLength);
    const view = new DataView(tail.buffer);
    let end = tailLength - 22;
    while (end >= 0 && view.getUint32(end, true) !== END) end--;
    if (end < 0) throw bad();
    let count = view.getUint16(end + 10, true);
    let size = view.getUint32(end + 12, true);
    let offset = view.getUint32(end + 16, true);
    if (end >= 20 && view.getUint32(end - 20, true) === END64_LOCATOR) {
      const at = Number(view.getBigUint64(end - 12, true));
      const big = new DataView(this.bytes(at, 56).buffer);
      if (big.getUint32(0, true) !== END64) throw bad();
      count = Number(big.getBigUint64(32, true));
      size = Number(big.getBigUint64(40, true));
      offset = Number(big.getBigUint64(48, true));
    }
    if (size > MAX_DIRECTORY || count * 46 > size) throw bad();
    const bytes = this.bytes(offset, size);
    const records = new DataView(bytes.buffer);
    const entries: Entry[] = [];
    for (let at = 0, k = 0; k < count; k++) {
      if (at + 46 > size || records.getUint32(at, true) !== CENTRAL) throw bad();
      const nameLength = records.getUint16(at + 28, true);
      const extraLength = records.getUint16(at + 30, true);
      const next = at + 46 + nameLength + extraLength + records.getUint16(at + 32, true);
      if (next > size) throw bad();
      if (records.getUint16(at + 8, true) & 1) throw new SecateurError('bad-data', `${this.path} is encrypted.`);
      const entry: Entry = {
        name: new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength)),
        method: records.getUint16(at + 10, true),
        crc: records.getUint32(at + 16, true),
        compressed: records.getUint32(at + 20, true),
        size: records.getUint32(at + 24, true),
        offset: records.getUint32(at + 42, true),
      };
      widen(entry, new DataView(bytes.buffer, bytes.byteOffset + at + 46 + nameLength, extraLength));
      if (!entry.name.endsWith('/')) entries.push(entry);
      at = next;
    }
    return entries;
  }
}

/** Takes sizes of 4 GB and more from the zip64 extra field. */
function widen(entry: Entry, extra: DataView): void {
  for (let at = 0; at + 4 <= extra.byteLength;) {
    const length = extra.getUint16(at + 2, true);
    if (extra.getUint16(at, true) === 1) {
      let field = at + 4;
      for (const key of ['size', 'compressed', 'offset'] as const)
        if (entry[key] === 0xffffffff && field + 8 <= Math.min(at + 4 + length, extra.byteLength)) {
          entry[key] = Number(extra.getBigUint64(field, true));
          field += 8;
        }
    }
    at += 4 + length;
  }
}

let crcTable: Uint32Array | undefined;

/** CRC-32 as in zip. */
export function crc32(data: Uint8Array): number {
  if (!crcTable) {
    crcTable = new Uint32Array(256);
    for (let n = 0; n < 256; n++) {
      let c = n;
      for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
      crcTable[n] = c >>> 0;
    }
  }
  let crc = 0xffffffff;
  for (let i = 0; i < data.length; i++) crc = crcTable[(crc ^ data[i]) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
