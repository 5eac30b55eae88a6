import { create } from '@bufbuild/protobuf';
import * as ort from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import { modelCost } from '../../../src/graph/cost.ts';
import { inlineFunctions } from '../../../src/graph/edit.ts';
import type { Graph } from '../../../src/graph/ir.ts';
import { type Model } from '../../../src/graph/ir.ts';
import { parseModel } from '../../../src/graph/load.ts';
import { serializeModel } from '../../../src/graph/save.ts';
import { inferShapes } from '../../../src/graph/shapes/index.ts';
import {
  AttributeProto_AttributeType as Kind,
  AttributeProtoSchema,
  FunctionProtoSchema,
} from '../../../src/onnx/onnx_pb.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { type Builder, builder, subgraph } from '../../support/build.ts';

/** A function whose body another builder makes; attributes without default must be given by the call. */
function define(b: Builder, name: string, inputs: string[], attributes: string[], make: (f: Builder) => void): void {
  const f = builder({ seed: 9 });
  for (const input of inputs) f.graph.inputs.push(f.graph.value(input));
  make(f);
  const proto = create(FunctionProtoSchema, {
    attribute: attributes,
    attributeProto: [{ name: 'slope', type: Kind.FLOAT, f: 0.5 }],
    opsetImport: [
      { domain: '', version: 17n },
      { domain: 'test', version: 1n },
    ],
  });
  const body = f.graph;
  for (const v of body.initializers) throw new Error(`functions have no initializers: ${v.name}`);
  b.model.functions.push({ name, domain: 'test', overload: '', body, proto });
}

function reference(graph: Graph, attribute: string, refAttrName: string): void {
  const node = graph.nodes[graph.nodes.length - 1];
  const proto = create(AttributeProtoSchema, { name: attribute, refAttrName, type: Kind.FLOAT });
  node.attributes.set(attribute, { kind: 'opaque', value: null, proto });
}

/** Leaky(x; alpha, slope) twice with different attributes, once inside another function, once inside a branch. */
function model(): Model {
  const b = builder();
  define(b, 'Leaky', ['a'], ['alpha'], (f) => {
    const a = f.graph.inputs[0];
    const y = f.op('LeakyRelu', [a]);
    reference(f.graph, 'alpha', 'alpha');
    const z = f.op('Elu', [a]);
    reference(f.graph, 'alpha', 'slope');
    f.output(f.add(y, z), f.op('Identity', [a]));
  });
  define(b, 'Nested', ['a', 'w'], [], (f) => {
    const [a, w] = f.graph.inputs;
    const [inner] = f.nodes('test.Leaky', [a], { alpha: { float: 0.25 } }, 2);
    f.output(f.op('MatMul', [inner, w]));
  });
  const x = b.input('x', ['N', 4]);
  const [y, same] = b.nodes('test.Leaky', [x], { alpha: { float: 0.125 }, slope: { float: 2 } }, 2);
  const z = b.op('test.Nested', [y, b.weight([4, 3])]);
  const w = b.op('If', [b.input('c', [], DataType.BOOL)], {
    then_branch: subgraph(b, 't', (s) => [s.nodes('test.Leaky', [z], { alpha: { float: 0.75 } }, 2)[0]]),
    else_branch: subgraph(b, 'e', (s) => [s.op('Neg', [z])]),
  });
  b.output(w, same);
  return b.build();
}

async function run(m: Model): Promise<number[][]> {
  const session = await ort.InferenceSession.create(serializeModel(m), { graphOptimizationLevel: 'disabled' });
  const results: number[][] = [];
  for (const c of [0, 1]) {
    const out = await session.run({
      x: new ort.Tensor(
        'float32',
        Float32Array.from({ length: 8 }, (_, i) => i - 4),
        [2, 4],
      ),
      c: new ort.Tensor('bool', Uint8Array.of(c), []),
    });
    for (const v of m.graph.outputs) results.push(Array.from(out[v.name].data as Float32Array));
  }
  await session.release();
  return results;
}

describe('local functions', () => {
  test('are followed by shapes and costs', () => {
    const m = model();
    inferShapes(m, { strict: true });
    expect(m.graph.outputs.map((v) => v.type!.shape)).toEqual([
      ['N', 3],
      ['N', 4],
    ]);
    expect(modelCost(m)).toMatchObject({ macs: 12, parameters: 12 });
  });

  test('inlined, compute the same', async () => {
    const m = model();
    const before = await run(m);
    expect(inlineFunctions(m)).toBe(4);
    const again = parseModel(serializeModel(m));
    expect(again.graph.nodes.every((n) => n.domain === '')).toBe(true);
    expect(await run(again)).toEqual(before);
    inferShapes(again, { strict: true });
    expect(modelCost(again)).toMatchObject({ macs: 12, parameters: 12 });
  });
});
