import { describe, expect, it } from 'vitest';
import { SecateurError } from '../../../src/errors.ts';
import { additive, gameOf, randomTable, rank, saturating, scoresOf, shapleyByDefinition } from './games.ts';

describe('Shapley by enumeration', () => {
  it('gives the weights of an additive game', async () => {
    const weights = [0.5, -0.25, 0, 3, 1e-3];
    const { ranks, complete } = await rank('shapley', gameOf(5, additive(weights)));
    scoresOf(ranks).forEach((score, i) => expect(score).toBeCloseTo(weights[i], 12));
    expect(ranks.estimator).toBe('exact');
    expect(ranks.units.map((u) => u.stderr)).toEqual([0, 0, 0, 0, 0]);
    expect(ranks.evaluations).toBe(32);
    expect(ranks.noSignal).toBe(false);
    expect(complete).toBe(true);
  });

  it.each([1, 2, 3, 7, 10])('agrees with the definition for %i players, and is efficient', async (n) => {
    const value = randomTable(n, n);
    const { ranks } = await rank('shapley', gameOf(n, value, { preferredBatch: 7 }));
    const expected = shapleyByDefinition(n, value);
    scoresOf(ranks).forEach((score, i) => expect(Math.abs(score - expected[i])).toBeLessThan(1e-12));
    const { full, empty } = ranks.value!;
    expect(Math.abs(scoresOf(ranks).reduce((a, b) => a + b, 0) - (full - empty))).toBeLessThan(1e-12);
  });

  it('gives a dummy 0 and symmetric players the same', async () => {
    const inner = saturating(4, 3);
    // Player 4 does nothing; players 0 and 5 do the same thing.
    const value = (c: Uint8Array): number => inner(Uint8Array.of(c[0] | c[5], c[1], c[2], c[3]));
    const { ranks } = await rank('shapley', gameOf(6, value));
    const scores = scoresOf(ranks);
    expect(scores[4]).toBe(0);
    expect(scores[5]).toBeCloseTo(scores[0], 14);
  });

  it('says that there is no signal when all units are alike', async () => {
    const value = (c: Uint8Array): number => Math.sqrt(c.reduce((a, b) => a + b, 0));
    expect((await rank('shapley', gameOf(8, value))).ranks.noSignal).toBe(true);
    // Rounding of single precision does not count as an order.
    const noisy = (c: Uint8Array): number => value(c) * (1 + 1e-8 * c[0]);
    expect((await rank('shapley', gameOf(8, noisy))).ranks.noSignal).toBe(true);
  });

  it('enumerates larger groups only when the budget pays for it', async () => {
    const value = saturating(13, 1);
    expect((await rank('shapley', gameOf(13, value), { budget: 8192 })).ranks.estimator).toBe('exact');
    expect((await rank('shapley', gameOf(13, value), { budget: 8191 })).ranks.estimator).not.toBe('exact');
    expect((await rank('shapley', gameOf(12, saturating(12, 1)), { budget: 10 })).ranks.evaluations).toBe(4096);
  });

  it('keeps what was computed when cancelled, and goes on to the same numbers', async () => {
    const value = saturating(9, 5);
    const whole = await rank('shapley', gameOf(9, value));
    const controller = new AbortController();
    const game = gameOf(9, value, { onCall: (calls) => calls >= 200 && controller.abort() });
    const part = await rank('shapley', game, {}, controller.signal);
    expect(part.complete).toBe(false);
    expect(part.ranks.estimator).toBe('partial enumeration');
    expect(part.ranks.evaluations).toBe(208);
    expect(part.ranks.units).toHaveLength(9);
    const resume = JSON.parse(JSON.stringify(part.resume)) as NonNullable<typeof part.resume>;
    const rest = gameOf(9, value);
    const finished = await rank('shapley', rest, { resume });
    expect(rest.calls).toBe(512 - 208);
    expect(scoresOf(finished.ranks)).toEqual(scoresOf(whole.ranks));
    expect(finished.ranks.evaluations).toBe(512);
  });

  it('refuses a metric that is not finite and a state that does not fit', async () => {
    await expect(
      rank(
        'shapley',
        gameOf(4, (c) => (c[1] ? NaN : 1)),
      ),
    ).rejects.toThrow(/not a finite number/);
    const resume = { kind: 'shapley-exact', values: [1, 2], seconds: 0 };
    await expect(rank('shapley', gameOf(4, additive([1, 1, 1, 1])), { resume })).rejects.toThrow(SecateurError);
  });
});
