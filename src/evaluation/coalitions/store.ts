import { allocate, bytesPerElement, type HostTensor, hostTypeOf, type TypedArray } from '../../runtime/host-tensor.ts';
import type { Session } from '../../runtime/session.ts';
import type { Dataset } from '../data/dataset.ts';
import type { Crossing } from './instrument.ts';

/** What is kept of the prefix at most, in bytes; larger ones are computed anew, part by part, for every sweep. */
const LIMIT = 2 ** 30;
const PART = 2 ** 28;

const size = (dims: readonly number[]) => dims.reduce((p, d) => p * d, 1);

/**
 * What crosses the cut, for the samples of a dataset in groups of s: computed on demand and kept as long as it fits.
 * The last group is filled up with its last sample.
 */
export class CrossingStore {
  readonly groups: number;
  /** Groups that are held at the same time. */
  readonly window: number;
  private readonly data = new Map<string, TypedArray>();
  private readonly same = new Map<string, HostTensor>();
  private start = 0;
  private ready: Uint8Array;

  constructor(
    private readonly session: Session,
    private readonly dataset: Dataset,
    private readonly crossings: readonly Crossing[],
    private readonly s: number,
    /** Groups per run of the prefix. */
    private readonly step: number,
    limit = LIMIT,
  ) {
    this.groups = Math.ceil(dataset.samples / s);
    const perGroup = crossings.reduce(
      (sum, c) => sum + (c.kind === 'rows' ? size(c.dims) * bytesPerElement(hostTypeOf(c.elemType)!) : 0),
      0,
    );
    const all = this.groups * perGroup;
    this.window =
      all <= limit ? this.groups : Math.max(1, Math.min(this.groups, Math.floor(Math.min(PART, limit) / perGroup)));
    this.ready = new Uint8Array(Math.ceil(this.window / step));
    for (const c of crossings) {
      if (c.kind === 'rows') this.data.set(c.name, allocate(hostTypeOf(c.elemType)!, this.window * size(c.dims)));
    }
  }

  /** True when everything fits: later sweeps cost no prefix. */
  get complete(): boolean {
    return this.window === this.groups;
  }

  /**
   * Makes groups `from` … `to`−1 available; they must lie within one window (multiples of `window`).
   * @param check called between runs; throws when the caller gave up
   */
  async load(from: number, to: number, check: () => void): Promise<void> {
    const start = Math.floor(from / this.window) * this.window;
    if (start !== this.start) {
      this.start = start;
      this.ready.fill(0);
    }
    const last = Math.min(this.groups, start + this.window);
    for (let block = Math.floor((from - start) / this.step); start + block * this.step < to; block++) {
      if (this.ready[block]) continue;
      check();
      const first = start + block * this.step;
      await this.compute(first, Math.min(last, first + this.step));
      this.ready[block] = 1;
    }
    // Nothing is left to compute: give the prefix's weights back.
    if (this.complete && this.ready.every((r) => r === 1)) await this.session.release();
  }

  private async compute(from: number, to: number): Promise<void> {
    const indices = Int32Array.from({ length: (to - from) * this.s }, (_, i) =>
      Math.min(from * this.s + i, this.dataset.samples - 1),
    );
    const results = await this.session.run(
      this.dataset.feeds(indices),
      this.crossings.map((c) => c.output),
    );
    for (const c of this.crossings) {
      const got = results[c.output];
      if (c.kind === 'same') this.same.set(c.name, got);
      else (this.data.get(c.name) as Float32Array).set(got.data as Float32Array, (from - this.start) * size(c.dims));
    }
  }

  /** Feeds of the suffix for groups that were loaded. Views: they hold until the next load of another window. */
  feeds(from: number, to: number): Record<string, HostTensor> {
    const feeds: Record<string, HostTensor> = {};
    for (const c of this.crossings) {
      if (c.kind === 'same') {
        feeds[c.name] = this.same.get(c.name)!;
        continue;
      }
      const each = size(c.dims);
      const data = this.data.get(c.name)!.subarray((from - this.start) * each, (to - this.start) * each) as TypedArray;
      feeds[c.name] = { type: hostTypeOf(c.elemType)!, dims: [to - from, ...c.dims], data };
    }
    return feeds;
  }
}
