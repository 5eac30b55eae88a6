import { describe, expect, it } from 'vitest';
import { Graph } from '../../../src/graph/ir.ts';
import type { Node } from '../../../src/graph/ir.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { weightNorms } from '../../../src/ranking/magnitude.ts';
import { methods, rankGroup, rankMethod } from '../../../src/ranking/registry.ts';
import type { Group } from '../../../src/units/types.ts';
import { additive, gameOf, groupOf, rank, saturating, scoresOf } from './games.ts';

const identity = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i);

function layer(graph: Graph, op: string, dims: number[], data: number[]): Node {
  const weight = graph.addInitializer('w', Tensor.fromFloat32('w', dims, Float32Array.from(data)));
  return graph.addNode(op, [graph.value('x'), weight], ['y']);
}

function groupWith(size: number, weights: Group['weights']): Group {
  return { ...groupOf(size), weights, layers: weights.map((w) => w.node) };
}

describe('leave one out', () => {
  it('is v(N) − v(N∖i)', async () => {
    const value = saturating(30, 2);
    const game = gameOf(30, value, { preferredBatch: 8 });
    const { ranks } = await rank('leave-one-out', game);
    expect(game.calls).toBe(32);
    expect(ranks.evaluations).toBe(32);
    const all = new Uint8Array(30).fill(1);
    expect(ranks.value).toEqual({ full: value(all), empty: 0 });
    scoresOf(ranks).forEach((score, i) => expect(score).toBe(value(all) - value(all.with(i, 0))));
  });

  it('keeps the units that were done when cancelled, and goes on', async () => {
    const value = additive(Array.from({ length: 20 }, (_, i) => i));
    const controller = new AbortController();
    const game = gameOf(20, value, { preferredBatch: 5, onCall: (calls) => calls >= 10 && controller.abort() });
    const part = await rank('leave-one-out', game, {}, controller.signal);
    expect(part.complete).toBe(false);
    expect(part.ranks.units.map((u) => u.index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    const rest = gameOf(20, value);
    const { ranks } = await rank('leave-one-out', rest, { resume: part.resume });
    expect(rest.calls).toBe(12);
    expect(scoresOf(ranks)).toEqual(scoresOf((await rank('leave-one-out', gameOf(20, value))).ranks));
  });
});

describe('magnitude', () => {
  it('is the norm of the weights of one layer', () => {
    const graph = new Graph('g');
    const conv = layer(graph, 'Conv', [3, 1, 1, 2], [1, -2, 0, 0, 3, 4]);
    const group = groupWith(3, [{ node: conv, input: 1, axis: 0, units: identity(3) }]);
    expect([...weightNorms(group, 1)]).toEqual([3, 0, 7]);
    expect(weightNorms(group, 2)[2]).toBeCloseTo(5, 12);
  });

  it('follows the axis and leaves out positions of others', () => {
    const graph = new Graph('g');
    // Columns of a [2, 4] matrix; column 1 is not of this group, columns 0 and 3 are unit 1.
    const gemm = layer(graph, 'MatMul', [2, 4], [1, 100, 2, 4, -8, 100, -16, 32]);
    const group = groupWith(2, [{ node: gemm, input: 1, axis: 1, units: Int32Array.of(1, -1, 0, 1) }]);
    expect([...weightNorms(group, 1)]).toEqual([18, 45]);
  });

  it('gives every coupled layer the same say', () => {
    const graph = new Graph('g');
    const small = layer(graph, 'Conv', [2, 1], [0.003, 0.001]);
    const large = layer(graph, 'Conv', [2, 1], [100, 200]);
    const weights = [small, large].map((node) => ({ node, input: 1, axis: 0, units: identity(2) }));
    const [a, b] = weightNorms(groupWith(2, weights), 1);
    // 1.5 and 0.5 of the mean in one layer, 2/3 and 4/3 in the other.
    expect(a / b).toBeCloseTo((1.5 + 2 / 3) / (0.5 + 4 / 3), 6);
  });

  it('looks through DequantizeLinear with a scale per channel', () => {
    const graph = new Graph('g');
    const q = graph.addInitializer('q', Tensor.fromInt64('q', [2, 2], [10, -10, 1, -1]));
    const scale = graph.addInitializer('s', Tensor.fromFloat32('s', [2], Float32Array.of(0.1, 2)));
    const dq = graph.addNode('DequantizeLinear', [q, scale], ['w']).setInt('axis', 0);
    const conv = graph.addNode('Conv', [graph.value('x'), dq.outputs[0]], ['y']);
    const norms = weightNorms(groupWith(2, [{ node: conv, input: 1, axis: 0, units: identity(2) }]), 1);
    expect(norms[0]).toBeCloseTo(2, 6);
    expect(norms[1]).toBeCloseTo(4, 6);
  });

  it('says so when weights are computed or broken', async () => {
    const graph = new Graph('g');
    const node = graph.addNode('MatMul', [graph.value('x'), graph.value('computed')], ['y']);
    const computed = groupWith(2, [{ node, input: 1, axis: 1, units: identity(2) }]);
    await expect(rankGroup('magnitude', { group: computed }, { seed: 0 })).rejects.toMatchObject({
      code: 'unsupported',
    });
    const broken = layer(graph, 'Conv', [2, 1], [NaN, 1]);
    const group = groupWith(2, [{ node: broken, input: 1, axis: 0, units: identity(2) }]);
    await expect(rankGroup('magnitude-l2', { group }, { seed: 0 })).rejects.toMatchObject({ code: 'bad-model' });
  });
});

describe('activation and random', () => {
  it('takes what the source measures', async () => {
    const meanAbs = async (): Promise<Float64Array> => Float64Array.of(0.5, 0, 2);
    const { ranks } = await rankGroup('activation', { group: groupOf(3), activations: { meanAbs } }, { seed: 0 });
    expect(scoresOf(ranks)).toEqual([0.5, 0, 2]);
    expect(ranks.value).toBeNull();
    const nan = async (): Promise<Float64Array> => Float64Array.of(0.5, NaN, 2);
    await expect(
      rankGroup('activation', { group: groupOf(3), activations: { meanAbs: nan } }, { seed: 0 }),
    ).rejects.toThrow(/unit 1/);
  });

  it('is the same for the same seed and group', async () => {
    const draw = async (seed: number, id: string): Promise<number[]> =>
      scoresOf((await rankGroup('random', { group: groupOf(6, id) }, { seed })).ranks);
    expect(await draw(1, 'a')).toEqual(await draw(1, 'a'));
    expect(await draw(1, 'a')).not.toEqual(await draw(1, 'b'));
    expect(await draw(1, 'a')).not.toEqual(await draw(2, 'a'));
  });
});

describe('registry', () => {
  it('knows names and aliases', () => {
    expect(rankMethod('loo').name).toBe('leave-one-out');
    expect(new Set(methods.map((m) => m.name)).size).toBe(methods.length);
    expect(() => rankMethod('nonsense')).toThrow(/no ranking method 'nonsense'/);
  });

  it('refuses options that make no sense', async () => {
    const game = gameOf(3, additive([1, 2, 3]));
    for (const bad of [{ budget: 1 }, { budget: 2.5 }, { tolerance: -1 }, { tolerance: NaN }, { seed: NaN }])
      await expect(rank('shapley', game, bad)).rejects.toMatchObject({ code: 'usage' });
  });
});
