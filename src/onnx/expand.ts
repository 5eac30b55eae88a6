import { closeSync } from 'node:fs';
import type { Stream } from './cut.ts';
import { MARKER_FIELD, readMarker, type InMemory } from './marker.ts';
import { openUnchanged, readExactly, type FileIdentity, type FileRange } from './source.ts';
import { CHILDREN, readVarint, varint, Wire, type MessageKind } from './wire.ts';

/** A piece of an output: bytes in memory, or a byte range of a file or a stream that is read when it is written. */
export type Piece = Uint8Array | FileRange | Stream;

/**
 * The reverse of the skimmer: the pieces of a ModelProto in which markers are replaced by the data they stand for and
 * the lengths of the enclosing messages are rewritten.
 * @param skeleton A ModelProto in the wire format, as our protobuf library wrote it.
 * @param memory Table of the memory markers.
 */
export function expand(skeleton: Uint8Array, memory: readonly InMemory[]): { pieces: Piece[]; length: number } {
  const pieces: Piece[] = [];
  const length = expandMessage('model', skeleton, 0, skeleton.length, memory, pieces);
  return { pieces, length };
}

function expandMessage(
  kind: MessageKind,
  bytes: Uint8Array,
  start: number,
  end: number,
  memory: readonly InMemory[],
  pieces: Piece[],
): number {
  let total = 0;
  let at = start;
  let copied = start;
  const add = (piece: Piece) => {
    if (piece.length > 0) pieces.push(piece);
    total += piece.length;
  };
  while (at < end) {
    const fieldStart = at;
    const tag = number(bytes, at);
    const field = Math.floor(tag.value / 8);
    at = tag.next;
    const wire = tag.value % 8;
    if (wire === Wire.VARINT) at = number(bytes, at).next;
    else if (wire === Wire.I64) at += 8;
    else if (wire === Wire.I32) at += 4;
    // Groups are unknown fields: nothing of ours lies inside, their parts can be stepped over one by one.
    if (wire !== Wire.LEN) continue;
    const size = number(bytes, at);
    const body = size.next;
    at = body + size.value;
    const child = CHILDREN[kind][field];
    if (child !== undefined) {
      const inner: Piece[] = [];
      const length = expandMessage(child, bytes, body, at, memory, inner);
      if (length === size.value) continue;
      add(bytes.subarray(copied, fieldStart));
      add(varint(tag.value));
      add(varint(length));
      // Not a spread: a graph has as many pieces as weights.
      for (const piece of inner) pieces.push(piece);
      total += length;
      copied = at;
    } else if (kind === 'tensor' && field === MARKER_FIELD) {
      const deferred = readMarker(bytes.subarray(body, at), memory);
      if (!deferred) continue;
      add(bytes.subarray(copied, fieldStart));
      add(varint(deferred.field * 8 + Wire.LEN));
      add(varint(deferred.data.length));
      add(deferred.data);
      copied = at;
    }
  }
  add(bytes.subarray(copied, end));
  return total;
}

function number(bytes: Uint8Array, at: number): { value: number; next: number } {
  const read = readVarint(bytes, at);
  if (!read) throw new Error('malformed message');
  return read;
}

const CHUNK = 1 << 23;

/**
 * Hands out the bytes of pieces in order, files in chunks of 8 MB: never more than that in memory. A chunk is valid only
 * until the next one is asked for.
 */
export function* chunks(pieces: Iterable<Piece>): Generator<Uint8Array> {
  let fd = -1;
  let file: FileIdentity | null = null;
  let window: Buffer | null = null;
  try {
    for (const piece of pieces) {
      if (piece instanceof Uint8Array) {
        yield piece;
        continue;
      }
      if ('chunks' in piece) {
        yield* piece.chunks();
        continue;
      }
      if (file !== piece.file) {
        if (fd >= 0) closeSync(fd);
        fd = -1;
        fd = openUnchanged(piece.file);
        file = piece.file;
      }
      for (let done = 0; done < piece.length; done += CHUNK) {
        const length = Math.min(CHUNK, piece.length - done);
        if (!window || window.length < length) window = Buffer.allocUnsafeSlow(length);
        yield readExactly(fd, piece.offset + done, window.subarray(0, length));
      }
    }
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}
