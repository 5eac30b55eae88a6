/** The tables of arXiv:2502.05172. */
import { expect, test } from 'vitest';
import {
  chinchillaForm,
  computeOptimal,
  effectiveExperts,
  JOINT_EXPERTS,
  jointFamily,
  jointLearningRate,
  jointLoss,
} from '../../../src/experts/planner/joint-law.ts';
import { planMoe } from '../../../src/experts/planner/plan.ts';
import type { MoeBudget, MoeLawPlan } from '../../../src/formats.ts';

const GPT2 = 50_257;
const open: MoeBudget = {
  compute: 1e21,
  memory: null,
  inferenceTokens: 0,
  context: 16_384,
  bytesPerNumber: 2,
  vocabulary: GPT2,
  maxTokensPerParameter: null,
};

function jointPlan(budget: Partial<MoeBudget>): MoeLawPlan {
  return planMoe({ ...open, ...budget }).laws.find(({ law }) => law === 'joint')!;
}

test('Ê starts at E_start, grows with E and stays below E_max', () => {
  expect(effectiveExperts(1)).toBeCloseTo(2.0732, 12);
  const values = [1, 2, 4, 32, 1000, 1e9].map(effectiveExperts);
  expect(values).toEqual([...values].sort((a, b) => a - b));
  expect(values.at(-1)).toBeCloseTo(290.4521, 3);
});

// Table 4
test.each([
  [1, 30.364, -0.1817, 53.9838, -0.1965],
  [2, 27.7982, -0.178, 66.8401, -0.2065],
  [4, 24.8462, -0.1731, 87.7022, -0.2192],
  [8, 21.833, -0.1676, 119.9126, -0.2338],
  [16, 19.0159, -0.1617, 167.5073, -0.2494],
  [32, 16.5424, -0.1557, 234.6726, -0.2652],
])('with %i experts the law has the published Chinchilla form to three digits', (experts, m, mu, n, nu) => {
  const form = chinchillaForm(experts);
  expect(Math.abs(form.m / m - 1)).toBeLessThan(0.0015);
  expect(Math.abs(form.n / n - 1)).toBeLessThan(0.0027);
  expect(Math.abs(form.mu - mu)).toBeLessThan(0.00015);
  expect(Math.abs(form.nu - nu)).toBeLessThan(0.00015);
  expect(form.c).toBe(1.3637);
});

// Table 1: experts, parameters and tokens in billions, as printed
const TABLE_1: [number, string][] = [
  [1e20, '1 1.7 9.7, 2 1.5 11.4, 4 1.2 13.9, 8 0.990 17, 16 0.810 20.7, 32 0.669 24.9'],
  [1e21, '1 5.7 29.3, 2 5 33, 4 4.4 38, 8 3.8 44.3, 16 3.3 51.2, 32 2.85 58.4'],
  [1e22, '1 18.8 88.6, 2 17.4 96, 4 15.8 105.4, 8 14.4 115.8, 16 13.2 126.5, 32 12.2 136.9'],
];

test.each(TABLE_1)('compute-optimal models at %d operations', (compute, rows) => {
  for (const row of rows.split(', ')) {
    const [experts, active, tokens] = row.split(' ');
    const found = computeOptimal(Number(experts), compute);
    expectPrinted(found.active / 1e9, active);
    expectPrinted(found.tokens / 1e9, tokens);
    expect((6 * found.active * found.tokens) / compute).toBeCloseTo(1, 12);
  }
});

/** Equal within half a unit of the last printed digit and 1.1 %: coefficients are published to four digits. */
function expectPrinted(value: number, printed: string): void {
  const decimals = printed.split('.')[1]?.length ?? 0;
  expect(Math.abs(value - Number(printed))).toBeLessThan(0.5 * 10 ** -decimals + 0.011 * value);
}

test('the closed form is the least loss on a fine grid, and what the search finds', () => {
  for (const experts of JOINT_EXPERTS)
    for (const compute of [1e18, 1e21, 1e25]) {
      const { active, tokens } = computeOptimal(experts, compute);
      const least = jointLoss(active, tokens, experts);
      let grid = Infinity;
      for (let factor = 0.1; factor < 10; factor *= 1.002)
        grid = Math.min(grid, jointLoss(active * factor, tokens / factor, experts));
      expect(grid).toBeGreaterThanOrEqual(least);
      expect(grid - least).toBeLessThan(1e-6);
      const searched = jointPlan({ compute }).candidates.find((c) => c.experts === experts)!;
      expect(searched.active / active).toBeCloseTo(1, 5);
      expect(searched.loss).toBeCloseTo(least, 10);
    }
});

// Table 2: best number of experts by operations and memory, 32 meaning 32 or more
const GIGABYTES = [24, 80, 640];
const TABLE_2: [number, number[]][] = [
  [1e21, [16, 32, 32]],
  [1e22, [4, 16, 32]],
  [1e23, [1, 8, 32]],
  [1e24, [1, 1, 16]],
];

test('best numbers of experts by memory: nine of twelve as published, three off by a step and by little', () => {
  const off: [number, number, number][] = [];
  for (const [compute, row] of TABLE_2)
    GIGABYTES.forEach((gigabytes, i) => {
      // as stated there: bfloat16, 16 k tokens in the cache
      const { candidates, best } = jointPlan({ compute, memory: gigabytes * 1e9 });
      const published = candidates.findIndex(({ experts }) => experts === row[i]);
      if (best === published) return;
      off.push([compute, gigabytes, candidates[best!].experts]);
      expect(Math.abs(best! - published)).toBe(1);
      expect(candidates[published].loss - candidates[best!].loss).toBeLessThan(0.007);
    });
  expect(off).toEqual([
    [1e21, 24, 32],
    [1e23, 80, 4],
    [1e24, 640, 8],
  ]);
});

test('the parameters of the models that were trained', () => {
  // Appendix E: width (with width / 64 blocks), experts, active and total parameters in millions
  const models = [
    [1024, 32, 321, 5000],
    [1792, 4, 1300, 3800],
    [2304, 1, 2700, 2700],
    [1152, 4, 426, 1100],
    [640, 16, 118, 671],
    [512, 8, 79, 211],
  ];
  for (const [width, experts, active, total] of models) {
    const family = jointFamily(experts, GPT2);
    expect(Math.abs(family.active(width) / (active * 1e6) - 1)).toBeLessThan(0.04);
    expect(Math.abs(family.total(width) / (total * 1e6) - 1)).toBeLessThan(0.04);
  }
});

test('a mixture of as many parameters in all, trained on E times the tokens, beats the dense model', () => {
  // section 4.5: 1.1 B parameters in all
  const dense = jointLoss(1.1e9, 8e9, 1);
  expect(jointLoss(709e6, 16e9, 2)).toBeLessThan(dense);
  expect(jointLoss(426e6, 32e9, 4)).toBeLessThan(dense);
  // and takes 36 % and 61 % fewer operations a token
  expect(1 - 709 / 1107).toBeCloseTo(0.36, 2);
});

test('more experts ask for a smaller learning rate, by the fourth root', () => {
  expect(jointLearningRate(1e9, 16) / jointLearningRate(1e9, 1)).toBeCloseTo(0.5, 12);
  expect(jointLearningRate(1e8, 1)).toBeCloseTo(Math.exp(8.39) / 1e8 ** 0.81, 12);
});
