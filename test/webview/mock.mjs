/* global window, location */
/** Stands in for VS Code and the engine, inside the page. The scene comes in the URL; nothing here is shipped. */
import { featuresOf } from './features.mjs';
import { groupRanks, layerRanksOf, models, ranksOf } from './models.mjs';

const query = new URLSearchParams(location.search);
const scene = query.get('scene') ?? 'resnet';
const flags = new Set((query.get('flags') ?? '').split(',').filter(Boolean));
const speed = Number(query.get('speed') ?? 1);
const model = models[query.get('model') ?? 'resnet']();
const data = {
  path: '/home/mira/models/digits/calib.npz',
  synthetic: false,
  samples: 1000,
  holdoutSamples: 360,
  fingerprint: 'd41d8cd9',
  hasLabels: true,
  classes: 10,
  output: 'logits',
  reading: 'logits',
  metrics: ['cross-entropy', 'accuracy', 'kl', 'mse'],
  warnings: [],
};
const synthetic = {
  ...data,
  path: null,
  synthetic: true,
  samples: 64,
  holdoutSamples: 0,
  fingerprint: 'syn',
  hasLabels: false,
  classes: null,
  metrics: ['kl', 'mse'],
  warnings: [
    'No data was chosen: synthetic inputs are compared with the original’s outputs. Scores say how much the outputs change, not whether the answers are right.',
  ],
};
const summary = (spec) => (spec?.path ? { ...data, path: spec.path } : synthetic);
const scores = new Map(model.groups.map((g, i) => [g.id, groupRanks(g, 7 + i, 1)]));

const log = (window.__messages = []);
let state = JSON.parse(sessionStorage.getItem('state') ?? 'null') ?? JSON.parse(query.get('state') ?? 'null');
const post = (message) => setTimeout(() => window.dispatchEvent(new MessageEvent('message', { data: message })), 0);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms * speed));
const cancelled = new Set();

window.acquireVsCodeApi = () => ({
  getState: () => state,
  setState: (s) => {
    state = s;
    sessionStorage.setItem('state', JSON.stringify(s));
  },
  postMessage: (message) => {
    log.push(structuredClone(message));
    if (message.kind === 'cancel') return cancelled.add(message.id);
    const handler = handlers[message.method];
    Promise.resolve(
      handler
        ? handler(message.params, message.id)
        : Promise.reject({ code: 'internal', message: `no ${message.method}`, hint: '' }),
    ).then(
      (result) => post({ kind: 'result', id: message.id, result }),
      (error) =>
        post({
          kind: 'error',
          id: message.id,
          error: error.code ? error : { code: 'internal', message: String(error?.stack ?? error), hint: '' },
        }),
    );
  },
});
window.__event = (event) => post({ kind: 'event', event });

const progress = (id, fraction, note, partial) =>
  post({ kind: 'progress', id, progress: { fraction, note, ...(partial ? { partial } : {}) } });

function predicted(keep) {
  const kept = new Map(model.groups.map((g) => [g.id, keep[g.id]?.length ?? g.size]));
  const total = { macs: 0, parameters: 0 };
  for (const t of model.costTerms) {
    const product = t.factors.reduce(
      (p, f) => p * (f.fixed + f.groups.reduce((s, g) => s + g.multiplicity * kept.get(g.id), 0)),
      1,
    );
    total.macs += t.macs * product;
    total.parameters += t.parameters * product;
  }
  return total;
}

function valueOf(keep, metric) {
  let loss = 0;
  for (const [id, units] of Object.entries(keep)) {
    const stays = new Set(units);
    const group = scores.get(id);
    const sum = group.units.reduce((s, u) => s + Math.max(0, u.score), 0) || 1;
    for (const u of group.units) if (!stays.has(u.index)) loss += Math.max(0, u.score) / sum;
  }
  const share = loss / Math.max(1, Object.keys(keep).length);
  if (metric === 'accuracy' || metric === 'agreement') return (metric === 'accuracy' ? 0.972 : 1) - 0.86 * share ** 1.4;
  return (metric === 'cross-entropy' ? -0.0842 : 0) - 2.2 * share ** 1.4;
}

const handlers = {
  hello: async () => {
    if (flags.has('never')) await new Promise(() => {});
    return {
      model: model.model.path,
      name: model.model.path.split('/').pop(),
      defaults: {
        data: flags.has('nodata') ? { path: null, seed: 0 } : { path: data.path, seed: 0 },
        ...JSON.parse(query.get('view') ?? '{}'),
      },
      dataChoices: flags.has('nodata')
        ? []
        : [
            { path: data.path, label: 'digits/calib.npz' },
            { path: '/home/mira/models/digits/test.npz', label: 'digits/test.npz' },
          ],
      ranks: null,
      ranksByMethod: flags.has('ranked')
        ? {
            ...(flags.has('two')
              ? { magnitude: ranksOf(model, data, { method: 'magnitude', metric: null, seed: 40 }) }
              : {}),
            shapley: ranksOf(model, flags.has('nodata') ? synthetic : data, {
              complete: !flags.has('partial'),
              noSignal: flags.has('nosignal'),
              groups: flags.has('partial') ? model.groups.slice(0, 4).map((g) => g.id) : undefined,
            }),
          }
        : {},
      layerRanks: flags.has('layers') ? layerRanksOf(model, data) : null,
      features: query.get('features') ? featuresOf(query.get('features'), model.model, data) : null,
      job: null,
    };
  },
  'save-state': async () => null,
  'pick-data': async ({ kind }) => ({ path: `/data/${kind}.npz`, label: `${kind}.npz` }),
  'pick-export': async ({ suggestion }) => `/home/mira/models/${suggestion}`,
  'save-ranks': async () => ({ path: '/home/mira/models/resnet8-digits.ranks.json' }),
  'save-features': async () => ({ path: '/home/mira/models/resnet8-digits.features.json' }),
  'save-plan': async () => ({ path: '/home/mira/models/resnet8-digits.plan.json' }),
  'open-beside': async () => null,
  reveal: async () => null,
  copy: async ({ text }) => {
    window.__copied = text;
    return null;
  },
  'show-log': async () => null,
  'stop-jobs': async () => null,
  'restart-engine': async () => {
    await sleep(300);
    flags.delete('dead');
    return null;
  },
  devices: async () => [
    { name: 'cpu', available: true, note: '' },
    { name: 'webgpu', available: true, note: 'Vulkan' },
    { name: 'cuda', available: false, note: 'The CUDA libraries are not installed.' },
  ],
  inspect: async (_, id) => {
    if (flags.has('slow')) {
      for (let i = 0; i < 600; i++) {
        progress(id, i / 600, 'reading the graph');
        await sleep(500);
      }
    }
    if (flags.has('badmodel'))
      throw {
        code: 'bad-model',
        message: '‘resnet8-digits.onnx’ is not a readable ONNX file: the graph ends after 4 096 of 313 204 bytes.',
        hint: 'The file looks cut off. Download or export it again.',
      };
    return model;
  },
  'describe-data': async ({ data: spec }) => {
    await sleep(30);
    if (flags.has('baddata'))
      throw {
        code: 'bad-data',
        message: 'Array ‘x’ has shape 1000 × 1 × 8 × 8, but input ‘input’ wants batch × 3 × 28 × 28.',
        hint: 'Choose other data, or convert the images to 28 × 28 with three channels.',
      };
    return summary(spec);
  },
  rank: async (params, id) => {
    if (flags.has('rankfails'))
      throw {
        code: 'runtime',
        message: 'onnxruntime could not run the gated model on WebGPU: out of memory (wanted 3.1 GB).',
        hint: 'Choose the CPU, or fewer samples.',
      };
    const wanted = model.groups.filter((g) => g.prunable && (!params.groups || params.groups.includes(g.id)));
    const finished = [];
    for (const [i, g] of wanted.entries()) {
      for (let step = 1; step <= 10; step++) {
        if (cancelled.has(id)) {
          if (!finished.length) throw { code: 'cancelled', message: 'Cancelled.', hint: '' };
          return ranksOf(model, summary(params.data), {
            method: params.method,
            metric: params.metric ?? null,
            groups: finished,
            complete: false,
          });
        }
        progress(
          id,
          (i + step / 10) / wanted.length,
          `ranking ${g.id}, ${step * 200} of 2\u00a0000 evaluations`,
          groupRanks(g, 7 + model.groups.indexOf(g), step / 10),
        );
        await sleep(40);
        if (flags.has('hangs') && i === Math.min(2, wanted.length - 1) && step === 6) await new Promise(() => {});
      }
      finished.push(g.id);
    }
    return ranksOf(model, summary(params.data), {
      method: params.method,
      metric: params.metric ?? null,
      groups: params.groups,
    });
  },
  features: async (params, id) => {
    const found = featuresOf('patches', model.model, summary(params.data));
    for (let step = 1; step <= 10; step++) {
      if (cancelled.has(id)) return { ...found, complete: false };
      const features = found.features.map((f) => ({ ...f, importance: (f.importance * step + (10 - step) / 49) / 10 }));
      progress(id, step / 10, `step ${step * 30} of 300`, { features });
      await sleep(40);
      if (flags.has('hangs') && step === 6) await new Promise(() => {});
    }
    return found;
  },
  plan: async (_, id) => {
    for (let i = 0; i < 6; i++) {
      progress(id, i / 6, `measuring cut ${i + 1}, drop 0.00${i}`);
      await sleep(60);
    }
    const groups = model.groups
      .filter((g) => g.prunable)
      .map((g) => ({
        id: g.id,
        keep: scores
          .get(g.id)
          .units.toSorted((a, b) => b.score - a.score)
          .slice(0, Math.ceil(g.size * 0.7))
          .map((u) => u.index),
      }));
    return { plan: { groups }, predicted: { macs: 0, parameters: 0 }, value: 0.96 };
  },
  measure: async (params, id) => {
    if (flags.has('measurefails'))
      throw {
        code: 'runtime',
        message: 'The gated model gives NaN on 3 of 1 000 samples.',
        hint: 'Look for infinities in the input data.',
      };
    const value = valueOf(params.keep, params.metric);
    const reference = valueOf({}, params.metric);
    const error = (n) =>
      params.metric === 'accuracy' ? Math.sqrt(Math.max(1e-4, value * (1 - value)) / n) : 0.4 / Math.sqrt(n);
    for (const n of [50, 150, 400]) {
      await sleep(120);
      if (cancelled.has(id)) throw { code: 'cancelled', message: 'Cancelled.', hint: '' };
      progress(id, n / 1000, `measured ${n} of 1 000 samples`, {
        value: value + Math.sin(n) * error(n) * 0.7,
        stderr: error(n),
        samples: n,
        final: false,
        reference,
        predicted: predicted(params.keep),
      });
      if (flags.has('hangs') && n === 150) await new Promise(() => {});
    }
    await sleep(150);
    return { value, stderr: error(1000), samples: 1000, final: true, reference, predicted: predicted(params.keep) };
  },
  prune: async (params, id) => {
    for (const [i, note] of [
      'cutting weights',
      'checking against the gated model',
      'measuring before and after',
    ].entries()) {
      progress(id, i / 3, note);
      await sleep(300);
    }
    if (flags.has('prunefails'))
      throw {
        code: 'io',
        message: 'The folder ‘/home/mira/models’ cannot be written.',
        hint: 'Choose another folder.',
      };
    const keep = Object.fromEntries(params.plan.groups.map((g) => [g.id, g.keep]));
    const cost = predicted(keep);
    return {
      format: 'secateur-prune/1',
      model: params.plan.model,
      data: { path: data.path, fingerprint: data.fingerprint, samples: 1000 },
      metric: 'accuracy',
      before: {
        bytes: model.model.bytes,
        parameters: model.totals.parameters,
        macs: model.totals.macs,
        value: 0.972,
        holdout: 0.9694,
        latencyMs: 1.42,
      },
      after: {
        bytes: model.model.bytes - 4 * (model.totals.parameters - cost.parameters),
        parameters: cost.parameters,
        macs: cost.macs,
        value: valueOf(keep, 'accuracy'),
        holdout: valueOf(keep, 'accuracy') - 0.004,
        latencyMs: 0.83,
      },
      equivalence: { maxAbsDiff: 4.1e-6, maxRelDiff: 3.2e-7, tolerance: 1e-5, samples: 64 },
      plan: params.plan,
      output: params.out,
      device: 'cpu',
      seconds: 3.9,
      warnings: [],
      shrunkOutputs: [],
      holdoutSamples: 360,
      groupSizes: {},
    };
  },
};

if (flags.has('died'))
  setTimeout(
    () =>
      window.__event({
        type: 'engine-died',
        message: 'It ended with signal SIGKILL (out of memory?) while ranking b3.conv1.',
      }),
    500,
  );
if (flags.has('stale')) setTimeout(() => window.__event({ type: 'model-changed' }), 300);
window.__scene = scene;
