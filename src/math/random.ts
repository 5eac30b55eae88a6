import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus, xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';

type Generator = ReturnType<typeof xoroshiro128plus>;

/**
 * Seeded random numbers: xoroshiro128+ (Blackman and Vigna) from pure-rand. Its state is four 32-bit integers that can
 * be written to JSON, so that a run can go on exactly where it stopped. Same seed, same numbers on every platform.
 */
export class Rng {
  private readonly generator: Generator;

  private constructor(generator: Generator) {
    this.generator = generator;
  }

  /**
   * A stream of its own for each (seed, label): runs over several groups give each group the same numbers whatever
   * other groups take part.
   * @param seed any finite number; its integer part mod 2^32 counts
   */
  static from(seed: number, label = ''): Rng {
    const generator = xoroshiro128plus((Math.trunc(seed) ^ hashString(label)) | 0);
    // Seeds that differ in few bits start with similar states: the first outputs are thrown away.
    for (let i = 0; i < 16; i++) generator.next();
    return new Rng(generator);
  }

  /** Goes on from a state that `state()` gave. */
  static fromState(state: readonly number[]): Rng {
    return new Rng(xoroshiro128plusFromState(state));
  }

  state(): number[] {
    return [...this.generator.getState()];
  }

  /** Uniform integer in 0 … n − 1, without modulo bias. */
  int(n: number): number {
    return uniformInt(this.generator, 0, n - 1);
  }

  /** Uniform in [0, 1) with 53 random bits. */
  float(): number {
    return uniformFloat64(this.generator);
  }

  /** Shuffles in place (Fisher and Yates; every order equally likely) and returns its argument. */
  shuffle<T extends { length: number; [index: number]: unknown }>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      const kept = items[i];
      items[i] = items[j];
      items[j] = kept;
    }
    return items;
  }

  /** A uniformly random order of 0 … n − 1. */
  permutation(n: number): Int32Array {
    return this.shuffle(Int32Array.from({ length: n }, (_, i) => i));
  }
}

/** 32-bit FNV-1a over the UTF-16 code units. */
export function hashString(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    hash = Math.imul(hash ^ (code & 0xff), 0x01000193);
    hash = Math.imul(hash ^ (code >>> 8), 0x01000193);
  }
  return hash >>> 0;
}
