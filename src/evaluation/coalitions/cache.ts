import { createHash } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { OpenGame } from './game.ts';

const SUFFIX = '.coalitions';
const MAGIC = Buffer.from('SCTRCOA1', 'latin1');
/** Magic, number of players, the key's SHA-256. */
const HEADER = MAGIC.length + 4 + 32;

export interface CacheLimits {
  /** Bytes of one file: what comes after is not written down any more. */
  file: number;
  /** Bytes of all files in the folder: the ones that were not used for longest go first. */
  folder: number;
}

export const CACHE_LIMITS: CacheLimits = { file: 32 << 20, folder: 256 << 20 };

/**
 * Values of coalitions on disk, so that all estimators of a run and later runs share them. One file per key, in a folder
 * that may be deleted at any time. A file is a header (magic, players, SHA-256 of the key) and records that are appended:
 * the coalition as a bit set, its value as a little-endian float64, a checksum of both. What does not look like that is
 * ignored and written anew: a foreign file whole, of a damaged one all from the first bad record on. Failures of the
 * file system never disturb the ranking; the values are then remembered in memory only.
 */
export class CoalitionCache {
  private readonly known = new Map<string, number>();
  private readonly recordSize: number;
  private readonly maskSize: number;
  private readonly path: string;
  private readonly header: Buffer;
  private readonly limits: CacheLimits;
  private file: number | null = null;
  private bytes = HEADER;

  /**
   * @param key all that the values depend on, but for the coalition; JSON of it is hashed
   * @param players units of the group
   */
  constructor(
    folder: string,
    key: unknown,
    readonly players: number,
    limits: Partial<CacheLimits> = {},
  ) {
    this.limits = { ...CACHE_LIMITS, ...limits };
    this.maskSize = Math.ceil(players / 8);
    this.recordSize = this.maskSize + 8 + 4;
    const hash = createHash('sha256').update(JSON.stringify(key)).digest();
    this.path = join(folder, `${hash.toString('hex').slice(0, 40)}${SUFFIX}`);
    this.header = Buffer.alloc(HEADER);
    MAGIC.copy(this.header);
    this.header.writeUInt32LE(players, MAGIC.length);
    hash.copy(this.header, MAGIC.length + 4);
    try {
      mkdirSync(folder, { recursive: true });
      this.load();
      this.makeRoom(folder);
      this.file = openSync(this.path, 'a');
    } catch {
      this.file = null;
    }
  }

  /** Coalitions whose value is known. */
  get size(): number {
    return this.known.size;
  }

  get(coalition: Uint8Array): number | undefined {
    return this.known.get(this.keyOf(coalition));
  }

  /** Remembers values, and appends them to the file in one write. */
  add(coalitions: readonly Uint8Array[], values: ArrayLike<number>): void {
    const records: Buffer[] = [];
    coalitions.forEach((coalition, i) => {
      const key = this.keyOf(coalition);
      if (this.known.has(key) || !Number.isFinite(values[i])) return;
      this.known.set(key, values[i]);
      records.push(this.record(key, values[i]));
    });
    const chunk = Buffer.concat(records);
    if (this.file === null || chunk.length === 0 || this.bytes + chunk.length > this.limits.file) return;
    try {
      writeSync(this.file, chunk);
      this.bytes += chunk.length;
    } catch {
      this.close();
    }
  }

  close(): void {
    if (this.file === null) return;
    try {
      closeSync(this.file);
    } catch {
      // It was of no more use anyway.
    }
    this.file = null;
  }

  /** Reads what is there; leaves a file that records can be appended to. */
  private load(): void {
    const found = statSync(this.path, { throwIfNoEntry: false });
    const data = found?.isFile() && found.size <= this.limits.file ? readFileSync(this.path) : null;
    let end = 0;
    if (data && data.length >= HEADER && data.subarray(0, HEADER).equals(this.header)) {
      end = HEADER;
      for (; end + this.recordSize <= data.length; end += this.recordSize) {
        const body = data.subarray(end, end + this.recordSize - 4);
        const value = body.readDoubleLE(this.maskSize);
        if (checksum(body) !== data.readUInt32LE(end + body.length) || !Number.isFinite(value)) break;
        this.known.set(body.toString('latin1', 0, this.maskSize), value);
      }
      this.bytes = end;
      if (end === data.length) {
        utimesSync(this.path, new Date(), new Date());
        return;
      }
    }
    const whole = end > 0 ? data!.subarray(0, end) : this.header;
    this.bytes = whole.length;
    const fresh = `${this.path}.${process.pid}.new`;
    writeFileSync(fresh, whole);
    renameSync(fresh, this.path);
  }

  /** Deletes the files that were not used for longest until the folder is small enough; never this one. */
  private makeRoom(folder: string): void {
    const files = readdirSync(folder)
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => join(folder, name))
      .map((path) => ({ path, stat: statSync(path, { throwIfNoEntry: false }) }))
      .filter((file) => file.stat !== undefined)
      .sort((a, b) => a.stat!.mtimeMs - b.stat!.mtimeMs);
    let total = files.reduce((sum, file) => sum + file.stat!.size, 0);
    for (const { path, stat } of files) {
      if (total <= this.limits.folder) return;
      if (path === this.path) continue;
      rmSync(path, { force: true });
      total -= stat!.size;
    }
  }

  private record(key: string, value: number): Buffer {
    const record = Buffer.alloc(this.recordSize);
    record.write(key, 'latin1');
    record.writeDoubleLE(value, this.maskSize);
    record.writeUInt32LE(checksum(record.subarray(0, this.recordSize - 4)), this.recordSize - 4);
    return record;
  }

  /** The bit set, a byte per character. */
  private keyOf(coalition: Uint8Array): string {
    const bits = Buffer.alloc(this.maskSize);
    for (let i = 0; i < this.players; i++) if (coalition[i]) bits[i >> 3] |= 1 << (i & 7);
    return bits.toString('latin1');
  }
}

/** The same game, which asks only for what the cache does not know. Closing it closes the cache too. */
export function cachedGame(game: OpenGame, cache: CoalitionCache): OpenGame {
  return {
    group: game.group,
    players: game.players,
    samples: game.samples,
    metric: game.metric,
    preferredBatch: game.preferredBatch,
    info: game.info,
    async evaluate(coalitions, signal) {
      const values = Float64Array.from(coalitions, (coalition) => cache.get(coalition) ?? NaN);
      const missing = coalitions.filter((_, i) => Number.isNaN(values[i]));
      if (missing.length === 0) {
        // A run that is all in the cache listens to others, too.
        await setImmediate();
        signal?.throwIfAborted();
        return values;
      }
      const found = await game.evaluate(missing, signal);
      cache.add(missing, found);
      for (let i = 0, at = 0; i < values.length; i++) if (Number.isNaN(values[i])) values[i] = found[at++];
      return values;
    },
    async close() {
      cache.close();
      await game.close();
    },
  };
}

/** 32-bit FNV-1a. */
function checksum(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
