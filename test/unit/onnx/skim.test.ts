import { create, toBinary } from '@bufbuild/protobuf';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadModel, parseModel } from '../../../src/graph/load.ts';
import { concat } from '../../../src/onnx/marker.ts';
import { GraphProtoSchema, ModelProtoSchema } from '../../../src/onnx/onnx_pb.ts';
import { skim } from '../../../src/onnx/skim.ts';
import { MemorySource } from '../../../src/onnx/source.ts';
import { varint } from '../../../src/onnx/wire.ts';
import { everything } from '../../support/everything.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const file = { path: 'none', size: 0, mtimeMs: 0 };
const field = (number: number, body: Uint8Array) => concat([varint(number * 8 + 2), varint(body.length), body]);

/** A model whose graph holds one initializer given as raw wire format. */
function withTensor(tensor: Uint8Array): Uint8Array {
  const graph = toBinary(GraphProtoSchema, create(GraphProtoSchema, { name: 'g' }));
  const model = toBinary(ModelProtoSchema, create(ModelProtoSchema, { irVersion: 8n }));
  return concat([model, field(7, concat([graph, field(5, tensor)]))]);
}

describe('the skimmer', () => {
  const folder = temporaryFolder();
  const write = (name: string, bytes: Uint8Array) => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };

  test('leaves long tensor data behind wherever it lies', () => {
    const bytes = everything();
    const skeleton = skim(new MemorySource(bytes), file);
    expect(bytes.length).toBeGreaterThan(60_000);
    expect(skeleton.length).toBeLessThan(30_000);
  });

  test('reads in small pieces and never the weights', () => {
    const bytes = withTensor(field(9, new Uint8Array(50_000_000)));
    let most = 0;
    const source = {
      size: bytes.length,
      view(offset: number, length: number) {
        most = Math.max(most, length);
        return bytes.subarray(offset, offset + length);
      },
    };
    expect(skim(source, file).length).toBeLessThan(200);
    expect(most).toBeLessThan(100);
  });

  test('joins a packed list that comes in several parts', () => {
    const part = (values: number[]) => field(4, new Uint8Array(Float32Array.from(values).buffer));
    const long = Array.from({ length: 400 }, (_, i) => i);
    const tensor = concat([
      field(1, concat([varint(403)])),
      Uint8Array.of(16, 1),
      part(long),
      part([7, 8]),
      part([9]),
      field(8, new TextEncoder().encode('w')),
    ]);
    const model = loadModel(write('parts.onnx', withTensor(tensor)));
    expect(model.graph.initializers[0].initializer!.toNumbers()).toEqual([...long, 7, 8, 9]);
    expect(parseModel(withTensor(tensor)).graph.initializers[0].initializer!.toNumbers()).toEqual([...long, 7, 8, 9]);
  });

  test('keeps groups and unknown fields', () => {
    const group = concat([
      varint(80 * 8 + 3),
      varint(3 * 8),
      varint(300),
      field(4, Uint8Array.of(1)),
      varint(80 * 8 + 4),
    ]);
    const bytes = concat([withTensor(field(9, new Uint8Array(5000))), group]);
    const skeleton = skim(new MemorySource(bytes), file);
    expect(Buffer.from(skeleton).includes(Buffer.from(group))).toBe(true);
  });

  test('a field that looks like a marker of ours is only an unknown field', () => {
    const tensor = concat([
      Uint8Array.of(16, 1),
      field(536_870_911, new Uint8Array(40).fill(5)),
      field(9, Uint8Array.of(1, 2, 3, 4)),
    ]);
    const bytes = withTensor(concat([field(1, varint(1)), tensor]));
    const model = parseModel(bytes);
    expect([...model.graph.initializers[0].initializer!.bytes()]).toEqual([1, 2, 3, 4]);
  });

  test.each([
    ['a length beyond the message', concat([varint(7 * 8 + 2), varint(1e15)])],
    ['a length beyond 64 bits', concat([varint(7 * 8 + 2), new Uint8Array(9).fill(255), Uint8Array.of(127)])],
    ['a wire type that does not exist', Uint8Array.of(7)],
    ['field number 0', Uint8Array.of(2, 0)],
    ['an open group', Uint8Array.of(11, 8, 1)],
    ['a closing group', Uint8Array.of(12)],
    ['half a number', Uint8Array.of(8, 255)],
  ])('refuses %s', (_, bytes) => {
    expect(() => skim(new MemorySource(bytes), file)).toThrowError(expect.objectContaining({ code: 'bad-model' }));
  });

  test('limits nesting', () => {
    let body: Uint8Array = new Uint8Array(2000);
    for (let i = 0; i < 300; i++) body = field(6, field(1, field(5, body)));
    expect(() => loadModel(write('deep.onnx', field(7, field(1, field(5, body)))))).toThrowError(
      expect.objectContaining({ code: 'bad-model', message: expect.stringContaining('nested') }),
    );
    let groups: Uint8Array = new Uint8Array(0);
    for (let i = 0; i < 1000; i++) groups = concat([Uint8Array.of(83), groups, Uint8Array.of(84)]);
    expect(() => skim(new MemorySource(groups), file)).toThrowError(expect.objectContaining({ code: 'bad-model' }));
  });
});
