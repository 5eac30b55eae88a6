import { SecateurError } from '../errors.ts';
import { concat, fileMarker, MARKER_FIELD } from './marker.ts';
import type { ByteSource, FileIdentity } from './source.ts';
import { CHILDREN, isTensorData, MAX_DEPTH, readVarint, varint, Wire, type MessageKind } from './wire.ts';

/** Tensors of at most so many bytes, all in all, stay in the message. */
export const INLINE_LIMIT = 1024;
/** A model whose description without weights is larger than this is not read. */
const MAX_SKELETON = 2 ** 28;

/**
 * The model file without its weights: walks the wire format in small positional reads, replaces tensor data longer
 * than INLINE_LIMIT by markers (marker.ts) and rewrites the lengths of the messages around it. Every length is checked
 * against the message that encloses it before anything is read.
 * @param source The file's bytes.
 * @param file What the markers point at.
 * @returns A ModelProto in the wire format, small enough for the protobuf library.
 * @throws SecateurError 'bad-model' when the bytes are not a protobuf message or end early.
 */
export function skim(source: ByteSource, file: FileIdentity): Uint8Array {
  return new Skimmer(source, file).run();
}

class Skimmer {
  private readonly source: ByteSource;
  private readonly file: FileIdentity;
  private readonly parts: Uint8Array[] = [];
  private total = 0;

  constructor(source: ByteSource, file: FileIdentity) {
    this.source = source;
    this.file = file;
  }

  run(): Uint8Array {
    this.message('model', 0, this.source.size, 0);
    return concat(this.parts);
  }

  /** Emits the message in [start, end) with its long tensor data replaced. */
  private message(kind: MessageKind, start: number, end: number, depth: number): void {
    if (depth > MAX_DEPTH) throw bad(`its messages are nested more than ${MAX_DEPTH} deep`);
    let at = start;
    let copied = start;
    while (at < end) {
      const fieldStart = at;
      const tag = this.varint(at, end);
      const field = Math.floor(tag.value / 8);
      const wire = tag.value % 8;
      if (field < 1 || field > MARKER_FIELD) throw bad(`it has a field number that cannot be, at byte ${at}`);
      if (wire !== Wire.LEN) {
        at = this.skip(wire, field, tag.next, end, depth);
        continue;
      }
      const { body, length } = this.lengthAt(tag.next, end);
      at = body + length;
      const child = CHILDREN[kind][field];
      if (child !== undefined) {
        if (length <= INLINE_LIMIT) continue;
        this.copy(copied, fieldStart);
        this.emit(varint(tag.value));
        const slot = this.parts.push(new Uint8Array(0)) - 1;
        const before = this.total;
        this.message(child, body, at, depth + 1);
        this.parts[slot] = varint(this.total - before);
        this.total += this.parts[slot].length;
        copied = at;
      } else if (kind === 'tensor' && isTensorData(field)) {
        // Also short ones: a packed list may come in several parts, whose order must not be lost.
        this.copy(copied, fieldStart);
        const marker = fileMarker(field, { file: this.file, offset: body, length });
        this.emit(concat([varint(MARKER_FIELD * 8 + Wire.LEN), varint(marker.length), marker]));
        copied = at;
      }
    }
    this.copy(copied, end);
  }

  /** Position after a field of another wire type than LEN. */
  private skip(wire: number, field: number, at: number, end: number, depth: number): number {
    if (wire === Wire.VARINT) return this.varint(at, end).next;
    if (wire === Wire.I64 || wire === Wire.I32) {
      const next = at + (wire === Wire.I64 ? 8 : 4);
      if (next > end) throw truncated();
      return next;
    }
    if (wire === Wire.GROUP) return this.skipGroup(field, at, end, depth);
    throw bad(`it has a field of an unknown wire type at byte ${at}`);
  }

  private skipGroup(group: number, start: number, end: number, depth: number): number {
    if (depth > MAX_DEPTH) throw bad(`its messages are nested more than ${MAX_DEPTH} deep`);
    let at = start;
    while (at < end) {
      const tag = this.varint(at, end);
      const field = Math.floor(tag.value / 8);
      const wire = tag.value % 8;
      if (wire === Wire.END_GROUP) {
        if (field !== group) throw bad(`a group is not closed, at byte ${at}`);
        return tag.next;
      }
      if (wire === Wire.LEN) {
        const { body, length } = this.lengthAt(tag.next, end);
        at = body + length;
      } else {
        at = this.skip(wire, field, tag.next, end, depth + 1);
      }
    }
    throw truncated();
  }

  private lengthAt(at: number, end: number): { body: number; length: number } {
    const { value: length, next: body } = this.varint(at, end);
    if (length > end - body) throw truncated();
    return { body, length };
  }

  private varint(at: number, end: number): { value: number; next: number } {
    const bytes = this.source.view(at, Math.min(10, end - at));
    const read = readVarint(bytes, 0);
    if (!read) throw bytes.length < 10 ? truncated() : bad(`it has a malformed number at byte ${at}`);
    return { value: read.value, next: at + read.next };
  }

  private copy(from: number, to: number): void {
    if (to <= from) return;
    this.check(to - from);
    this.emit(new Uint8Array(this.source.view(from, to - from)));
  }

  private emit(bytes: Uint8Array): void {
    this.check(bytes.length);
    this.parts.push(bytes);
    this.total += bytes.length;
  }

  private check(more: number): void {
    if (this.total + more > MAX_SKELETON)
      throw new SecateurError('unsupported', 'The model has more than 256 MB that is not tensor data.');
  }
}

function bad(what: string): SecateurError {
  return new SecateurError(
    'bad-model',
    `The file is not a readable ONNX model: ${what}.`,
    'Export or download it again.',
  );
}

function truncated(): SecateurError {
  return bad('it ends in the middle of a message, as after an interrupted copy or download');
}
