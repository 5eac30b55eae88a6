import { describe, expect, test } from 'vitest';
import type { ModelFamily } from '../../../src/experts/planner/family.ts';
import { fineGrainedFamily } from '../../../src/experts/planner/fine-grained-law.ts';
import { jointFamily, jointLoss } from '../../../src/experts/planner/joint-law.ts';
import { optimum } from '../../../src/experts/planner/optimum.ts';
import { placeModel } from '../../../src/experts/planner/place.ts';
import { planMoe } from '../../../src/experts/planner/plan.ts';
import type { MoeBudget, MoeShape } from '../../../src/formats.ts';
import { Rng } from '../../../src/math/random.ts';

const VOCABULARY = 50_257;
const open: MoeBudget = {
  compute: 1e21,
  memory: null,
  inferenceTokens: 0,
  context: 16_384,
  bytesPerNumber: 2,
  vocabulary: VOCABULARY,
  maxTokensPerParameter: null,
};

/** The least loss over a fine grid of widths, the constraints written out once more. */
function gridLoss(family: ModelFamily, budget: MoeBudget): number {
  let least = Infinity;
  for (let width = 64; width < 3e5; width *= 1.0005) {
    const active = family.active(width);
    const tokens =
      (budget.compute - budget.inferenceTokens * family.inferenceFlops(width)) / family.trainingFlops(width);
    const numbers = family.total(width) + 2 * budget.context * (width / 64) * width;
    if (tokens <= 0 || tokens / active > (budget.maxTokensPerParameter ?? Infinity)) continue;
    if (budget.bytesPerNumber * numbers > (budget.memory ?? Infinity)) continue;
    least = Math.min(least, family.loss(width, tokens));
  }
  return least;
}

const FAMILIES: [string, ModelFamily][] = [
  ['dense', jointFamily(1, VOCABULARY)],
  ['8 experts', jointFamily(8, VOCABULARY)],
  ['32 experts', jointFamily(32, VOCABULARY)],
  ['fine-grained, dense', fineGrainedFamily(1, 1, VOCABULARY)],
  ['fine-grained, 16 × 4', fineGrainedFamily(16, 4, VOCABULARY)],
  ['fine-grained, 64 × 64', fineGrainedFamily(64, 64, VOCABULARY)],
];

describe.each(FAMILIES)('the best model of a family: %s', (_, family) => {
  test('is that of a fine grid, under any budget', () => {
    const rng = Rng.from(7);
    let none = 0;
    for (let i = 0; i < 25; i++) {
      const compute = 10 ** (17 + 9 * rng.float());
      const budget: MoeBudget = {
        ...open,
        compute,
        memory: rng.float() < 0.3 ? null : 10 ** (8 + 4.5 * rng.float()),
        inferenceTokens: rng.float() < 0.5 ? 0 : 10 ** (8 + 6 * rng.float()),
        maxTokensPerParameter: rng.float() < 0.5 ? null : 10 ** (1 + 3 * rng.float()),
      };
      const found = optimum(family, budget);
      const grid = gridLoss(family, budget);
      if (typeof found === 'string') {
        none++;
        expect(grid).toBe(Infinity);
        continue;
      }
      expect(found.loss).toBeLessThanOrEqual(grid + 1e-12);
      // and it is what it says, and keeps the budget
      expect(found.loss).toBe(family.loss(found.width, found.tokens));
      const spent =
        family.trainingFlops(found.width) * found.tokens + family.inferenceFlops(found.width) * budget.inferenceTokens;
      expect(spent / compute).toBeCloseTo(1, 9);
      expect(found.memory).toBeLessThanOrEqual(budget.memory ?? Infinity);
      expect(found.tokensPerParameter).toBeLessThanOrEqual((budget.maxTokensPerParameter ?? Infinity) * (1 + 1e-9));
      if (found.limit === 'memory') expect(found.memory / budget.memory!).toBeCloseTo(1, 9);
      if (found.limit === 'tokens') expect(found.tokensPerParameter / budget.maxTokensPerParameter!).toBeCloseTo(1, 6);
    }
    expect(none).toBeLessThan(20);
  });
});

test('a limit that is not reached changes nothing, one that is makes the model smaller and worse', () => {
  const free = planMoe(open).laws[0].candidates[3];
  expect(free.limit).toBeNull();
  const wide = planMoe({ ...open, memory: free.memory * 1.01 }).laws[0].candidates[3];
  expect(wide.limit).toBeNull();
  expect(wide.loss).toBeCloseTo(free.loss, 12);
  const tight = planMoe({ ...open, memory: free.memory / 2 }).laws[0].candidates[3];
  expect(tight.limit).toBe('memory');
  expect(tight.active).toBeLessThan(free.active);
  expect(tight.tokens).toBeGreaterThan(free.tokens);
  expect(tight.loss).toBeGreaterThan(free.loss);
});

test('tokens in use make the best model smaller', () => {
  const sizes = [0, 1e11, 1e12].map(
    (inferenceTokens) => planMoe({ ...open, inferenceTokens }).laws[0].candidates[0].active,
  );
  expect(sizes[1]).toBeLessThan(sizes[0]);
  expect(sizes[2]).toBeLessThan(sizes[1]);
});

test('what lies outside of the experiments is named, and warned of where it is the best', () => {
  const small = planMoe({ ...open, compute: 2e19 }, { experts: [1, 8] });
  expect(small.laws[0].candidates.map(({ outside }) => outside)).toEqual([[], []]);
  expect(small.warnings.filter((w) => w.includes('joint'))).toEqual([]);
  const large = planMoe({ ...open, compute: 1e23 }, { experts: [64] });
  expect(large.laws[0].candidates[0].outside.map(({ name }) => name)).toEqual([
    'expansion',
    'active',
    'total',
    'tokens',
  ]);
  expect(large.laws[0].candidates[0].outside[0]).toEqual({ name: 'expansion', value: 64, low: 1, high: 32 });
  expect(large.warnings.join(' ')).toMatch(
    /joint law lies outside.*\(experts, active parameters, parameters, tokens\)/,
  );
});

test('routers that cost as much as a part of the model are warned of', () => {
  const plan = planMoe({ ...open, compute: 1e18 }, { granularities: [64] });
  expect(plan.laws[1].candidates[plan.laws[1].best!].routerShare).toBeGreaterThan(0.15);
  expect(plan.warnings.join(' ')).toMatch(/routers multiply \d+ % as much/);
});

test('budgets that nothing meets, and numbers that are none', () => {
  expect(() => planMoe({ ...open, memory: 1000 })).toThrow(/not even a model of one block fits/);
  expect(() => planMoe({ ...open, compute: 1e10, inferenceTokens: 1e12 })).toThrow(/use alone takes/);
  expect(() => planMoe({ ...open, memory: 1e9, compute: 1e24, maxTokensPerParameter: 20 })).toThrow(/more tokens for/);
  expect(() => planMoe({ ...open, compute: NaN })).toThrow(/compute must be a number above 0/);
  expect(() => planMoe({ ...open, context: -1 })).toThrow(/context must be a number of at least 0/);
  // one law may have an answer where the other has none
  const some = planMoe({ ...open, memory: 19e6 }, { experts: [1], granularities: [64] });
  expect(some.laws[0].candidates).toHaveLength(1);
  expect(some.laws[1].impossible).toEqual([
    { expansion: 64, granularity: 64, reason: 'not even a model of one block fits' },
  ]);
});

describe('the place of a model', () => {
  /** A model of the joint law's make. */
  function shape(width: number, experts: number): MoeShape {
    const family = jointFamily(experts, VOCABULARY);
    return { nActive: family.active(width), nTotal: family.total(width), experts, dModel: width, blocks: width / 64 };
  }
  const budget: MoeBudget = { ...open, compute: 3e19, memory: 5e9 };

  test('is where the law puts it', () => {
    const { model, neighbours } = placeModel(shape(1024, 8), budget);
    const tokens = 3e19 / 6 / model.active;
    expect(model.tokens).toBeCloseTo(tokens, -3);
    expect(model.loss).toBeCloseTo(jointLoss(model.active, tokens, 8), 12);
    expect(model.memory).toBeCloseTo(2 * (model.total + 2 * 16_384 * 16 * 1024), -2);
    expect(model.fits).toBe(true);
    expect(neighbours.map(({ experts, same }) => [experts, same])).toEqual([
      [4, 'active'],
      [4, 'total'],
      [16, 'active'],
      [16, 'total'],
    ]);
  });

  test('neighbours have the parameters of their make', () => {
    const { model, neighbours } = placeModel(shape(1024, 8), budget);
    for (const { experts, same, active, total, tokens, loss, fits, memory } of neighbours) {
      if (same === 'active') {
        expect(active).toBe(model.active);
        expect(total / jointFamily(experts, VOCABULARY).total(1024)).toBeCloseTo(1, 12);
        expect(tokens).toBe(model.tokens);
      } else {
        expect(total / model.total).toBeCloseTo(1, 12);
        expect(Math.sign(active - model.active)).toBe(Math.sign(8 - experts));
        expect((active * tokens) / (model.active * model.tokens)).toBeCloseTo(1, 12);
      }
      expect(loss).toBeCloseTo(jointLoss(active, tokens, experts), 12);
      expect(fits).toBe(memory <= 5e9);
    }
    expect(neighbours[2].fits).toBe(false);
  });

  test('a dense model has neighbours with experts like its feed-forward layers; at the end of the chart there is one side', () => {
    const dense = placeModel(shape(1024, 1), budget).neighbours;
    expect(dense.map(({ experts }) => experts)).toEqual([2, 2]);
    expect(dense[0].total / jointFamily(2, VOCABULARY).total(1024)).toBeCloseTo(1, 12);
    expect(placeModel(shape(1024, 32), budget).neighbours.map(({ experts }) => experts)).toEqual([16, 16]);
    // numbers of experts that are not on the chart stand between two that are
    const odd = placeModel(shape(512, 60), budget);
    expect(odd.neighbours.map(({ experts }) => experts)).toEqual([32, 32]);
    expect(odd.model.outside.map(({ name }) => name)).toContain('expansion');
    expect(placeModel(shape(512, 6), budget).neighbours.map(({ experts }) => experts)).toEqual([4, 4, 8, 8]);
  });

  test('numbers that contradict each other are refused', () => {
    const good = shape(1024, 8);
    expect(() => placeModel({ ...good, nTotal: good.nActive / 2 }, budget)).toThrow(/No model has 8 experts/);
    expect(() => placeModel({ ...good, experts: 1 }, budget)).toThrow(/No model has 1 experts/);
    expect(() => placeModel({ ...good, experts: 2.5 }, budget)).toThrow(/No model has 2\.5 experts/);
    expect(() => placeModel(good, { ...budget, inferenceTokens: 1e13 })).toThrow(/Use alone takes the compute budget/);
  });
});
