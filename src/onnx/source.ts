import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { SecateurError } from '../errors.ts';

/** Bytes that can be read in pieces. */
export interface ByteSource {
  readonly size: number;
  /** The bytes [offset, offset + length), valid only until the next call. Callers check the range before. */
  view(offset: number, length: number): Uint8Array;
}

/** A source over bytes in memory. */
export class MemorySource implements ByteSource {
  readonly size: number;
  private readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.size = bytes.length;
  }
  view(offset: number, length: number): Uint8Array {
    return this.bytes.subarray(offset, offset + length);
  }
}

const WINDOW = 1 << 16;

/** A source over an open file: positional reads through one small window, whatever the size of the file. */
export class FileSource implements ByteSource {
  readonly size: number;
  private readonly fd: number;
  private readonly window: Buffer;
  private start = 0;
  private filled = 0;

  constructor(fd: number, size: number) {
    this.fd = fd;
    this.size = size;
    this.window = Buffer.allocUnsafe(Math.min(WINDOW, Math.max(1, size)));
  }
  view(offset: number, length: number): Uint8Array {
    if (length > this.window.length) return readExactly(this.fd, offset, Buffer.allocUnsafe(length));
    if (offset < this.start || offset + length > this.start + this.filled) {
      this.filled = 0;
      const wanted = Math.min(this.window.length, this.size - offset);
      readExactly(this.fd, offset, this.window.subarray(0, wanted));
      this.start = offset;
      this.filled = wanted;
    }
    return this.window.subarray(offset - this.start, offset - this.start + length);
  }
}

/** Fills `target` from the file at `offset`. @throws SecateurError 'io' when the file is shorter than it was. */
export function readExactly(fd: number, offset: number, target: Uint8Array): Uint8Array {
  let done = 0;
  while (done < target.length) {
    const n = readSync(fd, target, done, Math.min(target.length - done, 1 << 30), offset + done);
    if (n === 0) throw new SecateurError('io', 'The model file became shorter while it was being read.');
    done += n;
  }
  return target;
}

/** What a file was when it was opened, to notice that it has changed since. */
export interface FileIdentity {
  readonly path: string;
  readonly size: number;
  readonly mtimeMs: number;
}

/** A byte range of a file. */
export interface FileRange {
  readonly file: FileIdentity;
  readonly offset: number;
  readonly length: number;
}

/** Opens a regular file for reading. @throws SecateurError 'io' with one clear sentence. */
export function openForReading(path: string): { fd: number; identity: FileIdentity } {
  // Looked at before it is opened: opening a pipe would wait for a writer.
  identify(path);
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    throw new SecateurError('io', `Cannot open ${path}: ${reason(error)}.`, '', { cause: error });
  }
  const stat = fstatSync(fd);
  return { fd, identity: { path, size: stat.size, mtimeMs: stat.mtimeMs } };
}

/** The identity of a file now. @throws SecateurError 'io' when it is not there or not a regular file. */
export function identify(path: string): FileIdentity {
  let stat: Stats;
  try {
    stat = statSync(path);
  } catch (error) {
    throw new SecateurError('io', `Cannot open ${path}: ${reason(error)}.`, '', { cause: error });
  }
  if (!stat.isFile()) {
    const what = stat.isDirectory() ? 'a folder' : 'not a regular file';
    throw new SecateurError('io', `${path} is ${what}.`, 'Name a file.');
  }
  return { path, size: stat.size, mtimeMs: stat.mtimeMs };
}

/** Reads byte ranges, in order, into one array. @throws SecateurError 'io' when the file has changed since it was opened. */
export function readRanges(ranges: readonly FileRange[]): Uint8Array {
  const out = new Uint8Array(ranges.reduce((sum, r) => sum + r.length, 0));
  let at = 0;
  for (const range of ranges) {
    const fd = openUnchanged(range.file);
    try {
      readExactly(fd, range.offset, out.subarray(at, at + range.length));
    } finally {
      closeSync(fd);
    }
    at += range.length;
  }
  return out;
}

/** Opens a file that must still be what it was. The caller closes the descriptor. */
export function openUnchanged(file: FileIdentity): number {
  const { fd, identity } = openForReading(file.path);
  if (identity.size !== file.size || identity.mtimeMs !== file.mtimeMs) {
    closeSync(fd);
    throw new SecateurError('io', `${file.path} has changed on disk since it was opened.`, 'Open it again.');
  }
  return fd;
}

/** The operating system's reason in words: `no such file or directory`. */
export function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied';
  if (code === 'ENOSPC') return 'the disk is full';
  if (code === 'EROFS') return 'the file system is read-only';
  if (code === 'ENOTDIR' || code === 'EISDIR') return 'the path does not name a file';
  if (code === 'ELOOP') return 'too many symbolic links';
  return code ?? (error instanceof Error ? error.message : String(error));
}
