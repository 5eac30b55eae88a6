import type { HostTensor, Session } from '../../runtime/session.ts';
import type { TypedArray } from '../../runtime/host-tensor.ts';
import type { Instrumented } from './instrument.ts';
import { targetName } from './metric-graph.ts';
import { type Mask, type MaskEvaluator, type Range, Sums } from './sums.ts';
import { checkSignal } from '../../errors.ts';
import type { CrossingStore } from './store.ts';
import { GROUPS } from './suffix-frame.ts';

/** Target of one term: `width` elements per sample. */
export interface Target {
  type: HostTensor['type'];
  width: number;
  data: TypedArray;
}

/** How many rows and coalitions share a run. */
export interface RunSize {
  rows: number;
  coalitions: number;
}

/** Prefix once, then K coalitions × samples as rows of one run of the suffix (ideas 2 to 4). */
export class RowsEvaluator implements MaskEvaluator {
  readonly batch: number;
  private readonly targets: { type: HostTensor['type']; width: number; data: TypedArray }[];

  constructor(
    private readonly parts: Instrumented,
    private readonly suffix: Session,
    private readonly prefix: Session,
    private readonly store: CrossingStore,
    private readonly gateSizes: readonly number[],
    targets: readonly Target[],
    private readonly size: RunSize,
    samples: number,
    /** Outputs of the suffix with the gradients of the sum of its rows, one per gate; empty: none. */
    private readonly gradients: readonly string[] = [],
  ) {
    // As the groups, targets are filled up with those of the last sample.
    this.targets = targets.map((t) => ({ ...t, data: padded(t, samples, store.groups * parts.s) }));
    this.batch = store.complete ? Math.max(64, size.coalitions) : Math.max(256, size.coalitions);
  }

  async evaluate(masks: readonly Mask[], range: Range, signal?: AbortSignal): Promise<Sums> {
    const { s } = this.parts;
    const sums = new Sums(masks.length);
    sums.samples = range.to - range.from;
    if (this.gradients.length > 0) sums.gradients = this.gateSizes.map((n) => new Float64Array(masks.length * n));
    const lastGroup = Math.ceil(range.to / s);
    const blocks = Math.ceil(masks.length / this.size.coalitions);
    const perRun = Math.ceil(masks.length / blocks);
    const feeds = Array.from({ length: blocks }, (_, i) => this.maskFeeds(masks.slice(i * perRun, (i + 1) * perRun)));
    const groupsPerRun = Math.max(1, Math.floor(this.size.rows / (perRun * s)));
    for (let at = Math.floor(range.from / s); at < lastGroup;) {
      const windowEnd = Math.min(lastGroup, (Math.floor(at / this.store.window) + 1) * this.store.window);
      // Everything of a window before the next one: its prefix is computed once.
      await this.store.load(at, windowEnd, () => checkSignal(signal));
      for (let from = at; from < windowEnd; from += groupsPerRun) {
        const to = Math.min(windowEnd, from + groupsPerRun);
        const shared = this.sharedFeeds(from, to);
        for (const [i, own] of feeds.entries()) {
          checkSignal(signal);
          const count = Math.min(perRun, masks.length - i * perRun);
          const results = await this.suffix.run({ ...shared, ...own }, [this.parts.result, ...this.gradients]);
          collect(sums, results[this.parts.result].data as Float32Array, from, to, count, i * perRun, s, range);
          this.gradients.forEach((name, gate) =>
            addRows(sums.gradients![gate], results[name].data as Float32Array, this.gateSizes[gate], count, i * perRun),
          );
        }
      }
      at = windowEnd;
    }
    return sums;
  }

  async close(): Promise<void> {
    await this.suffix.release();
    await this.prefix.release();
  }

  private sharedFeeds(from: number, to: number): Record<string, HostTensor> {
    const { s } = this.parts;
    const feeds = this.store.feeds(from, to);
    feeds[GROUPS] = { type: 'int64', dims: [1], data: BigInt64Array.of(BigInt(to - from)) };
    this.targets.forEach((t, i) => {
      const data = t.data.subarray(from * s * t.width, to * s * t.width) as TypedArray;
      feeds[targetName(i)] = { type: t.type, dims: [to - from, s * t.width], data };
    });
    return feeds;
  }

  private maskFeeds(masks: readonly Mask[]): Record<string, HostTensor> {
    const feeds: Record<string, HostTensor> = {};
    this.parts.masks.forEach((name, gate) => {
      const width = this.gateSizes[gate] + 1;
      const data = new Float32Array(masks.length * width);
      masks.forEach((mask, k) => {
        data.set(mask[gate], k * width);
        data[(k + 1) * width - 1] = 1;
      });
      feeds[name] = { type: 'float32', dims: [masks.length, width], data };
    });
    return feeds;
  }
}

/** Adds the rows [groups, K, s] of a run to the sums of its coalitions. */
function collect(
  sums: Sums,
  rows: Float32Array,
  from: number,
  to: number,
  count: number,
  first: number,
  s: number,
  range: Range,
): void {
  let at = 0;
  for (let g = from; g < to; g++) {
    for (let k = 0; k < count; k++) {
      for (let j = 0; j < s; j++, at++) {
        const sample = g * s + j;
        if (sample >= range.from && sample < range.to) sums.add(first + k, rows[at]);
      }
    }
  }
}

/** Adds the gradients [count, size + 1] of a run, whose last column is of no unit, to rows from `first` on. */
function addRows(sums: Float64Array, rows: Float32Array, size: number, count: number, first: number): void {
  for (let k = 0; k < count; k++)
    for (let i = 0; i < size; i++) sums[(first + k) * size + i] += rows[k * (size + 1) + i];
}

function padded(target: Target, samples: number, wanted: number): TypedArray {
  if (samples === wanted) return target.data;
  const { width } = target;
  const Constructor = target.data.constructor as new (n: number) => TypedArray;
  const all = new Constructor(wanted * width) as Float32Array;
  all.set(target.data as Float32Array);
  const last = (target.data as Float32Array).subarray((samples - 1) * width);
  for (let i = samples; i < wanted; i++) all.set(last, i * width);
  return all;
}
