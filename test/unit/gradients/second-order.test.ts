import { describe, expect, it } from 'vitest';
import type { Dataset } from '../../../src/evaluation/data/index.ts';
import { chooseLoss, gateGradients, openSampleLoss, type LossKind } from '../../../src/evaluation/gradients/index.ts';
import type { OutputReading } from '../../../src/evaluation/types.ts';
import { float32Tensor, toFloat32 } from '../../../src/runtime/host-tensor.ts';
import { createSession } from '../../../src/runtime/session.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { gateModel } from '../../../src/units/gating.ts';
import type { Structure } from '../../../src/units/types.ts';
import { cases, readingCase } from '../coalitions/readings.ts';

/** Mean loss over all samples with one gate of the group moved. */
async function moved(structure: Structure, data: Dataset, loss: LossKind, reading: OutputReading, gates: number[][]) {
  const { model, gates: made } = gateModel(structure, ['two']);
  const open = await openSampleLoss(structure, data, { loss, reading, device: 'cpu' });
  const value = open.addTo(model);
  model.graph.outputs.splice(0, model.graph.outputs.length, value);
  const session = await createSession(model);
  const all = Array.from({ length: data.samples }, (_, i) => i);
  const means: number[] = [];
  for (const gate of gates) {
    const feeds = { ...data.feeds(all), ...open.feeds(all), [made[0].input.name]: float32Tensor([1, 7], gate) };
    const losses = toFloat32((await session.run(feeds, [value.name]))[value.name]);
    means.push(losses.reduce((sum, v) => sum + v, 0) / losses.length);
  }
  await session.release();
  return means;
}

const open = (unit: number, to: number): number[] => Array.from({ length: 7 }, (_, i) => (i === unit ? to : 1));
const units = [0, 1, 2, 3, 4, 5, 6];

async function squares(structure: Structure, data: Dataset, loss: LossKind, reading: OutputReading, seed = 0) {
  const own = await openSampleLoss(structure, data, { loss, reading, device: 'cpu', seed });
  const { moments } = await gateGradients(structure, ['one', 'two'], data, own, { device: 'cpu' });
  return { mean: [...moments.get('two')!.square.mean], loss: own };
}

describe('mean squares of derivatives are second derivatives', () => {
  it.each(['logits', 'probabilities', 'log-probabilities', 'binary logit', 'binary probability'])(
    'of the divergence from the model itself, over all of its answers: %s',
    async (name) => {
      const c = cases.find((k) => k.name === name)!;
      const { model, data, reading } = readingCase(c);
      const structure = analyseStructure(model);
      const { mean, loss } = await squares(structure, data, 'own-distribution', reading);
      expect([loss.draws, loss.exact]).toEqual([c.classes, true]);
      // KL(p ‖ p moved by h) ≈ ½·F·h²; the mean over both sides has no third-order part.
      const h = 0.1;
      const divergences = await moved(
        structure,
        data,
        'kl',
        reading,
        units.flatMap((u) => [open(u, 1 - h), open(u, 1 + h)]),
      );
      const wanted = units.map((u) => (divergences[2 * u] + divergences[2 * u + 1]) / h ** 2);
      const largest = Math.max(...wanted);
      units.forEach((u) => expect(Math.abs(mean[u] - wanted[u]) / largest, `unit ${u}`).toBeLessThan(0.02));
    },
  );

  it('in the mean over seeds where answers are drawn at several positions', async () => {
    const c = cases.find((k) => k.name === 'classes in the middle')!;
    const { model, data, reading } = readingCase(c);
    const structure = analyseStructure(model);
    const h = 0.1;
    const divergences = await moved(
      structure,
      data,
      'kl',
      reading,
      units.flatMap((u) => [open(u, 1 - h), open(u, 1 + h)]),
    );
    const seeds = Array.from({ length: 20 }, (_, i) => i);
    const found: number[][] = [];
    for (const seed of seeds) {
      const { mean, loss } = await squares(structure, data, 'own-distribution', reading, seed);
      expect(loss.exact).toBe(false);
      found.push(mean);
    }
    expect(found[0]).not.toEqual(found[1]);
    expect((await squares(structure, data, 'own-distribution', reading, 0)).mean).toEqual(found[0]);
    for (const u of units) {
      const wanted = (divergences[2 * u] + divergences[2 * u + 1]) / h ** 2;
      const mean = found.reduce((sum, f) => sum + f[u], 0) / seeds.length;
      const deviation = Math.sqrt(found.reduce((sum, f) => sum + (f[u] - mean) ** 2, 0) / (seeds.length - 1));
      const error = deviation / Math.sqrt(seeds.length);
      expect(Math.abs(mean - wanted), `unit ${u}: ${mean} for ${wanted}`).toBeLessThan(3.5 * error + 0.02 * wanted);
    }
  });

  it('of the squared error, which is a parabola where the head is linear', async () => {
    const { model, data, reading } = readingCase(cases.find((k) => k.name === 'regression')!);
    const structure = analyseStructure(model);
    const free = Object.create(data, { labels: { value: null } }) as Dataset;
    expect(chooseLoss(free, reading, 'task').kind).toBe('projection');
    const seeds = Array.from({ length: 20 }, (_, i) => i);
    const found = [];
    for (const seed of seeds) found.push((await squares(structure, free, 'projection', reading, seed)).mean);
    // The error relative to the original is ½·(second derivative)·(1 − g)², exactly, at g = 0 too.
    const closed = await moved(
      structure,
      free,
      'mse',
      reading,
      units.map((u) => open(u, 0)),
    );
    for (const u of units) {
      const mean = found.reduce((sum, f) => sum + f[u], 0) / seeds.length;
      const deviation = Math.sqrt(found.reduce((sum, f) => sum + (f[u] - mean) ** 2, 0) / (seeds.length - 1));
      expect(Math.abs(mean / 2 - closed[u]), `unit ${u}: ${mean / 2} for ${closed[u]}`).toBeLessThan(
        (3.5 * deviation) / 2 / Math.sqrt(seeds.length) + 1e-5 * closed[u],
      );
    }
  });
});

describe('the loss that gradients are taken of', () => {
  const data = (labels: unknown) => ({ labels }) as Dataset;
  const reading = (of: OutputReading['reading']): OutputReading => ({ output: 'y', reading: of, classAxis: -1 });

  it('is that of the labels, or one of the model’s own answers, and says so', () => {
    const kinds = (labels: unknown, of: OutputReading['reading']) => {
      const { kind, note } = chooseLoss(data(labels), reading(of), 'task');
      return [kind, note !== undefined];
    };
    expect(kinds([1], 'logits')).toEqual(['cross-entropy', false]);
    expect(kinds([1], 'regression')).toEqual(['mse', false]);
    expect(kinds(null, 'binary-logit')).toEqual(['own-answer', true]);
    expect(kinds(null, 'regression')).toEqual(['projection', true]);
    expect(chooseLoss(data([1]), reading('logits'), 'distribution').kind).toBe('own-distribution');
    expect(chooseLoss(data([1]), reading('regression'), 'distribution').kind).toBe('projection');
  });
});
