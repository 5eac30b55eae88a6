/** Inspect reports and ranks of made-up models, in the shapes of src/formats.ts. Seeded: every run draws the same. */

export function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const SHA = '9f2c4b7a'.repeat(8);

/** A chain of layers, each producing one group of units that the next consumes. The last is frozen: model output. */
function chain({
  name,
  sizes,
  names,
  spatial,
  kernel = 9,
  producer = 'pytorch 2.9.1',
  freeze = () => null,
  extras = 0,
}) {
  const layers = [];
  const groups = [];
  const costTerms = [];
  sizes.forEach((size, i) => {
    const id = names(i);
    const before = i === 0 ? { fixed: 3, groups: [] } : { fixed: 0, groups: [{ id: names(i - 1), multiplicity: 1 }] };
    const previous = i === 0 ? 3 : sizes[i - 1];
    const side = spatial(i);
    const last = i === sizes.length - 1;
    const k = last ? 1 : kernel;
    const op = last ? 'Gemm' : 'Conv';
    const parameters = k * size * previous + size;
    const macs = k * size * previous * side * side;
    const reason = last ? 'is the model output logits' : freeze(i);
    layers.push({
      name: id,
      op,
      parameters,
      macs,
      shape: last ? [1, size] : [1, size, side, side],
      activationBytes: size * side * side * 4,
      group: id,
    });
    for (let e = 0; e < extras; e++) {
      layers.push({
        name: `${id}_${['relu', 'add', 'pool', 'mul', 'cast'][e % 5]}${e}`,
        op: ['Relu', 'Add', 'MaxPool', 'Mul', 'Cast'][e % 5],
        parameters: 0,
        macs: 0,
        shape: [1, size, side, side],
        activationBytes: size * side * side * 4,
      });
    }
    costTerms.push({
      layer: id,
      macs: k * side * side,
      parameters: k,
      factors: [before, { fixed: 0, groups: [{ id, multiplicity: 1 }] }],
    });
    groups.push({
      id,
      kind: last ? 'neuron' : 'channel',
      size,
      layers: [id],
      consumers: last ? [] : [names(i + 1)],
      parameters,
      macs,
      prunable: reason === null,
      ...(reason ? { reason } : {}),
    });
  });
  groups.forEach((g, i) => {
    if (i + 1 < layers.length && groups[i + 1]) g.macs += Math.round(groups[i + 1].macs * 0.5);
  });
  const totals = {
    parameters: layers.reduce((s, l) => s + l.parameters, 0),
    macs: layers.reduce((s, l) => s + l.macs, 0),
    nodes: layers.length + 7,
  };
  const prunable = groups.filter((g) => g.prunable);
  return {
    model: {
      path: `/home/mira/models/${name}`,
      sha256: SHA,
      bytes: totals.parameters * 4 + 12_345,
      opset: 17,
      irVersion: 8,
      producer,
    },
    totals,
    inputs: [{ name: 'input', type: 'float32', shape: ['batch', 3, spatial(0), spatial(0)] }],
    outputs: [{ name: 'logits', type: 'float32', shape: ['batch', sizes[sizes.length - 1]] }],
    layers,
    groups,
    moe: [],
    exits: [],
    metadata: { author: 'Mira', 'training run': '2024-11-07, 60 epochs, accuracy 0.9718' },
    prunable: {
      parameters: prunable.length ? 0.94 : 0,
      macs: prunable.length ? Math.min(0.97, prunable.reduce((s, g) => s + g.macs, 0) / totals.macs) : 0,
    },
    warnings: [],
    costTerms,
  };
}

const long = (i) =>
  `/model/backbone/stages.${i % 5}/blocks.${i}/residual_branch/depthwise_separable_convolution_with_a_very_long_exported_module_name/expansion/projection/normalised/conv_${i}/Conv_output_of_the_${i}th_layer`
    .padEnd(200, '_')
    .slice(0, 200);

export const models = {
  resnet: () =>
    chain({
      name: 'resnet8-digits.onnx',
      sizes: [16, 16, 16, 32, 32, 64, 64, 10],
      names: (i) => ['stem', 'b1.conv1', 'b1.conv2', 'b2.conv1', 'b2.conv2', 'b3.conv1', 'b3.conv2', 'fc'][i],
      spatial: (i) => [28, 28, 28, 14, 14, 7, 7, 1][i],
      extras: 2,
      freeze: (i) => (i === 2 ? 'runs into a Reshape with a computed shape' : null),
    }),
  tiny: () => ({
    ...chain({ name: 'one.onnx', sizes: [1, 2], names: (i) => ['conv', 'fc'][i], spatial: (i) => [4, 1][i] }),
  }),
  wide: () =>
    chain({
      name: 'wide-mlp.onnx',
      sizes: [10_000, 512, 10],
      names: (i) => ['up_projection', 'down', 'head'][i],
      spatial: () => 1,
      kernel: 1,
      producer: 'tf2onnx 1.16',
    }),
  many: () =>
    chain({
      name: `${long(7).replaceAll('/', '_')}.onnx`,
      sizes: Array.from({ length: 500 }, (_, i) => [64, 128, 256][i % 3]).concat(1000),
      names: long,
      spatial: (i) => Math.max(1, 56 >> Math.floor(i / 100)),
      extras: 19,
      freeze: (i) => (i % 11 === 5 ? 'runs into an op that is not understood (com.acme.Shuffle)' : null),
    }),
  nothing: () => {
    const m = chain({
      name: 'relu-only.onnx',
      sizes: [8, 4],
      names: (i) => ['a', 'b'][i],
      spatial: () => 8,
      freeze: () => 'is read by TopK, which orders its units',
    });
    return { ...m, prunable: { parameters: 0, macs: 0 } };
  },
  empty: () => {
    const m = chain({ name: 'add.onnx', sizes: [2], names: () => 'x', spatial: () => 2 });
    return {
      ...m,
      groups: [],
      layers: [{ name: 'Add_0', op: 'Add', parameters: 0, macs: 0, shape: ['N', 4], activationBytes: null }],
      costTerms: [],
      totals: { parameters: 0, macs: 0, nodes: 1 },
      prunable: { parameters: 0, macs: 0 },
      metadata: {},
      model: { ...m.model, bytes: 214, producer: '' },
    };
  },
};

/** Scores of a group: a few that matter, many that matter little, some harmful. `done` 0..1: how far it converged. */
export function groupRanks(group, seed, done, noSignal = false) {
  const next = random(seed + group.size * 31 + group.id.length);
  const units = Array.from({ length: group.size }, (_, index) => {
    const truth = noSignal ? 0.004 : (0.9 * next() ** 4) / Math.sqrt(group.size) - 0.004 * next();
    const stderr = (noSignal ? 0.01 : 0.002 + 0.03 / Math.sqrt(group.size)) / Math.sqrt(0.15 + 6 * done);
    const wobble = (next() - 0.5) * stderr * 2;
    return { index, score: truth + wobble, stderr };
  });
  const sum = units.reduce((s, u) => s + u.score, 0);
  return {
    id: group.id,
    kind: group.kind,
    layers: group.layers,
    size: group.size,
    value: { full: -0.0842, empty: -0.0842 - sum },
    evaluations: Math.round(2000 * done),
    units,
    noSignal: done >= 1 ? noSignal : undefined,
    seconds: 1.2 * done,
  };
}

export function ranksOf(
  model,
  data,
  { method = 'shapley', metric = 'cross-entropy', groups, complete = true, noSignal = false, seed = 7 } = {},
) {
  const chosen = model.groups.filter((g) => g.prunable && (!groups || groups.includes(g.id)));
  return {
    format: 'secateur-ranks/1',
    model: { path: model.model.path, sha256: model.model.sha256, bytes: model.model.bytes },
    data: { path: data.path ?? 'synthetic', fingerprint: data.fingerprint, samples: data.samples },
    method,
    metric,
    seed: 0,
    device: 'cpu',
    budget: 2000,
    tolerance: 0.05,
    seconds: 8.4,
    complete,
    groups: chosen.map((g, i) => groupRanks(g, seed + i, 1, noSignal)),
    warnings: [],
  };
}

/** Ranks of whole layers. */
export function layerRanksOf(model, data) {
  const groups = model.groups.filter((g) => g.prunable);
  const units = groups.map((g, index) => ({
    index,
    name: g.id,
    score: 0.3 * Math.exp(-index / 2) - 0.02 * (index === groups.length - 1),
    stderr: 0.008,
  }));
  const [base] = ranksOf(model, data, {}).groups;
  const group = {
    ...base,
    id: 'layers',
    kind: 'layer',
    size: units.length,
    units,
    estimator: 'exact',
    evaluations: 64,
  };
  return { ...ranksOf(model, data, {}), layers: { closing: 0.5 }, groups: [group] };
}
