import { bitsPerElement, byteLength, DataType, dataTypeName } from './data-type.ts';
import { cutChunks, fileReader, memoryReader, type Cuts, type Reader, type Stream } from './cut.ts';
import { aligned, decodeNumbers, packBits, toBfloatBits, toHalfBits, typedView, unpackBits } from './elements.ts';
import { resolveExternal, type ExternalRef } from './external.ts';
import type { TensorProto } from './onnx_pb.ts';
import { readRanges, type FileRange } from './source.ts';
import { listsToRaw, packedToRaw } from './typed-fields.ts';
import { TensorField } from './wire.ts';
import { SecateurError } from '../errors.ts';

/** Where the elements of a tensor are. */
export type Storage =
  /** Raw little-endian bytes in memory. */
  | { kind: 'bytes'; bytes: Uint8Array }
  /** Contents of data fields of a TensorProto that were left in the model file. */
  | { kind: 'file'; field: number; ranges: FileRange[] }
  | { kind: 'external'; ref: ExternalRef }
  /** Typed lists of the message. */
  | { kind: 'lists'; proto: TensorProto }
  | { kind: 'strings'; values: Uint8Array[] }
  /** What stays of another tensor, whose bytes are wherever they are. */
  | { kind: 'cut'; of: Tensor; cuts: Cuts };

/** Cut tensors of at most so many bytes are kept in memory. */
const SMALL_CUT = 1 << 14;

/** A byte range of a file that holds a tensor's raw little-endian elements. */
export interface TensorLocation {
  path: string;
  offset: number;
  length: number;
}

/**
 * A constant tensor. Contents never change; they are read from the file when asked for, and not kept, so that opening
 * a model takes no memory for its weights.
 */
export class Tensor {
  name: string;
  readonly dataType: DataType;
  readonly dims: readonly number[];
  readonly storage: Storage;
  /** The TensorProto it was read from (doc string, metadata, unknown fields), if any. */
  readonly proto?: TensorProto;

  constructor(name: string, dataType: DataType, dims: readonly number[], storage: Storage, proto?: TensorProto) {
    this.name = name;
    this.dataType = dataType;
    this.dims = dims;
    this.storage = storage;
    this.proto = proto;
  }

  static fromBytes(name: string, dataType: DataType, dims: readonly number[], bytes: Uint8Array): Tensor {
    const tensor = new Tensor(name, dataType, [...dims], { kind: 'bytes', bytes });
    tensor.checkLength(bytes.length);
    return tensor;
  }
  static fromFloat32(name: string, dims: readonly number[], values: Float32Array): Tensor {
    return Tensor.fromBytes(
      name,
      DataType.FLOAT,
      dims,
      new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength),
    );
  }
  static fromInt64(name: string, dims: readonly number[], values: readonly number[]): Tensor {
    return Tensor.fromBytes(name, DataType.INT64, dims, new Uint8Array(BigInt64Array.from(values, BigInt).buffer));
  }
  static fromInt32(name: string, dims: readonly number[], values: readonly number[]): Tensor {
    return Tensor.fromBytes(name, DataType.INT32, dims, new Uint8Array(Int32Array.from(values).buffer));
  }
  static fromStrings(name: string, dims: readonly number[], values: readonly string[]): Tensor {
    const encoder = new TextEncoder();
    return new Tensor(name, DataType.STRING, [...dims], {
      kind: 'strings',
      values: values.map((v) => encoder.encode(v)),
    });
  }
  /**
   * Numbers stored with the given element type: rounded to nearest for floats, truncated for integers.
   * @throws SecateurError 'unsupported' for types that cannot be written (8-bit and smaller floats, strings).
   */
  static fromNumbers(name: string, dataType: DataType, dims: readonly number[], values: ArrayLike<number>): Tensor {
    return Tensor.fromBytes(name, dataType, dims, encodeNumbers(dataType, values));
  }

  get elementCount(): number {
    return this.dims.reduce((product, d) => product * d, 1);
  }
  /** Bytes of the elements in raw form; 0 for strings. */
  get byteLength(): number {
    return byteLength(this.dataType, this.elementCount);
  }
  /** Whether the bytes lie in an external file, as the model file says. */
  get isExternal(): boolean {
    return this.whole.storage.kind === 'external';
  }
  /** The tensor that this one was cut from, in one step or several; itself where it is whole. */
  get whole(): Tensor {
    return this.storage.kind === 'cut' ? this.storage.of.whole : this;
  }

  /**
   * Raw little-endian elements, read from the file now if they lie there. Do not write into them.
   * @throws SecateurError 'bad-model' when data is missing or its length does not fit the shape, 'io' when the file
   * cannot be read or has changed, 'unsupported' for strings.
   */
  bytes(): Uint8Array {
    const bytes = this.readBytes();
    this.checkLength(bytes.length);
    return bytes;
  }

  private readBytes(): Uint8Array {
    const s = this.storage;
    switch (s.kind) {
      case 'bytes':
        return s.bytes;
      case 'lists':
        return listsToRaw(s.proto);
      // Lengths are compared before memory is taken.
      case 'external': {
        const range = resolveExternal(s.ref, this.name);
        this.checkLength(range.length);
        return readRanges([range]);
      }
      case 'file': {
        if (isRawField(s.field, this.dataType)) this.checkLength(s.ranges.reduce((sum, r) => sum + r.length, 0));
        const bytes = readRanges(s.ranges);
        return s.field === TensorField.RAW ? bytes : packedToRaw(s.field, bytes, this.dataType);
      }
      case 'cut': {
        const bytes = new Uint8Array(this.byteLength);
        let at = 0;
        for (const chunk of this.stream.chunks()) {
          bytes.set(chunk, at);
          at += chunk.length;
        }
        return bytes;
      }
      case 'strings':
        throw new SecateurError('unsupported', `Tensor "${this.name}" holds strings, not numbers.`);
    }
  }

  /** As `bytes()`, but piece by piece where the tensor is cut, and not before they are asked for. */
  get stream(): Stream {
    const s = this.storage;
    if (s.kind !== 'cut') return { length: this.byteLength, chunks: () => [this.bytes()] };
    const elementBytes = bitsPerElement(this.dataType) / 8;
    return {
      length: this.byteLength,
      chunks: () => cutChunks(() => s.of.reader(), s.of.dims, elementBytes, s.cuts),
    };
  }

  private reader(): Reader {
    const s = this.storage;
    if (s.kind === 'external') {
      const range = resolveExternal(s.ref, this.name);
      this.checkLength(range.length);
      return fileReader(range);
    }
    const range = this.range;
    return range ? fileReader(range) : memoryReader(this.bytes());
  }

  /** The byte range of a file that holds exactly `bytes()`, or undefined when they are in memory or encoded otherwise. */
  get location(): TensorLocation | undefined {
    const range = this.range;
    return range && { path: range.file.path, offset: range.offset, length: range.length };
  }
  /** As `location`, with the identity of the file. */
  get range(): FileRange | undefined {
    const s = this.storage;
    let range: FileRange | undefined;
    if (s.kind === 'external') {
      try {
        range = resolveExternal(s.ref, this.name);
      } catch {
        return undefined;
      }
    } else if (s.kind === 'file' && s.ranges.length === 1 && isRawField(s.field, this.dataType)) {
      range = s.ranges[0];
    }
    return range?.length === this.byteLength ? range : undefined;
  }

  /** Elements of a string tensor. */
  strings(): string[] {
    if (this.storage.kind !== 'strings')
      throw new SecateurError('unsupported', `Tensor "${this.name}" holds no strings.`);
    const decoder = new TextDecoder();
    return this.storage.values.map((v) => decoder.decode(v));
  }

  /** All elements as float32: also of integers, double, float16, bfloat16, float8 and packed types. May share memory. */
  toFloat32(): Float32Array {
    const values = this.values();
    return values instanceof Float32Array ? values : Float32Array.from(values);
  }
  /** All elements as numbers; 64-bit integers lose precision beyond 2^53. */
  toNumbers(): number[] {
    return Array.from(this.values());
  }
  /** All elements as integers, clamped to the safe range (INT64_MAX means "to the end" in Slice). */
  toInts(): number[] {
    return Array.from(this.values(), (v) =>
      Math.trunc(Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, v))),
    );
  }
  /** As toNumbers, in a typed array. */
  values(): Float32Array | Float64Array {
    if (
      this.storage.kind === 'strings' ||
      this.dataType === DataType.COMPLEX64 ||
      this.dataType === DataType.COMPLEX128
    )
      throw new SecateurError(
        'unsupported',
        `Tensor "${this.name}" of type ${dataTypeName(this.dataType)} holds no real numbers.`,
      );
    return decodeNumbers(this.dataType, this.bytes(), this.elementCount);
  }
  /** The elements in the typed array of their type, without copying where possible; undefined where JavaScript has none. */
  typed(): ArrayLike<number> | ArrayLike<bigint> | undefined {
    return typedView(this.dataType, this.bytes());
  }

  /** The same elements under another name. */
  renamed(name: string): Tensor {
    return new Tensor(name, this.dataType, this.dims, this.storage, this.proto);
  }
  /** The same elements with other dims of the same product. */
  withDims(dims: readonly number[], name = this.name): Tensor {
    if (dims.reduce((a, b) => a * b, 1) !== this.elementCount)
      throw new SecateurError('internal', `Tensor "${this.name}" [${this.dims}] cannot have the shape [${dims}].`);
    return new Tensor(name, this.dataType, [...dims], this.storage, this.proto);
  }
  /**
   * The slices with the given positions along `axis`, in that order: a new tensor of the same type. Its bytes are cut
   * out of this one's when they are asked for; small ones are at once. Works on bytes, so that no element is rounded.
   */
  take(axis: number, positions: ArrayLike<number>, name = this.name): Tensor {
    const size = this.dims[axis];
    const dims = this.dims.map((d, i) => (i === axis ? positions.length : d));
    for (let i = 0; i < positions.length; i++)
      if (!(positions[i] >= 0 && positions[i] < size))
        throw new SecateurError('internal', `Tensor "${this.name}" has no position ${positions[i]} on axis ${axis}.`);
    const bits = bitsPerElement(this.dataType);
    if (this.storage.kind === 'strings' || bits === 4 || bits === 2)
      return new Tensor(name, this.dataType, dims, this.takeEntries(axis, positions), this.proto);
    if (bits % 8 !== 0 || bits === 0)
      throw new SecateurError(
        'unsupported',
        `Tensor "${this.name}" of type ${dataTypeName(this.dataType)} cannot be cut.`,
      );
    const storage = this.cutStorage(axis, Int32Array.from(positions));
    const cut = new Tensor(name, this.dataType, dims, storage, this.proto);
    if (cut.byteLength > SMALL_CUT) return cut;
    return new Tensor(name, this.dataType, dims, { kind: 'bytes', bytes: cut.bytes() }, this.proto);
  }

  /** A tensor that is cut again is cut once, by both. */
  private cutStorage(axis: number, positions: Int32Array): Storage {
    const s = this.storage;
    const again = s.kind === 'cut' && this.dims.every((d, i) => d === (s.cuts[i]?.length ?? s.of.dims[i]));
    if (!again || this.dims.length !== s.of.dims.length)
      return { kind: 'cut', of: this, cuts: this.dims.map((_, i) => (i === axis ? positions : undefined)) };
    const before = s.cuts[axis];
    const both = before ? positions.map((p) => before[p]) : positions;
    return { kind: 'cut', of: s.of, cuts: s.cuts.map((cut, i) => (i === axis ? both : cut)) };
  }

  /** `take` for strings and for elements that share bytes. */
  private takeEntries(axis: number, positions: ArrayLike<number>): Storage {
    const size = this.dims[axis];
    const outer = this.dims.slice(0, axis).reduce((a, b) => a * b, 1);
    const inner = this.dims.slice(axis + 1).reduce((a, b) => a * b, 1);
    if (this.storage.kind === 'strings')
      return { kind: 'strings', values: takeFrom(this.storage.values, outer, size, inner, positions) };
    const bits = bitsPerElement(this.dataType) as 2 | 4;
    const codes = unpackBits(this.bytes(), bits, this.elementCount);
    return { kind: 'bytes', bytes: packBits(Uint8Array.from(takeFrom(codes, outer, size, inner, positions)), bits) };
  }

  private checkLength(length: number): void {
    if (length === this.byteLength) return;
    const shape = `[${this.dims.join(', ')}] of ${dataTypeName(this.dataType)}`;
    throw new SecateurError(
      'bad-model',
      `Tensor "${this.name}" has the shape ${shape}, which takes ${this.byteLength} bytes, but its data has ${length}.`,
    );
  }
}

/** Whether the packed contents of a data field are the raw elements as they are. */
function isRawField(field: number, type: DataType): boolean {
  if (field === TensorField.RAW) return true;
  return (
    (field === TensorField.FLOAT && (type === DataType.FLOAT || type === DataType.COMPLEX64)) ||
    field === TensorField.DOUBLE
  );
}

function takeFrom<T>(
  source: ArrayLike<T>,
  outer: number,
  size: number,
  inner: number,
  positions: ArrayLike<number>,
): T[] {
  const out: T[] = [];
  for (let o = 0; o < outer; o++)
    for (let p = 0; p < positions.length; p++) {
      const from = (o * size + positions[p]) * inner;
      for (let i = 0; i < inner; i++) out.push(source[from + i]);
    }
  return out;
}

function encodeNumbers(type: DataType, values: ArrayLike<number>): Uint8Array {
  const bytes = (a: ArrayBufferView) => new Uint8Array(a.buffer as ArrayBuffer, a.byteOffset, a.byteLength);
  const ints = () => Array.from(values, (v) => BigInt(Math.trunc(v)));
  switch (type) {
    case DataType.FLOAT:
      return bytes(Float32Array.from(values));
    case DataType.DOUBLE:
      return bytes(Float64Array.from(values));
    case DataType.FLOAT16:
      return bytes(toHalfBits(values));
    case DataType.BFLOAT16:
      return bytes(toBfloatBits(values));
    case DataType.INT64:
      return bytes(BigInt64Array.from(ints()));
    case DataType.UINT64:
      return bytes(BigUint64Array.from(ints()));
    case DataType.INT32:
      return bytes(Int32Array.from(values));
    case DataType.UINT32:
      return bytes(Uint32Array.from(values));
    case DataType.INT16:
      return bytes(Int16Array.from(values));
    case DataType.UINT16:
      return bytes(Uint16Array.from(values));
    case DataType.INT8:
      return bytes(Int8Array.from(values));
    case DataType.UINT8:
      return bytes(Uint8Array.from(values));
    case DataType.BOOL:
      return Uint8Array.from(values, (v) => (v ? 1 : 0));
    case DataType.INT4:
    case DataType.UINT4:
      return packBits(Uint8Array.from(values), 4);
    case DataType.INT2:
    case DataType.UINT2:
      return packBits(Uint8Array.from(values), 2);
  }
  throw new SecateurError('unsupported', `Numbers cannot be stored as ${dataTypeName(type)}.`);
}

export { aligned };
