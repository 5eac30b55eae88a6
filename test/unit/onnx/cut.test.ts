import { appendFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadModel } from '../../../src/graph/load.ts';
import { saveModel, serializeModel } from '../../../src/graph/save.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { identify } from '../../../src/onnx/source.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { TensorField } from '../../../src/onnx/wire.ts';
import { builder } from '../../support/build.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const folder = temporaryFolder();

/** Bytes without a pattern of a short period. */
function random(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = Math.imul(i + 1, 0x9e3779b1) >>> 24;
  return bytes;
}

/** What `take` promises, element by element. */
function expected(
  bytes: Uint8Array,
  dims: readonly number[],
  width: number,
  cuts: (readonly number[] | undefined)[],
): Uint8Array {
  const out = new Uint8Array(dims.reduce((n, d, i) => n * (cuts[i]?.length ?? d), width));
  let at = 0;
  const walk = (axis: number, element: number) => {
    if (axis === dims.length) {
      for (let b = 0; b < width; b++) out[at++] = bytes[element * width + b];
      return;
    }
    const size = cuts[axis]?.length ?? dims[axis];
    for (let i = 0; i < size; i++) walk(axis + 1, element * dims[axis] + (cuts[axis]?.[i] ?? i));
  };
  walk(0, 0);
  return out;
}

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
const every = (n: number, size: number, from = 0) =>
  Array.from({ length: Math.ceil((size - from) / n) }, (_, i) => from + i * n);

/** The same bytes in memory, behind others in a file, and as external data. */
function places(type: DataType, dims: number[], bytes: Uint8Array): [string, Tensor][] {
  const path = join(folder, 'data.bin');
  writeFileSync(path, Buffer.concat([Buffer.alloc(13), bytes]));
  const range = { file: identify(path), offset: 13, length: bytes.length };
  const ref = { folder: folder, location: 'data.bin', offset: 13, length: bytes.length };
  return [
    ['memory', Tensor.fromBytes('t', type, dims, bytes)],
    ['file', new Tensor('t', type, dims, { kind: 'file', field: TensorField.RAW, ranges: [range] })],
    ['external', new Tensor('t', type, dims, { kind: 'external', ref })],
  ];
}

describe('tensors that are cut', () => {
  test.each([
    ['rows', DataType.FLOAT, 4, [300, 70], [every(2, 300), undefined]],
    ['columns', DataType.FLOAT, 4, [300, 70], [undefined, every(2, 70)]],
    ['both', DataType.FLOAT, 4, [300, 170], [every(3, 300, 1), every(2, 170, 1)]],
    ['filters', DataType.FLOAT, 4, [60, 40, 3, 3], [every(2, 60), every(2, 40)]],
    ['half precision', DataType.FLOAT16, 2, [200, 401], [every(2, 200), every(2, 401)]],
    ['bytes of odd rows', DataType.INT8, 1, [301, 403], [every(2, 301), every(2, 403)]],
    ['doubles', DataType.DOUBLE, 8, [80, 190], [every(2, 80), every(2, 190)]],
    ['inner axis', DataType.FLOAT, 4, [6, 50, 7, 20], [undefined, undefined, [0, 2, 3, 6], undefined]],
    ['inner and outer axis', DataType.FLOAT, 4, [9, 50, 7, 20], [[1, 8], undefined, [0, 2, 3, 4, 5, 6], undefined]],
    ['one axis', DataType.FLOAT, 4, [30_000], [every(3, 30_000)]],
    [
      'any order, repeated',
      DataType.FLOAT,
      4,
      [100, 90],
      [
        [99, 98, 3, 3, 50, 51, 52, ...every(1, 90)],
        [7, 2, 2, ...every(1, 80)],
      ],
    ],
    ['long runs', DataType.FLOAT, 4, [40, 3000], [undefined, [...every(1, 1000), ...every(1, 3000, 1500)]]],
    ['far rows', DataType.INT8, 1, [40, 90_000], [[0, 1, 20, 39], undefined]],
    ['rows longer than what is read at once', DataType.INT8, 1, [3, 6_000_000], [[2, 0], undefined]],
    ['rows much longer than what is read at once', DataType.INT8, 1, [2, 9_000_000], [[1], undefined]],
    [
      'columns of rows longer than what is read at once',
      DataType.INT8,
      1,
      [2, 3, 5_000_000],
      [undefined, [0, 2], undefined],
    ],
  ] as [string, DataType, number, number[], (number[] | undefined)[]][])('%s', (_, type, width, dims, cuts) => {
    const bytes = random(dims.reduce((a, b) => a * b, width));
    const wanted = expected(bytes, dims, width, cuts);
    for (const [place, whole] of places(type, dims, bytes)) {
      let cut = whole;
      cuts.forEach((positions, axis) => (cut = positions ? cut.take(axis, positions) : cut));
      expect(cut.dims, place).toEqual(dims.map((d, i) => cuts[i]?.length ?? d));
      expect(same(cut.bytes(), wanted), place).toBe(true);
      // However often it was cut, it is read from the whole, and only when asked for.
      expect(cut.storage.kind, place).toBe('cut');
      expect(cut.whole, place).toBe(whole);
    }
  });

  test('cut again along the same axis', () => {
    const dims = [120, 130];
    const bytes = random(4 * 120 * 130);
    const [first, second] = [every(2, 120).reverse(), every(1, 55, 3)];
    for (const [place, whole] of places(DataType.FLOAT, dims, bytes)) {
      const cut = whole.take(0, first).take(1, every(1, 100)).take(0, second);
      const wanted = expected(bytes, dims, 4, [second.map((p) => first[p]), every(1, 100)]);
      expect(same(cut.bytes(), wanted), place).toBe(true);
    }
  });

  test('cut after its dims were read in another way', () => {
    const bytes = random(4 * 100 * 100);
    const cut = Tensor.fromBytes('t', DataType.FLOAT, [100, 100], bytes).take(0, every(1, 50)).withDims([50, 10, 10]);
    expect(
      same(
        cut.take(1, [9, 1, 4, 5, 6]).take(0, every(1, 49)).bytes(),
        expected(bytes, [100, 10, 10], 4, [every(1, 49), [9, 1, 4, 5, 6]]),
      ),
    ).toBe(true);
  });

  test('small ones are in memory, empty ones hold nothing', () => {
    for (const [place, whole] of places(DataType.FLOAT, [300, 70], random(4 * 300 * 70))) {
      expect(whole.take(0, [5]).storage.kind, place).toBe('bytes');
      expect(whole.take(0, []).bytes().length, place).toBe(0);
    }
  });
});

describe('models with cut tensors', () => {
  /** A model file of two layers whose weights are large enough to stay where they are. */
  function stored(external: boolean): string {
    const b = builder();
    const h = b.gemm(b.input('x', ['N', 64]), 64, 400, 'a');
    b.output(b.gemm(b.relu(h), 400, 300, 'b'));
    const path = join(folder, 'model.onnx');
    saveModel(b.model, path, { external });
    return path;
  }

  /** The model without every second unit of its first layer, and the weight of the second. */
  function cutModel(path: string) {
    const model = loadModel(path);
    for (const [name, axis] of [
      ['a.weight', 0],
      ['a.bias', 0],
      ['b.weight', 1],
    ] as const) {
      const value = model.graph.values.get(name)!;
      value.initializer = value.initializer!.take(axis, every(2, 400));
    }
    return { model, weight: model.graph.values.get('b.weight')!.initializer! };
  }

  test.each([true, false])('are written as they would be read, external data: %s', (external) => {
    const { model, weight } = cutModel(stored(external));
    expect([weight.storage.kind, weight.isExternal]).toEqual(['cut', external]);
    for (const apart of [true, false]) {
      const path = join(folder, `small-${apart}.onnx`);
      saveModel(model, path, { external: apart });
      const read = loadModel(path).graph;
      for (const v of model.graph.initializers)
        expect(same(read.values.get(v.name)!.initializer!.bytes(), v.initializer!.bytes()), v.name).toBe(true);
    }
    saveModel(model, join(folder, `default-${external}.onnx`));
    expect(readdirSync(folder).includes(`default-${external}.onnx.data`)).toBe(external);
    expect(same(serializeModel(model), readFileSync(join(folder, 'small-false.onnx')))).toBe(true);
  });

  test('never over the file that they are cut from', () => {
    for (const external of [true, false]) {
      const path = stored(external);
      const before = readFileSync(path);
      expect(() => saveModel(cutModel(path).model, path)).toThrow(/never overwritten/);
      expect(readFileSync(path).equals(before)).toBe(true);
    }
  });

  test('leave nothing behind when the original has changed or gone', () => {
    const path = stored(true);
    const changed = cutModel(path).model;
    rmSync(`${path}.data`);
    expect(() => saveModel(changed, join(folder, 'gone.onnx'))).toThrow(/missing/);
    const inline = stored(false);
    const { model } = cutModel(inline);
    appendFileSync(inline, '\0');
    expect(() => saveModel(model, join(folder, 'gone.onnx'))).toThrow(/has changed on disk/);
    expect(readdirSync(folder).filter((f) => f.startsWith('gone'))).toEqual([]);
  });
});
