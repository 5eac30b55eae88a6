import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readCsv } from '../../../src/evaluation/data/csv.ts';
import { parseNpy } from '../../../src/evaluation/data/npy.ts';
import { NpzFile } from '../../../src/evaluation/data/npz.ts';
import { counting, npy, npz } from './arrays.ts';

const folder = mkdtempSync(join(tmpdir(), 'secateur-files-'));
afterAll(() => rmSync(folder, { recursive: true }));
const write = (name: string, bytes: Uint8Array | string): string => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};
const fromBase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));

/** Written by NumPy 2.4.6: base64 of numpy.save(file, array). The header is the same but for type, order and shape. */
const header = (descr: string, order: string, shape: string): string =>
  `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }`;
const saved: [string, string, number[], string, unknown[]][] = [
  ['float16', 'k05VTVBZAQB2AHsnZGVzY3InOiAnPGYyJywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDUsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAA+AMD/ewAE', [5], 'float16', [0, 0x3e00, 0xc000, 0x7bff, 0x0400]],
  ['float32, Fortran order', 'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBUcnVlLCAnc2hhcGUnOiAoMiwgMyksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAABAQAAAgD8AAIBAAAAAQAAAoEA=', [2, 3], 'float32', [0, 1, 2, 3, 4, 5]],
  ['int32, Fortran order, three axes', 'k05VTVBZAQB2AHsnZGVzY3InOiAnPGk0JywgJ2ZvcnRyYW5fb3JkZXInOiBUcnVlLCAnc2hhcGUnOiAoMiwgMywgNCksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAADAAAAAQAAAAQAAAACAAAABQAAAABAAAADQAAAAUAAAARAAAACQAAABUAAAACAAAADgAAAAYAAAASAAAACgAAABYAAAADAAAADwAAAAcAAAATAAAACwAAABcAAAA=', [2, 3, 4], 'int32', Array.from({ length: 24 }, (_, i) => i)],
  ['float64, big endian', 'k05VTVBZAQB2AHsnZGVzY3InOiAnPmY4JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDIpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAo/+AAAAAAAAMACAAAAAAAAQhvwjrAAAABAEAAAAAAAAA==', [2, 2], 'float64', [1.5, -2.25, 3e10, 4]],
  ['int16, big endian', 'k05VTVBZAQB2AHsnZGVzY3InOiAnPmkyJywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDMsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAf/+ASw=', [3], 'int16', [1, -2, 300]],
  ['int64', 'k05VTVBZAQB2AHsnZGVzY3InOiAnPGk4JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAr//////////wAAAAAAAQAA', [2], 'int64', [-1n, 2n ** 40n]],
  ['uint64', 'k05VTVBZAQB2AHsnZGVzY3InOiAnPHU4JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoBAAAAAAAAAAAAAAAAAACA', [2], 'uint64', [1n, 2n ** 63n]],
  ['uint32', 'k05VTVBZAQB2AHsnZGVzY3InOiAnPHU0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDEsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAr/////', [1], 'uint32', [4294967295]],
  ['int8', 'k05VTVBZAQB2AHsnZGVzY3InOiAnfGkxJywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAqAfw==', [2], 'int8', [-128, 127]],
  ['bool', 'k05VTVBZAQB2AHsnZGVzY3InOiAnfGIxJywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDMsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoBAAE=', [3], 'bool', [1, 0, 1]],
  ['a scalar', 'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKCksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAGBA', [], 'float32', [3.5]],
  ['text', 'k05VTVBZAQB2AHsnZGVzY3InOiAnPFUzJywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDMsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIApjAAAAYQAAAHQAAABkAAAA9gAAAGcAAAAf9AEAAAAAAAAAAAA=', [3], 'string', ['cat', 'dög', '🐟']],
  ['bytes', 'k05VTVBZAQB2AHsnZGVzY3InOiAnfFMyJywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAphYmMA', [2], 'string', ['ab', 'c']],
]; // prettier-ignore

describe('.npy', () => {
  test.each(saved)('%s, as NumPy writes it', (_, base64, dims, type, values) => {
    const array = parseNpy(fromBase64(base64), 'a.npy', 'a');
    expect(array.dims).toEqual(dims);
    expect(array.type).toBe(type);
    expect([...(array.data as Iterable<unknown>)]).toEqual(values);
  });

  test('the writer of these tests gives the bytes of NumPy', () => {
    const numpy = fromBase64(
      'k05VTVBZAQB2AHsnZGVzY3InOiAnPGk4JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAr//////////wAAAAAAAQAA',
    );
    expect(Buffer.from(npy([2], BigInt64Array.of(-1n, 2n ** 40n)))).toEqual(Buffer.from(numpy));
  });

  test('what cannot be read is one sentence that names the file', () => {
    const whole = npy([4], counting(4));
    const message = (bytes: Uint8Array): string => {
      try {
        parseNpy(bytes, 'a.npy', 'a');
        return '';
      } catch (error) {
        return `${(error as { code: string }).code}: ${(error as Error).message}`;
      }
    };
    const text = (bytes: string): Uint8Array => {
      const body = new TextEncoder().encode(bytes);
      return Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, body.length, 0, ...body);
    };
    expect(message(new Uint8Array(3))).toBe(
      'bad-data: a.npy is not a readable .npy array: it does not begin with the NumPy signature.',
    );
    expect(message(whole.subarray(0, 40))).toBe('bad-data: a.npy is not a readable .npy array: its header is cut off.');
    expect(message(whole.subarray(0, whole.length - 1))).toBe(
      'bad-data: a.npy is cut off: shape [4] needs 16 bytes, but 15 are there.',
    );
    expect(message(text(header('<f4', 'False', '(1000000000, 1000000000)')))).toBe(
      'bad-data: a.npy is not a readable .npy array: its shape is too large.',
    );
    expect(message(text(header('<f4', 'False', '(100000, 10000)')))).toMatch(/^bad-data: a.npy is cut off/);
    expect(message(text(header('|O', 'False', '(1,)')))).toBe(
      'unsupported: a.npy holds Python objects, not plain numbers.',
    );
    expect(message(text(header('<c8', 'False', '(1,)')))).toBe(
      'unsupported: a.npy holds values of type <c8, not plain numbers.',
    );
    expect(message(text("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"))).toBe(
      'unsupported: a.npy holds records, not plain numbers.',
    );
    expect(message(text('no header'))).toBe(
      'bad-data: a.npy is not a readable .npy array: its header is not understood.',
    );
  });
});

/** NumPy 2.4.6: numpy.savez(x=arange(12, dtype=float32).reshape(3, 4), y=array([0, 1, 2])); zip64 extra fields. */
const STORED =
  'UEsDBC0AAAAAAAAAIQAtbyIm//////////8FABQAeC5ucHkBABAAsAAAAAAAAACwAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJzxmNCcsICdmb3J0cmFuX29yZGVyJzogRmFsc2UsICdzaGFwZSc6ICgzLCA0KSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAKAAAAAAAAgD8AAABAAABAQAAAgEAAAKBAAADAQAAA4EAAAABBAAAQQQAAIEEAADBBUEsDBC0AAAAAAAAAIQD3QBLq//////////8FABQAeS5ucHkBABAAmAAAAAAAAACYAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJzxpOCcsICdmb3J0cmFuX29yZGVyJzogRmFsc2UsICdzaGFwZSc6ICgzLCksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAKAAAAAAAAAAABAAAAAAAAAAIAAAAAAAAAUEsBAi0DLQAAAAAAAAAhAC1vIiawAAAAsAAAAAUAAAAAAAAAAAAAAIABAAAAAHgubnB5UEsBAi0DLQAAAAAAAAAhAPdAEuqYAAAAmAAAAAUAAAAAAAAAAAAAAIAB5wAAAHkubnB5UEsFBgAAAAACAAIAZgAAALYBAAAAAA==';
/** NumPy 2.4.6: numpy.savez_compressed(x=zeros((4, 16), float32), labels=array([0, 1, 2, 1])). */
const DEFLATED =
  'UEsDBC0AAAAIAAAAIQB+rHyL//////////8FABQAeC5ucHkBABAAgAEAAAAAAABKAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG6TZqKuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GiY6CoZmmjoKtQrkAi6GEQ4AUEsDBC0AAAAIAAAAIQC+xP+T//////////8KABQAbGFiZWxzLm5weQEAEACgAAAAAAAAAEwAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNpoa6joJ6WX1RSlJgXn1+UkgoSd0vMKU4FihdnJBakAvkaJjqaOgq1ChQALgYoYITSTGh8AFBLAQItAy0AAAAIAAAAIQB+rHyLSgAAAIABAAAFAAAAAAAAAAAAAACAAQAAAAB4Lm5weVBLAQItAy0AAAAIAAAAIQC+xP+TTAAAAKAAAAAKAAAAAAAAAAAAAACAAYEAAABsYWJlbHMubnB5UEsFBgAAAAACAAIAawAAAAkBAAAAAA==';

const readAll = (path: string) =>
  NpzFile.read(path, (file) => Object.fromEntries(file.names.map((n) => [n, file.array(n)])));

describe('.npz', () => {
  test('stored and deflated, as NumPy writes them', () => {
    const stored = readAll(write('stored.npz', fromBase64(STORED)));
    expect(stored.x).toMatchObject({ dims: [3, 4], type: 'float32', data: counting(12) });
    expect(stored.y).toMatchObject({ dims: [3], type: 'int64', data: BigInt64Array.of(0n, 1n, 2n) });
    const deflated = readAll(write('deflated.npz', fromBase64(DEFLATED)));
    expect(deflated.x).toMatchObject({ dims: [4, 16], data: new Float32Array(64) });
    expect(deflated.labels.data).toEqual(BigInt64Array.of(0n, 1n, 2n, 1n));
  });

  test('an archive with a zip64 directory', () => {
    // numpy's archive with its end record moved into zip64 form: 56-byte record, 20-byte locator, end record of 0xff.
    const plain = Buffer.from(npz({ x: npy([3], counting(3)) }));
    const end = plain.length - 22;
    const record = Buffer.alloc(56);
    record.writeUInt32LE(0x06064b50, 0);
    record.writeBigUInt64LE(44n, 4);
    record.writeBigUInt64LE(1n, 24);
    record.writeBigUInt64LE(1n, 32);
    record.writeBigUInt64LE(BigInt(plain.readUInt32LE(end + 12)), 40);
    record.writeBigUInt64LE(BigInt(plain.readUInt32LE(end + 16)), 48);
    const locator = Buffer.alloc(20);
    locator.writeUInt32LE(0x07064b50, 0);
    locator.writeBigUInt64LE(BigInt(end), 8);
    locator.writeUInt32LE(1, 16);
    const last = Buffer.from(plain.subarray(end));
    last.fill(0xff, 8, 20);
    const path = write('zip64.npz', Buffer.concat([plain.subarray(0, end), record, locator, last]));
    expect(readAll(path).x.data).toEqual(counting(3));
  });

  test('damage is noticed before memory is taken, and by checksum', () => {
    const bytes = fromBase64(DEFLATED);
    const damaged = (change: (b: Buffer) => Buffer | void, name: string): string => {
      const copy = Buffer.from(bytes);
      return write(name, change(copy) ?? copy);
    };
    const failing: [string, RegExp][] = [
      [damaged((b) => b.subarray(0, 200), 'cut.npz'), /is not a readable .npz archive/],
      [damaged((b) => b.fill(0, 60, 80), 'zeroed.npz'), /x.npy is damaged/],
      [damaged((b) => void b.writeUInt32LE(0xfffffff0, 265 + 24), 'huge.npz'), /x.npy has sizes that cannot be true/],
      [damaged((b) => void b.writeUInt32LE(12345, 265 + 16), 'crc.npz'), /x.npy is damaged \(its checksum differs\)/],
      [damaged((b) => void b.writeUInt32LE(0x7fffffff, 265 + 42), 'offset.npz'), /is cut off or damaged/],
      [write('empty.npz', new Uint8Array()), /is not a readable .npz archive/],
      [
        write(
          'random.npz',
          Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919) % 251),
        ),
        /is not a readable .npz archive/,
      ],
    ];
    for (const [path, message] of failing)
      expect(() => readAll(path), path).toThrow(
        expect.objectContaining({ name: 'SecateurError', code: 'bad-data', message: expect.stringMatching(message) }),
      );
    expect(() => readAll(join(folder, 'absent.npz'))).toThrow(expect.objectContaining({ code: 'io' }));
  });
});

describe('.csv', () => {
  test('columns of numbers and a label column found by its name', () => {
    const raw = readCsv(write('a.csv', 'a,b,Label\n1,2.5,0\n-3,4e2,1\n'));
    expect(raw.arrays.map((a) => [a.name, ...(a.data as Float64Array)])).toEqual([
      ['a', 1, -3],
      ['b', 2.5, 400],
    ]);
    expect(raw.labels?.data).toEqual(Float64Array.of(0, 1));
  });
  test('semicolons, quotes, a byte-order mark, text labels, a chosen column', () => {
    const raw = readCsv(write('b.csv', '\ufeff"x 1";kind;y\n1;"b";3\n2;a;4\n'), 'kind');
    expect(raw.arrays.map((a) => a.name)).toEqual(['x 1', 'y']);
    expect(raw.labels).toMatchObject({ type: 'string', data: ['b', 'a'] });
  });
  test.each([
    ['no rows', 'a,b\n', /has no rows below its header line/],
    ['text in a column', 'a,label\n1,0\nred,1\n', /column a holds 'red' in row 3, which is not a number/],
    ['an empty cell', 'a,label\n,0\n', /column a holds an empty cell in row 2/],
    ['no header', '0.5,1\n2,3\n', /has no header line/],
    ['ragged rows', 'a,b\n1,2\n3\n', /is not a readable table/],
    ['a column twice', 'a,a\n1,2\n', /has two columns named a/],
  ])('%s is one sentence', (name, text, message) => {
    expect(() => readCsv(write(`${name}.csv`, text))).toThrow(
      expect.objectContaining({ code: 'bad-data', message: expect.stringMatching(message) }),
    );
  });
  test('a label column that is not there', () => {
    expect(() => readCsv(write('c.csv', 'a,b\n1,2\n'), 'colour')).toThrow(/has no column named colour/);
  });
});
