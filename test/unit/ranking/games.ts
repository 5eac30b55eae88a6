import type { CoalitionGame } from '../../../src/evaluation/types.ts';
import type { GroupRanks } from '../../../src/formats.ts';
import { Rng } from '../../../src/math/random.ts';
import { rankGroup } from '../../../src/ranking/registry.ts';
import type { RankOptions, RankOutcome, RankProgress } from '../../../src/ranking/types.ts';
import type { Group } from '../../../src/units/types.ts';

export interface CountingGame extends CoalitionGame {
  /** Coalitions evaluated so far. */
  calls: number;
  /** Sizes of the batches offered. */
  batches: number[];
}

/** A game in memory; `value` sees one byte per player. */
export function gameOf(
  players: number,
  value: (coalition: Uint8Array) => number,
  options: { preferredBatch?: number; onCall?: (calls: number) => void } = {},
): CountingGame {
  return {
    group: 'g',
    players,
    samples: 1,
    metric: 'accuracy',
    preferredBatch: options.preferredBatch ?? 16,
    calls: 0,
    batches: [],
    async evaluate(coalitions, signal) {
      await Promise.resolve();
      signal?.throwIfAborted();
      this.batches.push(coalitions.length);
      this.calls += coalitions.length;
      options.onCall?.(this.calls);
      return Float64Array.from(coalitions, value);
    },
  };
}

export function groupOf(size: number, id = 'g'): Group {
  return {
    id,
    kind: 'channel',
    size,
    layers: [],
    consumers: [],
    sites: [],
    prunable: true,
    weights: [],
    atoms: new Int32Array(size),
  };
}

export async function rank(
  method: Parameters<typeof rankGroup>[0],
  game: CoalitionGame,
  options: Partial<RankOptions> = {},
  signal?: AbortSignal,
  onPartial?: (progress: RankProgress) => void,
): Promise<RankOutcome> {
  return rankGroup(method, { group: groupOf(game.players), game }, { seed: 1, ...options }, signal, onPartial);
}

export function scoresOf(ranks: GroupRanks): number[] {
  return ranks.units.map((u) => u.score);
}

/** v(S) = Σ of the weights in S. */
export function additive(weights: readonly number[]): (coalition: Uint8Array) => number {
  return (coalition) => weights.reduce((sum, w, i) => sum + (coalition[i] ? w : 0), 0);
}

/** A table of independent uniform values: nothing but noise between neighbouring coalitions. */
export function randomTable(players: number, seed: number): (coalition: Uint8Array) => number {
  const rng = Rng.from(seed, 'table');
  const table = Float64Array.from({ length: 2 ** players }, () => rng.float());
  return (coalition) => table[coalition.reduce((mask, bit, i) => mask | (bit << i), 0)];
}

/** A saturating game with interactions, like an accuracy: 1 − exp(−Σ strengths), plus pairs that only work together. */
export function saturating(players: number, seed: number): (coalition: Uint8Array) => number {
  const rng = Rng.from(seed, 'saturating');
  const strengths = Array.from({ length: players }, () => rng.float() ** 3);
  const pairs = Array.from({ length: players }, () => [rng.int(players), rng.int(players), rng.float() - 0.3] as const);
  return (coalition) => {
    let sum = 0;
    strengths.forEach((s, i) => (sum += coalition[i] ? s : 0));
    for (const [a, b, s] of pairs) if (coalition[a] && coalition[b]) sum += s / 2;
    return 1 - Math.exp(-sum);
  };
}

/** Shapley values by their definition: Σ over coalitions without i of |S|!(n − |S| − 1)!/n! × marginal contribution. */
export function shapleyByDefinition(players: number, value: (coalition: Uint8Array) => number): number[] {
  const factorial = (k: number): number => (k <= 1 ? 1 : k * factorial(k - 1));
  const scores = new Array<number>(players).fill(0);
  for (let mask = 0; mask < 2 ** players; mask++) {
    const coalition = Uint8Array.from({ length: players }, (_, i) => (mask >> i) & 1);
    const size = coalition.reduce((a, b) => a + b, 0);
    const before = value(coalition);
    for (let i = 0; i < players; i++) {
      if (coalition[i]) continue;
      const joined = coalition.slice();
      joined[i] = 1;
      const weight = (factorial(size) * factorial(players - size - 1)) / factorial(players);
      scores[i] += weight * (value(joined) - before);
    }
  }
  return scores;
}
