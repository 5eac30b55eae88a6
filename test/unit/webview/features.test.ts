import { describe, expect, it } from 'vitest';
import { featureLines, featureBars, kindsOf, largestImportance } from '../../../webview/logic/features.ts';

const score = (importance: number, sd: number | null = null) => ({ index: 0, name: 'x', importance, sd });

describe('whiskers of features', () => {
  it('of shares reach one standard deviation, and never below nothing', () => {
    const [mark] = featureBars([score(0.1, 0.2)], 'qfit');
    expect(mark.low).toBe(0);
    expect(mark.high).toBeCloseTo(0.3, 12);
  });

  it('of Shapley values are 95 % intervals, also below zero', () => {
    const [mark] = featureBars([score(0.1, 0.2)], 'shapley');
    expect(mark.low).toBeCloseTo(0.1 - 1.96 * 0.2, 12);
    expect(mark.high).toBeCloseTo(0.1 + 1.96 * 0.2, 12);
  });

  it('are missing where there is no deviation', () => {
    const [mark] = featureBars([score(-1)], 'shapley');
    expect([mark.low, mark.high]).toEqual([-1, -1]);
    expect(featureLines(score(-1), 'shapley')).toEqual([['Shapley value', '−1']]);
    expect(featureLines(score(0.5, 0.25), 'qfit').map(([label]) => label)).toEqual(['share', 'standard deviation']);
  });

  it('are coloured against the largest, whatever its sign', () => {
    expect(largestImportance([score(0.2), score(-0.7), score(0.1)])).toBe(0.7);
    expect(largestImportance([])).toBe(0);
  });
});

describe('kinds of features', () => {
  it('fit the input', () => {
    expect(kindsOf({ type: 'int64', shape: ['N', 16] })).toEqual(['tokens']);
    expect(kindsOf({ type: 'float32', shape: ['N', 10] })).toEqual(['columns']);
    expect(kindsOf({ type: 'float32', shape: [1, 1, 28, 28] })).toContain('patches');
    expect(kindsOf({ type: 'float32', shape: ['N', 12, 64] })[0]).toBe('tokens');
    expect(kindsOf({ type: 'float32', shape: [1, 3, 8, 32, 32] })).toEqual(['channels']);
    expect(kindsOf(undefined)).toEqual(['columns']);
  });
});
