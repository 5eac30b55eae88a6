import { bitsPerElement, byteLength, DataType, dataTypeName } from './data-type.ts';
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
  | { kind: 'strings'; values: Uint8Array[] };

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
    return this.storage.kind === 'external';
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
      case 'strings':
        throw new SecateurError('unsupported', `Tensor "${this.name}" holds strings, not numbers.`);
    }
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
   * The slices with the given positions along `axis`, in that order: a new tensor in memory, of the same type.
   * Works on bytes, so that no element is ever rounded.
   */
  take(axis: number, positions: ArrayLike<number>, name = this.name): Tensor {
    const size = this.dims[axis];
    const dims = this.dims.map((d, i) => (i === axis ? positions.length : d));
    const outer = this.dims.slice(0, axis).reduce((a, b) => a * b, 1);
    const inner = this.dims.slice(axis + 1).reduce((a, b) => a * b, 1);
    for (let i = 0; i < positions.length; i++)
      if (!(positions[i] >= 0 && positions[i] < size))
        throw new SecateurError('internal', `Tensor "${this.name}" has no position ${positions[i]} on axis ${axis}.`);
    if (this.storage.kind === 'strings') {
      const values = takeFrom(this.storage.values, outer, size, inner, positions);
      return new Tensor(name, this.dataType, dims, { kind: 'strings', values }, this.proto);
    }
    const bits = bitsPerElement(this.dataType);
    let bytes: Uint8Array;
    if (bits === 4 || bits === 2) {
      const codes = takeBytes(unpackBits(this.bytes(), bits, this.elementCount), outer, size, inner, positions);
      bytes = packBits(codes, bits);
    } else if (bits % 8 === 0 && bits > 0) {
      bytes = takeBytes(this.bytes(), outer, size, inner * (bits / 8), positions);
    } else {
      throw new SecateurError(
        'unsupported',
        `Tensor "${this.name}" of type ${dataTypeName(this.dataType)} cannot be cut.`,
      );
    }
    return new Tensor(name, this.dataType, dims, { kind: 'bytes', bytes }, this.proto);
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

function takeBytes(
  source: Uint8Array,
  outer: number,
  size: number,
  inner: number,
  positions: ArrayLike<number>,
): Uint8Array {
  const out = new Uint8Array(outer * positions.length * inner);
  let at = 0;
  for (let o = 0; o < outer; o++)
    for (let p = 0; p < positions.length; p++) {
      const from = (o * size + positions[p]) * inner;
      out.set(source.subarray(from, from + inner), at);
      at += inner;
    }
  return out;
}

function takeFrom<T>(
  source: readonly T[],
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
