import { describe, expect, it } from 'vitest';
import { RunningVector, intervalGap, meanAndDeviation, spread } from '../../../src/math/statistics.ts';

describe('RunningVector', () => {
  it('gives mean and standard error per element', () => {
    const running = new RunningVector(2);
    for (const x of [
      [1, 10],
      [2, 10],
      [3, 10],
      [6, 10],
    ])
      running.add(x);
    expect([...running.mean]).toEqual([3, 10]);
    // Variance of 1, 2, 3, 6: (4 + 1 + 0 + 9) / 3
    expect(running.variance()[0]).toBeCloseTo(14 / 3, 12);
    expect(running.standardError()[0]).toBeCloseTo(Math.sqrt(14 / 12), 12);
    expect(running.standardError()[1]).toBe(0);
  });

  it('keeps its digits on large offsets', () => {
    const running = new RunningVector(1);
    for (const x of [1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16]) running.add([x]);
    expect(running.variance()[0]).toBe(30);
  });

  it('goes on from a state bit for bit', () => {
    const whole = new RunningVector(1);
    const first = new RunningVector(1);
    const numbers = [0.1, 0.7, -3.3, 1e-9, 12.5];
    numbers.forEach((x) => whole.add([x]));
    numbers.slice(0, 2).forEach((x) => first.add([x]));
    const second = RunningVector.fromState(JSON.parse(JSON.stringify(first.state())));
    numbers.slice(2).forEach((x) => second.add([x]));
    expect(second.state()).toEqual(whole.state());
  });

  it('has no standard error below two samples', () => {
    const running = new RunningVector(1);
    running.add([3]);
    expect(running.standardError()[0]).toBeNaN();
  });
});

it('meanAndDeviation and spread handle short lists', () => {
  expect(meanAndDeviation([2, 4])).toEqual({ mean: 3, deviation: Math.SQRT2 });
  expect(meanAndDeviation([5])).toEqual({ mean: 5, deviation: NaN });
  expect(meanAndDeviation([]).mean).toBeNaN();
  expect(spread([3, -1, 2])).toBe(4);
  expect(spread([])).toBe(0);
});

it('intervals share a point where the gap between their ends is not above 0', () => {
  expect(intervalGap([0, 1], [0.5, 0.5], 1)).toBe(0);
  expect(intervalGap([0, 1], [0.5, 0.5], 2)).toBe(-1);
  expect(intervalGap([0, 1, 5], [1, 1, 1], 1)).toBe(3);
});
