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
