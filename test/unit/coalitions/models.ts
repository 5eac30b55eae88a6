import { makeDataset, type Dataset } from '../../../src/evaluation/data/dataset.ts';
import type { OutputReading } from '../../../src/evaluation/types.ts';
import type { Reading } from '../../../src/formats.ts';
import type { Model, Value } from '../../../src/graph/ir.ts';
import { builder, numbers } from '../../support/build.ts';

/** A model with images or vectors in, class scores out. */
export interface TestModel {
  name: string;
  model: Model;
  sampleShape: number[];
  classes: number;
  /** Samples may share a run. */
  batchable: boolean;
}

const same = { pads: [1, 1, 1, 1] };

/** A residual block between two convolutions: the stem's channels are read before and after the block. */
export function residual(batch: number | 'N' = 'N'): TestModel {
  const b = builder({ seed: 3 });
  const stem = b.relu(b.bn(b.conv(b.input('x', [batch, 2, 8, 8]), 2, 6, 3, { ...same, name: 'stem' }), 6));
  const inner = b.relu(b.bn(b.conv(stem, 6, 5, 3, { ...same, name: 'inner' }), 5));
  const sum = b.relu(b.add(b.conv(inner, 5, 6, 3, { ...same, name: 'outer' }), stem));
  const shortcut = b.conv(sum, 6, 8, 1, { strides: [2, 2], name: 'shortcut' });
  const down = b.add(
    b.conv(b.relu(b.bn(b.conv(sum, 6, 7, 3, { ...same, strides: [2, 2], name: 'down1', bias: 0 }), 7)), 7, 8, 3, {
      ...same,
      name: 'down2',
    }),
    shortcut,
  );
  const pooled = b.flatten(b.globalPool(b.relu(down)));
  b.output(b.gemm(pooled, 8, 4, 'fc'));
  return { name: `residual, batch ${batch}`, model: b.build(), sampleShape: [2, 8, 8], classes: 4, batchable: true };
}

/** LeNet-like: pooling, Flatten or Reshape in front of a fully connected layer, several positions per unit. */
export function flattened(reshape?: number[], batch: number | 'N' = 'N'): TestModel {
  const b = builder({ seed: 5 });
  const one = b.maxPool(b.relu(b.conv(b.input('x', [batch, 1, 12, 12]), 1, 4, 3, { name: 'c1' })));
  const two = b.relu(b.conv(one, 4, 6, 3, { name: 'c2' }));
  const flat = reshape ? b.reshape(two, reshape) : b.flatten(two);
  const hidden = b.relu(b.gemm(flat, 54, 9, 'f1'));
  b.output(b.softmax(b.linear(hidden, 9, 5, 'f2')));
  return {
    name: `flatten ${reshape ?? ''}, batch ${batch}`,
    model: b.build(),
    sampleShape: [1, 12, 12],
    classes: 5,
    batchable: true,
  };
}

/** Two branches joined by Concat, depthwise convolution, two consumers of one group. */
export function joined(): TestModel {
  const b = builder({ seed: 9 });
  const x = b.input('x', ['N', 3, 6, 6]);
  const left = b.relu(b.conv(x, 3, 4, 3, { ...same, name: 'left' }));
  const right = b.relu(b.conv(x, 3, 3, 1, { name: 'right' }));
  const both = b.concat([left, right]);
  const depthwise = b.relu(b.bn(b.conv(both, 7, 7, 3, { ...same, group: 7, name: 'dw' }), 7));
  const a = b.conv(depthwise, 7, 5, 3, { ...same, name: 'a' });
  const c = b.conv(depthwise, 7, 5, 1, { name: 'c', bias: 0 });
  const d = b.conv(left, 4, 5, 1, { name: 'd' });
  const sum = b.relu(b.add(b.add(a, c), d));
  b.output(b.gemm(b.flatten(b.maxPool(sum, 3)), 20, 3, 'head'));
  return { name: 'concat, depthwise', model: b.build(), sampleShape: [3, 6, 6], classes: 3, batchable: true };
}

/** Tokens: MatMul over three axes, samples merged with tokens in between. */
export function tokens(): TestModel {
  const b = builder({ seed: 11 });
  const x = b.input('x', ['N', 4, 6]);
  const hidden = b.relu(b.linear(x, 6, 10, 'up'));
  const mixed = b.add(b.linear(hidden, 10, 6, 'down'), x);
  const flat = b.reshape(mixed, [-1, 6]);
  const wide = b.relu(b.gemm(flat, 6, 8, 'wide'));
  const back = b.reshape(b.gemm(wide, 8, 5, 'narrow'), [-1, 20]);
  b.output(b.gemm(back, 20, 3, 'head'));
  return { name: 'tokens', model: b.build(), sampleShape: [4, 6], classes: 3, batchable: true };
}

/** Tokens that see those before them, by a mask that is cut to their number. */
export function masked(): TestModel {
  const b = builder({ seed: 19 });
  const x = b.input('x', ['N', 'T', 6]);
  const hidden = b.linear(b.relu(b.linear(x, 6, 9, 'up')), 9, 6, 'down');
  const length = b.op('Gather', [b.op('Shape', [x]), b.ints([1])], { axis: 0 });
  const rows = b.floats(
    Array.from({ length: 64 }, (_, i) => (i % 8 > i >> 3 ? -9 : 0)),
    [8, 8],
    'mask',
  );
  const across = b.op('Slice', [rows, b.ints([0]), length, b.ints([1])]);
  const mask = b.op('Slice', [across, b.ints([0]), length, b.ints([0])]);
  const scores = b.op('MatMul', [hidden, b.transpose(b.linear(hidden, 6, 6, 'key'), [0, 2, 1])]);
  const weights = b.softmax(b.add(b.op('Mul', [scores, b.floats([0.3], [1])]), mask));
  const seen = b.transpose(b.op('MatMul', [weights, hidden]), [0, 2, 1]);
  b.output(b.linear(b.op('ReduceMean', [seen], { axes: [2], keepdims: 0 }), 6, 3, 'head'));
  return { name: 'masked', model: b.build(), sampleShape: [4, 6], classes: 3, batchable: true };
}

/** Works on the whole batch: its samples cannot be told apart. */
export function mixing(): TestModel {
  const b = builder({ seed: 13 });
  const x = b.input('x', [1, 5]);
  const scale = b.op('ReduceMax', [b.op('Abs', [x])], { axes: [0, 1], keepdims: 0 });
  const hidden = b.relu(b.gemm(b.op('Div', [x, b.op('Add', [scale, b.floats([1], [1, 1])])]), 5, 7, 'up'));
  b.output(b.gemm(hidden, 7, 3, 'down'));
  return { name: 'mixes the batch', model: b.build(), sampleShape: [5], classes: 3, batchable: false };
}

/** A residual stream with normalisations in front of its branches, and one after them: their gates are formulas. */
export function normalised(batch: number | 'N' = 'N'): TestModel {
  const b = builder({ seed: 15 });
  const norm = (op: string, x: Value) =>
    b.op(op, [x, b.weight([6], 'scale', 1), ...(op === 'LayerNormalization' ? [b.weight([6], 'bias', 0.3)] : [])]);
  const branch = (x: Value, name: string) => b.linear(b.relu(b.linear(x, 6, 7, `${name}.up`)), 7, 6, `${name}.down`);
  let stream = b.linear(b.input('x', [batch, 4, 5]), 5, 6, 'stem');
  stream = b.add(stream, branch(norm('LayerNormalization', stream), 'first'));
  stream = norm('SimplifiedLayerNormalization', b.add(stream, branch(stream, 'second')));
  stream = norm('LayerNormalization', stream);
  b.output(b.linear(b.op('ReduceMean', [stream], { axes: [1], keepdims: 0 }), 6, 3, 'head'));
  const name = `normalisations, batch ${batch}`;
  return { name, model: b.build(), sampleShape: [4, 5], classes: 3, batchable: true };
}

/** Groups of channels are normalised together. */
export function grouped(): TestModel {
  const b = builder({ seed: 17, opset: 21 });
  const x = b.conv(b.input('x', ['N', 2, 6, 6]), 2, 6, 3, { ...same, name: 'stem' });
  const inputs = [x, b.weight([6], 'scale', 1), b.weight([6], 'bias', 0.3)];
  const y = b.conv(b.relu(b.op('GroupNormalization', inputs, { num_groups: 2 })), 6, 5, 3, { name: 'next' });
  b.output(b.gemm(b.flatten(b.globalPool(b.relu(y))), 5, 3, 'head'));
  return { name: 'group normalisation', model: b.build(), sampleShape: [2, 6, 6], classes: 3, batchable: true };
}

/** Three residual blocks, one of them within another. */
export function deep(): TestModel {
  const b = builder({ seed: 31 });
  const mlp = (x: Value, name: string) => b.linear(b.relu(b.linear(x, 6, 5, `${name}.up`)), 5, 6, `${name}.down`);
  const x = b.linear(b.input('x', ['N', 4, 5]), 5, 6, 'embed');
  const inside = b.linear(x, 6, 6, 'inside');
  const first = b.add(x, b.relu(b.add(mlp(inside, 'inner'), inside)));
  const last = b.add(mlp(first, 'last'), first);
  b.output(b.gemm(b.flatten(last), 24, 3, 'fc'));
  return { name: 'blocks', model: b.build(), sampleShape: [4, 5], classes: 3, batchable: true };
}

export function testModels(): TestModel[] {
  return [
    residual(),
    residual(1),
    flattened(),
    flattened([-1, 54]),
    flattened([1, 54], 1),
    flattened([0, -1]),
    joined(),
    tokens(),
    mixing(),
    normalised(),
    normalised(1),
    grouped(),
    deep(),
  ];
}

export function randomData(
  t: Pick<TestModel, 'sampleShape' | 'classes'>,
  samples: number,
  options: { batchSize?: number | null; seed?: number; perSample?: number } = {},
): Dataset {
  const next = numbers(options.seed ?? 42);
  const count = samples * t.sampleShape.reduce((a, b) => a * b, 1);
  const data = Float32Array.from({ length: count }, () => 2 * next());
  const perSample = options.perSample ?? 1;
  const labels = Int32Array.from({ length: samples * perSample }, () => Math.floor(((next() + 1) / 2) * t.classes));
  return makeDataset({
    path: null,
    samples,
    inputs: [{ name: 'x', type: 'float32', kind: 'rows', sampleShape: t.sampleShape, data, dataType: 'float32' }],
    labels: { values: labels, perSample, classes: t.classes },
    fingerprint: `test-${samples}-${options.seed ?? 42}`,
    synthetic: true,
    warnings: [],
    batchSize: options.batchSize ?? null,
  });
}

export function readingOf(model: Model, reading: Reading = 'logits', classAxis = 1): OutputReading {
  return { output: model.graph.outputs[0].name, reading, classAxis };
}

/** Seeded coalitions, the full and the empty one among them. */
export function coalitions(size: number, count: number, seed = 1): Uint8Array[] {
  const next = numbers(seed);
  const some = Array.from({ length: count }, () => Uint8Array.from({ length: size }, () => (next() > 0 ? 1 : 0)));
  return [new Uint8Array(size).fill(1), new Uint8Array(size), ...some];
}
