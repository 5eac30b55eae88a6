import { describe, expect, it } from 'vitest';
import { RunningVector } from '../../../src/math/statistics.ts';
import { rankGroup, rankMethod } from '../../../src/ranking/registry.ts';
import type { GateDerivatives, GradientSource, RankProgress } from '../../../src/ranking/types.ts';
import { groupOf } from './games.ts';

/** Derivatives of four samples by three units: large and of one sign, large and of both, none. */
const ROWS = [
  [-2, 3, 0],
  [-1, -3, 0],
  [-3, 1, 0],
  [-2, -1, 0],
];

function moments(rows: number[][]): GateDerivatives['moments'] {
  const of = (make: (x: number) => number) => {
    const running = new RunningVector(rows[0].length);
    for (const row of rows) running.add(row.map(make));
    return running;
  };
  return { absolute: of(Math.abs), square: of((x) => x * x), signed: of((x) => x) };
}

function source(rows: number[][] = ROWS, rest: Partial<GateDerivatives> = {}): GradientSource & { asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    lossOf: () => rest.loss ?? 'cross-entropy',
    async derivatives(_group, subject, _signal, onProgress) {
      asked.push(subject);
      onProgress?.(1, 2);
      return { moments: moments(rows), loss: 'cross-entropy', draws: 1, exact: true, ...rest };
    },
  };
}

async function scores(method: string, gradients: GradientSource) {
  const progress: RankProgress[] = [];
  const { ranks, complete } = await rankGroup(
    rankMethod(method),
    { group: groupOf(3), gradients },
    { seed: 0 },
    undefined,
    (p) => progress.push(p),
  );
  expect(complete).toBe(true);
  expect(progress[0]).toMatchObject({ evaluations: 1, planned: 2 });
  expect(progress.at(-1)?.partial).toEqual(ranks);
  return ranks;
}

describe('rankings by gradients', () => {
  it('are means over samples with their standard errors', async () => {
    const absolute = await scores('taylor', source());
    expect(absolute.units.map((u) => u.score)).toEqual([2, 2, 0]);
    // Sizes 2, 1, 3, 2: variance 2/3, of four samples.
    expect(absolute.units[0].stderr).toBeCloseTo(Math.sqrt(2 / 3 / 4), 12);
    expect(absolute).toMatchObject({ value: null, evaluations: 0, noSignal: false });
    expect(absolute.estimator).toBeUndefined();
    expect((await scores('taylor-squared', source())).units.map((u) => u.score)).toEqual([4.5, 5, 0]);
    expect((await scores('taylor-signed', source())).units.map((u) => u.score)).toEqual([2, -0, -0]);
  });

  it('take half the mean square of the derivative of the model’s own answers for the Fisher information', async () => {
    const own = source(ROWS, { loss: 'own-distribution', draws: 10 });
    const ranks = await scores('obd', own);
    expect(own.asked).toEqual(['distribution']);
    expect(ranks.units.map((u) => u.score)).toEqual([2.25, 2.5, 0]);
    expect(ranks.estimator).toBe('exact over 10 answers');
    const drawn = await scores('fisher', source(ROWS, { loss: 'own-distribution', draws: 4, exact: false }));
    expect(drawn.estimator).toBe('4 answers drawn per sample');
    const numbers = await scores('fisher', source(ROWS, { loss: 'projection', draws: 4, exact: false }));
    expect(numbers.estimator).toBe('4 random projections per sample');
  });

  it('say what stands in for labels, and where that leaves no sign', async () => {
    expect((await scores('taylor', source(ROWS, { loss: 'own-answer' }))).estimator).toBe('own answers');
    const projections = source(ROWS, { loss: 'projection', draws: 4, exact: false });
    expect((await scores('taylor', projections)).estimator).toBe('random projections');
    const before = projections.asked.length;
    await expect(scores('taylor-signed', projections)).rejects.toMatchObject({ code: 'unsupported' });
    expect(projections.asked, 'no pass for nothing').toHaveLength(before);
  });

  it('refuse what is not finite, by the number of the unit', async () => {
    await expect(scores('taylor', source([[0, NaN, 1]]))).rejects.toMatchObject({
      code: 'runtime',
      message: expect.stringContaining('unit 1'),
    });
  });
});
