/** Rank, plan, measure, prune and compare on the example, as the editor and the command line do. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ort from 'onnxruntime-node';
import { expect, test } from 'vitest';
import type { Plan, Ranks } from '../../../src/formats.ts';
import type { Measured, Progress } from '../../../src/protocol.ts';
import { loadModel } from '../../../src/graph/load.ts';
import { saveModel } from '../../../src/graph/save.ts';
import { calib, example, failure, model, run, scratch } from './jobs.ts';

const device = 'cpu' as const;
const holdout = { ...calib, holdout: join(example, 'heldout.npz') };

async function magnitudePlan(path = model, keep = 0.5): Promise<Plan> {
  const ranks = await run('rank', { model: path, data: calib, method: 'magnitude', seed: 0, device });
  const { plan } = await run('plan', {
    model: path,
    data: calib,
    ranks,
    target: { kind: 'keep-macs', value: keep },
    allocation: 'global',
    minKeep: 0.25,
    roundTo: 1,
    frozen: [],
    seed: 0,
    device,
  });
  return plan;
}

test('the value of the example is that of onnxruntime in Python', async () => {
  // numpy over the outputs of onnxruntime 1.30 in Python: heldout accuracy .984, calib mean cross-entropy .0479401.
  const report = await run('evaluate', { model, data: { path: join(example, 'heldout.npz'), seed: 0 }, device });
  expect(report).toMatchObject({
    metric: 'accuracy',
    samples: 500,
    output: 'logits',
    reading: 'logits',
    device: 'cpu',
  });
  expect(report.value).toBeCloseTo(0.984, 10);
  const entropy = await run('evaluate', { model, data: calib, metric: 'cross-entropy', device });
  expect(entropy.value).toBeCloseTo(-0.047940134, 6);
});

test('data is split by the seed unless held-out data is given', async () => {
  const split = await run('describe-data', { model, data: calib, device });
  expect(split).toMatchObject({
    samples: 320,
    holdoutSamples: 80,
    hasLabels: true,
    classes: 10,
    output: 'logits',
    reading: 'logits',
    synthetic: false,
  });
  expect(split.metrics[0]).toBe('accuracy');
  expect(await run('describe-data', { model, data: holdout, device })).toMatchObject({
    samples: 400,
    holdoutSamples: 500,
  });
  const synthetic = await run('describe-data', { model, data: { path: null, seed: 0 }, device });
  expect(synthetic.synthetic).toBe(true);
  expect(synthetic.hasLabels).toBe(false);
  expect(synthetic.warnings.join(' ')).toMatch(/synthetic/i);
});

test('shapley ranks have the fields of the contract, add up, and can be made again', async () => {
  const params = {
    model,
    data: { ...calib, samples: 100 },
    method: 'shapley',
    metric: 'cross-entropy',
    groups: ['block1/conv1'],
    budget: 200,
    seed: 3,
    device,
  } as const;
  const partials: Progress[] = [];
  const ranks = await run('rank', { ...params, groups: [...params.groups] }, { progress: (p) => partials.push(p) });
  expect(ranks).toMatchObject({
    format: 'secateur-ranks/1',
    method: 'shapley',
    metric: 'cross-entropy',
    seed: 3,
    device: 'cpu',
    complete: true,
    output: 'logits',
    reading: 'logits',
  });
  expect(ranks.data.samples).toBe(80);
  expect(ranks.data.fingerprint).toMatch(/^[0-9a-f]{64}$/);
  const [group] = ranks.groups;
  expect(group).toMatchObject({ id: 'block1/conv1', kind: 'channel', size: 24, layers: ['block1/conv1'] });
  expect(group.evaluations).toBeGreaterThan(0);
  expect(group.evaluations).toBeLessThanOrEqual(200);
  // Efficiency: the values of all units add up to what all units are worth together.
  const sum = group.units.reduce((s, u) => s + u.score, 0);
  expect(sum).toBeCloseTo(group.value!.full - group.value!.empty, 4);
  expect(partials.some((p) => p.partial !== undefined)).toBe(true);
  const again = await run('rank', { ...params, groups: [...params.groups] });
  expect(again.groups[0].units).toEqual(group.units);
});

test('a cancelled ranking keeps what it has and can be gone on with', async () => {
  const params = {
    model,
    data: { ...calib, samples: 40 },
    method: 'shapley',
    metric: 'cross-entropy',
    groups: ['block3/conv1'],
    tolerance: 0,
    seed: 3,
    device,
  } as const;
  const abort = new AbortController();
  const stopped = await run(
    'rank',
    { ...params, groups: [...params.groups], budget: 100_000 },
    {
      signal: abort.signal,
      progress: (p) => {
        if (p.partial) setImmediate(() => abort.abort());
      },
    },
  );
  expect(stopped.complete).toBe(false);
  expect(stopped.groups.map((g) => g.id)).toEqual(['block3/conv1']);
  const saved = JSON.parse(JSON.stringify(stopped)) as Ranks;
  const done = stopped.groups[0].evaluations;
  const resumed = await run('rank', { ...params, groups: [...params.groups], budget: done + 400, resume: saved });
  expect(resumed.complete).toBe(true);
  const straight = await run('rank', { ...params, groups: ['block3/conv1'], budget: done + 400 });
  expect(resumed.groups[0].evaluations).toBe(straight.groups[0].evaluations);
  resumed.groups[0].units.forEach((u, i) => expect(u.score).toBeCloseTo(straight.groups[0].units[i].score, 6));

  const error = await failure(run('rank', { ...params, groups: ['block3/conv1'], seed: 4, resume: saved }));
  expect(error.code).toBe('usage');
  expect(error.message).toContain('seed');
});

test.each(['magnitude', 'magnitude-l2', 'activation', 'wanda', 'obs', 'random', 'leave-one-out'] as const)(
  '%s ranks every prunable group but blocks in graph order',
  async (method) => {
    const ranks = await run('rank', { model, data: { ...calib, samples: 20 }, method, seed: 0, device });
    const report = await run('inspect', { model });
    expect(ranks.groups.map((g) => g.id)).toEqual(
      report.groups.filter((g) => g.prunable && g.kind !== 'block').map((g) => g.id),
    );
    for (const g of ranks.groups)
      expect(g.units.map((u) => u.index)).toEqual(Array.from({ length: g.size }, (_, i) => i));
  },
);

test('residual blocks are ranked, planned, measured and pruned when their group is named', async () => {
  const id = 'block1/add#blocks';
  const data = { ...calib, samples: 60 };
  const scores: number[][] = [];
  for (const method of ['shapley', 'leave-one-out', 'activation', 'random'] as const) {
    const ranks = await run('rank', {
      model,
      data,
      method,
      metric: 'cross-entropy',
      groups: [id],
      seed: 1,
      device,
    });
    expect(ranks.groups).toMatchObject([{ id, kind: 'block', size: 2 }]);
    scores.push(ranks.groups[0].units.map((u) => u.score));
    if (method === 'shapley') {
      const { full, empty } = ranks.groups[0].value!;
      expect(scores[0][0] + scores[0][1]).toBeCloseTo(full - empty, 5);
      expect(full).toBeGreaterThan(empty);
    }
  }
  expect(scores[2].every((s) => s > 0)).toBe(true);
  const refused = await failure(run('rank', { model, data, method: 'magnitude', groups: [id], seed: 0, device }));
  expect(refused.code).toBe('unsupported');
  expect(refused.message).toContain('no magnitude');

  const ranks = await run('rank', { model, data, method: 'shapley', groups: [id], seed: 1, device });
  const planned = await run('plan', {
    model,
    data,
    ranks,
    target: { kind: 'keep-units', value: 0.5 },
    allocation: 'global',
    minKeep: 0.25,
    roundTo: 1,
    frozen: [],
    seed: 0,
    device,
  });
  const cut = planned.plan.groups.find((g) => g.id === id)!;
  expect(cut.keep).toHaveLength(1);
  expect(planned.plan.groups.filter((g) => g.id !== id && g.keep.length < 24)).toEqual([]);
  const measured = await run('measure', { model, data: holdout, keep: { [id]: cut.keep }, metric: 'accuracy', device });
  expect(measured.predicted).toEqual(planned.predicted);
  const out = join(scratch(), 'shallow.onnx');
  const report = await run('prune', { model, data: holdout, plan: planned.plan, out, device });
  expect(report.after.macs).toBeCloseTo(planned.predicted.macs, 3);
  expect(report.after.parameters).toBeCloseTo(planned.predicted.parameters, 3);
  expect(report.equivalence.maxRelDiff).toBeLessThanOrEqual(report.equivalence.tolerance);
  expect(report.after.value).toBeCloseTo(measured.value, 6);

  // Nobody asked for blocks: none go, and nobody is told that they stay.
  const plain = await run('rank', { model, data, method: 'magnitude', seed: 0, device });
  expect(plain.groups.some((g) => g.kind === 'block')).toBe(false);
  const { plan, messages } = await run('plan', {
    model,
    data,
    ranks: plain,
    target: { kind: 'keep-units', value: 0.5 },
    allocation: 'global',
    minKeep: 0.25,
    roundTo: 1,
    frozen: [],
    seed: 0,
    device,
  });
  expect(plan.groups.some((g) => g.id === id)).toBe(false);
  expect(plan.groups.reduce((n, g) => n + g.keep.length, 0)).toBe(96);
  expect(messages).toEqual([]);
});

test('mean activations are those of the values that the consumers read', async () => {
  const ranks = await run('rank', {
    model,
    data: calib,
    method: 'activation',
    groups: ['block1/conv1'],
    seed: 0,
    device,
  });
  // The same from onnxruntime itself: the output of block1/relu as an output of the file.
  const graph = loadModel(model);
  const relu = graph.graph.nodes.find((n) => n.name === 'block1/relu')!.outputs[0]!;
  graph.graph.outputs.push(relu);
  const path = join(scratch(), 'with-relu.onnx');
  saveModel(graph, path);
  const session = await ort.InferenceSession.create(path);
  const { openDataset } = await import('../../../src/evaluation/data/index.ts');
  const { search } = (await openDataset(graph, calib)).split(0);
  const { x } = search.feeds(Array.from({ length: search.samples }, (_, i) => i));
  const out = (await session.run({ x: new ort.Tensor('float32', x.data as Float32Array, x.dims) }))[relu.name];
  const values = out.data as Float32Array;
  const mean = new Float64Array(24);
  values.forEach((v, i) => (mean[Math.floor(i / 64) % 24] += Math.abs(v)));
  ranks.groups[0].units.forEach((u, i) => expect(u.score).toBeCloseTo(mean[i] / (search.samples * 64), 5));

  // Of a block: its branch as a whole.
  const id = 'block1/add#blocks';
  const blocks = await run('rank', { model, data: calib, method: 'activation', groups: [id], seed: 0, device });
  const add = loadModel(model);
  const branch = add.graph.nodes.find((n) => n.name === 'block1/add')!.inputs.find((v) => v!.name.includes('bn2'))!;
  add.graph.outputs.push(branch);
  saveModel(add, path);
  const second = await ort.InferenceSession.create(path);
  const sums = (await second.run({ x: new ort.Tensor('float32', x.data as Float32Array, x.dims) }))[branch.name];
  const all = sums.data as Float32Array;
  expect(blocks.groups[0].units[0].score).toBeCloseTo(all.reduce((sum, v) => sum + Math.abs(v), 0) / all.length, 5);
  await second.release();
  await session.release();
});

test('measure refines to the exact value of the gated model, and predicts the cost', async () => {
  const plan = await magnitudePlan();
  const keep = Object.fromEntries(plan.groups.map((g) => [g.id, g.keep]));
  const partials: Measured[] = [];
  const measured = await run(
    'measure',
    { model, data: calib, keep, device },
    { progress: (p) => p.partial && 'final' in p.partial && partials.push(p.partial) },
  );
  expect(measured).toMatchObject({ final: true, samples: 320 });
  expect(partials.length).toBeGreaterThan(0);
  expect(partials.every((p) => !p.final && p.samples < 320)).toBe(true);

  const out = join(scratch(), 'small.onnx');
  const report = await run('prune', { model, data: calib, plan, out, device });
  expect(report.before.value).toBeCloseTo(measured.reference, 10);
  // The same samples, the pruned file instead of gates: at most a sample at the border may turn.
  expect(Math.abs(report.after.value! - measured.value)).toBeLessThanOrEqual(1 / 320 + 1e-9);
  expect(report.after.macs).toBeCloseTo(measured.predicted.macs, 0);
  expect(report.after.parameters).toBeCloseTo(measured.predicted.parameters, 0);
});

test('a plan is executed, checked, measured and can be replayed to the byte', async () => {
  const folder = scratch();
  const plan = await magnitudePlan();
  const out = join(folder, 'small.onnx');
  const report = await run('prune', { model, data: holdout, plan, out, device });
  expect(report).toMatchObject({
    format: 'secateur-prune/1',
    metric: 'accuracy',
    output: out,
    device: 'cpu',
    shrunkOutputs: [],
    holdoutSamples: 500,
  });
  expect(report.equivalence.samples).toBeGreaterThanOrEqual(32);
  expect(report.equivalence.maxRelDiff).toBeLessThanOrEqual(report.equivalence.tolerance);
  expect(report.equivalence.tolerance).toBeLessThan(1e-2);
  expect(report.before).toMatchObject({ parameters: 85426, macs: 1857504, bytes: readFileSync(model).length });
  expect(report.before.holdout).toBeCloseTo(0.984, 10);
  expect(report.after.macs).toBeLessThanOrEqual(0.5 * 1857504);
  expect(report.after.bytes).toBe(readFileSync(out).length);
  expect(report.after.bytes).toBeLessThan(report.before.bytes);
  expect(report.after.latencyMs).toBeGreaterThan(0);
  expect(readdirSync(folder)).toEqual(['small.onnx']);

  // Names, batch axis and metadata are those of the original.
  const [a, b] = [loadModel(model), loadModel(out)];
  expect(b.graph.inputs.map((v) => [v.name, v.type])).toEqual(a.graph.inputs.map((v) => [v.name, v.type]));
  expect(b.graph.outputs.map((v) => v.name)).toEqual(a.graph.outputs.map((v) => v.name));
  expect(b.metadata).toEqual(a.metadata);
  expect(b.opsets).toEqual(a.opsets);

  // The held-out accuracy, counted once more by onnxruntime on the file.
  const again = await run('evaluate', { model: out, data: { path: join(example, 'heldout.npz'), seed: 0 }, device });
  expect(again.value).toBeCloseTo(report.after.holdout!, 10);

  const replayed = join(folder, 'again.onnx');
  await run('prune', {
    model,
    data: holdout,
    plan: JSON.parse(JSON.stringify(report.plan)) as Plan,
    out: replayed,
    device,
  });
  expect(readFileSync(replayed).equals(readFileSync(out))).toBe(true);
});

test('external data stays external, and an earlier export may be replaced', async () => {
  const folder = scratch();
  const source = join(folder, 'external.onnx');
  saveModel(loadModel(model), source, { external: true });
  const plan = await magnitudePlan(source);
  const out = join(folder, 'small.onnx');
  for (let i = 0; i < 2; i++) {
    const report = await run('prune', { model: source, data: calib, plan, out, device });
    expect(readdirSync(folder).sort()).toEqual([
      'external.onnx',
      'external.onnx.data',
      'small.onnx',
      'small.onnx.data',
    ]);
    expect(report.after.bytes).toBe(readFileSync(out).length + readFileSync(`${out}.data`).length);
    expect(report.after.bytes).toBeLessThan(report.before.bytes);
  }
  expect((await run('evaluate', { model: out, data: calib, device })).value).toBeGreaterThan(0.1);
  const error = await failure(run('prune', { model: source, data: calib, plan, out: `${source}.data`, device }));
  expect(error.message).toContain('never overwritten');
});

test('a plan that removes nothing gives the same model and says so', async () => {
  const out = join(scratch(), 'same.onnx');
  const plan: Plan = { ...(await magnitudePlan()), groups: [] };
  const report = await run('prune', { model, data: calib, plan, out, device });
  expect(report.warnings.join(' ')).toContain('removes nothing');
  expect(report.after).toMatchObject({ parameters: 85426, macs: 1857504, value: report.before.value });
  expect(report.after.bytes).toBeLessThanOrEqual(report.before.bytes);
  const compared = await run('compare', { a: model, b: out, data: calib, device });
  expect(compared.changed).toEqual({ samples: 0, share: 0, indices: [] });
  expect(compared.outputs).toEqual([{ name: 'logits', maxAbsDiff: 0, maxRelDiff: 0 }]);
});

test('the smallest model within a drop is found, and the drop holds on the samples it was searched on', async () => {
  const ranks = await run('rank', { model, data: calib, method: 'magnitude', seed: 0, device });
  const { plan, value, measured } = await run('plan', {
    model,
    data: calib,
    ranks,
    target: { kind: 'max-drop', value: 0.01 },
    allocation: 'global',
    minKeep: 0.25,
    roundTo: 1,
    frozen: ['stem/conv'],
    seed: 0,
    device,
  });
  const full = measured![0].value;
  expect(value).toBeGreaterThanOrEqual(full - 0.01 - 1e-9);
  expect(plan.groups.find((g) => g.id === 'stem/conv')).toMatchObject({
    frozen: true,
    keep: Array.from({ length: 24 }, (_, i) => i),
  });
  const out = join(scratch(), 'small.onnx');
  const report = await run('prune', { model, data: calib, plan, out, device });
  expect(report.before.value! - report.after.value!).toBeLessThanOrEqual(0.01 + 1 / 320);
  expect(report.after.macs).toBeLessThan(report.before.macs);
});

test('without data, agreement and divergence from the original are measured', async () => {
  const data = { path: null, seed: 0 };
  const report = await run('evaluate', { model, data, device });
  expect(['mse', 'kl']).toContain(report.metric);
  expect(report.value).toBeCloseTo(0, 8);
  const out = join(scratch(), 'small.onnx');
  const pruned = await run('prune', { model, data, plan: await magnitudePlan(model, 0.7), out, device });
  expect(pruned.data.path).toBe('synthetic');
  expect(pruned.after.value).toBeLessThan(0);
  expect(pruned.after.holdout).toBe(null);
  expect(pruned.warnings.join(' ')).toMatch(/synthetic/i);
});

test('a cancelled export leaves nothing', async () => {
  const folder = scratch();
  const plan = await magnitudePlan();
  for (const stage of ['removing', 'writing', 'checking', 'measuring the result', 'measuring latency']) {
    const abort = new AbortController();
    const progress = (p: Progress): void => {
      if (p.note.startsWith(stage)) abort.abort();
    };
    const error = await failure(
      run(
        'prune',
        { model, data: calib, plan, out: join(folder, 'small.onnx'), device },
        { signal: abort.signal, progress },
      ),
    );
    expect(error.code).toBe('cancelled');
    expect(readdirSync(folder)).toEqual([]);
  }
  expect(existsSync(model)).toBe(true);
});

test('compare has the fields of the contract', async () => {
  const out = join(scratch(), 'small.onnx');
  const plan = await magnitudePlan();
  await run('prune', { model, data: calib, plan, out, device });
  const report = await run('compare', {
    a: model,
    b: out,
    data: { path: join(example, 'heldout.npz'), seed: 0 },
    device,
  });
  expect(report.a.value).toBeCloseTo(0.984, 10);
  expect(report.delta.macs).toBe(report.b.macs - report.a.macs);
  expect(report.delta.value).toBeCloseTo(report.b.value! - report.a.value!, 12);
  expect(report.samples).toBe(500);
  expect(report.changed!.indices).toHaveLength(report.changed!.samples);
  const conv = report.layers.find((l) => l.name === 'block1/conv1')!;
  expect(conv.a!.parameters).toBe(5184);
  expect(conv.b!.parameters).toBeLessThan(5184);
  expect(report.outputs[0].maxAbsDiff).toBeGreaterThan(0);
});
