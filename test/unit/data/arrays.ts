import { crc32 } from '../../../src/evaluation/data/npz.ts';

type Data = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array;

const DESCR: [new (n: number) => Data, string][] = [
  [Float32Array, '<f4'], [Float64Array, '<f8'], [Int32Array, '<i4'], [BigInt64Array, '<i8'], [Uint8Array, '|u1'], [Uint16Array, '<f2'],
]; // prettier-ignore

/** A .npy file as numpy.save writes it. */
export function npy(dims: number[], data: Data, descr = DESCR.find(([type]) => data instanceof type)![1]): Uint8Array {
  const shape = `(${dims.map((d) => `${d},`).join(' ')})`;
  let header = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`;
  header = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + '\n';
  const bytes = new Uint8Array(10 + header.length + data.byteLength);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  bytes.set(new TextEncoder().encode(header), 10);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 10 + header.length);
  return bytes;
}

/** A .npz archive of stored entries. */
export function npz(arrays: Record<string, Uint8Array>): Uint8Array {
  const parts: Uint8Array[] = [];
  const central: Uint8Array[] = [];
  let offset = 0;
  for (const [name, body] of Object.entries(arrays)) {
    const file = new TextEncoder().encode(`${name}.npy`);
    const local = new DataView(new ArrayBuffer(30));
    const entry = new DataView(new ArrayBuffer(46));
    local.setUint32(0, 0x04034b50, true);
    entry.setUint32(0, 0x02014b50, true);
    for (const [view, at] of [
      [local, 14],
      [entry, 16],
    ] as const) {
      view.setUint32(at, crc32(body), true);
      view.setUint32(at + 4, body.length, true);
      view.setUint32(at + 8, body.length, true);
      view.setUint16(at + 12, file.length, true);
    }
    entry.setUint32(42, offset, true);
    parts.push(new Uint8Array(local.buffer), file, body);
    central.push(new Uint8Array(entry.buffer), file);
    offset += 30 + file.length + body.length;
  }
  const size = central.reduce((sum, c) => sum + c.length, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, central.length / 2, true);
  end.setUint16(10, central.length / 2, true);
  end.setUint32(12, size, true);
  end.setUint32(16, offset, true);
  return Buffer.concat([...parts, ...central, new Uint8Array(end.buffer)]);
}

/** 0, 1, 2, … */
export function counting(n: number): Float32Array {
  return Float32Array.from({ length: n }, (_, i) => i);
}
