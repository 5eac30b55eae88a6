import { describe, expect, it } from 'vitest';
import { SecateurError } from '../../../src/errors.ts';
import { gammaDrawDerivative, logGammaDrawDerivative } from '../../../src/math/gamma-gradient.ts';
import { sampleLogGamma } from '../../../src/math/gamma-sampling.ts';
import { digamma, logGamma, trigamma } from '../../../src/math/gamma.ts';
import { standardNormal } from '../../../src/math/normal.ts';
import { Rng } from '../../../src/math/random.ts';
import { meanAndDeviation } from '../../../src/math/statistics.ts';
import { golden, relativeError } from './golden.ts';

describe('logGamma, digamma, trigamma', () => {
  const { rows } = golden<{ rows: number[][] }>('special-functions');

  it.each([
    ['logGamma', logGamma, 1],
    ['digamma', digamma, 2],
    ['trigamma', trigamma, 3],
  ] as const)('%s is right to 1e-12 from 1e-6 to 1e6', (_, f, column) => {
    const wrong = rows.filter((row) => !(relativeError([f(row[0])], [row[column]]) < 1e-12));
    expect(wrong).toEqual([]);
    expect(rows.length).toBeGreaterThan(60);
  });

  it('are derivatives of each other', () => {
    for (const x of [0.03, 0.8, 1.46, 7, 250]) {
      const h = 1e-5 * x;
      expect(relativeError([(logGamma(x + h) - logGamma(x - h)) / (2 * h)], [digamma(x)])).toBeLessThan(1e-6);
      expect(relativeError([(digamma(x + h) - digamma(x - h)) / (2 * h)], [trigamma(x)])).toBeLessThan(1e-6);
    }
  });
});

describe('standardNormal', () => {
  it('has the moments of the normal distribution', () => {
    const rng = Rng.from(1, 'normal');
    const draws = Float64Array.from({ length: 40_000 }, () => standardNormal(rng));
    const { mean, deviation } = meanAndDeviation(draws);
    expect(Math.abs(mean)).toBeLessThan(4 / 200);
    expect(Math.abs(deviation - 1)).toBeLessThan(4 / Math.sqrt(2 * 40_000));
    // E[x⁴] = 3, Var[x⁴] = 96
    expect(Math.abs(meanAndDeviation(draws.map((x) => x ** 4)).mean - 3)).toBeLessThan(4 * Math.sqrt(96 / 40_000));
  });
});

describe('sampleLogGamma', () => {
  it.each(golden<{ rows: [number, number[]][] }>('gamma-deciles').rows)(
    'fills the deciles of Gamma(%f) alike',
    (shape, deciles) => {
      const rng = Rng.from(3, `shape ${shape}`);
      const draws = 20_000;
      const counts = new Float64Array(10);
      for (let i = 0; i < draws; i++) {
        const log = sampleLogGamma(rng, shape);
        const bin = deciles.findIndex((limit) => log < limit);
        counts[bin < 0 ? 9 : bin]++;
      }
      const chiSquare = counts.reduce((sum, n) => sum + (n - draws / 10) ** 2 / (draws / 10), 0);
      // 9 degrees of freedom: 0.9999 quantile 33.7
      expect(chiSquare).toBeLessThan(33.7);
    },
  );

  it.each([1e-4, 0.03, 1, 12, 1e4])('gives ln z its mean ψ(α) and variance ψ′(α) for shape %f', (shape) => {
    const rng = Rng.from(8, `${shape}`);
    const draws = Array.from({ length: 20_000 }, () => sampleLogGamma(rng, shape));
    const { mean, deviation } = meanAndDeviation(draws);
    expect(Math.abs(mean - digamma(shape))).toBeLessThan((4 * deviation) / Math.sqrt(20_000));
    // The fourth moment of ln z is at most that of an exponential variable: Var of the sample variance ≤ 8 σ⁴/n.
    expect(Math.abs(deviation ** 2 / trigamma(shape) - 1)).toBeLessThan(4 * Math.sqrt(8 / 20_000));
  });

  it('says what shape it cannot draw', () => {
    for (const shape of [0, -1, NaN, Infinity]) expect(() => sampleLogGamma(Rng.from(0), shape)).toThrow(SecateurError);
  });
});

describe('logGammaDrawDerivative', () => {
  const { rows } = golden<{ rows: [number, number, number, number | null][] }>('gamma-draws');

  it('equals the derivative of the incomplete gamma function, in the tails too', () => {
    const wrong = rows
      .map(([shape, z, expected]) => ({
        shape,
        z,
        error: relativeError([logGammaDrawDerivative(shape, Math.log(z))], [expected]),
      }))
      .filter(({ error }) => !(error < 1e-11));
    expect(wrong).toEqual([]);
    expect(rows.length).toBeGreaterThan(100);
  });

  it('equals torch between the 1st and the 99th percentile, where torch is good to 1e-3', () => {
    const compared = rows.filter((row) => row[3] !== null);
    const errors = compared.map(([shape, z, , torch]) => relativeError([gammaDrawDerivative(shape, z)], [torch! * z]));
    expect(compared.length).toBeGreaterThan(50);
    expect(Math.max(...errors)).toBeLessThan(1e-3);
  });

  it('goes on to draws that are too small to be held', () => {
    // P(α, z) is z^α/Γ(α + 1) there, so ln z = (ln P + ln Γ(α + 1))/α.
    for (const [shape, log] of [
      [1e-4, -20_000],
      [1e-3, -800],
      [0.02, -745],
    ])
      expect(relativeError([logGammaDrawDerivative(shape, log)], [(digamma(shape + 1) - log) / shape])).toBeLessThan(
        1e-12,
      );
  });

  it('is the change of a quantile', () => {
    // Deciles of neighbouring shapes by bisection would need a cdf of our own; the mean needs none: E[dz/dα] = dα/dα = 1.
    const rng = Rng.from(4, 'mean');
    for (const shape of [0.05, 0.6, 3, 80, 2000]) {
      const slopes = Array.from({ length: 4000 }, () => {
        const log = sampleLogGamma(rng, shape);
        return Math.exp(log) * logGammaDrawDerivative(shape, log);
      });
      const { mean, deviation } = meanAndDeviation(slopes);
      expect(Math.abs(mean - 1)).toBeLessThan((4 * deviation) / Math.sqrt(slopes.length));
    }
  });
});
