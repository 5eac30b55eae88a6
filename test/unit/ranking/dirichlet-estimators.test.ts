import { describe, expect, it } from 'vitest';
import { sampleDirichlet } from '../../../src/math/dirichlet-sampling.ts';
import { dirichletMean } from '../../../src/math/dirichlet.ts';
import { Rng } from '../../../src/math/random.ts';
import { RunningVector } from '../../../src/math/statistics.ts';
import { estimateAtMean, estimateFromDraws, type SwitchLoss } from '../../../src/ranking/dirichlet/estimators.ts';
import { pullBackScaling, scaleShares, type SwitchScaling } from '../../../src/ranking/dirichlet/scaling.ts';
import { centralDifferences, vectorError } from '../math/golden.ts';
import { modelOf, regression } from './switch-models.ts';

const scalings: SwitchScaling[] = ['mean-one', 'saturating', 'max-one', 'simplex'];
const shares = Float64Array.of(0.1, 0.45, 0.25, 0.2);

describe('scaling of shares', () => {
  it('gives gates of mean 1, below 1, of maximum 1, or the shares', () => {
    expect([...scaleShares('mean-one', shares)]).toEqual([0.4, 1.8, 1, 0.8]);
    expect(scaleShares('saturating', shares)[2]).toBeCloseTo(1 - Math.exp(-1), 15);
    expect(scaleShares('max-one', shares)[1]).toBe(1);
    expect(scaleShares('max-one', shares)[0]).toBeCloseTo(0.1 / 0.45, 15);
    expect(scaleShares('simplex', shares)).toEqual(shares);
    expect(scaleShares('simplex', shares)).not.toBe(shares);
  });

  it.each(scalings)('%s has the derivative of central differences', (scaling) => {
    const weights = [1, -2, 0.5, 3];
    const f = (s: Float64Array): number => scaleShares(scaling, s).reduce((sum, g, i) => sum + weights[i] * g * g, 0);
    const outer = scaleShares(scaling, shares).map((g, i) => 2 * weights[i] * g);
    expect(vectorError(pullBackScaling(scaling, shares, outer), centralDifferences(f, shares))).toBeLessThan(1e-8);
  });
});

describe('gradient of the expected loss', () => {
  const at = regression([1, 0.7, 0, 0.2]);
  const phi = Float64Array.of(1.2, 0.5, 2, 3.5);

  it.each(scalings)('at the mean equals central differences, %s', async (scaling) => {
    const { loss, gradient, estimator } = await estimateAtMean(modelOf(4, at), phi, scaling, 3);
    const f = (p: Float64Array): number => at(scaleShares(scaling, dirichletMean(p)), 3).loss;
    expect(loss).toBe(f(phi));
    expect(vectorError(gradient, centralDifferences(f, phi))).toBeLessThan(1e-7);
    expect(estimator).toBe('point');
  });

  it.each(scalings)('along paths equals the score-function estimate within 4 standard errors, %s', async (scaling) => {
    const run = async (model: SwitchLoss, repeats: number): Promise<RunningVector> => {
      const rng = Rng.from(5, scaling);
      const running = new RunningVector(4);
      for (let i = 0; i < repeats; i++) {
        const draws = Array.from({ length: 32 }, () => sampleDirichlet(rng, phi));
        running.add((await estimateFromDraws(model, phi, draws, scaling, 0)).gradient);
      }
      return running;
    };
    const pathwise = await run(modelOf(4, at), 150);
    const score = await run(modelOf(4, at, { gradients: false }), 400);
    const [a, b] = [pathwise.standardError(), score.standardError()];
    pathwise.mean.forEach((m, i) => {
      expect(Math.abs(m - score.mean[i])).toBeLessThan(4 * Math.hypot(a[i], b[i]));
      // The comparison has to be sharp enough to see a wrong gradient.
      expect(4 * Math.hypot(a[i], b[i])).toBeLessThan(0.25 * Math.max(...pathwise.mean.map(Math.abs)));
      // Per step, paths are the better estimate: that is why gradients are worth their cost.
      expect(a[i] * Math.sqrt(150)).toBeLessThan(b[i] * Math.sqrt(400));
    });
  });

  it('says what it cannot do', async () => {
    const draws = [sampleDirichlet(Rng.from(0), phi)];
    const blind = modelOf(4, at, { gradients: false });
    await expect(estimateAtMean(blind, phi, 'simplex', 0)).rejects.toMatchObject({ code: 'unsupported' });
    await expect(estimateFromDraws(blind, phi, draws, 'simplex', 0)).rejects.toMatchObject({ code: 'usage' });
    const infinite = modelOf(4, () => ({ loss: Infinity, gradient: new Float64Array(4) }));
    await expect(estimateFromDraws(infinite, phi, draws, 'simplex', 0)).rejects.toMatchObject({ code: 'runtime' });
    const broken = modelOf(4, () => ({ loss: 1, gradient: Float64Array.of(0, NaN, 0, 0) }));
    await expect(estimateAtMean(broken, phi, 'simplex', 0)).rejects.toMatchObject({ code: 'runtime' });
    const short = modelOf(4, () => ({ loss: 1, gradient: new Float64Array(3) }));
    await expect(estimateAtMean(short, phi, 'simplex', 0)).rejects.toMatchObject({ code: 'internal' });
  });
});
