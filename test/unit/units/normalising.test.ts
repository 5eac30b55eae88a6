import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import type { Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { gateModel, gateRow } from '../../../src/units/gating.ts';
import { Builder, type Attrs } from '../../support/build.ts';
import { checkInvariant, openSession, randomFeeds, seeded } from '../../support/invariant.ts';
import { SHARES, check, image, openDifference, tokens } from '../../support/verify.ts';

describe('layer normalisations over units, held against the gated model', () => {
  const scale = (b: Builder, c: number) => b.weight([c], 'scale', 1);
  const bias = (b: Builder, c: number) => b.weight([c], 'bias', 0.4);

  for (const [op, opset, parameters] of [
    ['LayerNormalization', 17, 2],
    ['LayerNormalization', 21, 1],
    ['RMSNormalization', 23, 1],
    ['SimplifiedLayerNormalization', 13, 1],
    ['SimplifiedLayerNormalization', 17, 1],
  ] as const) {
    it(`${op} with ${parameters} parameters, opset ${opset}`, async () => {
      const { b, x } = tokens(opset);
      const inputs = [x, scale(b, 8), ...(parameters > 1 ? [bias(b, 8)] : [])];
      expect(await check(b, b.linear(b.op(op, inputs, { epsilon: 1e-3, axis: -1 }), 8, 3))).toEqual([8]);
    });
  }

  it('the statistics too, which become outputs of the model', async () => {
    const { b, x } = tokens(17);
    const [y, mean, inverse] = b.nodes('LayerNormalization', [x, scale(b, 8), bias(b, 8)], {}, 3);
    b.output(mean, b.op('Neg', [inverse]));
    expect(await check(b, b.linear(y, 8, 3))).toEqual([8]);
  });

  it('over [C, H, W], where the channels are the units, and over [H, W]', async () => {
    for (const [axis, dims] of [
      [1, [8, 4, 4]],
      [-3, [4, 4]],
      [2, [4, 4]],
      [2, [1, 4]],
    ] as const) {
      const { b, x } = image(17);
      const inputs = [x, b.weight([...dims], 'scale', 1), b.weight([...dims], 'bias', 0.4)];
      const y = b.op('LayerNormalization', inputs, { axis });
      expect(await check(b, b.conv(y, 8, 3, [1, 1]))).toEqual([8]);
    }
  });

  it('in half precision', async () => {
    const b = new Builder({ opset: 17 });
    const half = (x: Value) => b.op('Cast', [x], { to: DataType.FLOAT16 });
    const x = b.input('x', ['N', 5, 6], DataType.FLOAT16);
    const stem = b.op('MatMul', [x, half(b.weight([6, 16], 'w'))], {}, 'stem');
    const y = b.op('LayerNormalization', [stem, half(scale(b, 16)), half(bias(b, 16))]);
    const out = b.op('MatMul', [b.op('Gelu', [y], {}), half(b.weight([16, 3], 'v'))]);
    b.model.opsets.set('', 20);
    expect(await check(b, out, { tolerance: 1e-2 })).toEqual([16]);
  });

  it('in double precision', async () => {
    const b = new Builder({ opset: 17 });
    const double = (x: Value) => b.op('Cast', [x], { to: DataType.DOUBLE });
    const x = double(b.linear(b.input('x', ['N', 5, 6]), 6, 8, 'stem'));
    const y = b.op('LayerNormalization', [x, double(scale(b, 8)), double(bias(b, 8))]);
    expect(await check(b, b.linear(b.op('Cast', [y], { to: DataType.FLOAT }), 8, 3))).toEqual([8]);
  });

  it('over two layers side by side', async () => {
    const { b, x, input } = tokens(17);
    const both = b.concat([x, b.linear(input, 6, 4, 'second')], -1);
    const y = b.op('LayerNormalization', [both, scale(b, 12), bias(b, 12)]);
    expect(await check(b, b.linear(y, 12, 3))).toEqual([8, 4]);
  });

  it('keeps scale and bias in step with an operand that is fixed', async () => {
    const b = new Builder({ opset: 17 });
    const x = b.input('x', ['N', 5, 6]);
    const y = b.op('LayerNormalization', [x, scale(b, 6), bias(b, 6)]);
    expect(await check(b, b.linear(b.relu(b.linear(y, 6, 8)), 8, 3))).toEqual([8]);
  });
});

describe('layer normalisations that add first', () => {
  for (const simplified of [false, true]) {
    const op = `com.microsoft.${simplified ? 'SkipSimplifiedLayerNormalization' : 'SkipLayerNormalization'}`;
    const inputs = (b: Builder, x: Value, skip: Value, bias: boolean) => [
      x,
      skip,
      b.weight([8], 'gamma', 1),
      ...(simplified ? [] : [b.weight([8], 'beta', 0.4)]),
      ...(bias ? [b.weight([8], 'bias', 0.4)] : []),
    ];
    for (const opset of [13, 18]) {
      it(`${op}, opset ${opset}`, async () => {
        const { b, x, input } = tokens(opset);
        const skip = b.linear(input, 6, 8, 'skip');
        const y = b.op(op, inputs(b, x, skip, false), { epsilon: 1e-3 });
        expect(await check(b, b.linear(y, 8, 3))).toEqual([8]);
      });
    }
    it(`${op} with bias, a skip that broadcasts and the sum`, async () => {
      const { b, x } = tokens(17);
      const skip = b.weight([1, 5, 8], 'positions', 1);
      const [y, , , sum] = b.nodes(op, inputs(b, x, skip, true), { epsilon: 1e-3 }, 4);
      y.producer!.setOutput(1, null);
      y.producer!.setOutput(2, null);
      const next = b.add(sum, b.linear(b.relu(b.linear(y, 8, 12)), 12, 8));
      expect(await check(b, b.linear(b.op('Sigmoid', [next]), 8, 3))).toEqual([8, 12]);
    });
  }

  it('EmbedLayerNormalization: the tables produce the units', async () => {
    for (const parts of [2, 3]) {
      const b = new Builder({ opset: 17 });
      const ids = b.input('ids', ['N', 5], DataType.INT32);
      const tables = [b.weight([4, 8], 'words', 1), b.weight([5, 8], 'positions', 1)];
      const third = parts === 3 ? b.weight([4, 8], 'segments', 1) : null;
      const rest = [b.weight([8], 'gamma', 1), b.weight([8], 'beta', 0.4)];
      const segments = parts === 3 ? b.input('segments', ['N', 5], DataType.INT32) : null;
      const op = 'com.microsoft.EmbedLayerNormalization';
      const outputs = parts === 3 ? 3 : 2;
      const [y, , sum] = b.nodes(op, [ids, segments, ...tables, third, ...rest], { epsilon: 1e-3 }, outputs);
      const out = b.linear(y, 8, 3);
      expect(await check(b, sum ? b.add(out, b.linear(sum, 8, 3)) : out)).toEqual([8]);
    }
  });
});

describe('rows of coalitions', () => {
  it('each row of gates is for its own sample', async () => {
    const layer = tokens(17);
    layer.b.output(layer.b.linear(layer.b.op('LayerNormalization', [layer.x, layer.b.weight([8], 'g', 1)], {}), 8, 3));
    const group = image(21);
    const inputs = [group.x, group.b.weight([8], 's', 1), group.b.weight([8], 'b')];
    group.b.output(
      group.b.conv(group.b.op('GroupNormalization', inputs, { num_groups: 2 }), 8, 3, [1, 1], { name: 'out' }),
    );
    for (const { b } of [layer, group]) {
      const s = analyseStructure(b.build());
      const gated = gateModel(s, [s.groups[0].id]);
      const feeds = randomFeeds(s.model, seeded(2));
      const rows = [
        [0, 1, 5, 6],
        [2, 3, 4, 7],
      ].map((keep) => gateRow(8, keep));
      const session = await openSession(gated.model);
      const name = gated.gates[0].input.name;
      const gates = (list: Float32Array[]) =>
        new ort.Tensor('float32', Float32Array.from(list.flatMap((row) => [...row])), [list.length, 8]);
      const [together] = Object.values(await session.run({ ...feeds, [name]: gates(rows) }));
      const half = together.data.length / 2;
      for (const [i, row] of rows.entries()) {
        const [alone] = Object.values(await session.run({ ...feeds, [name]: gates([row]) }));
        const part = (t: ort.Tensor) => [...(t.data as Float32Array)].slice(i * half, (i + 1) * half);
        part(together).forEach((v, k) => expect(v).toBeCloseTo(part(alone)[k], 5));
      }
      await session.release();
    }
  });
});

describe('normalisations of other kinds', () => {
  for (const opset of [8, 13, 22]) {
    it(`BatchNormalization and InstanceNormalization carry their channels, opset ${opset}`, async () => {
      const { b, x } = image(opset);
      const inputs = [b.bn(x, 8), b.weight([8], 'scale', 1), b.weight([8], 'bias')];
      const y = b.relu(b.op('InstanceNormalization', inputs, { epsilon: 1e-3 }));
      expect(await check(b, b.conv(y, 8, 3, [1, 1]))).toEqual([8]);
    });
  }

  for (const opset of [7, 13, 22]) {
    it(`LpNormalization, opset ${opset}`, async () => {
      for (const p of [1, 2]) {
        const { b, x } = image(opset);
        expect(await check(b, b.conv(b.op('LpNormalization', [x], { axis: 1, p }), 8, 3, [1, 1]))).toEqual([8]);
      }
    });
  }

  for (const opset of [9, 13]) {
    it(`MeanVarianceNormalization, opset ${opset}`, async () => {
      const { b, x } = image(opset);
      const y = b.op('MeanVarianceNormalization', [x], { axes: [0, 1, 2, 3] });
      // It normalises over the samples too: not for many rows.
      const s = analyseStructure(b.output(b.conv(y, 8, 3, [1, 1])).build());
      const { results, tolerance } = await checkInvariant(s, { shares: SHARES });
      expect(results.length).toBe(SHARES.length + 1);
      for (const r of results) expect(r.diff).toBeLessThanOrEqual(tolerance);
      expect(await openDifference(s, true)).toBeLessThanOrEqual(3e-6);
      const carried = image(opset);
      const plain = carried.b.op('MeanVarianceNormalization', [carried.x], { axes: [0, 2, 3] });
      const t = analyseStructure(carried.b.output(carried.b.conv(plain, 8, 3, [1, 1])).build());
      for (const r of (await checkInvariant(t, { shares: SHARES })).results)
        expect(r.diff).toBeLessThanOrEqual(tolerance);
    });
  }

  it('LRN fixes the channels, and says why', () => {
    const { b, x } = image(13);
    const s = analyseStructure(b.output(b.conv(b.op('LRN', [x], { size: 3 }), 8, 3, [1, 1])).build());
    expect(s.groups[0].reason).toMatch(/normalised by LRN .* over windows of channels.* other neighbours/);
  });
});

describe('normalisations written as plain operators', () => {
  /** x − mean, over sqrt(mean square + ε), as exporters without LayerNormalization write it. */
  function decomposed(b: Builder, x: Value, axes: number[], centre: boolean, opset: number): Value {
    const mean = (v: Value) =>
      opset >= 18 ? b.op('ReduceMean', [v, b.ints(axes)], {}) : b.op('ReduceMean', [v], { axes });
    const centred = centre ? b.op('Sub', [x, mean(x)]) : x;
    const variance = mean(b.op('Pow', [centred, b.floats([2], [])]));
    const deviation = b.op('Sqrt', [b.add(variance, b.floats([1e-3], []))]);
    return centre ? b.op('Div', [centred, deviation]) : b.mul(centred, b.op('Div', [b.floats([1], []), deviation]));
  }

  for (const opset of [11, 18]) {
    for (const centre of [true, false]) {
      it(`${centre ? 'LayerNorm' : 'RMSNorm'}, opset ${opset}, also over two layers side by side`, async () => {
        const one = tokens(opset);
        const y = one.b.mul(decomposed(one.b, one.x, [-1], centre, opset), one.b.weight([8], 'scale', 1));
        expect(await check(one.b, one.b.linear(one.b.add(y, one.b.weight([8], 'bias')), 8, 3))).toEqual([8]);
        const two = tokens(opset);
        const both = two.b.concat([two.x, two.b.linear(two.input, 6, 4, 'second')], 2);
        expect(await check(two.b, two.b.linear(decomposed(two.b, both, [-1], centre, opset), 12, 3))).toEqual([8, 4]);
      });
      it(`${centre ? 'LayerNorm' : 'RMSNorm'} over several axes, opset ${opset}`, async () => {
        const { b, x } = image(opset);
        const y = b.mul(decomposed(b, x, [1, -2, 3], centre, opset), b.weight([8, 1, 1], 'scale', 1));
        expect(await check(b, b.conv(y, 8, 3, [1, 1]))).toEqual([8]);
      });
    }
  }
});

describe('blocks', () => {
  const norm = (b: Builder, x: Value, c: number, name: string) =>
    b.op('LayerNormalization', [x, b.weight([c], `${name}.g`, 1), b.weight([c], `${name}.b`, 0.4)], {}, name);
  const mlp = (b: Builder, x: Value, c: number, hidden: number, name: string) =>
    b.linear(b.relu(b.linear(x, c, hidden, `${name}.up`)), hidden, c, `${name}.down`);

  it('the width of a residual stream with pre-norm is one group', async () => {
    const { b, x } = tokens(17);
    let y = x;
    for (let i = 0; i < 2; i++) y = b.add(y, mlp(b, norm(b, y, 8, `norm${i}`), 8, 12, `mlp${i}`));
    // The last group: the two blocks.
    expect(await check(b, b.linear(norm(b, y, 8, 'last'), 8, 3))).toEqual([8, 12, 12, 2]);
  });

  it('the width of a residual stream with post-norm is one group', async () => {
    const { b, x } = tokens(17);
    let y = x;
    for (let i = 0; i < 2; i++) y = norm(b, b.add(y, mlp(b, y, 8, 12, `mlp${i}`)), 8, `norm${i}`);
    expect(await check(b, b.linear(y, 8, 3))).toEqual([8, 12, 12, 2]);
  });

  it('a ConvNeXt block with channels last', async () => {
    const { b, x } = image(17);
    const depthwise = b.conv(x, 8, 8, [3, 3], { group: 8, pads: [1, 1, 1, 1], name: 'dw' });
    const inner = mlp(b, norm(b, b.transpose(depthwise, [0, 2, 3, 1]), 8, 'norm'), 8, 12, 'mlp');
    const scaled = b.mul(inner, b.weight([8], 'layer_scale', 1));
    const y = b.add(x, b.transpose(scaled, [0, 3, 1, 2]));
    expect(await check(b, b.conv(y, 8, 3, [1, 1]))).toEqual([8, 12]);
  });

  for (const form of ['GroupNormalization', 'InstanceNormalization']) {
    it(`a U-Net block with ${form}`, async () => {
      const { b, x } = image(21);
      const group = (v: Value, c: number, attributes: Attrs = {}) => {
        if (form === 'GroupNormalization')
          return b.op(form, [v, b.weight([c], 'g', 1), b.weight([c], 'b')], { num_groups: 2, ...attributes });
        const flat = b.op(form, [b.reshape(v, [0, 2, -1]), b.floats([1, 1]), b.floats([0, 0])]);
        const back = b.op('Reshape', [flat, b.op('Shape', [v])]);
        return b.add(b.mul(back, b.weight([c, 1, 1], 'g', 1)), b.weight([c, 1, 1], 'b'));
      };
      const silu = (v: Value) => b.mul(v, b.op('Sigmoid', [v]));
      const conv = (v: Value, i: number, o: number, name: string) =>
        b.conv(v, i, o, [3, 3], { pads: [1, 1, 1, 1], name });
      const inner = conv(silu(group(conv(silu(group(x, 8)), 8, 12, 'a'), 12)), 12, 8, 'b');
      const up = b.concat([b.add(x, inner), conv(x, 8, 4, 'side')]);
      const y = conv(silu(group(up, 12)), 12, 6, 'c');
      const found = await check(b, b.conv(b.relu(y), 6, 3, [1, 1]));
      // A group of channels per stage, or two where whole groups of the norm may go as well.
      if (form === 'GroupNormalization') expect(found.length).toBe(3);
      else expect(found.length).toBeGreaterThanOrEqual(3);
    });
  }
});
