import { Float16Array as SoftFloat16Array } from '@petamoriken/float16';
import { SecateurError } from '../errors.ts';
import { DataType, dataTypeName } from './data-type.ts';

/** Conversion between raw little-endian elements and JavaScript numbers. */

let halfTable: Float32Array | null = null;

/** float32 value of every one of the 65 536 float16 bit patterns. */
function halves(): Float32Array {
  if (!halfTable) {
    const bits = Uint16Array.from({ length: 65_536 }, (_, i) => i);
    halfTable = Float32Array.from(new SoftFloat16Array(bits.buffer) as unknown as Iterable<number>);
  }
  return halfTable;
}

/** float32 numbers as float16 bit patterns, rounded to nearest even. */
export function toHalfBits(values: ArrayLike<number>): Uint16Array {
  const soft = new SoftFloat16Array(values.length);
  for (let i = 0; i < values.length; i++) soft[i] = values[i];
  return new Uint16Array(soft.buffer as ArrayBuffer);
}

/** float16 bit patterns as float32 numbers. */
export function fromHalfBits(bits: Uint16Array): Float32Array {
  const table = halves();
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = table[bits[i]];
  return out;
}

/** float32 numbers as bfloat16 bit patterns, rounded to nearest even. */
export function toBfloatBits(values: ArrayLike<number>): Uint16Array {
  const f = new Float32Array(1);
  const u = new Uint32Array(f.buffer);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    f[0] = values[i];
    out[i] = Number.isNaN(f[0]) ? 0x7fc0 : (u[0] + 0x7fff + ((u[0] >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** Value of a small float with the given layout; `finite`: no infinities ("fn"), `zeroless`: no minus zero ("uz"). */
function smallFloat(
  code: number,
  exponentBits: number,
  mantissaBits: number,
  bias: number,
  flavour: 'ieee' | 'fn' | 'fnuz' | 'plain',
): number {
  const sign = (code >> (exponentBits + mantissaBits)) & 1 ? -1 : 1;
  const exponent = (code >> mantissaBits) & ((1 << exponentBits) - 1);
  const mantissa = code & ((1 << mantissaBits) - 1);
  const top = (1 << exponentBits) - 1;
  if (flavour === 'fnuz' && sign < 0 && exponent === 0 && mantissa === 0) return NaN;
  if (flavour === 'ieee' && exponent === top) return mantissa ? NaN : sign * Infinity;
  if (flavour === 'fn' && exponent === top && mantissa === (1 << mantissaBits) - 1) return NaN;
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
  return sign * (1 + mantissa * 2 ** -mantissaBits) * 2 ** (exponent - bias);
}

const byteDecoders: Record<number, (code: number) => number> = {
  [DataType.FLOAT8E4M3FN]: (c) => smallFloat(c, 4, 3, 7, 'fn'),
  [DataType.FLOAT8E4M3FNUZ]: (c) => smallFloat(c, 4, 3, 8, 'fnuz'),
  [DataType.FLOAT8E5M2]: (c) => smallFloat(c, 5, 2, 15, 'ieee'),
  [DataType.FLOAT8E5M2FNUZ]: (c) => smallFloat(c, 5, 2, 16, 'fnuz'),
  [DataType.FLOAT8E8M0]: (c) => (c === 255 ? NaN : 2 ** (c - 127)),
};

/** Elements of 4 or 2 bits, the first in the low bits, as small integers (codes). */
export function unpackBits(bytes: Uint8Array, bits: 2 | 4, count: number): Uint8Array {
  const perByte = 8 / bits;
  const mask = (1 << bits) - 1;
  const out = new Uint8Array(count);
  for (let i = 0; i < count; i++) out[i] = (bytes[Math.floor(i / perByte)] >> ((i % perByte) * bits)) & mask;
  return out;
}

/** The reverse of unpackBits; unused bits of the last byte are 0. */
export function packBits(codes: Uint8Array, bits: 2 | 4): Uint8Array {
  const perByte = 8 / bits;
  const out = new Uint8Array(Math.ceil(codes.length / perByte));
  const mask = (1 << bits) - 1;
  for (let i = 0; i < codes.length; i++) out[Math.floor(i / perByte)] |= (codes[i] & mask) << ((i % perByte) * bits);
  return out;
}

/** `bytes` at an address that is a multiple of `alignment`; the same memory where it already is. */
export function aligned(bytes: Uint8Array, alignment: number): Uint8Array {
  return bytes.byteOffset % alignment === 0 ? bytes : new Uint8Array(bytes);
}

/** The typed array over raw little-endian bytes that fits the element type; undefined for types without one. */
export function typedView(type: DataType, bytes: Uint8Array): ArrayLike<number> | ArrayLike<bigint> | undefined {
  const a = (n: number) => {
    const b = aligned(bytes, n);
    return [b.buffer as ArrayBuffer, b.byteOffset, Math.floor(b.byteLength / n)] as const;
  };
  switch (type) {
    case DataType.FLOAT:
      return new Float32Array(...a(4));
    case DataType.DOUBLE:
      return new Float64Array(...a(8));
    case DataType.INT32:
      return new Int32Array(...a(4));
    case DataType.UINT32:
      return new Uint32Array(...a(4));
    case DataType.INT64:
      return new BigInt64Array(...a(8));
    case DataType.UINT64:
      return new BigUint64Array(...a(8));
    case DataType.INT16:
      return new Int16Array(...a(2));
    case DataType.UINT16:
      return new Uint16Array(...a(2));
    case DataType.INT8:
      return new Int8Array(...a(1));
    case DataType.UINT8:
    case DataType.BOOL:
      return bytes;
    default:
      return undefined;
  }
}

/**
 * Raw little-endian elements as numbers: Float32Array where that is exact (floats of up to 32 bits), else
 * Float64Array. 64-bit integers lose precision beyond 2^53.
 * @throws SecateurError 'unsupported' for strings and complex numbers.
 */
export function decodeNumbers(type: DataType, bytes: Uint8Array, count: number): Float32Array | Float64Array {
  const view = typedView(type, bytes);
  if (view instanceof Float32Array || view instanceof Float64Array) return view;
  if (view instanceof BigInt64Array || view instanceof BigUint64Array) return Float64Array.from(view, Number);
  if (view) return Float64Array.from(view as ArrayLike<number>);
  if (type === DataType.FLOAT16) return fromHalfBits(new Uint16Array(new Uint8Array(bytes).buffer));
  if (type === DataType.BFLOAT16) {
    const b = aligned(bytes, 2);
    const bits = new Uint16Array(b.buffer as ArrayBuffer, b.byteOffset, Math.floor(b.byteLength / 2));
    return new Float32Array(Uint32Array.from(bits, (x) => x << 16).buffer);
  }
  const decode = byteDecoders[type];
  if (decode) {
    const table = Float32Array.from({ length: 256 }, (_, c) => decode(c));
    return Float32Array.from(bytes, (c) => table[c]);
  }
  switch (type) {
    case DataType.UINT4:
      return Float64Array.from(unpackBits(bytes, 4, count));
    case DataType.INT4:
      return Float64Array.from(unpackBits(bytes, 4, count), (c) => (c > 7 ? c - 16 : c));
    case DataType.UINT2:
      return Float64Array.from(unpackBits(bytes, 2, count));
    case DataType.INT2:
      return Float64Array.from(unpackBits(bytes, 2, count), (c) => (c > 1 ? c - 4 : c));
    case DataType.FLOAT4E2M1:
      return Float32Array.from(unpackBits(bytes, 4, count), (c) => smallFloat(c, 2, 1, 1, 'plain'));
  }
  throw new SecateurError('unsupported', `Elements of type ${dataTypeName(type)} cannot be read as numbers.`);
}
