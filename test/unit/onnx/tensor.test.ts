import { describe, expect, test } from 'vitest';
import { DataType } from '../../../src/onnx/data-type.ts';
import { packBits, unpackBits } from '../../../src/onnx/elements.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';

const raw = (type: number, dims: number[], bytes: number[]) =>
  Tensor.fromBytes('t', type, dims, Uint8Array.from(bytes));

describe('tensors', () => {
  // Values of the bit patterns as the format definitions give them.
  test.each([
    ['float16', DataType.FLOAT16, [0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0x00, 0x7c], [1, -2, 2 ** -24, Infinity]],
    ['bfloat16', DataType.BFLOAT16, [0x80, 0x3f, 0x40, 0xc0], [1, -3]],
    ['float8e4m3fn', DataType.FLOAT8E4M3FN, [0x38, 0xb8, 0x7e, 0x01], [1, -1, 448, 2 ** -9]],
    ['float8e4m3fnuz', DataType.FLOAT8E4M3FNUZ, [0x40, 0x7f], [1, 240]],
    ['float8e5m2', DataType.FLOAT8E5M2, [0x3c, 0x7b, 0x7c], [1, 57344, Infinity]],
    ['float8e5m2fnuz', DataType.FLOAT8E5M2FNUZ, [0x40, 0x7f], [1, 57344]],
    ['float8e8m0', DataType.FLOAT8E8M0, [127, 130], [1, 8]],
    ['int4', DataType.INT4, [0x8f, 0x07], [-1, -8, 7]],
    ['uint4', DataType.UINT4, [0x8f, 0x07], [15, 8, 7]],
    ['float4', DataType.FLOAT4E2M1, [0x72, 0x09], [1, 6, -0.5]],
    ['uint2', DataType.UINT2, [0b11100100], [0, 1, 2, 3]],
    ['int2', DataType.INT2, [0b11100100], [0, 1, -2, -1]],
    ['int64', DataType.INT64, [255, 255, 255, 255, 255, 255, 255, 255], [-1]],
    ['bool', DataType.BOOL, [0, 1], [0, 1]],
  ])('%s', (_, type, bytes, values) => {
    expect(raw(type, [values.length], bytes).toNumbers()).toEqual(values);
    expect([...raw(type, [values.length], bytes).toFloat32()]).toEqual(values);
  });

  test('NaN patterns', () => {
    const isNaN = (type: number, code: number) => Number.isNaN(raw(type, [1], [code]).toNumbers()[0]);
    expect([
      isNaN(DataType.FLOAT8E4M3FN, 0x7f),
      isNaN(DataType.FLOAT8E4M3FNUZ, 0x80),
      isNaN(DataType.FLOAT8E5M2, 0x7e),
      isNaN(DataType.FLOAT8E5M2FNUZ, 0x80),
      isNaN(DataType.FLOAT8E8M0, 255),
    ]).toEqual([true, true, true, true, true]);
  });

  test('numbers are rounded to the element type', () => {
    expect(Tensor.fromNumbers('t', DataType.FLOAT16, [2], [0.1, 65504]).toNumbers()).toEqual([0.0999755859375, 65504]);
    expect(Tensor.fromNumbers('t', DataType.BFLOAT16, [2], [1.00390625, -0.1]).toNumbers()).toEqual([
      1,
      Math.fround(-0.10009765625),
    ]);
    expect(Tensor.fromNumbers('t', DataType.INT4, [3], [-8, 7, -1]).toNumbers()).toEqual([-8, 7, -1]);
    expect(Tensor.fromInt64('t', [1], [-5]).toInts()).toEqual([-5]);
  });

  test('slices along any axis keep their bits', () => {
    const t = Tensor.fromInt64(
      't',
      [2, 3, 2],
      Array.from({ length: 12 }, (_, i) => i),
    );
    expect(t.take(1, [2, 0]).toNumbers()).toEqual([4, 5, 0, 1, 10, 11, 6, 7]);
    expect(t.take(0, [1]).dims).toEqual([1, 3, 2]);
    expect(t.take(2, []).elementCount).toBe(0);
    const packed = Tensor.fromNumbers('t', DataType.INT4, [3, 3], [1, 2, 3, 4, 5, 6, 7, -1, -2]);
    expect(packed.take(1, [0, 2]).toNumbers()).toEqual([1, 3, 4, 6, 7, -2]);
    expect(Tensor.fromStrings('t', [3], ['a', 'b', 'c']).take(0, [2, 1]).strings()).toEqual(['c', 'b']);
    expect(() => t.take(1, [3])).toThrowError(/no position 3/);
  });

  test('bits pack and unpack', () => {
    const codes = Uint8Array.of(1, 2, 3, 0, 1);
    expect(unpackBits(packBits(codes, 2), 2, 5)).toEqual(codes);
    expect(unpackBits(packBits(codes, 4), 4, 5)).toEqual(codes);
  });

  test('data that does not fit the shape is refused', () => {
    expect(() => raw(DataType.FLOAT, [2], [0, 0, 0, 0])).toThrowError(
      expect.objectContaining({
        code: 'bad-model',
        message: 'Tensor "t" has the shape [2] of float, which takes 8 bytes, but its data has 4.',
      }),
    );
  });

  test('unaligned bytes are read right', () => {
    const bytes = new Uint8Array(9);
    new DataView(bytes.buffer).setFloat32(1, 2.5, true);
    const t = Tensor.fromBytes('t', DataType.FLOAT, [2], bytes.subarray(1));
    expect(t.toNumbers()).toEqual([2.5, 0]);
  });
});
