import { describe, expect, it } from 'vitest';
import { agreement, kendallTau, ranks } from '../../../webview/logic/correlation.ts';

describe('agreement of two methods', () => {
  it('shares ranks among ties', () => {
    expect([...ranks([10, 20, 20, 5])]).toEqual([2, 3.5, 3.5, 1]);
  });

  // Expected values from scipy.stats.spearmanr and kendalltau (tau-b).
  it('equals scipy', () => {
    const a = [12, 2, 1, 12, 2, 7, 3, 3, 9, 0];
    const b = [1, 4, 7, 1, 0, 5, 5, 2, 8, 3];
    const found = agreement(a, b);
    expect(found.spearman).toBeCloseTo(-0.14461606919011352, 10);
    expect(found.kendall).toBeCloseTo(-0.07059312080025175, 10);
  });

  it('knows the extremes', () => {
    const up = [1, 2, 3, 4, 5, 6, 7, 8];
    const down = [...up].reverse();
    expect(agreement(up, up)).toEqual({ spearman: 1, kendall: 1, topOverlap: 1, k: 2 });
    expect(agreement(up, down).spearman).toBeCloseTo(-1);
    expect(agreement(up, down).kendall).toBeCloseTo(-1);
    expect(agreement(up, down).topOverlap).toBe(0);
    expect(agreement([1, 1, 1], [1, 2, 3]).spearman).toBeNaN();
    expect(agreement([1], [2]).k).toBe(1);
  });

  it('counts as a count of all pairs does', () => {
    let seed = 1;
    const next = (): number => (seed = (seed * 48271) % 2147483647) % 40;
    const a = Array.from({ length: 300 }, next);
    const b = Array.from({ length: 300 }, next);
    let concordant = 0;
    let [ta, tb] = [0, 0];
    for (let i = 0; i < 300; i++)
      for (let j = 0; j < i; j++) {
        concordant += Math.sign(a[i] - a[j]) * Math.sign(b[i] - b[j]);
        if (a[i] !== a[j]) ta++;
        if (b[i] !== b[j]) tb++;
      }
    expect(kendallTau(a, b)).toBeCloseTo(concordant / Math.sqrt(ta * tb), 12);
  });
});
