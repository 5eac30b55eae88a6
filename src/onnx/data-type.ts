/** Element types of TensorProto.DataType (onnx.proto), by their numbers in the file format. */
export const DataType = {
  UNDEFINED: 0,
  FLOAT: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  STRING: 8,
  BOOL: 9,
  FLOAT16: 10,
  DOUBLE: 11,
  UINT32: 12,
  UINT64: 13,
  COMPLEX64: 14,
  COMPLEX128: 15,
  BFLOAT16: 16,
  FLOAT8E4M3FN: 17,
  FLOAT8E4M3FNUZ: 18,
  FLOAT8E5M2: 19,
  FLOAT8E5M2FNUZ: 20,
  UINT4: 21,
  INT4: 22,
  FLOAT4E2M1: 23,
  FLOAT8E8M0: 24,
  UINT2: 25,
  INT2: 26,
  FLOAT6E2M3: 27,
  FLOAT6E3M2: 28,
} as const;
export type DataType = number;

const BITS: Record<number, number> = {
  1: 32,
  2: 8,
  3: 8,
  4: 16,
  5: 16,
  6: 32,
  7: 64,
  9: 8,
  10: 16,
  11: 64,
  12: 32,
  13: 64,
  14: 64,
  15: 128,
  16: 16,
  17: 8,
  18: 8,
  19: 8,
  20: 8,
  21: 4,
  22: 4,
  23: 4,
  24: 8,
  25: 2,
  26: 2,
  27: 6,
  28: 6,
};

/** Bits that one element takes in raw_data (4-bit and 2-bit types are packed); 0 for strings and unknown types. */
export function bitsPerElement(type: DataType): number {
  return BITS[type] ?? 0;
}

/** Bytes of `count` elements in raw_data, rounded up for packed types. */
export function byteLength(type: DataType, count: number): number {
  return Math.ceil((bitsPerElement(type) * count) / 8);
}

const NAMES = new Map<number, string>(Object.entries(DataType).map(([name, number]) => [number, name.toLowerCase()]));

/** Lower-case name as in the ONNX documentation, for messages: `float`, `int64`, `float16`. */
export function dataTypeName(type: DataType): string {
  return NAMES.get(type) ?? `type ${type}`;
}

/** True for the types of half precision: float16 and bfloat16. */
export function isHalfType(type: DataType): boolean {
  return type === DataType.FLOAT16 || type === DataType.BFLOAT16;
}

/** True for floating-point element types. */
export function isFloatType(type: DataType): boolean {
  return (
    type === 1 ||
    type === 10 ||
    type === 11 ||
    type === 16 ||
    (type >= 17 && type <= 20) ||
    type === 23 ||
    type === 24 ||
    type === 27 ||
    type === 28
  );
}
