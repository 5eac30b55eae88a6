import type { HostTensor, Session } from '../../runtime/session.ts';
import type { Dataset } from '../data/dataset.ts';
import type { Measure } from '../metrics/index.ts';
import { type Mask, type MaskEvaluator, type Range, Sums } from './sums.ts';
import { checkSignal } from '../../errors.ts';

/** What is kept of the prefix at most, in bytes. */
const LIMIT = 2 ** 30;

/** A gated model that runs one coalition at a time, and perhaps a prefix of it that is run once. */
export interface RawParts {
  /** From the dataset's inputs to `crossing`; null: none, the suffix takes the dataset's inputs. */
  prefix: Session | null;
  crossing: string[];
  suffix: Session;
  /** Names of the gate inputs, float32 [1, size]. */
  gates: string[];
  measure: Measure;
}

/**
 * One coalition and one batch per run, outputs fetched and measured here: for models whose samples cannot be told apart
 * along axis 0, for metrics that no graph can compute, and as the yardstick of the benchmark (no prefix).
 */
export class RawEvaluator implements MaskEvaluator {
  readonly batch = 16;
  private readonly batches: { indices: Int32Array; count: number; first: number }[] = [];
  private readonly kept = new Map<number, Record<string, HostTensor>>();
  private bytes = 0;

  constructor(
    private readonly parts: RawParts,
    private readonly dataset: Dataset,
    rows: number,
  ) {
    let first = 0;
    for (const b of dataset.batches(null, rows)) {
      this.batches.push({ ...b, first });
      first += b.count;
    }
  }

  async evaluate(masks: readonly Mask[], range: Range, signal?: AbortSignal): Promise<Sums> {
    const { suffix, gates, measure } = this.parts;
    const sums = new Sums(masks.length);
    sums.samples = range.to - range.from;
    const gateFeeds = masks.map((mask) =>
      Object.fromEntries(
        gates.map((name, i): [string, HostTensor] => [
          name,
          { type: 'float32', dims: [1, mask[i].length], data: Float32Array.from(mask[i]) },
        ]),
      ),
    );
    for (const [i, b] of this.batches.entries()) {
      if (b.first + b.count <= range.from || b.first >= range.to) continue;
      const shared = await this.load(i, signal);
      for (const [k, own] of gateFeeds.entries()) {
        checkSignal(signal);
        const results = await suffix.run({ ...shared, ...own }, measure.outputs);
        const values = measure.batch(results, b.indices.length, b.count, b.first);
        values.forEach((v, j) => {
          if (b.first + j >= range.from && b.first + j < range.to) sums.add(k, v);
        });
      }
    }
    return sums;
  }

  private async load(i: number, signal: AbortSignal | undefined): Promise<Record<string, HostTensor>> {
    const known = this.kept.get(i);
    if (known) return known;
    const feeds = this.dataset.feeds(this.batches[i].indices);
    if (!this.parts.prefix) return feeds;
    checkSignal(signal);
    const crossing = await this.parts.prefix.run(feeds, this.parts.crossing);
    const bytes = Object.values(crossing).reduce((sum, t) => sum + t.data.byteLength, 0);
    if (this.bytes + bytes <= LIMIT) {
      this.bytes += bytes;
      this.kept.set(i, crossing);
    }
    return crossing;
  }

  async close(): Promise<void> {
    await this.parts.suffix.release();
    await this.parts.prefix?.release();
  }
}
