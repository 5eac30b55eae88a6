/** Whole residual blocks as units: which additions make one, and that a model without some is the model with them gated off. */
import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import type { Model, Value } from '../../../src/graph/ir.ts';
import { modelCost } from '../../../src/graph/cost.ts';
import { pruneModel } from '../../../src/pruning/surgery.ts';
import { predictCost } from '../../../src/pruning/plan/cost-model.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { costTerms } from '../../../src/units/cost-terms.ts';
import { gateModel, gateRow } from '../../../src/units/gating.ts';
import type { Group, KeepSets, Structure } from '../../../src/units/types.ts';
import { builder, subgraph, type Builder } from '../../support/build.ts';
import { maxRelDiff, openSession, randomFeeds, randomKeep, seeded } from '../../support/invariant.ts';
import { loadZoo, zooFeeds, zooModels } from '../../support/zoo.ts';

const D = 8;

function blocksOf(s: Structure): Group {
  const found = s.groups.filter((g) => g.kind === 'block');
  expect(found).toHaveLength(1);
  expect(s.groups.at(-1)).toBe(found[0]);
  return found[0];
}

/** Names of the nodes that add the blocks of a model. */
function sums(model: Model): string[] {
  const s = analyseStructure(model);
  return s.groups.filter((g) => g.kind === 'block').flatMap((g) => g.residuals!.map((r) => s.layerName(r.node)));
}

interface Check {
  feeds?: Record<string, ort.Tensor>;
  /** Keep-sets that are tried; by default random ones, of blocks alone and with the units of other groups. */
  keeps?: KeepSets[];
  /** False: cost terms of unit groups are approximate for this model. */
  exact?: boolean;
}

/** Pruned = gated to 1e-5 for every keep-set, finite, unlike the original; and its cost is what the terms predict. */
async function check(structure: Structure, options: Check = {}): Promise<void> {
  const random = seeded(3);
  const blocks = blocksOf(structure);
  const groups = structure.groups.filter((g) => g.prunable);
  expect(groups).toContain(blocks);
  const alone = [0.3, 0.6, 0.9].map((share) => new Map([[blocks.id, randomKeep(blocks, share, random)]]));
  const together = [0.4, 0.7].map((share) => new Map(groups.map((g) => [g.id, randomKeep(g, share, random)])));
  const feeds = options.feeds ?? randomFeeds(structure.model, random);
  const gated = gateModel(
    structure,
    groups.map((g) => g.id),
  );
  const reference = await openSession(gated.model);
  const expected = (keep: KeepSets) =>
    reference.run({
      ...feeds,
      ...Object.fromEntries(
        gated.gates.map((g) => [
          g.input.name,
          new ort.Tensor('float32', gateRow(g.size, keep.get(g.group)), [1, g.size]),
        ]),
      ),
    });
  const whole = await expected(new Map());
  const terms = costTerms(structure);
  const cost = modelCost(structure.model);
  const sizes = new Map<string, number | readonly number[]>(structure.groups.map((g) => [g.id, g.size]));
  expect(predictCost(terms, sizes).macs).toBeCloseTo(cost.macs, 3);
  for (const keep of options.keeps ?? [...alone, ...together]) {
    const { model } = pruneModel(structure, keep);
    const session = await openSession(model);
    const outputs = await session.run(feeds);
    await session.release();
    const gatedOutputs = await expected(keep);
    for (const t of Object.values(gatedOutputs))
      if (t.type === 'float32') expect((t.data as Float32Array).every((v) => Number.isFinite(v))).toBe(true);
    expect(maxRelDiff(outputs, gatedOutputs)).toBeLessThan(1e-5);
    if ((keep.get(blocks.id)?.length ?? blocks.size) < blocks.size)
      expect(maxRelDiff(gatedOutputs, whole)).toBeGreaterThan(1e-5);
    const predicted = predictCost(terms, new Map([...sizes, ...keep]));
    const after = modelCost(model);
    if (options.exact === false && keep.size > 1) continue;
    expect(predicted.macs).toBeCloseTo(after.macs, 3);
    expect(predicted.parameters).toBeCloseTo(after.parameters, 3);
  }
  await reference.release();
}

/** x + MLP(x), with the sum's operands in either order. */
function mlp(b: Builder, x: Value, name: string, inner = 6, swapped = false): Value {
  const y = b.linear(b.relu(b.linear(x, D, inner, `${name}.up`)), inner, D, `${name}.down`);
  return b.op('Add', swapped ? [y, x] : [x, y], {}, name);
}

function stream(b: Builder): Value {
  return b.linear(b.input('x', ['N', 5, 4]), 4, D, 'embed');
}

function head(b: Builder, x: Value): Model {
  return b.output(b.linear(x, D, 3, 'head')).build();
}

describe('what makes a block', () => {
  it('branches on either side of the sum, one after the other, of unlike cost', async () => {
    const b = builder();
    let x = stream(b);
    ['one', 'two', 'three'].forEach((name, i) => (x = mlp(b, x, name, 4 + 3 * i, i % 2 === 0)));
    const s = analyseStructure(head(b, x));
    const blocks = blocksOf(s);
    expect(blocks).toMatchObject({ id: 'one#blocks', size: 3, prunable: true });
    expect(blocks.consumers.map(s.layerName)).toEqual(['one', 'two', 'three']);
    expect(blocks.layers.map(s.layerName)).toEqual(['one', 'two', 'three'].flatMap((n) => [`${n}.up`, `${n}.down`]));
    await check(s);
    const [id] = [blocks.id];
    await check(s, { keeps: [[0], [1], [2], [0, 1], [0, 2], [1, 2]].map((keep) => new Map([[id, keep]])) });
  });

  it('blocks within blocks, and scaled branches', async () => {
    const b = builder();
    const x = stream(b);
    let y = b.linear(x, D, D, 'in');
    y = mlp(b, b.relu(y), 'inner');
    y = b.mul(b.linear(y, D, D, 'out'), b.weight([D], 'gamma'));
    const z = b.op('Add', [b.mul(y, b.floats([0.9], [])), x], {}, 'outer');
    const s = analyseStructure(head(b, mlp(b, z, 'last')));
    expect(blocksOf(s).consumers.map(s.layerName)).toEqual(['inner', 'outer', 'last']);
    const id = blocksOf(s).id;
    await check(s);
    await check(s, { keeps: [[0, 2], [1, 2], [2], [1], [0, 1]].map((keep) => new Map([[id, keep]])) });
  });

  it('convolutional blocks; those whose shortcut is computed are none', async () => {
    const b = builder();
    const unit = (x: Value, c: number, name: string) => b.bn(b.conv(x, c, c, [3, 3], { pads: [1, 1, 1, 1], name }), c);
    let x = b.relu(unit(b.conv(b.input('x', ['N', 3, 8, 8]), 3, D, [1, 1], { name: 'stem' }), D, 'first'));
    x = b.relu(b.op('Add', [unit(b.relu(unit(x, D, 'a1')), D, 'a2'), x], {}, 'a'));
    const wide = b.conv(x, D, 12, [1, 1], { name: 'shortcut' });
    x = b.relu(b.op('Add', [unit(b.conv(x, D, 12, [1, 1], { name: 'b1' }), 12, 'b2'), wide], {}, 'b'));
    // An inverted residual: expand, depthwise, project.
    let y = b.op('Clip', [
      b.bn(b.conv(x, 12, 24, [1, 1], { name: 'expand' }), 24),
      b.floats([0], []),
      b.floats([6], []),
    ]);
    y = b.relu(b.bn(b.conv(y, 24, 24, [3, 3], { group: 24, pads: [1, 1, 1, 1], name: 'depthwise' }), 24));
    x = b.op('Add', [x, b.bn(b.conv(y, 24, 12, [1, 1], { name: 'project' }), 12)], {}, 'c');
    const s = analyseStructure(b.output(b.gemm(b.flatten(b.globalPool(x)), 12, 3, 'fc')).build());
    expect(blocksOf(s).consumers.map(s.layerName)).toEqual(['a', 'c']);
    await check(s);
  });

  it('arithmetic is none, nor is what is read elsewhere, given away, captured, or broadcast', () => {
    const b = builder();
    let x = stream(b);
    const hidden = b.linear(x, D, D, 'hidden');
    // x + 0.044715·x³
    const cube = b.mul(b.op('Pow', [hidden, b.floats([3], [])]), b.floats([0.044715], []));
    x = b.op('Add', [hidden, cube], {}, 'gelu');
    const shared = b.linear(x, D, D, 'shared');
    x = b.op('Add', [x, shared], {}, 'read elsewhere');
    x = b.op('Add', [b.relu(x), shared], {}, 'side alone');
    const given = b.linear(x, D, D, 'given');
    b.output(given);
    x = b.op('Add', [x, given], {}, 'given away');
    const captured = b.linear(x, D, D, 'captured');
    const then = subgraph(b, 'then', (i) => [i.op('Neg', [captured])]);
    const otherwise = subgraph(b, 'else', (i) => [i.op('Abs', [captured])]);
    const choice = b.op('If', [b.input('c', [], DataType.BOOL)], { then_branch: then, else_branch: otherwise });
    x = b.op('Add', [x, captured], {}, 'read inside');
    x = b.add(x, choice);
    const narrow = b.linear(x, D, 1, 'narrow');
    x = b.op('Add', [x, narrow], {}, 'broadcast');
    const shape = b.op('ConstantOfShape', [b.op('Shape', [x])]);
    x = b.op('Add', [x, b.linear(shape, D, D, 'of the shape')], {}, 'shape alone');
    x = b.op('Add', [x, b.weight([1, 5, D])], {}, 'constant');
    x = b.op('Add', [b.linear(x, D, D, 'left'), b.linear(x, D, D, 'right')], {}, 'two branches');
    x = mlp(b, x, 'yes');
    expect(sums(head(b, x))).toEqual(['yes']);
  });

  it('a model with one block keeps it', () => {
    const b = builder();
    const s = analyseStructure(head(b, mlp(b, stream(b), 'only')));
    expect(blocksOf(s)).toMatchObject({ size: 1, prunable: false, reason: 'has a single unit' });
  });

  it('what a branch reads besides stays: a mask of the shape that all blocks share, what an encoder gives', async () => {
    const b = builder();
    const memory = mlp(b, b.linear(b.input('m', ['N', 5, 4]), 4, D, 'encode'), 'encoder');
    let x = stream(b);
    const mask = b.op('Expand', [b.weight([1, 1, D], 'mask'), b.op('Shape', [x])]);
    for (const name of ['one', 'two']) {
      const cross = b.op('Mul', [b.linear(memory, D, D, `${name}.memory`), b.linear(x, D, D, `${name}.query`)]);
      x = b.op('Add', [x, b.add(b.linear(cross, D, D, `${name}.out`), mask)], {}, name);
    }
    const s = analyseStructure(head(b, mlp(b, x, 'last')));
    const blocks = blocksOf(s);
    expect(blocks.consumers.map(s.layerName)).toEqual(['encoder', 'one', 'two', 'last']);
    expect(blocks.residuals![1].nodes.map(s.layerName)).not.toContain('encode');
    await check(s);
    // Without both of its readers nothing needs the encoder.
    const last = pruneModel(s, new Map([[blocks.id, [3]]])).model;
    expect(last.graph.nodes.map((n) => n.name)).not.toContain('encode');
    await check(s, { keeps: [[0, 3], [3], [1, 3], [0, 2, 3]].map((keep) => new Map([[blocks.id, keep]])) });
  });
});

describe('surgery', () => {
  it('a block whose sum is an output leaves the output its name', async () => {
    const b = builder();
    const x = b.input('x', ['N', 5, D]);
    const one = mlp(b, x, 'one');
    const two = mlp(b, one, 'two');
    const three = mlp(b, two, 'three');
    b.output(one, three);
    const s = analyseStructure(b.output(b.linear(one, D, 2, 'head')).build());
    const { id } = blocksOf(s);
    await check(s, { keeps: [[0], [1], [2], [0, 1], [1, 2], [0, 2]].map((keep) => new Map([[id, keep]])) });
    const { graph } = pruneModel(s, new Map([[id, [1]]])).model;
    expect(graph.outputs.map((v) => v.name)).toEqual(s.model.graph.outputs.map((v) => v.name));
  });

  it('SkipLayerNormalization becomes LayerNormalization, before and after the branch', async () => {
    for (const [kind, bias, opset] of [
      ['post', true, 17],
      ['pre', true, 14],
      ['post', false, 14],
      ['pre', false, 17],
    ] as const) {
      const b = builder({ opset });
      const norm = (a: Value, c: Value, name: string): Value[] => {
        const weights = [b.weight([D], `${name}.scale`, 1), b.weight([D], `${name}.shift`)];
        const inputs = bias ? [a, c, ...weights, b.weight([D], `${name}.bias`)] : [a, c, ...weights];
        return b.nodes('com.microsoft.SkipLayerNormalization', inputs, { epsilon: 1e-5 }, 4, name);
      };
      const branch = (y: Value, name: string) =>
        b.op('MatMul', [b.relu(b.linear(y, D, 5, `${name}.up`)), b.weight([5, D])], {}, `${name}.down`);
      let x = stream(b);
      let y = x;
      ['one', 'two', 'three'].forEach((name, i) => {
        const [normed, , , sum] = norm(
          ...(i === 1 ? ([branch(y, name), x] as const) : ([x, branch(y, name)] as const)),
          name,
        );
        y = normed;
        x = kind === 'post' ? normed : sum;
      });
      const s = analyseStructure(head(b, y));
      expect(blocksOf(s).consumers.map(s.layerName)).toEqual(['one', 'two', 'three']);
      await check(s);
    }
  });

  it('RMS normalisation of a skip', async () => {
    const b = builder();
    let x = stream(b);
    for (const name of ['one', 'two', 'three']) {
      const y = b.op('MatMul', [b.relu(b.linear(x, D, 5, `${name}.up`)), b.weight([5, D])], {}, `${name}.down`);
      x = b.op('com.microsoft.SkipSimplifiedLayerNormalization', [y, x, b.weight([D], 'scale', 1)], {}, name);
    }
    await check(analyseStructure(head(b, x)));
  });

  it('takes the weights of a removed branch with it, and cuts those that stay', () => {
    const b = builder();
    const s = analyseStructure(head(b, mlp(b, mlp(b, stream(b), 'one'), 'two')));
    const blocks = blocksOf(s);
    const keep = new Map(s.groups.filter((g) => g.prunable).map((g) => [g.id, [0, 2]]));
    keep.set(blocks.id, [1]);
    const { model } = pruneModel(s, keep);
    expect(model.graph.nodes.some((n) => n.name.startsWith('one'))).toBe(false);
    expect(model.graph.initializers.some((v) => v.name.startsWith('one'))).toBe(false);
    expect(model.graph.initializers.find((v) => v.name === 'two.up.weight')!.initializer!.dims).toEqual([2, 2]);
  });
});

describe('real exports', () => {
  const SIZES: Record<string, number> = {
    resnet18: 3,
    vit: 4,
    bert: 4,
    gpt2: 4,
    llama_gqa: 4,
    swin: 8,
    mobilenet_v2: 3,
    convnext: 6,
    mlp_mixer: 4,
    t5_decoder: 6,
    whisper_decoder: 6,
    maxvit: 13,
  };
  for (const entry of zooModels()) {
    const size = SIZES[entry.model];
    if (size === undefined) continue;
    it(entry.name, { timeout: 60_000 }, async () => {
      const s = analyseStructure(loadZoo(entry.name));
      const blocks = blocksOf(s);
      expect(blocks.size).toBe(size);
      await check(s, { feeds: zooFeeds(entry), exact: false });
    });
  }
});
