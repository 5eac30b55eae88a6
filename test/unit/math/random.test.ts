import { describe, expect, it } from 'vitest';
import { Rng, hashString } from '../../../src/math/random.ts';

/** xoroshiro128+ with shifts 24, 16, 37 as published by Blackman and Vigna (2018), on 64-bit integers. */
function reference(s0: bigint, s1: bigint): () => bigint {
  const mask = (1n << 64n) - 1n;
  const rotate = (x: bigint, k: bigint): bigint => ((x << k) | (x >> (64n - k))) & mask;
  return () => {
    const result = (s0 + s1) & mask;
    s1 ^= s0;
    s0 = (rotate(s0, 24n) ^ s1 ^ (s1 << 16n)) & mask;
    s1 = rotate(s1, 37n);
    return result;
  };
}

describe('Rng', () => {
  it('is xoroshiro128+', () => {
    // State words are [s0 high, s0 low, s1 high, s1 low]; the generator gives the low 32 bits of the sum.
    const rng = Rng.fromState([0x01234567, 0x89abcdef | 0, 0x0fedcba9, 0x87654321 | 0]);
    const next = reference(0x0123456789abcdefn, 0x0fedcba987654321n);
    for (let i = 0; i < 1000; i++) {
      // A range of 2^32 passes the output through, shifted by 2^31.
      expect(rng.int(2 ** 32)).toBe((Number(next() & 0xffffffffn) + 2 ** 31) % 2 ** 32);
    }
  });

  it('gives the same numbers for the same seed and label, others otherwise', () => {
    const draw = (seed: number, label?: string): number[] => {
      const rng = Rng.from(seed, label);
      return Array.from({ length: 5 }, () => rng.int(1000));
    };
    expect(draw(7, 'conv1')).toEqual(draw(7, 'conv1'));
    expect(draw(7, 'conv1')).not.toEqual(draw(7, 'conv2'));
    expect(draw(7)).not.toEqual(draw(8));
    // A stored run must be repeatable by later versions.
    expect(draw(0)).toEqual([664, 648, 398, 497, 170]);
  });

  it('goes on from a state that went through JSON', () => {
    const rng = Rng.from(3);
    rng.permutation(10);
    const copy = Rng.fromState(JSON.parse(JSON.stringify(rng.state())) as number[]);
    expect(copy.permutation(50)).toEqual(rng.permutation(50));
    expect(copy.float()).toBe(rng.float());
  });

  it('draws every permutation equally often', () => {
    const rng = Rng.from(11);
    const counts = new Map<string, number>();
    const draws = 24_000;
    for (let i = 0; i < draws; i++) {
      const key = rng.permutation(4).join('');
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    const chiSquare = [...counts.values()].reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0);
    // 23 degrees of freedom: 0.9999 quantile 58.6
    expect(chiSquare).toBeLessThan(58.6);
  });

  it('draws floats in [0, 1) with the right mean', () => {
    const rng = Rng.from(5);
    let sum = 0;
    for (let i = 0; i < 10_000; i++) {
      const x = rng.float();
      expect(x >= 0 && x < 1).toBe(true);
      sum += x;
    }
    expect(Math.abs(sum / 10_000 - 0.5)).toBeLessThan(0.012);
  });
});

describe('hashString', () => {
  it('tells strings apart, also beyond ASCII', () => {
    expect(hashString('a')).not.toBe(hashString('b'));
    expect(hashString('ä')).not.toBe(hashString('a'));
    expect(hashString('')).toBe(0x811c9dc5);
  });
});
