import { describe, expect, it } from 'vitest';
import {
  drawDerivatives,
  drawJacobian,
  normalise,
  pullBackDraw,
  sampleDirichlet,
} from '../../../src/math/dirichlet-sampling.ts';
import {
  dirichletEntropy,
  dirichletKl,
  dirichletKlGradient,
  dirichletLogDensity,
  dirichletMean,
  dirichletScore,
  dirichletVariance,
  pullBackMean,
} from '../../../src/math/dirichlet.ts';
import { Rng } from '../../../src/math/random.ts';
import { RunningVector } from '../../../src/math/statistics.ts';
import { centralDifferences, golden, relativeError, vectorError } from './golden.ts';

interface Case {
  q: number[];
  p: number[];
  mean: number[];
  variance: number[];
  entropy: number;
  shares: number[];
  logDensity: number;
  score: number[];
  kl: number;
  klGradient: number[];
}

describe('Dirichlet distribution', () => {
  const { cases } = golden<{ cases: Case[] }>('dirichlet');

  it.each(cases.map((c, i) => [i, c] as const))('equals torch.distributions, case %i', (_, c) => {
    const logShares = c.shares.map(Math.log);
    expect(relativeError(dirichletMean(c.q), c.mean)).toBeLessThan(1e-13);
    expect(relativeError(dirichletVariance(c.q), c.variance)).toBeLessThan(1e-12);
    expect(relativeError([dirichletEntropy(c.q)], [c.entropy])).toBeLessThan(1e-10);
    expect(relativeError([dirichletLogDensity(c.q, logShares)], [c.logDensity])).toBeLessThan(1e-10);
    expect(vectorError(dirichletScore(c.q, logShares), c.score)).toBeLessThan(1e-12);
    expect(Math.abs(dirichletKl(c.q, c.p) - c.kl)).toBeLessThan(1e-10 * Math.max(1, c.kl));
    // torch's trigamma is good to 1e-9.
    expect(vectorError(dirichletKlGradient(c.q, c.p), c.klGradient)).toBeLessThan(1e-8);
  });

  it('has gradients that equal central differences', () => {
    for (const { q, p, shares } of cases.slice(1)) {
      const logShares = shares.map(Math.log);
      expect(
        vectorError(
          dirichletKlGradient(q, p),
          centralDifferences((phi) => dirichletKl(phi, p), q),
        ),
      ).toBeLessThan(1e-7);
      const density = (phi: Float64Array): number => dirichletLogDensity(phi, logShares);
      expect(vectorError(dirichletScore(q, logShares), centralDifferences(density, q))).toBeLessThan(1e-7);
      const weights = q.map((_, i) => Math.sin(i + 1));
      const ofMean = (phi: Float64Array): number =>
        dirichletMean(phi).reduce((sum, m, i) => sum + weights[i] * m * m, 0);
      const outer = dirichletMean(q).map((m, i) => 2 * weights[i] * m);
      expect(vectorError(pullBackMean(q, outer), centralDifferences(ofMean, q))).toBeLessThan(1e-7);
    }
  });

  it('has a KL divergence of 0 from itself that is not symmetric', () => {
    const phi = [0.3, 2, 1000];
    expect(dirichletKl(phi, phi)).toBe(0);
    expect([...dirichletKlGradient(phi, phi)]).toEqual([0, 0, 0]);
    expect(dirichletKl([1, 2], [2, 2])).not.toBeCloseTo(dirichletKl([2, 2], [1, 2]), 3);
  });
});

describe('draws of shares', () => {
  it.each([[[0.4, 1.3, 6, 0.9]], [[0.001, 0.001, 0.002]], [[200, 300]]])('of Dir(%j) have its moments', (phi) => {
    const rng = Rng.from(2, `${phi}`);
    const first = new RunningVector(phi.length);
    const squares = new RunningVector(phi.length);
    const mean = dirichletMean(phi);
    for (let i = 0; i < 8000; i++) {
      const { shares, logShares } = sampleDirichlet(rng, phi);
      expect(Math.abs(shares.reduce((a, b) => a + b, 0) - 1)).toBeLessThan(1e-12);
      expect(logShares.every(Number.isFinite)).toBe(true);
      first.add(shares);
      squares.add(shares.map((s, j) => (s - mean[j]) ** 2));
    }
    const variance = dirichletVariance(phi);
    phi.forEach((_, i) => {
      expect(Math.abs(first.mean[i] - mean[i])).toBeLessThan(4 * first.standardError()[i]);
      expect(Math.abs(squares.mean[i] - variance[i])).toBeLessThan(4 * squares.standardError()[i]);
    });
  });

  it('has scores of mean 0', () => {
    const phi = [0.2, 1.5, 4];
    const rng = Rng.from(6, 'score');
    const running = new RunningVector(3);
    for (let i = 0; i < 4000; i++) running.add(dirichletScore(phi, sampleDirichlet(rng, phi).logShares));
    running.mean.forEach((m, i) => expect(Math.abs(m)).toBeLessThan(4 * running.standardError()[i]));
  });

  it('survives the smallest parameters: one share takes all', () => {
    const rng = Rng.from(7);
    const phi = new Float64Array(50).fill(1e-4);
    for (let i = 0; i < 200; i++) {
      const draw = sampleDirichlet(rng, phi);
      expect(Math.max(...draw.shares)).toBeGreaterThan(0.4);
      expect(drawDerivatives(phi, draw).every((d) => d > 0 && d < Infinity)).toBe(true);
      const pulled = pullBackDraw(
        phi,
        draw,
        phi.map((_, j) => Math.cos(j)),
      );
      expect(pulled.every(Number.isFinite)).toBe(true);
    }
  });

  it('moves with the parameters as torch says', () => {
    const { cases } = golden<{
      cases: { shapes: number[]; draws: number[]; gradient: number[]; pulled: number[] }[];
    }>('dirichlet-pullback');
    for (const { shapes, draws, gradient, pulled } of cases) {
      const draw = normalise(Float64Array.from(draws, Math.log));
      expect(vectorError(pullBackDraw(shapes, draw, gradient), pulled)).toBeLessThan(1e-3);
      const n = shapes.length;
      const jacobian = drawJacobian(shapes, draw);
      const product = shapes.map((_, j) => gradient.reduce((sum, g, i) => sum + g * jacobian[i * n + j], 0));
      expect(vectorError(pullBackDraw(shapes, draw, gradient), product)).toBeLessThan(1e-13);
    }
  });

  it('has pathwise gradients whose mean is the gradient of the mean', () => {
    // f(s) = Σ w_i s_i²: E[s_i²] = φ_i(φ_i + 1)/(φ₀(φ₀ + 1)) in closed form.
    const phi = [0.3, 1, 2.2, 5];
    const weights = [3, -1, 2, 0.5];
    const expectation = (p: Float64Array): number => {
      const total = p.reduce((a, b) => a + b, 0);
      return p.reduce((sum, x, i) => sum + (weights[i] * x * (x + 1)) / (total * (total + 1)), 0);
    };
    const expected = centralDifferences(expectation, phi);
    const rng = Rng.from(9, 'pathwise');
    const running = new RunningVector(4);
    for (let i = 0; i < 6000; i++) {
      const draw = sampleDirichlet(rng, phi);
      running.add(
        pullBackDraw(
          phi,
          draw,
          draw.shares.map((s, j) => 2 * weights[j] * s),
        ),
      );
    }
    running.mean.forEach((m, i) => expect(Math.abs(m - expected[i])).toBeLessThan(4 * running.standardError()[i]));
  });
});
