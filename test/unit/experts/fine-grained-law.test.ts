/** The tables of arXiv:2402.07871. */
import { expect, test } from 'vitest';
import type { FineGrainedExpansion } from '../../../src/experts/planner/fine-grained-law.ts';
import { FINE_GRAINED_COEFFICIENTS, fineGrainedFamily } from '../../../src/experts/planner/fine-grained-law.ts';
import { planMoe } from '../../../src/experts/planner/plan.ts';
import type { MoeBudget, MoeCandidate } from '../../../src/formats.ts';
import { lastNotAbove } from '../../../src/math/root.ts';

const open: Omit<MoeBudget, 'compute'> = {
  memory: null,
  inferenceTokens: 0,
  context: 0,
  bytesPerNumber: 2,
  vocabulary: 50_257,
  maxTokensPerParameter: null,
};

/** The best mixture of the law (its dense model aside) for so many operations. */
function bestOf(compute: number, expansion: FineGrainedExpansion, granularities?: number[]): MoeCandidate {
  const { candidates } = planMoe({ ...open, compute }, { expansion, granularities }).laws[1];
  return candidates.filter((c) => c.experts > 1).reduce((a, b) => (b.loss < a.loss ? b : a));
}

// Table 2: active parameters, tokens, granularity, operations, loss
const TABLE_2 = [
  [100e6, 4.37e9, 8, 2.95e18, 3.133],
  [1e9, 28.94e9, 16, 1.93e20, 2.491],
  [3e9, 72.9e9, 16, 1.41e21, 2.245],
  [7e9, 137.6e9, 32, 6.46e21, 2.076],
  [70e9, 941.07e9, 32, 4.16e23, 1.694],
  [300e9, 2.96e12, 64, 5.69e24, 1.503],
  [1e12, 7.94e12, 64, 4.97e25, 1.367],
];

test.each(TABLE_2)('64 × %d parameters', (active, tokens, granularity, flops, loss) => {
  const family = fineGrainedFamily(64, granularity, open.vocabulary);
  const width = Math.cbrt((active * 64) / 12);
  expect(family.active(width) / active).toBeCloseTo(1, 12);
  expect(Math.abs((family.trainingFlops(width) * tokens) / flops - 1)).toBeLessThan(0.005);
  // The coefficients are published to two or three digits: the loss is off by as much as they were rounded.
  expect(Math.abs(family.loss(width, tokens) - loss)).toBeLessThan(0.025);
  const [low, high] = lossesWithinRounding(active, tokens, granularity);
  expect(loss).toBeGreaterThan(low);
  expect(loss).toBeLessThan(high);

  const best = bestOf(flops, 64);
  expect(best.granularity).toBe(granularity);
  expect(Math.abs(best.active / active - 1)).toBeLessThan(0.03);
  expect(Math.abs(best.tokens / tokens - 1)).toBeLessThan(0.03);
});

/** Least and largest loss of a 64 × N model over all coefficients that round to the published ones. */
function lossesWithinRounding(active: number, tokens: number, granularity: number): [number, number] {
  const { a, alpha, b, beta, g, gamma, c } = FINE_GRAINED_COEFFICIENTS[64];
  const all = (active * (4 + 8 * 64)) / 12;
  const at = (sign: 1 | -1): number =>
    c +
    sign * 0.005 +
    ((g + sign * 0.05) / granularity ** (gamma - sign * 0.005) + a + sign * 0.05) / all ** (alpha - sign * 0.0005) +
    (b + sign * 0.05) / tokens ** (beta - sign * 0.0005);
  return [at(-1), at(1)];
}

// Table 9: active parameters, 10th and 90th percentiles of tokens and granularity
const TABLE_9 = [
  [100e6, 10.29e9, 17.73e9, 8, 16],
  [1e9, 53.74e9, 103.54e9, 16, 32],
  [3e9, 106.22e9, 261.04e9, 16, 32],
  [7e9, 177.65e9, 511.43e9, 16, 32],
  [70e9, 721.6e9, 3.22e12, 32, 64],
  [300e9, 1.73e12, 10.69e12, 32, 64],
  [1e12, 3.6e12, 28.22e12, 32, 128],
];

test.each(TABLE_9)('16 × %d parameters', (active, fewest, most, coarsest, finest) => {
  const granularities = [1, 2, 4, 8, 16, 32, 64, 128];
  const log = lastNotAbove(
    (l) => bestOf(Math.exp(l), 16, granularities).active - active,
    Math.log(1e16),
    Math.log(1e28),
  );
  const best = bestOf(Math.exp(log), 16, granularities);
  expect(best.tokens).toBeGreaterThan(fewest);
  expect(best.tokens).toBeLessThan(most);
  expect(best.granularity).toBeGreaterThanOrEqual(coarsest);
  expect(best.granularity).toBeLessThanOrEqual(finest);
});

test('a dense model needs some twenty times the compute of the best mixture of 10²⁰ operations', () => {
  const { loss } = bestOf(1e20, 64);
  const dense = (compute: number): number => planMoe({ ...open, compute }).laws[1].candidates[0].loss;
  expect(dense(1.8e21)).toBeGreaterThan(loss);
  expect(dense(2.4e21)).toBeLessThan(loss);
});

test('granularity changes neither active nor stored parameters but those of the routers', () => {
  const [coarse, fine] = [1, 16].map((g) => fineGrainedFamily(64, g, open.vocabulary));
  const width = 768;
  expect(fine.active(width)).toBe(coarse.active(width));
  expect(fine.total(width) - coarse.total(width)).toBe(12 * 768 * 64 * 15);
  expect(fine.routerShare!(width)).toBe((64 * 16) / (12 * 768));
  expect(coarse.active(width)).toBeCloseTo(85e6, -6); // Table 3: 64 × 85 M
});
