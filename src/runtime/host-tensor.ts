import { getFloat16, setFloat16 } from '@petamoriken/float16';
import { SecateurError } from '../errors.ts';
import { DataType } from '../onnx/data-type.ts';

/** Element types that cross the border between JavaScript and the runtime, by the runtime's names. */
export type HostType =
  | 'float32'
  | 'float64'
  | 'float16'
  | 'int8'
  | 'uint8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'uint64'
  | 'bool';

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/**
 * A tensor in the memory of JavaScript, row-major. float16 is kept as its bits in a Uint16Array, bool as bytes 0 and 1,
 * int64 and uint64 as BigInt arrays.
 */
export interface HostTensor {
  type: HostType;
  dims: number[];
  data: TypedArray;
}

const CONSTRUCTORS = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
} as const;

const FROM_ONNX: Record<number, HostType> = {
  [DataType.FLOAT]: 'float32',
  [DataType.DOUBLE]: 'float64',
  [DataType.FLOAT16]: 'float16',
  [DataType.INT8]: 'int8',
  [DataType.UINT8]: 'uint8',
  [DataType.INT16]: 'int16',
  [DataType.UINT16]: 'uint16',
  [DataType.INT32]: 'int32',
  [DataType.UINT32]: 'uint32',
  [DataType.INT64]: 'int64',
  [DataType.UINT64]: 'uint64',
  [DataType.BOOL]: 'bool',
};

/** True for the names in HostType. */
export function isHostType(name: string): name is HostType {
  return Object.hasOwn(CONSTRUCTORS, name);
}

/** The host type of an ONNX element type; undefined for those that cannot be fed (strings, bfloat16, packed types). */
export function hostTypeOf(elemType: number): HostType | undefined {
  return FROM_ONNX[elemType];
}

/** The ONNX element type of a host type. */
export function elemTypeOfHost(type: HostType): DataType {
  return Number(Object.keys(FROM_ONNX).find((elemType) => FROM_ONNX[Number(elemType)] === type));
}

/** Bytes of one element in memory. */
export function bytesPerElement(type: HostType): number {
  return CONSTRUCTORS[type].BYTES_PER_ELEMENT;
}

/** True for floating-point host types. */
export function isFloatHost(type: HostType): boolean {
  return type === 'float32' || type === 'float64' || type === 'float16';
}

/** Zeros of a type. */
export function allocate(type: HostType, length: number): TypedArray {
  return new CONSTRUCTORS[type](length);
}

/** A typed array over existing bytes (copied only where they are not aligned). */
export function viewBytes(type: HostType, bytes: Uint8Array): TypedArray {
  const size = bytesPerElement(type);
  // Not bytes.slice(): that of a Buffer shares its memory.
  const aligned = bytes.byteOffset % size === 0 ? bytes : Uint8Array.from(bytes);
  return new CONSTRUCTORS[type](
    aligned.buffer as ArrayBuffer,
    aligned.byteOffset,
    Math.floor(aligned.byteLength / size),
  );
}

/** Number of elements of a shape: the product of its dims, 1 for a scalar. */
export function elementCount(dims: readonly number[]): number {
  return dims.reduce((product, d) => product * d, 1);
}

/** A host tensor; throws 'internal' when dims and length disagree. */
export function hostTensor(type: HostType, dims: readonly number[], data: TypedArray): HostTensor {
  if (elementCount(dims) !== data.length)
    throw new SecateurError('internal', `A tensor of shape [${dims.join(', ')}] cannot hold ${data.length} elements.`);
  return { type, dims: [...dims], data };
}

/** A float32 host tensor. */
export function float32Tensor(dims: readonly number[], data: Float32Array | readonly number[]): HostTensor {
  return hostTensor('float32', dims, data instanceof Float32Array ? data : Float32Array.from(data));
}

let halfTable: Float32Array | undefined;

/** All 65 536 half-precision values by their bits. */
function halves(): Float32Array {
  if (!halfTable) {
    halfTable = new Float32Array(65536);
    const view = new DataView(new ArrayBuffer(2));
    for (let bits = 0; bits < 65536; bits++) {
      view.setUint16(0, bits);
      halfTable[bits] = getFloat16(view, 0);
    }
  }
  return halfTable;
}

const halfView = new DataView(new ArrayBuffer(2));

/** Bits of the nearest half-precision number. */
export function toHalfBits(value: number): number {
  setFloat16(halfView, 0, value);
  return halfView.getUint16(0);
}

/** The number with these half-precision bits. */
export function fromHalfBits(bits: number): number {
  return halves()[bits];
}

/**
 * Copies `count` elements from `source` into `target`, converting the type. Floats to integers truncate; bool is 0 or 1.
 * Nothing is checked: callers decide which conversions are sensible.
 */
export function convertInto(
  source: TypedArray,
  sourceType: HostType,
  from: number,
  target: TypedArray,
  targetType: HostType,
  to: number,
  count: number,
): void {
  if (sourceType === targetType) {
    (target as Float32Array).set((source as Float32Array).subarray(from, from + count), to);
    return;
  }
  const table = sourceType === 'float16' ? halves() : undefined;
  const read = (i: number): number => (table ? table[source[i] as number] : Number(source[i]));
  for (let k = 0; k < count; k++) {
    const value = read(from + k);
    if (targetType === 'int64' || targetType === 'uint64')
      (target as BigInt64Array)[to + k] = BigInt(Math.trunc(value));
    else if (targetType === 'float16') (target as Uint16Array)[to + k] = toHalfBits(value);
    else if (targetType === 'bool') (target as Uint8Array)[to + k] = value ? 1 : 0;
    else (target as Float32Array)[to + k] = value;
  }
}

/** The elements as float32, without a copy where they are so already. */
export function toFloat32(tensor: HostTensor): Float32Array {
  if (tensor.type === 'float32') return tensor.data as Float32Array;
  const out = new Float32Array(tensor.data.length);
  convertInto(tensor.data, tensor.type, 0, out, 'float32', 0, out.length);
  return out;
}

/** The elements as float64 numbers. */
export function toFloat64(tensor: HostTensor): Float64Array {
  if (tensor.type === 'float64') return tensor.data as Float64Array;
  const out = new Float64Array(tensor.data.length);
  convertInto(tensor.data, tensor.type, 0, out, 'float64', 0, out.length);
  return out;
}
