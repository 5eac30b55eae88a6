import { describe, expect, it } from 'vitest';
import { dirichletKl } from '../../../src/math/dirichlet.ts';
import { RunningVector } from '../../../src/math/statistics.ts';
import {
  fitSwitch,
  type SwitchOptions,
  type SwitchOutcome,
  type SwitchProgress,
} from '../../../src/ranking/dirichlet/variational.ts';
import type { SwitchScaling } from '../../../src/ranking/dirichlet/scaling.ts';
import { centralDifferences } from '../math/golden.ts';
import { classifier, linear, modelOf, regression } from './switch-models.ts';

const options: SwitchOptions = {
  form: 'sampled',
  draws: 8,
  prior: 2,
  klWeight: 0.5,
  steps: 400,
  learningRate: 0.1,
  scaling: 'mean-one',
  seed: 0,
};

/** The posterior means of several seeds, element by element. */
async function means(
  fit: (seed: number) => Promise<SwitchOutcome>,
  seeds: number,
  size: number,
): Promise<RunningVector> {
  const running = new RunningVector(size);
  for (let seed = 0; seed < seeds; seed++) running.add((await fit(seed)).posterior.mean);
  return running;
}

describe('without the data term', () => {
  const nothing = modelOf(5, () => ({ loss: 0, gradient: new Float64Array(5) }));
  const initial = [0.01, 0.4, 2, 9, 30];

  it.each([
    ['sampled', 2],
    ['point', 2],
    ['sampled', 0.1],
  ] as const)('every φ ends at α₀: %s form, α₀ = %f', async (form, prior) => {
    const { posterior, divergence, complete } = await fitSwitch(nothing, {
      ...options,
      form,
      prior,
      initial,
      draws: 1,
      steps: 3000,
      klWeight: 1,
      learningRate: 0.2,
    });
    posterior.phi.forEach((p) => expect(Math.abs(p - prior)).toBeLessThan(1e-3 * prior));
    expect(divergence).toBeLessThan(1e-5);
    expect(complete).toBe(true);
  });

  it('it stays at the prior when it starts there', async () => {
    const { posterior } = await fitSwitch(nothing, { ...options, steps: 20 });
    posterior.phi.forEach((p) => expect(p).toBeCloseTo(2, 12));
    posterior.mean.forEach((m) => expect(m).toBeCloseTo(0.2, 12));
    // Var = m(1 − m)/(φ₀ + 1)
    posterior.deviation.forEach((d) => expect(d).toBeCloseTo(Math.sqrt((0.2 * 0.8) / 11), 12));
  });
});

describe('with a linear loss', () => {
  const weights = [3, 2, 1.5, 1, 0, 0, 0, 0];
  const useless = [4, 5, 6, 7];
  const n = weights.length;
  const model = modelOf(n, linear(weights));
  const objective = (phi: Float64Array): number => {
    const total = phi.reduce((a, b) => a + b, 0);
    const data = -phi.reduce((sum, p, i) => sum + (weights[i] * p) / total, 0);
    return data + options.klWeight * dirichletKl(phi, new Float64Array(n).fill(options.prior));
  };

  it('the point form, which is exact here, ends where the gradient of the objective is 0', async () => {
    const { posterior, estimator, loss } = await fitSwitch(model, { ...options, form: 'point', steps: 3000 });
    const slopes = centralDifferences(objective, posterior.phi);
    slopes.forEach((slope) => expect(Math.abs(slope)).toBeLessThan(1e-5));
    expect(estimator).toBe('point');
    expect(loss).toBeCloseTo(-posterior.mean.reduce((sum, m, i) => sum + m * weights[i], 0), 5);
    for (let i = 0; i < 4; i++) expect(posterior.mean[i]).toBeGreaterThan(posterior.mean[i + 1]);
    for (const i of useless) {
      expect(posterior.mean[i]).toBeCloseTo(posterior.mean[4], 9);
      expect(posterior.mean[i]).toBeLessThan(1 / n);
    }
  });

  it.each([
    ['pathwise', true, 8, 400],
    ['score-function', false, 64, 400],
  ] as const)(
    'the %s gradient leads to the same posterior within Monte-Carlo error',
    async (name, gradients, draws, steps) => {
      const exact = await fitSwitch(model, { ...options, form: 'point', steps: 3000 });
      const noisy = modelOf(n, linear(weights), { gradients });
      const seeds = 8;
      const estimators = new Set<string>();
      const found = await means(
        async (seed) => {
          const outcome = await fitSwitch(noisy, { ...options, draws, steps, seed });
          estimators.add(outcome.estimator);
          return outcome;
        },
        seeds,
        n,
      );
      expect([...estimators]).toEqual([name]);
      const errors = found.standardError();
      const best = exact.posterior.mean;
      // 5 standard errors: their estimates have 7 degrees of freedom only. 2 % for what 400 steps leave.
      found.mean.forEach((m, i) => expect(Math.abs(m - best[i])).toBeLessThan(5 * errors[i] + 0.02 * best[i]));
      const common = useless.reduce((sum, i) => sum + found.mean[i], 0) / useless.length;
      for (const i of useless) {
        expect(Math.abs(found.mean[i] - common)).toBeLessThan(5 * errors[i]);
        expect(found.mean[i]).toBeLessThan(1 / n);
        for (let useful = 0; useful < 4; useful++) expect(found.mean[useful]).toBeGreaterThan(found.mean[i]);
      }
    },
  );
});

describe('with a frozen layer that was trained with all gates at 1', () => {
  // The last unit matters little, the two units before it have no outgoing weights at all.
  const model = modelOf(6, regression([1, -0.8, 0.6, 0, 0, 0.3]));
  const fit = (scaling: SwitchScaling): Promise<RunningVector> =>
    means((seed) => fitSwitch(model, { ...options, scaling, klWeight: 1 / 64, steps: 500, seed }), 6, 6);

  it.each(['saturating', 'max-one', 'simplex'] as const)(
    'units without outgoing weights end alike, below the prior mean and below every useful unit: %s',
    async (scaling) => {
      const found = await fit(scaling);
      const errors = found.standardError();
      expect(Math.abs(found.mean[3] - found.mean[4])).toBeLessThan(5 * Math.hypot(errors[3], errors[4]));
      for (const i of [3, 4]) {
        expect(found.mean[i]).toBeLessThan(1 / 6);
        for (const useful of [0, 1, 2, 5]) expect(found.mean[useful]).toBeGreaterThan(found.mean[i]);
      }
    },
  );

  it('gates of mean 1 are no ranking where amplification brings nothing: what is left over goes to the useless', async () => {
    const found = await fit('mean-one');
    for (const i of [3, 4]) expect(found.mean[i]).toBeGreaterThan(1 / 6);
  });
});

describe('with a trained classifier', () => {
  const n = 10;
  const useless = [7, 8, 9];

  it.each(['labels', 'own'] as const)(
    'units without outgoing weights end alike, below the prior mean and below every useful unit: target %s',
    async (target) => {
      const model = modelOf(n, classifier(n, useless.length, target));
      const found = await means(
        (seed) =>
          fitSwitch(model, { ...options, draws: 4, scaling: 'saturating', klWeight: 1 / 192, steps: 250, seed }),
        5,
        n,
      );
      const errors = found.standardError();
      const common = useless.reduce((sum, i) => sum + found.mean[i], 0) / useless.length;
      for (const i of useless) {
        expect(Math.abs(found.mean[i] - common)).toBeLessThan(5 * errors[i]);
        expect(found.mean[i]).toBeLessThan(1 / n);
        for (let useful = 0; useful < 7; useful++) expect(found.mean[useful]).toBeGreaterThan(found.mean[i]);
      }
    },
  );
});

describe('a run', () => {
  const model = modelOf(6, regression([1, -0.8, 0.6, 0, 0, 0.3]));
  const short = { ...options, steps: 30, draws: 2 };

  it('reports every step and repeats itself', async () => {
    const seen: SwitchProgress[] = [];
    const first = await fitSwitch(model, short, undefined, (progress) => seen.push(progress));
    expect(seen.map((p) => p.step)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    expect(seen.at(-1)!.posterior).toEqual(first.posterior);
    expect(first.posterior.mean.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
    expect(first.resume).toBeUndefined();
    expect((await fitSwitch(model, short)).posterior).toEqual(first.posterior);
    expect((await fitSwitch(model, { ...short, seed: 1 })).posterior).not.toEqual(first.posterior);
    expect((await fitSwitch(model, { ...short, label: 'conv2' })).posterior).not.toEqual(first.posterior);
  });

  it('keeps what was computed when cancelled, and goes on to the same numbers', async () => {
    const whole = await fitSwitch(model, short);
    const controller = new AbortController();
    const part = await fitSwitch(model, short, controller.signal, ({ step }) => step === 11 && controller.abort());
    expect([part.complete, part.step]).toEqual([false, 11]);
    const resume = JSON.parse(JSON.stringify(part.resume));
    const rest = await fitSwitch(model, { ...short, resume });
    expect([rest.complete, rest.step]).toEqual([true, 30]);
    expect(rest.posterior).toEqual(whole.posterior);
  });

  it('goes on as well when a step was cancelled half-way', async () => {
    const whole = await fitSwitch(model, short);
    const stopping = modelOf(6, regression([1, -0.8, 0.6, 0, 0, 0.3]), {
      onCall: (calls) => {
        if (calls === 8) throw new DOMException('stop', 'AbortError');
      },
    });
    const part = await fitSwitch(stopping, short);
    expect([part.complete, part.step]).toEqual([false, 7]);
    expect((await fitSwitch(model, { ...short, resume: part.resume })).posterior).toEqual(whole.posterior);
  });

  it('throws when it is cancelled before there is anything', async () => {
    await expect(fitSwitch(model, short, AbortSignal.abort())).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('lets units go without breaking: φ down to its floor', async () => {
    const weights = [5, 0, 0, 0];
    const run = await fitSwitch(modelOf(4, linear(weights)), {
      ...options,
      klWeight: 0,
      learningRate: 0.5,
      steps: 600,
    });
    expect(run.posterior.mean[0]).toBeGreaterThan(0.99);
    run.posterior.phi.forEach((p) => expect(p).toBeGreaterThan(0.99e-4));
    expect(run.posterior.deviation.every(Number.isFinite)).toBe(true);
  });

  it.each([
    { steps: 0 },
    { steps: 1.5 },
    { draws: 0 },
    { prior: 0 },
    { klWeight: -1 },
    { learningRate: NaN },
    { initial: [1, 2] },
    { initial: [1, 1, 1, 1, 1, 0] },
  ])('refuses %j', async (wrong) => {
    await expect(fitSwitch(model, { ...short, ...wrong })).rejects.toMatchObject({ code: 'usage' });
  });

  it('refuses a state of another group', async () => {
    const controller = new AbortController();
    const part = await fitSwitch(model, short, controller.signal, () => controller.abort());
    const other = modelOf(3, linear([1, 2, 3]));
    await expect(fitSwitch(other, { ...short, resume: part.resume })).rejects.toMatchObject({ code: 'bad-data' });
  });
});
