import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openGateLoss, type OpenGateLoss } from '../../../src/evaluation/gradients/index.ts';
import { openDataset, type Dataset } from '../../../src/evaluation/data/index.ts';
import { readOutput } from '../../../src/evaluation/metrics/index.ts';
import type { GateLoss } from '../../../src/evaluation/types.ts';
import type { GroupRanks } from '../../../src/formats.ts';
import { loadModel } from '../../../src/graph/load.ts';
import { sampleDirichlet, type DirichletDraw } from '../../../src/math/dirichlet-sampling.ts';
import { Rng } from '../../../src/math/random.ts';
import { RunningVector } from '../../../src/math/statistics.ts';
import { pathwiseGradient, scoreFunctionGradient } from '../../../src/ranking/dirichlet/estimators.ts';
import { minibatches } from '../../../src/ranking/dirichlet/minibatches.ts';
import { scaleShares } from '../../../src/ranking/dirichlet/scaling.ts';
import { defaultBudget, schedule, spent } from '../../../src/ranking/dirichlet/schedule.ts';
import { rankGroup } from '../../../src/ranking/registry.ts';
import type { RankOptions, RankProgress } from '../../../src/ranking/types.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import type { Structure } from '../../../src/units/types.ts';
import { silenceUnits } from '../../support/silent-units.ts';
import { groupOf } from './games.ts';
import { linear } from './switch-models.ts';

const folder = resolve(import.meta.dirname, '../../../examples/digits');
const GROUP = 'block3/conv1';
/** Units of that group that matter, which lose their outgoing weights. */
const DEAD = [27, 28, 29, 30];

const data = (): Promise<Dataset> =>
  openDataset(loadModel(join(folder, 'model.onnx')), { path: join(folder, 'calib.npz'), samples: 120, seed: 0 });

async function openLoss(structure: Structure, dataset: Dataset): Promise<OpenGateLoss> {
  const reading = await readOutput(structure.model, dataset);
  return openGateLoss(structure, GROUP, dataset, { metric: 'kl', reading, device: 'cpu', seed: 0 });
}

/** The example with zeros where its group's consumer reads some units. */
function withoutOutgoing(units: readonly number[]): Structure {
  const structure = analyseStructure(loadModel(join(folder, 'model.onnx')));
  silenceUnits(structure, GROUP, units);
  return structure;
}

const rank = (
  loss: GateLoss,
  options: Partial<RankOptions> = {},
  ...rest: [AbortSignal?, ((p: RankProgress) => void)?]
) => rankGroup('dirichlet', { group: groupOf(loss.size), loss }, { seed: 0, ...options }, ...rest);

const means = (ranks: GroupRanks): number[] => ranks.units.map((u) => u.score);

/** A loss in closed form, the same on all samples. */
function closedForm(
  size: number,
  at: (gates: Float64Array) => { loss: number; gradient: Float64Array },
  { differentiable = true, samples = 40 } = {},
): GateLoss & { ranges: { from: number; to: number }[]; rows: number[] } {
  const ranges: { from: number; to: number }[] = [];
  const rows: number[] = [];
  return {
    group: 'closed',
    size,
    samples,
    metric: 'kl',
    differentiable,
    ranges,
    rows,
    evaluate(gates, count, range) {
      ranges.push(range);
      rows.push(count);
      const found = Array.from({ length: count }, (_, k) => at(gates.slice(k * size, (k + 1) * size)));
      const losses = Float64Array.from(found, (f) => f.loss);
      const gradients = Float64Array.from(found.flatMap((f) => [...f.gradient]));
      return Promise.resolve(differentiable ? { losses, gradients } : { losses });
    },
  };
}

describe('on a layer of the example', () => {
  let dataset: Dataset;
  let loss: OpenGateLoss;
  let dead: OpenGateLoss;
  beforeAll(async () => {
    dataset = await data();
    loss = await openLoss(withoutOutgoing([]), dataset);
    dead = await openLoss(withoutOutgoing(DEAD), dataset);
  });
  afterAll(async () => {
    await loss.close();
    await dead.close();
  });

  it('gives each unit its posterior mean and deviation', async () => {
    const { ranks, complete, resume } = await rank(loss);
    expect([complete, resume]).toEqual([true, undefined]);
    expect(means(ranks).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 9);
    expect(ranks.units.every((u) => u.stderr! > 0 && u.stderr! < 0.1)).toBe(true);
    expect(ranks.evaluations).toBe(34);
    expect(ranks.value!.full).toBeCloseTo(0, 5);
    expect(ranks.value!.empty).toBeLessThan(-0.1);
    expect(ranks.noSignal).toBe(false);
    expect(ranks.switch).toMatchObject({
      form: 'sampled',
      scaling: 'saturating',
      prior: 2,
      draws: 8,
      steps: 80,
      gradient: 'pathwise',
    });
    expect((await rank(loss)).ranks.units).toEqual(ranks.units);
  });

  it('units without outgoing weights end alike, below the prior mean and below every useful unit', async () => {
    const { size, samples } = dead;
    // Useful: what is lost with the unit alone is more than rounding, and more than a hundredth of the largest loss.
    const alone = new Float64Array((size + 1) * size).fill(1);
    for (let i = 0; i < size; i++) alone[i * size + i] = 0;
    const { losses } = await dead.evaluate(alone, size + 1, { from: 0, to: samples });
    const lost = [...losses.subarray(0, size)].map((l) => l - losses[size]);
    const useful = [...lost.keys()].filter((i) => lost[i] > 0.01 * Math.max(...lost));
    expect(useful.length).toBeGreaterThan(12);
    for (const i of DEAD) expect(Math.abs(lost[i])).toBeLessThan(1e-6);

    const running = new RunningVector(size);
    for (let seed = 0; seed < 5; seed++) running.add(means((await rank(dead, { seed })).ranks));
    const error = running.standardError();
    const common = DEAD.reduce((sum, i) => sum + running.mean[i], 0) / DEAD.length;
    for (const i of DEAD) {
      // 4 degrees of freedom only: their 99.7 % interval is 6 standard errors wide.
      expect(Math.abs(running.mean[i] - common)).toBeLessThan(6 * error[i]);
      expect(running.mean[i]).toBeLessThan(1 / size);
      for (const other of useful) expect(running.mean[other], `unit ${other}`).toBeGreaterThan(running.mean[i]);
    }
  });

  it('pathwise and score-function gradients estimate the same', async () => {
    const n = loss.size;
    const range = { from: 0, to: 16 };
    const phi = Float64Array.from({ length: n }, (_, i) => 1 + (i % 5) / 2);
    const rng = Rng.from(3, 'draws');
    const pathwise = new RunningVector(n);
    const byScore = new RunningVector(n);
    for (let block = 0; block < 40; block++) {
      const draws: DirichletDraw[] = Array.from({ length: 64 }, () => sampleDirichlet(rng, phi));
      const gates = new Float64Array(draws.length * n);
      draws.forEach((d, k) => gates.set(scaleShares('saturating', d.shares), k * n));
      const { losses, gradients } = await loss.evaluate(gates, draws.length, range);
      pathwise.add(pathwiseGradient(phi, draws, 'saturating', gradients!));
      byScore.add(scoreFunctionGradient(phi, draws, losses));
    }
    const [a, b] = [pathwise.standardError(), byScore.standardError()];
    let squares = 0;
    for (let i = 0; i < n; i++) {
      const z = (pathwise.mean[i] - byScore.mean[i]) / Math.hypot(a[i], b[i]);
      squares += z * z;
      expect(Math.abs(z), `unit ${i}`).toBeLessThan(3);
    }
    // Of n standard normal numbers.
    expect(squares / n).toBeLessThan(1.6);
    // The pathwise ones are by far the quieter.
    expect(Math.max(...a)).toBeLessThan(Math.max(...b) / 2);
  });

  it('keeps what it has when cancelled, and goes on to the same numbers', async () => {
    const whole = await rank(loss, { budget: 10 });
    const controller = new AbortController();
    const seen: RankProgress[] = [];
    const part = await rank(loss, { budget: 10 }, controller.signal, (p) => {
      seen.push(p);
      if (seen.length === 7) controller.abort();
    });
    expect(part.complete).toBe(false);
    expect(part.ranks.switch!.steps).toBe(7);
    expect(seen.at(-1)!.partial!.units).toEqual(part.ranks.units);
    const resume = JSON.parse(JSON.stringify(part.resume));
    const rest = await rank(loss, { resume });
    expect(rest.complete).toBe(true);
    expect(rest.ranks.units).toEqual(whole.ranks.units);
    expect(rest.ranks.noSignal).toBe(whole.ranks.noSignal);
    await expect(rank(loss, { resume, scaling: 'simplex' })).rejects.toMatchObject({ code: 'usage' });
    await expect(rank(loss, { resume, seed: 1 })).rejects.toMatchObject({ code: 'usage' });
    await expect(rank(loss, {}, AbortSignal.abort())).rejects.toMatchObject({ code: 'cancelled' });
  });
});

describe('with a loss in closed form', () => {
  it('orders units by what they do, also without gradients and in the point form', async () => {
    const weights = [3, 2, 1, 0, 0, 0];
    const cases: [Partial<RankOptions>, boolean, string, number][] = [
      [{}, true, 'pathwise', 34],
      [{ form: 'point' }, true, 'point', 34],
      [{ scaling: 'mean-one', prior: 1 }, true, 'pathwise', 34],
      [{}, false, 'score-function', 130],
    ];
    for (const [options, differentiable, gradient, evaluations] of cases) {
      const { ranks } = await rank(closedForm(6, linear(weights), { differentiable }), options);
      const m = means(ranks);
      expect(ranks.switch).toMatchObject({ gradient, form: options.form ?? 'sampled', prior: options.prior ?? 2 });
      expect(ranks.evaluations).toBe(evaluations);
      for (const [better, worse] of [
        [0, 1],
        [1, 2],
        [2, 3],
        [2, 5],
      ])
        expect(m[better], gradient).toBeGreaterThan(m[worse]);
      expect(ranks.noSignal).toBe(false);
    }
  });

  it('refuses the point form where there are no gradients', async () => {
    const loss = closedForm(3, linear([1, 2, 3]), { differentiable: false });
    await expect(rank(loss, { form: 'point' })).rejects.toMatchObject({ code: 'unsupported' });
  });

  it('says that there is no signal where the loss hears nothing of the gates, or only noise', async () => {
    const deaf = await rank(closedForm(8, () => ({ loss: 1, gradient: new Float64Array(8) })));
    expect(deaf.ranks.noSignal).toBe(true);
    deaf.ranks.units.forEach((u) => expect(u.score).toBeCloseTo(1 / 8, 9));
    for (let seed = 0; seed < 6; seed++) {
      const rng = Rng.from(seed, 'noise');
      const noisy = closedForm(30, () => ({
        loss: 1,
        gradient: Float64Array.from({ length: 30 }, () => rng.float() - 0.5),
      }));
      expect((await rank(noisy, { seed })).ranks.noSignal, `seed ${seed}`).toBe(true);
    }
  });

  it('takes every sample once in each pass, in a new order', async () => {
    const loss = closedForm(3, linear([1, 2, 3]), { samples: 47 });
    const batches = minibatches(loss, 20, 5);
    const gates = new Float64Array(3);
    for (let step = 0; step < 40; step++) await batches.evaluate(gates, 1, step);
    const pass = (k: number): number[] => loss.ranges.slice(20 * k, 20 * k + 20).map((r) => r.from);
    for (const k of [0, 1]) {
      const covered = loss.ranges
        .slice(20 * k, 20 * k + 20)
        .flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i));
      expect(covered.sort((a, b) => a - b)).toEqual(Array.from({ length: 47 }, (_, i) => i));
    }
    expect(pass(0)).not.toEqual(pass(1));
    // Step 3 alone takes what it took in its turn.
    await minibatches(loss, 20, 5).evaluate(gates, 1, 3);
    expect(loss.ranges.at(-1)).toEqual(loss.ranges[3]);
  });

  it('spends the budget', async () => {
    for (const form of ['sampled', 'point'] as const)
      for (const budget of [10, 34, 50]) {
        const plan = schedule(100, form, true, budget);
        expect(Math.abs(spent(plan, plan.steps) - budget)).toBeLessThanOrEqual(1);
        const loss = closedForm(3, linear([1, 2, 3]), { samples: 100 });
        await rank(loss, { form, budget });
        const rows = loss.ranges.reduce((sum, { from, to }, i) => sum + loss.rows[i] * (to - from), 0);
        expect(Math.abs(rows / 100 - budget)).toBeLessThan(1);
      }
    expect(defaultBudget()).toBe(34);
    expect(schedule(7, 'sampled', true)).toEqual({ draws: 8, batches: 7, steps: 28 });
  });
});
