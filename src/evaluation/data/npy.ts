import { SecateurError } from '../../errors.ts';
import {
  allocate,
  bytesPerElement,
  elementCount,
  type HostType,
  type TypedArray,
  viewBytes,
} from '../../runtime/host-tensor.ts';

/** One array of a data file. Strings (numpy `<U…`, `|S…`) are kept apart: they can only be labels or names. */
export interface NamedArray {
  name: string;
  dims: number[];
  type: HostType | 'string';
  data: TypedArray | string[];
  /** Names along the last axis, where it was made of columns of a table. */
  columns?: string[];
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // \x93NUMPY
const MAX_HEADER = 1 << 16;

const TYPES: Record<string, HostType> = {
  f2: 'float16', f4: 'float32', f8: 'float64',
  i1: 'int8', i2: 'int16', i4: 'int32', i8: 'int64',
  u1: 'uint8', u2: 'uint16', u4: 'uint32', u8: 'uint64',
  b1: 'bool',
}; // prettier-ignore

/** What stands in front of the elements of a .npy file. */
export interface NpyHeader {
  dims: number[];
  fortran: boolean;
  /** HostType, or 'string' with the characters per element; undefined for types that hold no plain numbers. */
  type: HostType | 'string';
  /** Byte length of one element. */
  itemSize: number;
  bigEndian: boolean;
  /** 4-byte characters (`U`) or bytes (`S`), for strings. */
  unicode: boolean;
  /** Where the elements begin. */
  dataOffset: number;
}

/**
 * Reads the header of a .npy file, format versions 1 to 3 (NumPy Enhancement Proposal 1).
 * @throws SecateurError 'bad-data' naming `file`; 'unsupported' for elements that are not plain numbers or strings
 */
export function readNpyHeader(bytes: Uint8Array, file: string): NpyHeader {
  const bad = (why: string): SecateurError =>
    new SecateurError('bad-data', `${file} is not a readable .npy array: ${why}.`);
  if (bytes.length < 10 || MAGIC.some((b, i) => bytes[i] !== b))
    throw bad('it does not begin with the NumPy signature');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const major = bytes[6];
  if (major < 1 || major > 3) throw bad(`format version ${major} is unknown`);
  const long = major > 1;
  if (long && bytes.length < 12) throw bad('its header is cut off');
  const length = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const start = long ? 12 : 10;
  if (length > MAX_HEADER || start + length > bytes.length) throw bad('its header is cut off');
  const text = new TextDecoder(major === 3 ? 'utf-8' : 'latin1').decode(bytes.subarray(start, start + length));
  const descr = /'descr'\s*:\s*('([^']*)'|\[)/.exec(text);
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(text);
  const shape = /'shape'\s*:\s*\(([\d\s,L]*)\)/.exec(text);
  if (!descr || !order || !shape) throw bad('its header is not understood');
  const unsupported = (what: string): SecateurError =>
    new SecateurError('unsupported', `${file} holds ${what}, not plain numbers.`);
  if (descr[1] === '[') throw unsupported('records');
  const dims = shape[1].split(',').map((d) => d.trim().replace(/L$/, '')).filter((d) => d !== '').map(Number); // prettier-ignore
  if (dims.some((d) => !Number.isSafeInteger(d)) || !Number.isSafeInteger(elementCount(dims)))
    throw bad('its shape is too large');
  const dtype = /^([<>|=]?)([a-zA-Z?])(\d*)$/.exec(descr[2]);
  if (!dtype) throw unsupported(`values of type ${descr[2]}`);
  const [, endian, kind, size] = dtype;
  const common = { dims, fortran: order[1] === 'True', bigEndian: endian === '>', dataOffset: start + length };
  if (kind === 'U' || kind === 'S')
    return { ...common, type: 'string', itemSize: Number(size) * (kind === 'U' ? 4 : 1), unicode: kind === 'U' };
  const type = TYPES[kind === '?' ? 'b1' : kind + size];
  if (!type) throw unsupported(kind === 'O' ? 'Python objects' : `values of type ${descr[2]}`);
  return { ...common, type, itemSize: bytesPerElement(type), unicode: false };
}

/**
 * Reads a whole .npy file: C and Fortran order, both byte orders, every plain numeric type and strings. Sizes are
 * checked before memory is taken.
 * @throws SecateurError 'bad-data' naming `file`
 */
export function parseNpy(bytes: Uint8Array, file: string, name: string): NamedArray {
  const header = readNpyHeader(bytes, file);
  const count = elementCount(header.dims);
  const body = bytes.subarray(header.dataOffset);
  if (body.length < count * header.itemSize)
    throw new SecateurError(
      'bad-data',
      `${file} is cut off: shape [${header.dims.join(', ')}] needs ${count * header.itemSize} bytes, but ${body.length} are there.`,
    );
  if (header.type === 'string') {
    const strings = Array.from({ length: count }, (_, i) => readString(body, i * header.itemSize, header));
    return {
      name,
      dims: header.dims,
      type: 'string',
      data: header.fortran ? reorder(strings, header.dims, new Array(count)) : strings,
    };
  }
  let raw = body.subarray(0, count * header.itemSize);
  if (header.bigEndian && header.itemSize > 1) raw = swapBytes(raw, header.itemSize);
  let data = viewBytes(header.type, raw);
  if (header.fortran && header.dims.length > 1) data = reorder(data, header.dims, allocate(header.type, count));
  return { name, dims: header.dims, type: header.type, data };
}

function readString(body: Uint8Array, at: number, header: NpyHeader): string {
  let text = '';
  if (header.unicode) {
    const view = new DataView(body.buffer, body.byteOffset + at, header.itemSize);
    for (let k = 0; k < header.itemSize; k += 4) {
      const code = view.getUint32(k, !header.bigEndian);
      if (code && code <= 0x10ffff) text += String.fromCodePoint(code);
    }
    return text;
  }
  for (let k = 0; k < header.itemSize && body[at + k]; k++) text += String.fromCharCode(body[at + k]);
  return text;
}

function swapBytes(bytes: Uint8Array, size: number): Uint8Array {
  const swapped = Uint8Array.from(bytes);
  for (let i = 0; i + size <= swapped.length; i += size) swapped.subarray(i, i + size).reverse();
  return swapped;
}

/** Column-major to row-major. */
function reorder<T extends { [i: number]: unknown }>(source: T, dims: readonly number[], target: T): T {
  const rank = dims.length;
  const strides = dims.map((_, axis) => elementCount(dims.slice(0, axis)));
  const at = new Array<number>(rank).fill(0);
  const count = elementCount(dims);
  let from = 0;
  for (let to = 0; to < count; to++) {
    target[to] = source[from];
    for (let axis = rank - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++at[axis] < dims[axis]) break;
      from -= strides[axis] * dims[axis];
      at[axis] = 0;
    }
  }
  return target;
}
