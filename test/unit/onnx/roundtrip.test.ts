import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { cloneModel } from '../../../src/graph/clone.ts';
import { loadModel, parseModel } from '../../../src/graph/load.ts';
import { saveModel, serializeModel, serializeReferencing } from '../../../src/graph/save.ts';
import { ModelProtoSchema } from '../../../src/onnx/onnx_pb.ts';
import { builder } from '../../support/build.ts';
import { everything } from '../../support/everything.ts';
import { firstDifference } from '../../support/difference.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const parse = (bytes: Uint8Array) => fromBinary(ModelProtoSchema, bytes);

describe('a file that is read and written again says the same', () => {
  const folder = temporaryFolder();
  const bytes = everything();
  const path = join(folder, 'everything.onnx');
  writeFileSync(path, bytes);

  test('from memory', () => {
    expect(firstDifference(parse(serializeModel(parseModel(bytes))), parse(bytes))).toBeNull();
  });

  test('from a file whose weights stay there', () => {
    expect(firstDifference(parse(serializeModel(loadModel(path))), parse(bytes))).toBeNull();
  });

  test('through a copy of the model', () => {
    expect(firstDifference(parse(serializeModel(cloneModel(loadModel(path)).model)), parse(bytes))).toBeNull();
  });

  test('streamed to a file', () => {
    const out = join(folder, 'copy.onnx');
    const { bytes: written, files } = saveModel(loadModel(path), out);
    expect(files).toEqual([out]);
    expect(written).toBe(readFileSync(out).length);
    expect(firstDifference(parse(readFileSync(out)), parse(bytes))).toBeNull();
  });

  test('twice written are the same bytes', () => {
    const again = join(folder, 'again.onnx');
    writeFileSync(again, serializeModel(loadModel(path)));
    expect(serializeModel(loadModel(again)).length).toBe(bytes.length);
    expect(firstDifference(serializeModel(loadModel(again)), new Uint8Array(readFileSync(again)))).toBeNull();
  });

  test('with weights moved out to a data file and in again', () => {
    const out = join(folder, 'outside.onnx');
    const { files } = saveModel(loadModel(path), out, { external: true });
    expect(files).toEqual([out, `${out}.data`]);
    const back = parse(serializeModel(loadModel(out)));
    const original = parse(bytes);
    expect(back.graph!.initializer.map((t) => [t.name, t.dims, t.docString])).toEqual(
      original.graph!.initializer.map((t) => [t.name, t.dims, t.docString]),
    );
    const [a, b] = [loadModel(out), parseModel(bytes)];
    for (const v of b.graph.initializers)
      if (v.initializer!.storage.kind !== 'strings')
        expect(
          firstDifference(a.graph.values.get(v.name)!.initializer!.bytes(), v.initializer!.bytes()),
          v.name,
        ).toBeNull();
  });

  test('an instrumented copy can point at the weights of the original', () => {
    const b = builder();
    const x = b.input('x', ['N', 64]);
    b.output(b.gemm(b.gemm(x, 64, 64), 64, 10));
    const original = join(folder, 'original.onnx');
    writeFileSync(original, b.bytes());
    const small = serializeReferencing(loadModel(original), folder);
    expect(small.length).toBeLessThan(1500);
    const again = parseModel(small, join(folder, 'elsewhere.onnx'));
    const weight = again.graph.initializers[0].initializer!;
    expect(weight.isExternal).toBe(true);
    expect(weight.toFloat32()).toEqual(b.graph.initializers[0].initializer!.toFloat32());
  });

  test('nothing is written over the file that the weights are read from', () => {
    const before = readFileSync(path);
    expect(() => saveModel(loadModel(path), path)).toThrowError(expect.objectContaining({ code: 'io' }));
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test('edits are merged into what the file said', () => {
    const model = loadModel(path);
    const node = model.graph.nodes.find((n) => n.name === 'first')!;
    node.setInt('added', 3);
    node.outputs[0]!.name = 'renamed';
    model.metadata.set('author', 'somebody');
    const proto = parse(serializeModel(model));
    const written = proto.graph!.node.find((n) => n.name === 'first')!;
    expect(written).toMatchObject({ docString: 'adds', output: ['renamed'], attribute: [{ name: 'added', i: 3n }] });
    expect(written.$unknown).toHaveLength(1);
    expect(proto.metadataProps.map((e) => [e.key, e.value])).toEqual([
      ['empty', ''],
      ['author', 'somebody'],
    ]);
  });
});
