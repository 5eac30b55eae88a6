import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { cloneModel } from '../../../src/graph/clone.ts';
import type { Model, Value } from '../../../src/graph/ir.ts';
import { modelCost } from '../../../src/graph/cost.ts';
import { pruneModel } from '../../../src/pruning/surgery.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { costTerms } from '../../../src/units/cost-terms.ts';
import type { Structure } from '../../../src/units/types.ts';
import { Builder, type Attrs } from '../../support/build.ts';
import { gateModel, gateRow } from '../../../src/units/gating.ts';
import { checkInvariant, maxRelDiff, openSession, randomFeeds, randomKeep, seeded } from '../../support/invariant.ts';

const MS = 'com.microsoft.';
const WIDTH = 12;

/** Features of a residual stream that attention reads and adds to. */
function attended(b: Builder, make: (x: Value) => Value, outputs = WIDTH): Structure {
  const x = b.linear(b.input('x', ['N', 5, 3]), 3, WIDTH, 'embed');
  const y = b.linear(make(x), outputs, WIDTH, 'out');
  b.output(b.linear(b.op('Tanh', [b.add(x, y)]), WIDTH, 2, 'head'));
  return analyseStructure(b.build());
}

/** Every prunable group is held against the gated model, and its cost against that of the pruned model. */
async function hold(s: Structure): Promise<string[]> {
  expect(s.warnings).toEqual([]);
  const { results, tolerance } = await checkInvariant(s, { shares: [0.25, 0.5, 0.01], seed: 5 });
  for (const r of results) expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(tolerance);
  const random = seeded(9);
  for (const g of s.groups.filter((g) => g.prunable && g.kind !== 'block')) {
    const keep = new Map([[g.id, randomKeep(g, 0.5, random)]]);
    const cost = modelCost(pruneModel(s, keep).model);
    const terms = costTerms(s).map((t) => {
      const share = t.factors.reduce(
        (n, f) =>
          n *
          f.groups.reduce(
            (sum, { id, multiplicity }) => sum + multiplicity * (keep.get(id)?.length ?? sizeOf(s, id)),
            f.fixed,
          ),
        1,
      );
      return { macs: t.macs * share, parameters: t.parameters * share };
    });
    expect(
      terms.reduce((n, t) => n + t.macs, 0),
      `MACs without units of ${g.id}`,
    ).toBeCloseTo(cost.macs, 3);
    expect(
      terms.reduce((n, t) => n + t.parameters, 0),
      `parameters without units of ${g.id}`,
    ).toBeCloseTo(cost.parameters, 3);
  }
  return s.groups
    .filter((g) => g.prunable && g.kind !== 'block')
    .map((g) => `${g.kind} ${g.size}`)
    .sort();
}

/** The same with each operand on its own, which onnxruntime also runs without a GPU. */
function unpacked(model: Model): Model {
  const copy = cloneModel(model).model;
  const { graph } = copy;
  for (const node of graph.nodes.filter((n) => n.opType === 'MultiHeadAttention')) {
    const part = (input: number, index: number): Value => {
      const at = graph.addInitializer('index', Tensor.fromInt64('', [], [index]));
      const gather = graph.addNode('Gather', [node.inputs[input]!, at], ['part'], { before: node }).setInt('axis', 3);
      const shape = graph.addInitializer('shape', Tensor.fromInt64('', [3], [0, 0, -1]));
      return graph.addNode('Reshape', [gather.outputs[0]!, shape], ['part'], { before: node }).outputs[0]!;
    };
    const all = !node.inputs[1];
    const operands = all ? [0, 1, 2].map((i) => part(0, i)) : [node.inputs[0]!, part(1, 0), part(1, 1)];
    operands.forEach((v, i) => node.setInput(i, v));
  }
  return copy;
}

/** Every prunable group of a model with packed operands is held against the gated model. */
async function holdUnpacked(s: Structure): Promise<void> {
  const random = seeded(4);
  const feeds = randomFeeds(s.model, random);
  const groups = s.groups.filter((g) => g.prunable);
  const ids = groups.map((g) => g.id);
  const gated = gateModel(s, ids);
  const reference = await openSession(unpacked(gated.model), false);
  for (const group of groups)
    for (const share of [0.25, 0.5, 0.01]) {
      const keep = new Map([[group.id, randomKeep(group, share, random)]]);
      const gates = gated.gates.map((g): [string, ort.Tensor] => [
        g.input.name,
        new ort.Tensor('float32', gateRow(g.size, keep.get(g.group)), [1, g.size]),
      ]);
      const expected = await reference.run({ ...feeds, ...Object.fromEntries(gates) });
      const session = await openSession(unpacked(pruneModel(s, keep).model), false);
      expect(maxRelDiff(await session.run(feeds), expected), group.id).toBeLessThanOrEqual(1e-5);
      await session.release();
    }
  await reference.release();
}

const sizeOf = (s: Structure, id: string) => s.groups.find((g) => g.id === id)!.size;
const frozen = (s: Structure) => s.groups.filter((g) => !g.prunable).map((g) => `${g.kind} ${g.size}: ${g.reason}`);
const int32 = (values: number[], dims = [values.length]) =>
  Tensor.fromBytes('i', DataType.INT32, dims, new Uint8Array(Int32Array.from(values).buffer));

/** Queries, keys and values of `heads` heads (of `shared` heads of keys) by matrix products with biases. */
function qkv(b: Builder, x: Value, sizes: { q: number; k: number; v?: number }, memory = x): Value[] {
  const { q, k, v = k } = sizes;
  return [b.linear(x, WIDTH, q, 'q'), b.linear(memory, WIDTH, k, 'k'), b.linear(memory, WIDTH, v, 'v')];
}

describe('com.microsoft.Attention, held against the gated model', () => {
  const weights = (b: Builder, columns: number) => [
    b.weight([WIDTH, columns], 'w', 0.6),
    b.weight([columns], 'bias', 0.5),
  ];

  it('heads, dimensions of queries with keys, dimensions of values, and the width', async () => {
    const b = new Builder();
    const s = attended(b, (x) => b.op(`${MS}Attention`, [x, ...weights(b, 36)], { num_heads: 4 }));
    expect(await hold(s)).toEqual(['head 4', 'head-dim 3', 'head-dim 3', 'neuron 12']);
  });

  it('values of their own size, a scale, a causal mask, no bias', async () => {
    const b = new Builder();
    const attrs = { num_heads: 3, qkv_hidden_sizes: [12, 12, 6], scale: { float: 0.3 }, unidirectional: 1 };
    const s = attended(
      b,
      (x) => b.op(`${MS}Attention`, [x, weights(b, 30)[0], b.floats(Array<number>(30).fill(0))], attrs),
      6,
    );
    expect(await hold(s)).toEqual(['head 3', 'head-dim 2', 'head-dim 4', 'neuron 12']);
  });

  it('a bias of the scores for each head, and lengths', async () => {
    const b = new Builder();
    const s = attended(b, (x) => {
      const inputs = [x, ...weights(b, 36), b.constant(int32([5, 3])), null, b.weight([1, 4, 5, 5], 'scores', 1)];
      return b.op(`${MS}Attention`, inputs, { num_heads: 4 });
    });
    expect(await hold(s)).toEqual(['head 4', 'head-dim 3', 'head-dim 3', 'neuron 12']);
  });

  it('states that are given out keep what they hold', async () => {
    const b = new Builder();
    const s = attended(b, (x) => {
      const [y, present] = b.nodes(`${MS}Attention`, [x, ...weights(b, 36)], { num_heads: 4 }, 2);
      b.output(present);
      return y;
    });
    expect(await hold(s)).toEqual(['neuron 12']);
    expect(frozen(s)[0]).toContain('is the model output');
  });
});

describe('com.microsoft.MultiHeadAttention, held against the gated model', () => {
  const attend = (b: Builder, inputs: (Value | null)[], heads: number, attrs: Attrs = {}) =>
    b.op(`${MS}MultiHeadAttention`, inputs, { num_heads: heads, ...attrs });

  it('three operands, and values of another size', async () => {
    const b = new Builder();
    const s = attended(b, (x) => attend(b, qkv(b, x, { q: 12, k: 12, v: 8 }), 4), 8);
    expect(await hold(s)).toEqual(['head 4', 'head-dim 2', 'head-dim 3', 'neuron 12']);
  });

  it('a bias of its own, a mask of keys and a bias of the scores', async () => {
    const b = new Builder();
    const s = attended(b, (x) => {
      const [q, k, v] = ['q', 'k', 'v'].map((n) => b.op('MatMul', [x, b.weight([WIDTH, 12], n, 0.6)], {}, n));
      const mask = b.constant(int32([1, 1, 1, 1, 0, 1, 1, 0, 1, 1], [2, 5]));
      return attend(b, [q, k, v, b.weight([36], 'bias', 0.7), mask, b.weight([1, 2, 5, 5], 'scores', 1)], 2);
    });
    expect(await hold(s)).toEqual(['head 2', 'head-dim 6', 'head-dim 6', 'neuron 12']);
  });

  it('cross-attention to a memory, with keys and values that are 4-d', async () => {
    for (const split of [false, true]) {
      const b = new Builder();
      const s = attended(b, (x) => {
        const memory = b.relu(b.linear(b.input('m', ['N', 7, 3]), 3, WIDTH, 'memory'));
        const [q, ...kv] = qkv(b, x, { q: 12, k: 12 }, memory);
        const wide = (v: Value) => b.transpose(b.reshape(v, [0, 0, 4, 3]), [0, 2, 1, 3]);
        return attend(b, split ? [q, ...kv.map(wide)] : [q, ...kv], 4, { scale: { float: 0.4 } });
      });
      const dims = split ? ['head-dim 3'] : ['head-dim 3', 'head-dim 3'];
      expect(await hold(s)).toEqual(['head 4', ...dims, 'neuron 12', 'neuron 12']);
    }
  });

  it('queries, keys and values, or keys and values, packed in one tensor', async () => {
    for (const all of [true, false]) {
      const b = new Builder();
      const s = attended(b, (x) => {
        const packed = (n: number, name: string) => b.reshape(b.linear(x, WIDTH, n * 12, name), [0, 0, 4, n, 3]);
        return attend(b, all ? [packed(3, 'qkv')] : [b.linear(x, WIDTH, 12, 'q'), packed(2, 'kv')], 4);
      });
      expect(s.warnings).toEqual([]);
      const units = s.groups.filter((g) => g.prunable && g.kind !== 'block').map((g) => `${g.kind} ${g.size}`);
      expect(units.sort()).toEqual(['head 4', 'head-dim 3', 'neuron 12']);
      await holdUnpacked(s);
    }
  });

  it('a past that is a model input keeps heads and dimensions, and says why', async () => {
    const b = new Builder();
    const s = attended(b, (x) => {
      const past = ['pk', 'pv'].map((n) => b.input(n, ['N', 4, 2, 3]));
      const inputs = [...qkv(b, x, { q: 12, k: 12 }), null, null, null, ...past];
      const [y, ...present] = b.nodes(`${MS}MultiHeadAttention`, inputs, { num_heads: 4 }, 3);
      b.output(...present);
      return y;
    });
    expect(await hold(s)).toEqual(['neuron 12']);
    expect(frozen(s)).toContain('head 4: comes from the model input pk');
  });
});

describe('com.microsoft.GroupQueryAttention, held against the gated model', () => {
  interface Options {
    heads: number;
    shared: number;
    size: number;
    packed?: boolean;
    rotary?: number;
    interleaved?: number;
    attrs?: Attrs;
    extra?: (b: Builder) => (Value | null)[];
  }
  function grouped(o: Options): Structure {
    const b = new Builder();
    const [q, k] = [o.heads * o.size, o.shared * o.size];
    return attended(
      b,
      (x) => {
        const operands = o.packed ? [b.linear(x, WIDTH, q + 2 * k, 'qkv'), null, null] : qkv(b, x, { q, k });
        const inputs = [...operands, null, null, b.constant(int32([4, 3])), b.constant(int32([5], []))];
        const angles = o.rotary ? [b.weight([8, o.rotary], 'cos', 1), b.weight([8, o.rotary], 'sin', 1)] : [null, null];
        const attrs: Attrs = { num_heads: o.heads, kv_num_heads: o.shared, ...o.attrs };
        if (o.rotary) Object.assign(attrs, { do_rotary: 1, rotary_interleaved: o.interleaved ?? 0 });
        const all: (Value | null)[] = [...inputs, ...angles, null, ...(o.extra?.(b) ?? [])];
        while (all[all.length - 1] === null) all.pop();
        return b.nodes(`${MS}GroupQueryAttention`, all, attrs, 3)[0];
      },
      q,
    );
  }

  it('heads of keys, heads within their groups, and dimensions in eights', async () => {
    const s = grouped({ heads: 6, shared: 2, size: 24 });
    expect(await hold(s)).toEqual(['head 2', 'head 3', 'head-dim 3', 'neuron 12']);
  });

  it('one head of keys, and as many as of queries', async () => {
    expect(await hold(grouped({ heads: 4, shared: 1, size: 16 }))).toEqual(['head 4', 'head-dim 2', 'neuron 12']);
    expect(await hold(grouped({ heads: 3, shared: 3, size: 16 }))).toEqual(['head 3', 'head-dim 2', 'neuron 12']);
  });

  it('rotary angles, in halves, interleaved and for part of the dimensions', async () => {
    for (const interleaved of [0, 1]) {
      const whole = grouped({ heads: 4, shared: 2, size: 48, rotary: 24, interleaved });
      expect(await hold(whole)).toEqual(['head 2', 'head 2', 'head-dim 3', 'neuron 12']);
      const part = grouped({ heads: 4, shared: 2, size: 48, rotary: 16, interleaved });
      expect(await hold(part)).toEqual(['head 2', 'head 2', 'head-dim 3', 'neuron 12']);
    }
  });

  it('packed operands, a bias of the scores, a sink for each head, a soft cap', async () => {
    const extra = (b: Builder) => [b.weight([1, 4, 5, 5], 'scores', 1), b.weight([4], 'sink', 1)];
    const s = grouped({
      heads: 4,
      shared: 2,
      size: 32,
      packed: true,
      rotary: 16,
      attrs: { softcap: { float: 3 } },
      extra,
    });
    expect(await hold(s)).toEqual(['head 2', 'head 2', 'head-dim 2', 'neuron 12']);
  });
});

describe('ai.onnx Attention, held against the gated model', () => {
  for (const opset of [23, 24]) {
    it(`3-d operands, opset ${opset}`, async () => {
      const b = new Builder({ opset });
      const attrs = { q_num_heads: 4, kv_num_heads: 4 };
      const s = attended(b, (x) => b.op('Attention', qkv(b, x, { q: 12, k: 12, v: 8 }), attrs), 8);
      expect(await hold(s)).toEqual(['head 4', 'head-dim 2', 'head-dim 3', 'neuron 12']);
    });

    it(`groups of query heads, a mask for each head, causal, soft cap, opset ${opset}`, async () => {
      const b = new Builder({ opset });
      const attrs = { q_num_heads: 6, kv_num_heads: 2, is_causal: 1, softcap: { float: 2 } };
      const s = attended(
        b,
        (x) => b.op('Attention', [...qkv(b, x, { q: 18, k: 6 }), b.weight([6, 5, 5], 'mask', 1)], attrs),
        18,
      );
      expect(await hold(s)).toEqual(['head 2', 'head 3', 'head-dim 3', 'head-dim 3', 'neuron 12']);
    });

    it(`4-d operands behind rotary embeddings, opset ${opset}`, async () => {
      for (const [interleaved, part] of [
        [0, 0],
        [1, 0],
        [0, 4],
      ]) {
        const b = new Builder({ opset });
        const s = attended(
          b,
          (x) => {
            const half = (part || 6) / 2;
            const angles = [b.weight([9, half], 'cos', 1), b.weight([9, half], 'sin', 1)];
            const ids = b.op('Expand', [b.ints([0, 1, 2, 3, 4], [1, 5]), b.ints([2, 5])]);
            const attrs = { interleaved, ...(part && { rotary_embedding_dim: part, num_heads: 4 }) };
            const turn = (v: Value) => b.op('RotaryEmbedding', [v, ...angles, ids], attrs);
            const split = (v: Value, heads: number) => b.transpose(b.reshape(v, [0, 0, heads, 6]), [0, 2, 1, 3]);
            const [q, k, v] = qkv(b, x, { q: 24, k: 12 });
            const y = b.op('Attention', [turn(split(q, 4)), turn(split(k, 2)), split(v, 2)]);
            return b.reshape(b.transpose(y, [0, 2, 1, 3]), [0, 0, 24]);
          },
          24,
        );
        expect(await hold(s)).toEqual(['head 2', 'head 2', `head-dim ${part ? 4 : 3}`, 'head-dim 6', 'neuron 12']);
      }
    });
  }

  it('angles that are computed once for two layers, which lose their own', async () => {
    const b = new Builder({ opset: 23 });
    const positions = b.op('Reshape', [b.input('positions', [5]), b.ints([1, 5, 1])]);
    const angles = b.op('MatMul', [positions, b.weight([1, 3], 'frequencies', 1)]);
    const table = (op: string) => b.op('Expand', [b.op(op, [angles]), b.ints([2, 1, 1])]);
    const [cos, sin] = [table('Cos'), table('Sin')];
    const turn = (v: Value) => b.op('RotaryEmbedding', [v, cos, sin], { num_heads: 2 });
    const layer = (x: Value, name: string) => {
      const [q, k, v] = ['q', 'k', 'v'].map((n) => b.linear(x, WIDTH, 12, name + n));
      return b.op('Attention', [turn(q), turn(k), v], { q_num_heads: 2, kv_num_heads: 2 });
    };
    const s = attended(b, (x) => layer(b.add(x, b.linear(layer(x, 'a'), 12, WIDTH, 'between')), 'b'));
    const [pairs, values, heads] = ['head-dim 3', 'head-dim 6', 'head 2'];
    expect(await hold(s)).toEqual([heads, heads, pairs, pairs, values, values, 'neuron 12']);
  });

  it('scores that are given out', async () => {
    const b = new Builder({ opset: 23 });
    const s = attended(b, (x) => {
      const [y, , , scores] = b.nodes('Attention', qkv(b, x, { q: 12, k: 12 }), { q_num_heads: 4, kv_num_heads: 4 }, 4);
      b.output(b.op('ReduceMean', [scores, b.ints([1])]));
      return y;
    });
    expect(await hold(s)).toEqual(['head 4', 'head-dim 3', 'head-dim 3', 'neuron 12']);
  });
});

describe('com.microsoft.RotaryEmbedding, held against the gated model', () => {
  it('in front of attention, with and without a number of heads', async () => {
    for (const [interleaved, part] of [
      [0, 0],
      [1, 0],
      [0, 2],
    ]) {
      const b = new Builder();
      const s = attended(b, (x) => {
        const half = (part || 4) / 2;
        const angles = [b.weight([9, half], 'cos', 1), b.weight([9, half], 'sin', 1)];
        const ids = b.op('Expand', [b.ints([0, 1, 2, 3, 4], [1, 5]), b.ints([2, 5])]);
        const attrs = { interleaved, ...(part && { rotary_embedding_dim: part, num_heads: 3 }) };
        const [q, k, v] = qkv(b, x, { q: 12, k: 12 });
        const [a, c] = [q, k].map((y) => b.op(`${MS}RotaryEmbedding`, [y, ids, ...angles], attrs));
        return b.op(`${MS}MultiHeadAttention`, [a, c, v], { num_heads: 3 });
      });
      expect(await hold(s)).toEqual(['head 3', 'head-dim 2', 'head-dim 4', 'neuron 12']);
    }
  });
});

describe('fused attention that is left whole', () => {
  it('says why', () => {
    const b = new Builder();
    const s = attended(b, (x) =>
      b.op(`${MS}DecoderMaskedMultiHeadAttention`, qkv(b, x, { q: 12, k: 12 }), { num_heads: 4 }, 'decoder'),
    );
    const q = s.groups.find((g) => g.id === 'q')!;
    expect(q.reason).toBe(
      'feeds com.microsoft.DecoderMaskedMultiHeadAttention "decoder", which keeps states of its own',
    );
  });
});
