import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import type { Model, Value } from '../../../src/graph/ir.ts';
import { modelCost } from '../../../src/graph/cost.ts';
import { cloneModel } from '../../../src/graph/clone.ts';
import { pruneModel } from '../../../src/pruning/surgery.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { costTerms } from '../../../src/units/cost-terms.ts';
import { gateModel, gateRow } from '../../../src/units/gating.ts';
import type { Structure } from '../../../src/units/types.ts';
import { Builder, type Attrs } from '../../support/build.ts';
import { checkInvariant, maxRelDiff, openSession, randomFeeds, randomKeep, seeded } from '../../support/invariant.ts';

const GATES = { LSTM: 4, GRU: 3, RNN: 1 };
type Op = keyof typeof GATES;
type Direction = 'forward' | 'reverse' | 'bidirectional';

interface Cell {
  op: Op;
  input: number;
  hidden: number;
  direction?: Direction;
  peepholes?: boolean;
  bias?: boolean;
  states?: (Value | null)[];
  lengths?: Value;
  attributes?: Attrs;
  outputs?: number;
  name?: string;
}

/** A recurrent node with random weights; gives Y, Y_h and, for LSTM, Y_c. */
function cell(b: Builder, x: Value, c: Cell): Value[] {
  const { op, input, hidden, direction = 'forward', bias = true, states = [], name = op.toLowerCase() } = c;
  const directions = direction === 'bidirectional' ? 2 : 1;
  const rows = GATES[op] * hidden;
  const inputs = [
    x,
    b.weight([directions, rows, input], `${name}.W`, 0.6),
    b.weight([directions, rows, hidden], `${name}.R`, 0.6),
    bias ? b.weight([directions, 2 * rows], `${name}.B`, 0.3) : null,
    c.lengths ?? null,
    ...(op === 'LSTM' ? [states[0] ?? null, states[1] ?? null] : [states[0] ?? null]),
    ...(c.peepholes ? [b.weight([directions, 3 * hidden], `${name}.P`, 0.5)] : []),
  ];
  while (inputs[inputs.length - 1] === null) inputs.pop();
  const attributes: Attrs = { hidden_size: hidden, ...(direction !== 'forward' && { direction }), ...c.attributes };
  return b.nodes(op, inputs, attributes, c.outputs ?? (op === 'LSTM' ? 3 : 2), name);
}

/** Y [sequence, directions, samples, hidden] as features [sequence, samples, directions·hidden], as torch exports it. */
function features(b: Builder, y: Value, direction: Direction): Value {
  if (direction === 'bidirectional') return b.reshape(b.transpose(y, [0, 2, 1, 3]), [0, 0, -1]);
  const modern = b.model.opsets.get('')! >= 13;
  return modern ? b.op('Squeeze', [y, b.ints([1])]) : b.op('Squeeze', [y], { axes: [1] });
}

/** Features that can go, a recurrent layer, and readers of all that it gives. */
function network(b: Builder, c: Omit<Cell, 'input' | 'hidden'>): Structure {
  const direction = c.direction ?? 'forward';
  const directions = direction === 'bidirectional' ? 2 : 1;
  const x = b.relu(b.linear(b.input('x', [5, 'N', 3]), 3, 7, 'embed'));
  const [y, ...states] = cell(b, x, { ...c, input: 7, hidden: 6 });
  b.output(b.linear(features(b, y, direction), directions * 6, 3, 'head'));
  for (const [i, state] of states.entries()) b.output(b.linear(state, 6, 2, `state${i}`));
  return analyseStructure(b.build());
}

async function hold(s: Structure): Promise<Record<string, number>> {
  expect(s.warnings).toEqual([]);
  const { results, tolerance } = await checkInvariant(s, { shares: [0.25, 0.5, 0.01], seed: 3 });
  for (const r of results) expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(tolerance);
  return Object.fromEntries(s.groups.filter((g) => g.prunable).map((g) => [g.id, g.size]));
}

describe('hidden units of recurrent nets, held against the gated model', () => {
  for (const op of ['LSTM', 'GRU', 'RNN'] as Op[]) {
    const name = op.toLowerCase();
    for (const direction of ['forward', 'reverse', 'bidirectional'] as Direction[])
      for (const opset of [7, 14, 22])
        it(`${op}, ${direction}, opset ${opset}`, async () => {
          expect(await hold(network(new Builder({ opset }), { op, direction }))).toEqual({ embed: 7, [name]: 6 });
        });

    it(`${op} without bias, with initial states of its own and sequences of different lengths`, async () => {
      const b = new Builder({ opset: 17 });
      const states = [b.weight([2, 3, 6], 'h0'), b.weight([2, 3, 6], 'c0')];
      const lengths = b.constant(Tensor.fromBytes('lengths', 6, [3], new Uint8Array(Int32Array.of(5, 2, 3).buffer)));
      const x = b.relu(b.linear(b.input('x', [5, 3, 3]), 3, 7, 'embed'));
      const c: Cell = { op, direction: 'bidirectional', bias: false, states, lengths, input: 7, hidden: 6 };
      b.output(b.linear(features(b, cell(b, x, c)[0], 'bidirectional'), 12, 3, 'head'));
      expect(await hold(analyseStructure(b.build()))).toEqual({ embed: 7, [name]: 6 });
    });

    it(`${op} that starts from what a model input says keeps its units, and says why`, () => {
      const b = new Builder({ opset: 17 });
      const s = network(b, { op, states: [b.input('h0', [1, 'N', 6])] });
      const group = s.groups.find((g) => g.id === name)!;
      expect(group.prunable).toBe(false);
      expect(group.reason).toBe('comes from the model input h0');
    });

    it(`${op}, samples first, against the same with the sequence first`, async () => {
      const b = new Builder({ opset: 17 });
      const x = b.relu(b.linear(b.input('x', ['N', 5, 3]), 3, 7, 'embed'));
      const states = [b.weight([1, 2, 6], 'h0'), b.weight([1, 2, 6], 'c0')];
      const expanded = states.map((h) => b.op('Expand', [h, b.ints([2, 2, 6])]));
      const layer = cell(b, x, {
        op,
        input: 7,
        hidden: 6,
        direction: 'bidirectional',
        states: expanded,
        attributes: { layout: 1 },
      });
      b.output(b.linear(b.reshape(layer[0], [0, 0, -1]), 12, 3, 'head'));
      for (const [i, state] of layer.slice(1).entries())
        b.output(b.linear(b.reshape(state, [0, -1]), 12, 2, `state${i}`));
      const s = analyseStructure(b.build());
      expect(s.groups.filter((g) => g.prunable).map((g) => g.size)).toEqual([7, 6]);
      await holdSequenceFirst(s);
    });
  }

  it('LSTM with peepholes, activations, a clip and coupled gates', async () => {
    for (const attributes of [
      {},
      { clip: { float: 0.8 } },
      { input_forget: 1 },
      { activations: strings('HardSigmoid', 'Tanh', 'Softsign'), activation_alpha: { floats: [0.3] } },
    ] as Attrs[]) {
      const { activations, ...rest } = attributes as { activations?: Uint8Array[] };
      const b = new Builder({ opset: 17 });
      const x = b.relu(b.linear(b.input('x', [5, 'N', 3]), 3, 7, 'embed'));
      const y = cell(b, x, { op: 'LSTM', input: 7, hidden: 6, peepholes: true, attributes: rest as Attrs });
      if (activations) y[0].producer!.attributes.set('activations', { kind: 'strings', value: activations });
      b.output(b.linear(features(b, y[0], 'forward'), 6, 3, 'head'), b.linear(y[2], 6, 2, 'state'));
      expect(await hold(analyseStructure(b.build()))).toEqual({ embed: 7, lstm: 6 });
    }
  });

  it('GRU with the reset after the product', async () => {
    for (const direction of ['forward', 'bidirectional'] as Direction[])
      expect(
        await hold(
          network(new Builder({ opset: 14 }), { op: 'GRU', direction, attributes: { linear_before_reset: 1 } }),
        ),
      ).toEqual({ embed: 7, gru: 6 });
  });

  it('a recurrent net that only hands on its last state', async () => {
    const b = new Builder({ opset: 17 });
    const x = b.input('x', [5, 'N', 4]);
    const last = cell(b, x, { op: 'GRU', input: 4, hidden: 6 })[1];
    b.output(b.gemm(b.op('Gather', [last, b.ints([0], [])], { axis: 0 }), 6, 3, 'head'));
    const s = analyseStructure(b.build());
    expect(await hold(s)).toEqual({ gru: 6 });
    expect(s.groups[0].kind).toBe('hidden');
  });

  it('half precision', async () => {
    const b = new Builder({ opset: 14 });
    const half = (v: Value) => b.op('Cast', [v], { to: DataType.FLOAT16 });
    const x = half(b.input('x', [4, 2, 4]));
    const inputs = [x, half(b.weight([1, 24, 4])), half(b.weight([1, 24, 6], 'r', 0.4))];
    const y = b.nodes('LSTM', inputs, { hidden_size: 6 }, 1, 'lstm')[0];
    b.output(b.linear(b.op('Cast', [y], { to: DataType.FLOAT }), 6, 3, 'head'));
    const s = analyseStructure(b.build());
    expect(s.groups.filter((g) => g.prunable).map((g) => g.id)).toEqual(['lstm']);
    // onnxruntime has no such kernel on a CPU: only the shapes are looked at.
    const [, w, r] = pruneModel(s, new Map([['lstm', [1, 4]]])).model.graph.nodes.find((n) => n.op === 'LSTM')!.inputs;
    expect([w!.type!.shape, r!.type!.shape]).toEqual([
      [1, 8, 4],
      [1, 8, 2],
    ]);
  });
});

/** Zero states as exporters write them, for nets of `layers` layers. */
const ZEROS: Record<string, (b: Builder, x: Value, count: number) => Value[]> = {
  'ConstantOfShape, a Slice per layer': (b, x, count) => {
    const zeros = b.op('ConstantOfShape', [stateShape(b, x, 2 * count)], {
      value: Tensor.fromFloat32('', [1], Float32Array.of(0)),
    });
    return [0, 1].map((i) => b.op('Slice', [zeros, b.ints([i * count]), b.ints([(i + 1) * count]), b.ints([0])]));
  },
  'Expand of a number, a Slice per layer': (b, x, count) => {
    const zeros = b.op('Expand', [b.floats([0], []), stateShape(b, x, 2 * count)]);
    return [0, 1].map((i) => b.op('Slice', [zeros, b.ints([i * count]), b.ints([(i + 1) * count]), b.ints([0])]));
  },
  'Expand of a stored tensor': (b, x, count) =>
    [0, 1].map(() =>
      b.op('Expand', [b.floats(Array<number>(count * 6).fill(0), [count, 1, 6]), stateShape(b, x, count)]),
    ),
  'one stored tensor for all': (b, _, count) => {
    const zeros = b.floats(Array<number>(count * 12).fill(0), [count, 2, 6]);
    return [zeros, zeros];
  },
  'both directions joined': (b, x, count) => {
    const zeros = b.op('ConstantOfShape', [stateShape(b, x, 1)]);
    const all = b.op('Concat', Array<Value>(count).fill(zeros), { axis: 0 });
    return [all, all];
  },
  'a number other than zero': (b, x, count) => {
    const some = b.op('Expand', [b.floats([0.7], []), stateShape(b, x, count)]);
    return [some, some];
  },
};

/** [count, samples, 6], the samples read while running. */
function stateShape(b: Builder, x: Value, count: number): Value {
  const samples = b.op('Gather', [b.op('Shape', [x]), b.ints([1])], { axis: 0 });
  return b.op('Concat', [b.ints([count]), samples, b.ints([6])], { axis: 0 });
}

describe('recurrent nets as exporters write them', () => {
  for (const [form, zeros] of Object.entries(ZEROS))
    for (const direction of ['forward', 'bidirectional'] as Direction[])
      it(`two layers, ${direction}, that start from: ${form}`, async () => {
        const b = new Builder({ opset: 17 });
        const count = direction === 'bidirectional' ? 2 : 1;
        const x = b.input('x', [5, form === 'one stored tensor for all' ? 2 : 'N', 4]);
        const [first, second] = zeros(b, x, count);
        const one = { op: 'LSTM' as Op, hidden: 6, direction };
        const y = cell(b, x, { ...one, input: 4, states: [first, first], name: 'one' })[0];
        const z = cell(b, features(b, y, direction), {
          ...one,
          input: 6 * count,
          states: [second, second],
          name: 'two',
        })[0];
        b.output(b.linear(b.transpose(features(b, z, direction), [1, 0, 2]), 6 * count, 3, 'head'));
        const s = analyseStructure(b.build());
        expect(await hold(s)).toEqual({ one: 6, two: 6 });
        // Zeros need not be stated once the state has another size.
        const pruned = pruneModel(
          s,
          new Map([
            ['one', [0, 3]],
            ['two', [1]],
          ]),
        ).model.graph;
        const states = pruned.nodes.filter((n) => n.op === 'LSTM').map((n) => n.inputs[5] ?? null);
        if (form === 'a number other than zero') expect(states).not.toContain(null);
        else
          expect([states, pruned.nodes.some((n) => n.op === 'Expand' || n.op === 'ConstantOfShape')]).toEqual([
            [null, null],
            false,
          ]);
      });

  it('a learned state spread over the samples, sizes read from the layer before', async () => {
    const b = new Builder({ opset: 18 });
    const x = b.input('x', ['T', 'N', 4]);
    const learned = b.op('Expand', [b.weight([2, 1, 6], 'h0'), stateShape(b, x, 2)]);
    const y = cell(b, x, {
      op: 'GRU',
      input: 4,
      hidden: 6,
      direction: 'bidirectional',
      states: [learned],
      name: 'one',
    })[0];
    // Directions and units are merged to a size that is computed from the shape.
    const t = b.transpose(y, [0, 2, 1, 3]);
    const size = (i: number) => b.op('Slice', [b.op('Shape', [t]), b.ints([i]), b.ints([i + 1])]);
    const merged = b.op('Reshape', [b.op('Mul', [size(2), size(3)]), b.ints([-1])]);
    const joined = b.op('Reshape', [t, b.op('Concat', [size(0), size(1), merged], { axis: 0 })]);
    const z = cell(b, joined, { op: 'RNN', input: 12, hidden: 5, name: 'two' })[0];
    b.output(b.linear(features(b, z, 'forward'), 5, 3, 'head'));
    expect(await hold(analyseStructure(b.build()))).toEqual({ one: 6, two: 5 });
  });

  it('costs add up to those of the pruned model', () => {
    const s = network(new Builder({ opset: 14 }), { op: 'LSTM', direction: 'bidirectional', peepholes: true });
    const terms = costTerms(s);
    const random = seeded(4);
    for (const share of [1, 0.7, 0.3]) {
      const keep = new Map(s.groups.filter((g) => g.prunable).map((g) => [g.id, randomKeep(g, share, random)]));
      const pruned = modelCost(pruneModel(s, keep).model);
      const predicted = { macs: 0, parameters: 0 };
      for (const t of terms) {
        const size = t.factors.reduce(
          (n, f) => n * f.groups.reduce((m, g) => m + g.multiplicity * keep.get(g.id)!.length, f.fixed),
          1,
        );
        predicted.macs += t.macs * size;
        predicted.parameters += t.parameters * size;
      }
      expect(predicted.macs).toBeCloseTo(pruned.macs, 6);
      expect(predicted.parameters).toBeCloseTo(pruned.parameters, 6);
    }
  });

  it('DynamicQuantizeLSTM loses features of its input, not its quantised state', async () => {
    const b = new Builder({ opset: 17 });
    const x = b.relu(b.linear(b.input('x', [5, 'N', 3]), 3, 7, 'embed'));
    const bytes = (dims: number[], seed: number) => {
      const random = seeded(seed);
      const data = Uint8Array.from({ length: dims.reduce((p, d) => p * d, 1) }, () => Math.floor(random() * 256));
      return b.constant(Tensor.fromBytes('q', DataType.UINT8, dims, data));
    };
    const zero = () => b.constant(Tensor.fromBytes('z', DataType.UINT8, [1], Uint8Array.of(128)));
    const inputs = [x, bytes([1, 7, 24], 1), bytes([1, 6, 24], 2), b.weight([1, 48], 'b'), null, null, null, null];
    const scales = [b.floats([0.01]), zero(), b.floats([0.008]), zero()];
    const y = b.nodes('com.microsoft.DynamicQuantizeLSTM', [...inputs, ...scales], { hidden_size: 6 }, 1, 'lstm')[0];
    b.output(b.linear(features(b, y, 'forward'), 6, 3, 'head'));
    const s = analyseStructure(b.build());
    expect(await hold(s)).toEqual({ embed: 7 });
    expect(s.groups.find((g) => g.id === 'lstm')!.reason).toMatch(/quantised over all units/);
  });
});

const strings = (...values: string[]) => values.map((v) => new TextEncoder().encode(v));

/** Holds a model with `layout` 1, which onnxruntime does not run on a CPU, against the gated one: both with the sequence first. */
async function holdSequenceFirst(s: Structure): Promise<void> {
  const random = seeded(8);
  const feeds = randomFeeds(s.model, random);
  const run = async (model: Model, gates: Record<string, ort.Tensor> = {}) => {
    const session = await openSession(sequenceFirst(model));
    const result = await session.run({ ...feeds, ...gates });
    await session.release();
    return result;
  };
  const groups = s.groups.filter((g) => g.prunable);
  const keep = new Map(groups.map((g) => [g.id, randomKeep(g, 0.5, random)]));
  const gated = gateModel(s, [...keep.keys()]);
  const rows = gated.gates.map((g) => [
    g.input.name,
    new ort.Tensor('float32', gateRow(g.size, keep.get(g.group)), [1, g.size]),
  ]);
  const pruned = pruneModel(s, keep).model;
  expect(maxRelDiff(await run(pruned), await run(gated.model, Object.fromEntries(rows)))).toBeLessThan(1e-5);
}

function sequenceFirst(source: Model): Model {
  const { model } = cloneModel(source);
  const { graph } = model;
  for (const node of [...graph.nodes]) {
    if (node.int('layout', 0) === 0) continue;
    node.attributes.delete('layout');
    for (const i of [0, 5, 6]) {
      const value = node.inputs[i];
      if (!value) continue;
      const turned = graph.addNode('Transpose', [value], ['turned'], { before: node }).setInts('perm', [1, 0, 2]);
      node.setInput(i, turned.outputs[0]);
    }
    for (const [i, value] of node.outputs.entries()) {
      if (!value) continue;
      const inner = graph.freshValue('inner');
      node.setOutput(i, inner);
      const after = graph.nodes[graph.nodes.indexOf(node) + 1];
      const back = graph.addNode('Transpose', [inner], ['back'], { before: after });
      back.setInts('perm', i === 0 ? [2, 0, 1, 3] : [1, 0, 2]);
      back.setOutput(0, value);
    }
  }
  return model;
}
