import type { Rng } from '../../math/random.ts';

/**
 * How the sizes of coalitions are shared out. leverage: all sizes alike, as the leverage scores of the regression demand
 * (Musco, Witter 2025); kernel: in proportion to the Shapley kernel 1/(s(n − s)) (Lundberg, Lee 2017).
 */
export type Design = 'leverage' | 'kernel';

/** A coalition and, unspoken, its complement. */
export interface Pair {
  /** One byte per player, at most half of them 1. */
  open: Uint8Array;
  size: number;
}

/**
 * Coalitions in complementary pairs, drawn without replacement. Every prefix of the stream is a stratified sample: the
 * sizes get pairs in proportion to their shares (rounded as by Sainte-Laguë), a size whose pairs are all taken gives its
 * turns to the others, and within a size all pairs are equally likely. Pairs of a single player and all others are taken
 * first and whole: they have the largest weight, and they make the regression determined.
 */
export class PairStream {
  /** Pairs of each size that were drawn. */
  readonly drawn: Float64Array;
  /** Pairs of each size that there are. */
  readonly total: Float64Array;
  private readonly share: Float64Array;
  private readonly seen: Set<string>[];

  constructor(
    private readonly players: number,
    design: Design,
    private readonly rng: Rng,
  ) {
    const half = Math.floor(players / 2);
    this.drawn = new Float64Array(half + 1);
    this.total = new Float64Array(half + 1);
    this.share = new Float64Array(half + 1);
    let subsets = 1;
    for (let size = 1; size <= half; size++) {
      subsets = (subsets * (players - size + 1)) / size;
      const own = 2 * size === players;
      this.total[size] = Math.round(own ? subsets / 2 : subsets);
      this.share[size] = (own ? 1 : 2) * (design === 'leverage' ? 1 : 1 / (size * (players - size)));
    }
    this.seen = Array.from({ length: half + 1 }, () => new Set());
  }

  /** All pairs are drawn. */
  get exhausted(): boolean {
    return this.drawn.every((drawn, size) => drawn >= this.total[size]);
  }

  /** The next pair of a single player and all others; null when there are no more. They come before `take`. */
  nextSingle(): Pair | null {
    // Of two players, the pairs of the first and of the second are one and the same.
    if (this.drawn.length < 2 || this.drawn[1] >= this.total[1]) return null;
    const open = new Uint8Array(this.players);
    open[this.drawn[1]++] = 1;
    return { open, size: 1 };
  }

  /** The next `count` pairs of two and more players, fewer when there are no more. */
  take(count: number): Pair[] {
    const pairs: Pair[] = [];
    while (pairs.length < count) {
      const pair = this.next();
      if (!pair) break;
      pairs.push(pair);
    }
    return pairs;
  }

  /** Counts as drawn only these pairs. */
  takeBack(kept: readonly Pair[]): void {
    this.drawn.fill(0);
    for (const { size } of kept) this.drawn[size]++;
  }

  private next(): Pair | null {
    let size = 0;
    let least = Infinity;
    for (let s = 2; s < this.drawn.length; s++) {
      const turn = (this.drawn[s] + 0.5) / this.share[s];
      if (turn < least && this.drawn[s] < this.total[s]) [size, least] = [s, turn];
    }
    if (size === 0) return null;
    this.drawn[size]++;
    return { open: this.draw(size), size };
  }

  /** A pair of that size that did not come before. */
  private draw(size: number): Uint8Array {
    const n = this.players;
    for (;;) {
      const order = Int32Array.from({ length: n }, (_, i) => i);
      for (let i = 0; i < size; i++) {
        const j = i + this.rng.int(n - i);
        [order[i], order[j]] = [order[j], order[i]];
      }
      const open = new Uint8Array(n);
      for (let i = 0; i < size; i++) open[order[i]] = 1;
      // A half and its complement are one pair: the one with player 0 stands for both.
      if (2 * size === n && !open[0]) for (let i = 0; i < n; i++) open[i] ^= 1;
      const key = bits(open);
      if (this.seen[size].has(key)) continue;
      this.seen[size].add(key);
      return open;
    }
  }
}

/** A coalition as a string of 16 players per character. */
function bits(open: Uint8Array): string {
  const codes = new Uint16Array(Math.ceil(open.length / 16));
  for (let i = 0; i < open.length; i++) if (open[i]) codes[i >> 4] |= 1 << (i & 15);
  return String.fromCharCode(...codes);
}
