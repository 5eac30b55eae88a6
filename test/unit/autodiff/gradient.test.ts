import { create } from '@bufbuild/protobuf';
import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addGradients } from '../../../src/autodiff/gradient.ts';
import type { Dim, Graph, Value } from '../../../src/graph/ir.ts';
import { FunctionProtoSchema } from '../../../src/onnx/onnx_pb.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { builder, subgraph, type Builder } from '../../support/build.ts';
import { checkGradient, runValues } from '../../support/gradients.ts';

const scalarOf = (b: Builder, x: Value) => b.op('Mul', [x, b.floats([1])]);

describe('the walk backwards', () => {
  it('adds up all uses of a value, also two by one node', async () => {
    const b = builder();
    const x = b.input('x', ['N', 3]);
    const y = b.mul(x, x);
    const z = b.add(b.op('Neg', [y]), b.mul(y, x));
    const { compared } = await checkGradient(b.model, z, [x, y]);
    expect(compared).toBe(12);
  });

  it('gives gradients of inputs, weights and values in between, and 0 where nothing depends on it', async () => {
    const b = builder();
    const x = b.input('x', ['N', 3]);
    const other = b.input('other', ['N', 4]);
    const w = b.weight([3]);
    const h = b.mul(x, w);
    const y = b.relu(h);
    await checkGradient(b.model, y, [x, w, h, y]);
    const { gradients } = addGradients(b.model, scalarOf(b, b.op('Neg', [b.floats([2])])), [other]);
    const feeds = { x: tensor([1, 3]), other: tensor([1, 4]) };
    const result = await runValues(b.model, [gradients.get(other)!], feeds);
    expect(Object.values(result)[0].dims).toEqual([1, 4]);
    expect([...(Object.values(result)[0].data as Float32Array)]).toEqual([0, 0, 0, 0]);
  });

  it('looks into local functions', async () => {
    const b = builder();
    const [x, w] = [b.input('x', ['N', 3]), b.weight([3])];
    const f = builder();
    const [p, q] = ['p', 'q'].map((name) => f.graph.value(name));
    f.graph.inputs.push(p, q);
    f.output(f.op('Tanh', [f.mul(p, q)]));
    const proto = create(FunctionProtoSchema, { opsetImport: [{ domain: '', version: 17n }] });
    b.model.functions.push({ name: 'Scaled', domain: 'test', overload: '', body: f.graph, proto });
    const y = b.op('test.Scaled', [x, w]);
    await checkGradient(b.model, b.op('test.Scaled', [y, x]), [x, w, y]);
  });

  it('names a branch that a gradient would have to go through, also one that only captures', () => {
    const b = builder();
    const [x, on] = [b.input('x', [1]), b.input('on', [], DataType.BOOL)];
    const h = b.op('Neg', [x]);
    const branch = (name: string, op: string) => subgraph(b, name, (inner) => [inner.op(op, [h])]);
    const y = b.op('If', [on], { then_branch: branch('then', 'Neg'), else_branch: branch('else', 'Relu') }, 'choice');
    expect(() => addGradients(b.model, y, [x])).toThrow(/node "choice" \(If\)/);
  });

  it('opens branches whose condition is constant, one within the other', async () => {
    const b = builder();
    const x = b.input('x', ['N', 3]);
    const h = b.op('Tanh', [x]);
    const yes = b.constant(Tensor.fromNumbers('yes', DataType.BOOL, [], [1]));
    const choice = (inner: Builder, then: Graph, otherwise: Graph) =>
      inner.op('If', [yes], { then_branch: then, else_branch: otherwise });
    const branch = (name: string, op: string) => subgraph(b, name, (inner) => [inner.op(op, [h])]);
    const nested = subgraph(b, 'nested', (inner) => [choice(inner, branch('deep', 'Exp'), branch('off', 'Floor'))]);
    const y = choice(b, nested, branch('else', 'Floor'));
    await checkGradient(b.model, y, [x, y]);
  });

  it('differentiates a number only, names ops without a rule and opsets without broadcasting, and lets integers be', () => {
    const b = builder();
    const x = b.input('x', [1]);
    const many = b.input('many', ['N', 2]);
    expect(() => addGradients(b.model, many, [x])).toThrow(/gradients are those of a single number/);
    const odd = b.op('com.example.Odd', [x], {}, 'strange');
    odd.type = { kind: 'tensor', elemType: DataType.FLOAT, shape: [1] };
    expect(() => addGradients(b.model, odd, [x])).toThrow(/node "strange" \(com\.example\.Odd\): .* no gradient rule/);
    // What is on no way from the value to the scalar needs no rule.
    expect(() => addGradients(b.model, b.op('Neg', [x]), [x])).not.toThrow();
    const old = builder({ opset: 6 });
    const z = old.input('z', [1]);
    expect(() => addGradients(old.model, old.op('Neg', [z]), [z])).toThrow(/need opset 7 or newer; the model's is 6/);
    const k = b.input('k', [1], DataType.INT64);
    expect(() => addGradients(b.model, b.op('Neg', [x]), [k])).toThrow(/only floating-point values/);
  });
});

function tensor(dims: number[]): ort.Tensor {
  return new ort.Tensor('float32', new Float32Array(dims.reduce((a, b) => a * b, 1)), dims);
}

describe('broadcasting is undone', () => {
  const pairs: [string, Dim[], Dim[], Record<string, number>][] = [
    ['known sizes', [2, 3, 4], [3, 1], {}],
    ['a number', [2, 3], [], {}],
    ['the same symbols', ['N', 3], ['N', 1], { N: 2 }],
    ['symbols that differ and are 1', ['N', 'A'], ['N', 'B'], { N: 2, A: 3, B: 1 }],
    ['symbols that differ and are equal', ['N', 'A'], ['N', 'B'], { N: 2, A: 3, B: 3 }],
    ['more axes and symbols', ['N', 'A', 4], ['B', 4], { N: 2, A: 3, B: 1 }],
    ['a symbol and a number', ['N', 3], ['M', 3], { N: 1, M: 2 }],
    ['both ways', ['A', 1], [1, 'B'], { A: 2, B: 3 }],
  ];
  for (const opset of [7, 8, 9, 11, 13, 18, 21])
    it.each(pairs)(`${opset}: %s`, async (_, left, right, dims) => {
      const b = builder({ opset });
      const [x, y] = [b.input('x', left), b.input('y', right)];
      const { compared } = await checkGradient(b.model, b.mul(x, y), [x, y], { dims });
      expect(compared).toBeGreaterThan(2);
    });
});
