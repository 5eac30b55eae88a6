import { describe, expect, test } from 'vitest';
import { batchesPerEpoch, epochBatches } from '../../../src/training/batches.ts';
import { scheduleShare } from '../../../src/training/schedule.ts';

describe('batches', () => {
  test.each([
    [10, 3],
    [12, 4],
    [5, 8],
    [101, 25],
    [1, 1],
  ])('%i samples by %i: each once, sizes that differ by one at most', (samples, size) => {
    const batches = epochBatches(samples, size, 1, 1);
    expect(batches).toHaveLength(batchesPerEpoch(samples, size));
    expect(batches.flatMap((b) => [...b]).sort((a, b) => a - b)).toEqual(Array.from({ length: samples }, (_, i) => i));
    const sizes = batches.map((b) => b.length);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(size);
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
  });

  test('the order comes from the seed and the epoch', () => {
    const order = (seed: number, epoch: number) => epochBatches(30, 7, seed, epoch).map((b) => [...b]);
    expect(order(1, 4)).toEqual(order(1, 4));
    expect(order(1, 4)).not.toEqual(order(1, 5));
    expect(order(1, 4)).not.toEqual(order(2, 4));
  });

  test('an exact size fills the last batch up, also from few samples', () => {
    const batches = epochBatches(10, 4, 1, 1, true);
    expect(batches.map((b) => b.length)).toEqual([4, 4, 4]);
    expect(new Set(batches.flatMap((b) => [...b])).size).toBe(10);
    expect([...batches[2].slice(2)]).toEqual([...batches[0].slice(0, 2)]);
    expect(epochBatches(3, 8, 1, 1, true).map((b) => [b.length, new Set(b).size])).toEqual([[8, 3]]);
  });
});

describe('schedules', () => {
  test('a cosine falls from one to its floor', () => {
    const shares = Array.from({ length: 11 }, (_, i) => scheduleShare({ floor: 0.2 }, i, 10));
    expect(shares[0]).toBe(1);
    expect(shares[5]).toBeCloseTo(0.6, 12);
    expect(shares[10]).toBeCloseTo(0.2, 12);
    for (let i = 1; i < 11; i++) expect(shares[i]).toBeLessThan(shares[i - 1]);
  });

  test('a warm-up rises linearly, then it is as it would be without', () => {
    const schedule = { kind: 'constant', warmup: 4 } as const;
    const shares = Array.from({ length: 6 }, (_, i) => scheduleShare(schedule, i, 6));
    [0.2, 0.4, 0.6, 0.8, 1, 1].forEach((share, i) => expect(shares[i]).toBeCloseTo(share, 12));
    expect(scheduleShare({ warmup: 9 }, 20, 9)).toBeCloseTo(0, 12);
  });
});
