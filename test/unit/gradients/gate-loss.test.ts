import { describe, expect, it } from 'vitest';
import { gradientRules } from '../../../src/autodiff/rules/index.ts';
import type { GradientRule } from '../../../src/autodiff/rules/rule.ts';
import { openGateLoss, type OpenGateLoss } from '../../../src/evaluation/gradients/index.ts';
import { openEvaluator } from '../../../src/evaluation/coalitions/open.ts';
import type { Dataset } from '../../../src/evaluation/data/dataset.ts';
import type { MetricName } from '../../../src/formats.ts';
import { Rng } from '../../../src/math/random.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { numbers } from '../../support/build.ts';
import {
  deep,
  flattened,
  grouped,
  joined,
  masked,
  mixing,
  normalised,
  randomData,
  readingOf,
  residual,
  tokens,
  type TestModel,
} from '../coalitions/models.ts';

const SAMPLES = 12;

/** Gates between 0.2 and 1.2. */
function someGates(count: number, size: number): Float64Array {
  const next = numbers(7);
  return Float64Array.from({ length: count * size }, () => 0.7 + next() / 2);
}

const dataOf = (t: TestModel): Dataset =>
  randomData(t, SAMPLES, { batchSize: /batch 1|mixes/.test(t.name) ? 1 : null });

async function withLosses(
  t: TestModel,
  metric: MetricName,
  use: (loss: OpenGateLoss, id: string) => Promise<void>,
): Promise<void> {
  const structure = analyseStructure(t.model);
  const data = dataOf(t);
  const reading = readingOf(t.model, t.name.startsWith('flatten') ? 'probabilities' : 'logits');
  for (const { id } of structure.groups.filter((g) => g.prunable)) {
    const loss = await openGateLoss(structure, id, data, { metric, reading, device: 'cpu', seed: 3 });
    try {
      await use(loss, id);
    } finally {
      await loss.close();
    }
  }
}

/**
 * Largest difference from central differences, and largest derivative, over all gates at which the loss has no kink
 * nearby: there the slopes of both sides agree.
 */
async function errorsOf(loss: OpenGateLoss): Promise<{ worst: number; largest: number; smooth: number }> {
  const { size } = loss;
  const range = { from: 2, to: 9 };
  const gates = someGates(3, size);
  const { gradients } = await loss.evaluate(gates, 3, range);
  const h = 4e-3;
  let [worst, largest, smooth] = [0, 0, 0];
  for (const k of [0, 2]) {
    const own = gates.subarray(k * size, (k + 1) * size);
    const moved = new Float64Array((2 * size + 1) * size);
    for (let row = 0; row <= 2 * size; row++) {
      moved.set(own, row * size);
      if (row < 2 * size) moved[row * size + (row >> 1)] += row % 2 === 0 ? h : -h;
    }
    const { losses } = await loss.evaluate(moved, 2 * size + 1, range);
    for (let i = 0; i < size; i++) {
      const [after, before, here] = [losses[2 * i], losses[2 * i + 1], losses[2 * size]];
      const slope = (after - before) / (2 * h);
      largest = Math.max(largest, Math.abs(slope));
      if (Math.abs(after - 2 * here + before) / h > 0.02 * Math.abs(slope) + 2e-4) continue;
      smooth += 1 / (2 * size);
      worst = Math.max(worst, Math.abs(slope - gradients![k * size + i]));
    }
  }
  return { worst, largest, smooth };
}

describe('gradients by gates', () => {
  it.each(
    (
      [
        [flattened(), 'cross-entropy'],
        [flattened([1, 54], 1), 'kl'],
        [residual(), 'cross-entropy'],
        [residual(1), 'mse'],
        [joined(), 'kl'],
        [tokens(), 'cross-entropy'],
        [masked(), 'kl'],
        [normalised(), 'kl'],
        [grouped(), 'cross-entropy'],
        [deep(), 'mse'],
        [mixing(), 'kl'],
      ] as const
    ).map(([t, metric]) => ({ name: t.name, metric, t })),
  )('are those of central differences: $name, $metric', async ({ t, metric }) => {
    await withLosses(t, metric, async (loss, id) => {
      if (t.batchable) expect(loss.info.notes, id).toEqual([]);
      else expect(loss.info.strategy).toBe('single');
      expect(loss.differentiable).toBe(true);
      const { worst, largest, smooth } = await errorsOf(loss);
      expect(smooth, id).toBeGreaterThan(0.5);
      // Single precision, and what is left of kinks.
      expect(worst, id).toBeLessThan(0.01 * largest + 1e-4);
    });
  });

  it('go through folded consumers and through residual streams', async () => {
    const folded = new Map<string, boolean>();
    await withLosses(residual(), 'kl', async (loss, id) => void folded.set(id, loss.info.folded));
    expect([...folded.values()]).toContain(true);
    expect([...folded.values()]).toContain(false);
  });
});

describe('a loss under gates', () => {
  it.each([flattened(), residual(), tokens(), normalised(), mixing()])(
    'is that of the whole gated model, fractions included: $name',
    async (t) => {
      const structure = analyseStructure(t.model);
      const data = dataOf(t);
      const options = { metric: 'cross-entropy', reading: readingOf(t.model), device: 'cpu' } as const;
      for (const { id, size } of structure.groups.filter((g) => g.prunable)) {
        const gates = someGates(2, size);
        const rows = [[gates.subarray(0, size)], [gates.subarray(size)]];
        const { evaluator } = await openEvaluator(structure, [id], data, { ...options, strategy: 'naive' });
        const whole = await evaluator.evaluate(rows, { from: 0, to: SAMPLES });
        await evaluator.close();
        const loss = await openGateLoss(structure, id, data, { ...options, seed: 0 });
        const { losses } = await loss.evaluate(gates, 2, { from: 0, to: SAMPLES });
        await loss.close();
        losses.forEach((l, k) => expect(l, id).toBeCloseTo(-whole.mean(k), 4));
      }
    },
  );

  it('takes the samples in an order by the seed, and the parts of it add up', async () => {
    const t = flattened();
    const structure = analyseStructure(t.model);
    const data = randomData(t, SAMPLES);
    const options = { metric: 'cross-entropy', reading: readingOf(t.model, 'probabilities'), device: 'cpu' } as const;
    const [{ id, size }] = structure.groups.filter((g) => g.prunable);
    const gates = someGates(1, size);
    const loss = await openGateLoss(structure, id, data, { ...options, seed: 5 });
    const parts = [
      await loss.evaluate(gates, 1, { from: 0, to: 5 }),
      await loss.evaluate(gates, 1, { from: 5, to: SAMPLES }),
    ];
    const all = await loss.evaluate(gates, 1, { from: 0, to: SAMPLES });
    await loss.close();
    const mean = (a: number, b: number): number => (5 * a + (SAMPLES - 5) * b) / SAMPLES;
    expect(mean(parts[0].losses[0], parts[1].losses[0])).toBeCloseTo(all.losses[0], 6);
    all.gradients!.forEach((g, i) => expect(mean(parts[0].gradients![i], parts[1].gradients![i])).toBeCloseTo(g, 6));

    const order = Rng.from(5, 'gate-loss').permutation(SAMPLES);
    const first = await openEvaluator(structure, [id], data.subset(order.slice(0, 5)), options);
    const sums = await first.evaluator.evaluate([[gates]], { from: 0, to: 5 });
    await first.evaluator.close();
    expect(-sums.mean(0)).toBeCloseTo(parts[0].losses[0], 6);
  });

  it('goes without gradients behind an operator that has no rule, and names it', async () => {
    const rules = gradientRules as Map<string, GradientRule>;
    const rule = rules.get('Relu')!;
    rules.delete('Relu');
    try {
      await withLosses(flattened(), 'kl', async (loss, id) => {
        // Nothing is rectified behind the last hidden layer.
        expect(loss.differentiable).toBe(id === 'f1');
        if (id !== 'f1') expect(loss.info.notes.join(' ')).toMatch(/Relu.*no gradient rule/);
        const { losses } = await loss.evaluate(someGates(1, loss.size), 1, { from: 0, to: SAMPLES });
        expect(losses[0]).toBeGreaterThan(0);
      });
    } finally {
      rules.set('Relu', rule);
    }
  });

  it('refuses metrics that change in steps', async () => {
    await expect(withLosses(tokens(), 'accuracy', () => Promise.resolve())).rejects.toMatchObject({ code: 'usage' });
  });
});
