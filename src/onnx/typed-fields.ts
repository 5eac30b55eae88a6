import { DataType, bitsPerElement } from './data-type.ts';
import type { TensorProto } from './onnx_pb.ts';
import { TensorField } from './wire.ts';

/** The typed lists of TensorProto (float_data, int32_data, …) as raw little-endian bytes. */

/**
 * Raw elements of a tensor whose data lies in typed lists of its message.
 * int32_data holds every type of at most 32 bits that is not float, one element (or one byte of packed elements) per entry.
 */
export function listsToRaw(proto: TensorProto): Uint8Array {
  const { floatData, doubleData, int32Data, int64Data, uint64Data } = proto;
  if (floatData.length > 0) return bytesOf(Float32Array.from(floatData));
  if (doubleData.length > 0) return bytesOf(Float64Array.from(doubleData));
  if (int64Data.length > 0) return bytesOf(BigInt64Array.from(int64Data));
  if (uint64Data.length > 0)
    return proto.dataType === DataType.UINT32
      ? bytesOf(Uint32Array.from(uint64Data, (v) => Number(v & 0xffffffffn)))
      : bytesOf(BigUint64Array.from(uint64Data));
  return narrow(Int32Array.from(int32Data), proto.dataType);
}

/** Raw elements of the packed contents of one typed list, as they lie in the file. */
export function packedToRaw(field: number, packed: Uint8Array, type: DataType): Uint8Array {
  if (field === TensorField.INT32)
    return narrow(
      unpackVarints(packed, (n) => new Int32Array(n)),
      type,
    );
  if (field === TensorField.INT64 || field === TensorField.UINT64) {
    const values = unpackVarints64(packed);
    if (type !== DataType.UINT32) return bytesOf(values);
    return bytesOf(Uint32Array.from(values, (v) => Number(v & 0xffffffffn)));
  }
  return packed; // float_data and double_data are little-endian already
}

function narrow(values: Int32Array, type: DataType): Uint8Array {
  switch (bitsPerElement(type)) {
    case 16:
      return bytesOf(Uint16Array.from(values));
    case 32:
      return bytesOf(values);
    default:
      return Uint8Array.from(values);
  }
}

function countVarints(packed: Uint8Array): number {
  let count = 0;
  for (let i = 0; i < packed.length; i++) if (packed[i] < 0x80) count++;
  return count;
}

function unpackVarints(packed: Uint8Array, make: (n: number) => Int32Array): Int32Array {
  const out = make(countVarints(packed));
  for (let i = 0, n = 0; n < out.length; n++) {
    let value = 0;
    let shift = 0;
    for (;;) {
      const byte = packed[i++];
      if (shift < 32) value |= (byte & 0x7f) << shift;
      shift += 7;
      if (byte < 0x80) break;
    }
    out[n] = value;
  }
  return out;
}

function unpackVarints64(packed: Uint8Array): BigInt64Array {
  const out = new BigInt64Array(countVarints(packed));
  const words = new Uint32Array(out.buffer);
  for (let i = 0, n = 0; n < out.length; n++) {
    let low = 0;
    let high = 0;
    let shift = 0;
    for (;;) {
      const byte = packed[i++];
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high |= bits >> 4;
      } else if (shift < 64) high |= bits << (shift - 32);
      shift += 7;
      if (byte < 0x80) break;
    }
    words[2 * n] = low >>> 0;
    words[2 * n + 1] = high >>> 0;
  }
  return out;
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer as ArrayBuffer, array.byteOffset, array.byteLength);
}
