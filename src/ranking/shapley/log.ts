import type { CoalitionGame } from '../../evaluation/types.ts';
import { evaluateInBatches } from '../coalitions.ts';

/**
 * The values that an estimator asked for, in the order of asking. An estimator whose questions depend on its seed and on
 * earlier answers alone can be gone on with by running it again on the log: what is in it is answered at once.
 */
export class EvaluationLog {
  readonly values: number[];
  private at = 0;

  constructor(
    private readonly game: CoalitionGame,
    before: readonly number[] = [],
  ) {
    this.values = [...before];
  }

  /** Values that were asked for so far; after a cancelled question also those that came in time. */
  get asked(): number {
    return this.at;
  }

  /** Values of `count` coalitions in order. @throws SecateurError 'cancelled', 'runtime' as `evaluateInBatches` */
  async ask(
    count: number,
    make: (index: number) => Uint8Array,
    signal?: AbortSignal,
    onProgress?: (asked: number) => void,
  ): Promise<Float64Array> {
    const from = this.at;
    const known = Math.min(count, this.values.length - from);
    try {
      await evaluateInBatches(
        this.game,
        count - known,
        (index) => make(known + index),
        signal,
        (done, chunk) => {
          for (let i = this.values.length - from - known; i < done; i++) this.values.push(chunk[i]);
          onProgress?.(this.values.length);
        },
      );
    } catch (thrown) {
      this.at = this.values.length;
      throw thrown;
    }
    this.at = from + count;
    return Float64Array.from(this.values.slice(from, this.at));
  }
}

/** Numbers as text for a state: the base64 of little-endian float64s, half as long as their decimals and exact. */
export function packNumbers(values: readonly number[]): string {
  const bytes = Buffer.alloc(8 * values.length);
  values.forEach((value, i) => bytes.writeDoubleLE(value, 8 * i));
  return bytes.toString('base64');
}

/** What `packNumbers` packed; undefined when it is not that, or holds what is no finite number. */
export function unpackNumbers(text: unknown): number[] | undefined {
  if (typeof text !== 'string') return undefined;
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length % 8 !== 0) return undefined;
  const values = Array.from({ length: bytes.length / 8 }, (_, i) => bytes.readDoubleLE(8 * i));
  return values.every(Number.isFinite) ? values : undefined;
}
