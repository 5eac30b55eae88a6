import { describe, expect, test } from 'vitest';
import { cloneModel } from '../../../src/graph/clone.ts';
import {
  allGraphs,
  constantTensor,
  isConstantOnly,
  readBy,
  removeDeadNodes,
  sortTopologically,
} from '../../../src/graph/edit.ts';
import type { Model, Value } from '../../../src/graph/ir.ts';
import { parseModel } from '../../../src/graph/load.ts';
import { serializeModel } from '../../../src/graph/save.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { type Attrs, builder, subgraph } from '../../support/build.ts';

/** x → relu → If (adds or multiplies the relu's output, captured, by an outer weight) → y; and a dead branch. */
function branching(): Model {
  const b = builder();
  const x = b.input('x', ['N', 4]);
  const condition = b.input('cond', [], DataType.BOOL);
  const w = b.weight([4], 'w');
  const inner = b.relu(x);
  const then = subgraph(b, 'then', (s) => [s.add(inner, w)]);
  const otherwise = subgraph(b, 'else', (s) => [s.mul(inner, s.weight([4], 'own'))]);
  const y = b.op('If', [condition], { then_branch: then, else_branch: otherwise });
  b.op('Exp', [b.op('Log', [b.weight([9], 'unused')])]);
  b.output(y);
  return b.build();
}

const node = (model: Model, op: string) =>
  allGraphs(model)
    .flatMap((g) => g.nodes)
    .find((n) => n.op === op)!;

describe('graphs from files', () => {
  test('use lists know what bodies capture', () => {
    const model = branching();
    const relu = node(model, 'Relu').outputs[0]!;
    expect(relu.uses.map((u) => u.node.op).sort()).toEqual(['Add', 'Mul']);
    expect(relu.uses.every((u) => u.node.graph !== model.graph)).toBe(true);
    expect(model.graph.values.get('w')!.uses).toHaveLength(1);
    expect(readBy(node(model, 'If')).map((v) => v.name)).toEqual(['cond', relu.name, 'w', relu.name]);
  });

  test('nodes are put into order, keeping the order that there is', () => {
    const b = builder();
    const x = b.input('x', [3]);
    b.output(b.relu(b.op('Neg', [b.op('Abs', [x])])));
    b.graph.nodes.reverse();
    const model = b.build();
    expect(model.graph.nodes.map((n) => n.op)).toEqual(['Abs', 'Neg', 'Relu']);
    const order = branching().graph.nodes.map((n) => n.name);
    expect(parseModel(serializeModel(branching())).graph.nodes.map((n) => n.name)).toEqual(order);
  });

  test('a node comes after what its body captures', () => {
    const model = branching();
    model.graph.nodes.reverse();
    sortTopologically(model.graph);
    const names = model.graph.nodes.map((n) => n.op);
    expect(names.indexOf('Relu')).toBeLessThan(names.indexOf('If'));
  });

  test('a cycle is refused', () => {
    const b = builder();
    const y = b.relu(b.input('x', [3]));
    const z = b.op('Neg', [y]);
    y.producer!.setInput(0, z);
    b.output(z);
    expect(() => b.build()).toThrowError(
      expect.objectContaining({ code: 'bad-model', message: expect.stringContaining('cycle') }),
    );
  });

  test('very long chains are no problem', () => {
    const b = builder();
    let v: Value = b.weight([2]);
    for (let i = 0; i < 20_000; i++) v = b.op('Neg', [v]);
    b.output(v);
    b.graph.nodes.reverse();
    const model = b.build();
    expect(model.graph.nodes).toHaveLength(20_000);
    expect(isConstantOnly(model.graph.outputs[0])).toBe(true);
  });

  test('two nodes with one output name do not lose each other', () => {
    const b = builder();
    const x = b.input('x', [3]);
    const first = b.relu(x);
    const second = b.op('Neg', [x]);
    second.name = first.name;
    b.output(first);
    const model = b.build();
    expect(model.graph.nodes.map((n) => n.outputs[0]!.name)).toEqual([first.name, first.name]);
    expect(model.graph.nodes[0].outputs[0] === model.graph.nodes[1].outputs[0]).toBe(false);
  });
});

describe('edits', () => {
  test('dead nodes and unused initializers go, captured values stay', () => {
    const model = branching();
    expect(removeDeadNodes(model)).toEqual({ nodes: 2, initializers: 1 });
    expect(model.graph.nodes.map((n) => n.op)).toEqual(['Relu', 'If']);
    expect(model.graph.values.has('w')).toBe(true);
    expect(model.graph.values.has('unused')).toBe(false);
    expect(removeDeadNodes(model)).toEqual({ nodes: 0, initializers: 0 });
  });

  test('what only a dead body captured is dead too', () => {
    const model = branching();
    const relu = node(model, 'Relu').outputs[0]!;
    model.graph.outputs[0] = relu;
    expect(removeDeadNodes(model).nodes).toBe(3);
    expect(relu.uses).toHaveLength(0);
    expect(model.graph.values.has('w')).toBe(false);
  });

  test('constants of both kinds are found', () => {
    const b = builder();
    const values: [Attrs, number[]][] = [
      [{ value: Tensor.fromFloat32('', [2], Float32Array.of(1, 2)) }, [1, 2]],
      [{ value_float: { float: 0.5 } }, [0.5]],
      [{ value_ints: [3, 4] }, [3, 4]],
      [{ value_int: 7 }, [7]],
      [{ value_floats: { floats: [1, 0.25] } }, [1, 0.25]],
    ];
    for (const [attrs, expected] of values)
      expect(constantTensor(b.op('Constant', [], attrs))!.toNumbers()).toEqual(expected);
    const w = b.weight([3]);
    expect(constantTensor(w) === w.initializer).toBe(true);
    expect(constantTensor(b.input('x', [1]))).toBeUndefined();
    expect(isConstantOnly(b.op('Add', [w, w]))).toBe(true);
    expect(isConstantOnly(b.op('Add', [w, b.input('z', [1])]))).toBe(false);
    expect(isConstantOnly(b.op('RandomNormalLike', [w]))).toBe(false);
  });
});

describe('copies', () => {
  test('are deep, find their way back, and share weights', () => {
    const model = branching();
    const clone = cloneModel(model);
    expect(Buffer.from(serializeModel(clone.model)).equals(serializeModel(model))).toBe(true);
    const [relu, copy] = [node(model, 'Relu'), clone.node(node(model, 'Relu'))];
    // Compared here, not by the matcher: its messages would print the whole graph.
    expect(copy === relu).toBe(false);
    expect(copy.outputs[0]!.uses.every((u) => allGraphs(clone.model).includes(u.node.graph))).toBe(true);
    expect(clone.value(relu.outputs[0]!) === copy.outputs[0]).toBe(true);
    expect(clone.node(node(model, 'Mul')).graph.owner === clone.node(node(model, 'If'))).toBe(true);
    const [w, v] = [model.graph.values.get('w')!, clone.model.graph.values.get('w')!];
    expect(v.initializer === w.initializer).toBe(false);
    expect(v.initializer!.storage === w.initializer!.storage).toBe(true);
    copy.setString('mark', 'x');
    v.type!.shape![0] = 99;
    expect(relu.attributes.size).toBe(0);
    expect(w.type!.shape).toEqual([4]);
  });
});
