import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { FunctionProtoSchema } from '../../../src/onnx/onnx_pb.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { builder, type Builder } from '../../support/build.ts';
import { checkInvariant } from '../../support/invariant.ts';
import type { Structure } from '../../../src/units/types.ts';
import type { Value } from '../../../src/graph/ir.ts';

/** Builds a graph, analyses it, and holds every prunable group against onnxruntime: pruned = gated. */
async function check(
  make: (b: Builder) => Value | Value[],
  options: { seed?: number; opset?: number } = {},
): Promise<Structure> {
  const b = builder({ seed: options.seed ?? 3, opset: options.opset });
  const made = make(b);
  b.output(...(Array.isArray(made) ? made : [made]));
  const structure = analyseStructure(b.build());
  const { results, tolerance } = await checkInvariant(structure, { shares: [0.25, 0.5, 0.01], seed: 11 });
  for (const r of results) expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(tolerance);
  return structure;
}

const summary = (s: Structure) => s.groups.map((g) => `${g.id} ${g.size}${g.prunable ? '' : ` frozen: ${g.reason}`}`);
const sizes = (s: Structure) => s.groups.filter((g) => g.prunable).map((g) => g.size);

describe('groups that the flow finds, each pruned and held against the gated model', () => {
  it('takes a chain of Conv, BatchNormalization and Relu', async () => {
    const s = await check((b) => {
      let x: Value = b.input('x', ['N', 3, 8, 8]);
      x = b.relu(b.bn(b.conv(x, 3, 8, [3, 3], { pads: [1, 1, 1, 1], name: 'stem' }), 8));
      x = b.relu(b.conv(x, 8, 6, [3, 3], { name: 'second', bias: 1 }));
      return b.gemm(b.flatten(b.globalPool(x)), 6, 4, 'head');
    });
    expect(summary(s)).toEqual([
      'stem 8',
      'second 6',
      'head 4 frozen: is the model output ' + s.model.graph.outputs[0].name,
    ]);
    expect(s.groups[0].consumers.map((n) => n.name)).toEqual(['second']);
  });

  it('couples the branches of a residual add', async () => {
    const s = await check((b) => {
      const x = b.conv(b.input('x', ['N', 3, 8, 8]), 3, 8, [1, 1], { name: 'stem' });
      const inner = b.conv(b.relu(b.conv(b.relu(x), 8, 5, [3, 3], { name: 'a', pads: [1, 1, 1, 1] })), 5, 8, [1, 1], {
        name: 'b',
      });
      return b.conv(b.relu(b.add(x, inner)), 8, 2, [1, 1], { name: 'out' });
    });
    const stem = s.groups.find((g) => g.id === 'stem')!;
    expect(stem.layers.map((n) => n.name)).toEqual(['stem', 'b']);
    expect(stem.consumers.map((n) => n.name)).toEqual(['a', 'out']);
    expect(sizes(s)).toEqual([8, 5]);
  });

  it('follows Flatten and Reshape into fully connected layers', async () => {
    for (const way of ['flatten', 'reshape', 'reshape-copy'] as const) {
      const s = await check((b) => {
        const x = b.relu(b.conv(b.input('x', ['N', 3, 6, 6]), 3, 4, [3, 3], { name: 'c' }));
        const flat = way === 'flatten' ? b.flatten(x) : b.reshape(x, way === 'reshape' ? [-1, 64] : [0, -1]);
        return b.gemm(b.relu(b.gemm(flat, 64, 10, 'f1')), 10, 3, 'f2');
      });
      expect(sizes(s), way).toEqual([4, 10]);
    }
  });

  it('follows MatMul and Add, transposed weights and Gemm without transposition', async () => {
    const s = await check((b) => {
      let x: Value = b.input('x', ['N', 6]);
      x = b.relu(b.linear(x, 6, 12, 'l1'));
      x = b.op('MatMul', [x, b.transpose(b.weight([7, 12]), [1, 0])], {}, 'l2');
      x = b.op('Gemm', [b.op('Tanh', [x]), b.weight([7, 5]), b.weight([1, 5])], { alpha: 0.5, beta: 2.5 }, 'l3');
      return b.linear(x, 5, 2, 'l4');
    });
    expect(sizes(s)).toEqual([12, 7, 5]);
  });

  it('keeps the parts of a Concat apart and follows them through what comes after', async () => {
    const s = await check((b) => {
      const x = b.input('x', ['N', 3, 6, 6]);
      const parts = [b.conv(x, 3, 4, [1, 1], { name: 'p' }), b.conv(x, 3, 6, [1, 1], { name: 'q' })];
      const joined = b.relu(b.bn(b.concat(parts), 10));
      const next = b.conv(joined, 10, 4, [3, 3], { name: 'r' });
      return b.gemm(b.flatten(next), 64, 3, 'head');
    });
    expect(sizes(s)).toEqual([4, 6, 4]);
  });

  it('lets a Concat with a model input be: its own part is fixed, the rest goes', async () => {
    const s = await check((b) => {
      const x = b.input('x', ['N', 3, 6, 6]);
      const joined = b.concat([x, b.relu(b.conv(x, 3, 5, [1, 1], { name: 'p' }))]);
      return b.conv(joined, 8, 2, [1, 1], { name: 'out' });
    });
    expect(sizes(s)).toEqual([5]);
  });

  it('carries units through depthwise convolutions, with and without a multiplier', async () => {
    const s = await check((b) => {
      let x: Value = b.relu(b.conv(b.input('x', ['N', 3, 8, 8]), 3, 6, [1, 1], { name: 'expand' }));
      x = b.op('Conv', [x, b.weight([6, 1, 3, 3])], { group: 6, kernel_shape: [3, 3] }, 'dw');
      x = b.op('Conv', [b.relu(x), b.weight([12, 1, 3, 3])], { group: 6, kernel_shape: [3, 3] }, 'dw2');
      return b.conv(b.relu(x), 12, 4, [1, 1], { name: 'project' });
    });
    expect(sizes(s)).toEqual([6]);
  });

  it('asks grouped convolutions for equally many units of every block', async () => {
    const s = await check((b) => {
      let x: Value = b.relu(b.conv(b.input('x', ['N', 3, 6, 6]), 3, 8, [1, 1], { name: 'before' }));
      x = b.op('Conv', [x, b.weight([12, 4, 3, 3])], { group: 2, kernel_shape: [3, 3] }, 'grouped');
      return b.conv(b.relu(x), 12, 3, [1, 1], { name: 'after' });
    });
    expect(s.groups[0].blocks).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ]);
    expect(s.groups[1].blocks!.map((x) => x.length)).toEqual([6, 6]);
  });

  it('takes ConvTranspose, Resize, Pad, pooling, Dropout, Identity and Cast along', async () => {
    const s = await check((b) => {
      const x = b.input('x', ['N', 3, 8, 8]);
      const e = b.relu(b.conv(x, 3, 6, [3, 3], { pads: [1, 1, 1, 1], name: 'enc' }));
      const m = b.op('Conv', [b.maxPool(e), b.weight([5, 6, 1, 1])], { kernel_shape: [1, 1] }, 'mid');
      let up = b.op(
        'ConvTranspose',
        [m, b.weight([5, 4, 2, 2]), b.weight([4])],
        { strides: [2, 2], kernel_shape: [2, 2] },
        'up',
      );
      up = b.op('Identity', [b.op('Dropout', [up])]);
      const r = b.op('Resize', [m, null, b.floats([1, 1, 2, 2])], { mode: 'nearest' });
      const p = b.op('Pad', [r, b.ints([0, 0, 0, 0, 0, 0, 0, 0])], {});
      const joined = b.concat([up, p, e]);
      return b.op('Cast', [b.conv(joined, 15, 2, [1, 1], { name: 'out' })], { to: 1 });
    });
    expect(sizes(s).sort()).toEqual([4, 5, 6]);
  });

  it('follows 1-d and 3-d convolutions', async () => {
    const s = await check((b) => {
      let x: Value = b.relu(b.conv(b.input('x', ['N', 2, 9]), 2, 6, [3], { name: 'c1' }));
      x = b.conv(x, 6, 4, [3], { name: 'c2' });
      let y: Value = b.relu(b.conv(b.input('y', ['N', 2, 4, 4, 4]), 2, 5, [3, 3, 3], { name: 'd1' }));
      y = b.conv(y, 5, 3, [2, 2, 2], { name: 'd2' });
      return [b.op('Relu', [x]), b.op('Relu', [y])];
    });
    expect(sizes(s)).toEqual([6, 5]);
  });

  it('finds gated units of which each owns two positions (Split and product)', async () => {
    for (const opset of [11, 17]) {
      const s = await check(
        (b) => {
          const x = b.linear(b.input('x', ['N', 5, 6]), 6, 16, 'both');
          const parts =
            opset < 13
              ? b.nodes('Split', [x], { axis: -1, split: [8, 8] }, 2)
              : b.nodes('Split', [x, b.ints([8, 8])], { axis: -1 }, 2);
          return b.linear(b.mul(parts[0], b.op('Sigmoid', [parts[1]])), 8, 3, 'down');
        },
        { opset },
      );
      expect(sizes(s)).toEqual([8]);
    }
  });

  it('follows Slice and constant Gather along the units', async () => {
    const s = await check((b) => {
      const x = b.linear(b.input('x', ['N', 6]), 6, 10, 'l');
      const left = b.op('Slice', [x, b.ints([0]), b.ints([4]), b.ints([1])]);
      const right = b.op('Slice', [x, b.ints([-6]), b.ints([2147483647]), b.ints([1]), b.ints([1])]);
      const some = b.op('Gather', [x, b.ints([7, 2, 5])], { axis: 1 });
      return b.linear(b.concat([b.relu(left), right, some]), 13, 2, 'down');
    });
    expect(sizes(s)).toEqual([10]);
  });

  it('finds whole attention heads without knowing attention', async () => {
    const s = await check((b) => {
      const x = b.input('x', ['N', 5, 6]);
      const split = (v: Value) => b.transpose(b.reshape(v, [0, 5, 4, 3]), [0, 2, 1, 3]);
      const [q, k, v] = ['q', 'k', 'v'].map((n) => split(b.linear(x, 6, 12, n)));
      const scores = b.softmax(b.op('Mul', [b.op('MatMul', [q, b.transpose(k, [0, 1, 3, 2])]), b.floats([0.5], [])]));
      const mixed = b.reshape(b.transpose(b.op('MatMul', [scores, v]), [0, 2, 1, 3]), [0, 5, 12]);
      return b.linear(mixed, 12, 3, 'o');
    });
    const heads = s.groups.find((g) => g.prunable)!;
    expect([heads.kind, heads.size]).toEqual(['head', 4]);
    expect(heads.layers.map((n) => n.name)).toEqual(
      expect.arrayContaining(['q', 'k', 'v'].map((n) => expect.stringContaining(n))),
    );
  });

  it('never couples layers that share a weight, and goes on sharing what stays equal', async () => {
    const s = await check((b) => {
      const w = b.weight([8, 8, 1, 1]);
      const alias = b.op('Identity', [w]);
      let x: Value = b.relu(b.conv(b.input('x', ['N', 3, 4, 4]), 3, 8, [1, 1], { name: 'stem' }));
      x = b.relu(b.op('Conv', [x, w], {}, 'one'));
      x = b.relu(b.op('Conv', [x, alias], {}, 'two'));
      x = b.relu(b.op('Conv', [x, alias], {}, 'three'));
      return b.conv(x, 8, 2, [1, 1], { name: 'out' });
    });
    expect(sizes(s)).toEqual([8, 8, 8, 8]);
  });
});

describe('local functions', () => {
  it('are opened: units are found through their calls, and the pruned model runs without them', async () => {
    const s = await check((b) => {
      const f = builder({ seed: 1 });
      const [x, w] = ['a', 'w'].map((name) => f.graph.value(name));
      f.graph.inputs.push(x, w);
      f.output(f.op('Relu', [f.op('MatMul', [x, w])]));
      const proto = create(FunctionProtoSchema, { opsetImport: [{ domain: '', version: 17n }] });
      b.model.functions.push({ name: 'Dense', domain: 'test', overload: '', body: f.graph, proto });
      b.model.opsets.set('test', 1);
      const one = b.op('test.Dense', [b.input('x', ['N', 6]), b.weight([6, 10])], {}, 'one');
      const two = b.op('test.Dense', [one, b.weight([10, 7])], {}, 'two');
      return b.linear(two, 7, 3, 'out');
    });
    expect(sizes(s)).toEqual([10, 7]);
    expect(s.groups.slice(0, 2).map((g) => g.id.split('/')[0])).toEqual(['one', 'two']);
    expect(s.model.functions).toEqual([]);
  });
});

describe('what is not understood', () => {
  it('freezes with a reason and never throws', async () => {
    const s = await check((b) => {
      const x = b.relu(b.conv(b.input('x', ['N', 3, 6, 6]), 3, 4, [1, 1], { name: 'a' }));
      const wall = b.op('LRN', [x], { size: 3 }, 'wall');
      return b.conv(b.conv(wall, 4, 6, [1, 1], { name: 'b' }), 6, 2, [1, 1], { name: 'c' });
    });
    expect(summary(s)[0]).toContain('a 4 frozen: is normalised by LRN "wall"');
    expect(sizes(s)).toEqual([6]);
  });

  it('keeps units whose count is used in arithmetic, and folds counts that are known', async () => {
    const s = await check((b) => {
      const x = b.relu(b.linear(b.input('x', ['N', 6]), 6, 10, 'l'));
      const count = b.op('Cast', [b.op('Gather', [b.op('Shape', [x]), b.ints([1], [])])], { to: 1 });
      return b.linear(b.op('Div', [x, b.op('Sqrt', [count])]), 10, 2, 'down');
    });
    expect(sizes(s)).toEqual([10]);
  });

  it('prunes under a Softmax and a mean over units, and keeps what reaches an output', async () => {
    const s = await check((b) => {
      const x = b.input('x', ['N', 6]);
      const soft = b.softmax(b.linear(x, 6, 10, 'soft'));
      const mean = b.op('ReduceMean', [b.linear(x, 6, 8, 'mean')], { axes: [1] });
      return [b.linear(soft, 10, 2, 'out'), b.relu(mean)];
    });
    expect(sizes(s)).toEqual([10, 8]);
    expect(s.groups.filter((g) => !g.prunable).map((g) => g.reason)).toEqual([
      expect.stringContaining('is the model output'),
    ]);
  });
});
