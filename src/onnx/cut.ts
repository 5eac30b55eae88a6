import { closeSync } from 'node:fs';
import { openUnchanged, readExactly, type FileRange } from './source.ts';

/** Positions that stay along each axis of a tensor, in that order; undefined: all of them. */
export type Cuts = readonly (Int32Array | undefined)[];

/** Bytes that are made piece by piece when they are wanted. */
export interface Stream {
  readonly length: number;
  /** The bytes in order. A piece is valid only until the next one is asked for. */
  chunks(): Iterable<Uint8Array>;
}

/** Random access to the elements of a tensor that is cut. */
export interface Reader {
  /** Fills `target` with the bytes from `offset` on. */
  read(offset: number, target: Uint8Array): void;
  close(): void;
}

/** Bytes read at once, about. */
const BATCH = 1 << 22;
/** Bytes between two rows that are read along: a jump costs more. */
const GAP = 1 << 16;
/** Runs that are shorter on average are copied word by word. */
const SHORT_RUN = 64;

export function memoryReader(bytes: Uint8Array): Reader {
  return {
    read: (offset, target) => target.set(bytes.subarray(offset, offset + target.length)),
    close: () => undefined,
  };
}

/** @throws SecateurError 'io' when the file has changed since it was opened */
export function fileReader(range: FileRange): Reader {
  const fd = openUnchanged(range.file);
  return {
    read: (offset, target) => void readExactly(fd, range.offset + offset, target),
    close: () => closeSync(fd),
  };
}

/**
 * The elements that stay of a tensor of the given dims, all axes cut in one pass, never more than some megabytes of it
 * in memory.
 * @param elementBytes bytes of one element
 */
export function* cutChunks(
  open: () => Reader,
  dims: readonly number[],
  elementBytes: number,
  cuts: Cuts,
): Generator<Uint8Array> {
  const sizes = dims.map((d, i) => cuts[i]?.length ?? d);
  if (sizes.includes(0)) return;
  // A row is what lies behind one position of axis `rowAxis`: the outermost whose rows fit, or the last that is cut.
  const strides = dims.map((_, i) => dims.slice(i + 1).reduce((a, b) => a * b, elementBytes));
  const lastCut = cuts.reduce((last, cut, i) => (cut ? i : last), 0);
  const fits = strides.findIndex((s) => s <= BATCH);
  const rowAxis = Math.min(fits < 0 ? lastCut : fits, lastCut);
  const rowBytes = strides[rowAxis];
  const select = rowSelector(dims.slice(rowAxis + 1), elementBytes, cuts.slice(rowAxis + 1));
  const outBytes = select?.length ?? rowBytes;
  const all = dims.reduce((a, b) => a * b, elementBytes);
  const source = buffer(Math.min(all, BATCH));
  const target = buffer(rowBytes > BATCH ? 0 : Math.min(all, BATCH));
  const most = Math.max(1, Math.floor(target.length / outBytes));
  const reader = open();
  try {
    let rows: number[] = [];
    const flush = function* () {
      const start = rows[0];
      const span = rows[rows.length - 1] + rowBytes - start;
      if (span > source.length) {
        // One long row, which is taken whole.
        for (let done = 0; done < span; done += source.length) {
          const piece = source.subarray(0, Math.min(source.length, span - done));
          reader.read(start + done, piece);
          yield piece;
        }
        return;
      }
      const read = source.subarray(0, span);
      reader.read(start, read);
      if (!select && span === rows.length * rowBytes) {
        yield read;
        return;
      }
      let at = 0;
      for (const row of rows) {
        if (select) select.copy(source, row - start, target, at);
        else target.set(source.subarray(row - start, row - start + rowBytes), at);
        at += outBytes;
      }
      yield target.subarray(0, at);
    };
    for (const row of rowOffsets(dims, strides, cuts, rowAxis)) {
      if (rows.length > 0) {
        const gap = row - (rows[rows.length - 1] + rowBytes);
        if (gap < 0 || gap > GAP || row + rowBytes - rows[0] > source.length || rows.length >= most) {
          yield* flush();
          rows = [];
        }
      }
      rows.push(row);
    }
    if (rows.length > 0) yield* flush();
  } finally {
    reader.close();
  }
}

/** Whole words, so that it can be looked at as such. */
function buffer(length: number): Uint8Array {
  return Buffer.allocUnsafeSlow(4 * Math.ceil(length / 4));
}

/** Offsets of the rows that stay: all combinations of positions on the axes up to `rowAxis`. */
function* rowOffsets(
  dims: readonly number[],
  strides: readonly number[],
  cuts: Cuts,
  rowAxis: number,
  axis = 0,
  base = 0,
): Generator<number> {
  const cut = cuts[axis];
  const size = cut?.length ?? dims[axis];
  for (let i = 0; i < size; i++) {
    const offset = base + (cut ? cut[i] : i) * strides[axis];
    if (axis === rowAxis) yield offset;
    else yield* rowOffsets(dims, strides, cuts, rowAxis, axis + 1, offset);
  }
}

interface RowSelector {
  /** Bytes that stay of a row. */
  length: number;
  copy(source: Uint8Array, from: number, target: Uint8Array, at: number): void;
}

/** What stays within a row; undefined when all of it does. */
function rowSelector(dims: readonly number[], elementBytes: number, cuts: Cuts): RowSelector | undefined {
  if (cuts.every((c) => !c)) return undefined;
  const { starts, lengths } = runsOf(dims, elementBytes, cuts);
  const length = lengths.reduce((a, b) => a + b, 0);
  if (length / starts.length >= SHORT_RUN) {
    return {
      length,
      copy: (source, from, target, at) => {
        for (let i = 0; i < starts.length; i++) {
          const start = from + starts[i];
          target.set(source.subarray(start, start + lengths[i]), at);
          at += lengths[i];
        }
      },
    };
  }
  // Rows and runs are whole numbers of such words, so that rows in our buffers are aligned to them.
  const unit = dims.slice(cuts.reduce((last, cut, i) => (cut ? i : last), 0) + 1).reduce((a, b) => a * b, elementBytes);
  const word = unit % 4 === 0 ? 4 : unit % 2 === 0 ? 2 : 1;
  const Words = word === 4 ? Uint32Array : word === 2 ? Uint16Array : Uint8Array;
  const index = new Int32Array(length / word);
  let n = 0;
  starts.forEach((start, i) => {
    for (let w = 0; w < lengths[i]; w += word) index[n++] = (start + w) / word;
  });
  return {
    length,
    copy: (source, from, target, at) => {
      const row = new Words(source.buffer as ArrayBuffer, source.byteOffset + from);
      const out = new Words(target.buffer as ArrayBuffer, target.byteOffset + at, index.length);
      for (let i = 0; i < index.length; i++) out[i] = row[index[i]];
    },
  };
}

/** Byte ranges that stay within a row, neighbours joined. */
function runsOf(dims: readonly number[], elementBytes: number, cuts: Cuts): { starts: number[]; lengths: number[] } {
  const strides = dims.map((_, i) => dims.slice(i + 1).reduce((a, b) => a * b, elementBytes));
  const lastCut = cuts.reduce((last, cut, i) => (cut ? i : last), 0);
  const starts: number[] = [];
  const lengths: number[] = [];
  for (const start of rowOffsets(dims, strides, cuts, lastCut)) {
    const last = starts.length - 1;
    if (last >= 0 && starts[last] + lengths[last] === start) lengths[last] += strides[lastCut];
    else {
      starts.push(start);
      lengths.push(strides[lastCut]);
    }
  }
  return { starts, lengths };
}
