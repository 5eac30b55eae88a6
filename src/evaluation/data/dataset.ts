import { Rng } from '../../math/random.ts';
import {
  allocate,
  convertInto,
  elementCount,
  type HostTensor,
  type HostType,
  type TypedArray,
} from '../../runtime/host-tensor.ts';
import type { Labels } from './labels.ts';

/** How an input of the model gets its values. */
export type InputKind =
  /** One row of axis 0 per sample. */
  | 'rows'
  /** One whole tensor per sample: the model has no batch axis, and every sample is a run of its own. */
  | 'whole'
  /** The same values in every run. */
  | 'constant';

export interface DatasetInput {
  name: string;
  type: HostType;
  kind: InputKind;
  /** rows: shape without the batch axis. whole: the whole shape. constant: the shape at batch 1. */
  sampleShape: number[];
  /** Names of the columns of a table that became one matrix. */
  columns?: readonly string[];
}

/** Samples for a model, ready to feed. Immutable; subsets share the memory. */
export interface Dataset {
  /** Path as given; null for synthetic inputs. */
  readonly path: string | null;
  readonly samples: number;
  /** Number of each sample in the data as they were read. */
  readonly ids: Int32Array;
  readonly inputs: readonly DatasetInput[];
  /** Class numbers or real targets, `labelsPerSample` for each sample, in the order of the samples; null: none. */
  readonly labels: Int32Array | Float32Array | null;
  readonly labelsPerSample: number;
  /** True when the label of each token is the token after it, which the model predicts. */
  readonly nextTokens: boolean;
  /** Number of classes that the labels span; null without class labels. */
  readonly classes: number | null;
  readonly classNames: readonly string[] | null;
  /** SHA-256 over the arrays as they were read, names included; the same for all subsets. */
  readonly fingerprint: string;
  readonly synthetic: boolean;
  readonly warnings: readonly string[];
  /** Rows that the model's inputs demand on axis 0, when that number is fixed; null: any. */
  readonly batchSize: number | null;
  /**
   * Feeds for these samples (positions 0 … samples−1), rows in that order along axis 0; constants are repeated where
   * they have a batch axis. Any count is allowed, whatever `batchSize`: see `batches`.
   */
  feeds(indices: Int32Array | readonly number[]): Record<string, HostTensor>;
  /** Labels of these samples, one after the other; null: none. */
  labelsOf(indices: Int32Array | readonly number[]): Int32Array | Float32Array | null;
  /**
   * Cuts samples into batches of at most `size` rows, or of exactly `batchSize` where that is fixed: the last batch is
   * then filled up with its last sample, and only the first `count` rows are real.
   */
  batches(indices: Int32Array | readonly number[] | null, size: number): { indices: Int32Array; count: number }[];
  subset(indices: Int32Array | readonly number[]): Dataset;
  /** A seeded split: the first `share` (rounded, each side at least one) and the rest. A single sample is on both sides. */
  split(seed: number, share?: number): { search: Dataset; holdout: Dataset };
}

/** An input with its values. `data` holds all samples (rows, whole) in the type that was read. */
export interface BoundInput extends DatasetInput {
  data: TypedArray;
  dataType: HostType;
  /** Constants only: dims of a feed of n rows. */
  dims?: (n: number) => number[];
}

export interface DatasetParts {
  path: string | null;
  samples: number;
  inputs: BoundInput[];
  labels: Labels | null;
  fingerprint: string;
  synthetic: boolean;
  nextTokens?: boolean;
  warnings: string[];
  batchSize: number | null;
  /** Original numbers of the samples, where a reader already chose. */
  ids?: Int32Array;
}

/** A dataset over arrays in memory. */
export function makeDataset(parts: DatasetParts): Dataset {
  return new ArrayDataset(
    parts,
    Int32Array.from({ length: parts.samples }, (_, i) => i),
  );
}

class ArrayDataset implements Dataset {
  readonly labels: Int32Array | Float32Array | null;
  readonly ids: Int32Array;

  constructor(
    private readonly parts: DatasetParts,
    /** Row of each sample in the arrays. */
    private readonly rows: Int32Array,
  ) {
    this.labels = this.gatherLabels(rows);
    this.ids = parts.ids ? rows.map((r) => parts.ids![r]) : rows;
  }

  get path() {
    return this.parts.path;
  }
  get samples() {
    return this.rows.length;
  }
  get inputs() {
    return this.parts.inputs;
  }
  get labelsPerSample() {
    return this.parts.labels?.perSample ?? 0;
  }
  get classes() {
    return this.parts.labels?.classes ?? null;
  }
  get classNames() {
    return this.parts.labels?.classNames ?? null;
  }
  get nextTokens() {
    return this.parts.nextTokens ?? false;
  }
  get fingerprint() {
    return this.parts.fingerprint;
  }
  get synthetic() {
    return this.parts.synthetic;
  }
  get warnings() {
    return this.parts.warnings;
  }
  get batchSize() {
    return this.parts.batchSize;
  }

  feeds(indices: Int32Array | readonly number[]): Record<string, HostTensor> {
    const feeds: Record<string, HostTensor> = {};
    for (const input of this.parts.inputs) feeds[input.name] = this.feed(input, indices);
    return feeds;
  }

  private feed(input: BoundInput, indices: Int32Array | readonly number[]): HostTensor {
    if (input.kind === 'constant') {
      const dims = input.dims!(indices.length);
      const data = allocate(input.type, elementCount(dims));
      const one = Math.max(1, input.data.length);
      for (let at = 0; at < data.length; at += one)
        convertInto(input.data, input.dataType, 0, data, input.type, at, Math.min(one, data.length - at));
      return { type: input.type, dims, data };
    }
    const stride = elementCount(input.sampleShape);
    const data = allocate(input.type, stride * indices.length);
    for (let i = 0; i < indices.length; i++)
      convertInto(input.data, input.dataType, this.rows[indices[i]] * stride, data, input.type, i * stride, stride);
    const dims = input.kind === 'rows' ? [indices.length, ...input.sampleShape] : [...input.sampleShape];
    return { type: input.type, dims, data };
  }

  labelsOf(indices: Int32Array | readonly number[]): Int32Array | Float32Array | null {
    return this.gatherLabels(Int32Array.from(indices, (i) => this.rows[i]));
  }

  private gatherLabels(rows: Int32Array): Int32Array | Float32Array | null {
    const labels = this.parts.labels;
    if (!labels) return null;
    const { values, perSample } = labels;
    const out =
      values instanceof Int32Array
        ? new Int32Array(rows.length * perSample)
        : new Float32Array(rows.length * perSample);
    rows.forEach((r, i) => out.set(values.subarray(r * perSample, (r + 1) * perSample), i * perSample));
    return out;
  }

  batches(indices: Int32Array | readonly number[] | null, size: number): { indices: Int32Array; count: number }[] {
    const all = indices ? Int32Array.from(indices) : Int32Array.from({ length: this.samples }, (_, i) => i);
    const rows = this.batchSize ?? Math.max(1, Math.floor(size));
    const out: { indices: Int32Array; count: number }[] = [];
    for (let at = 0; at < all.length; at += rows) {
      const batch = all.slice(at, at + rows);
      if (this.batchSize === null || batch.length === rows) out.push({ indices: batch, count: batch.length });
      else {
        const filled = new Int32Array(rows).fill(batch[batch.length - 1]);
        filled.set(batch);
        out.push({ indices: filled, count: batch.length });
      }
    }
    return out;
  }

  subset(indices: Int32Array | readonly number[]): Dataset {
    return new ArrayDataset(
      this.parts,
      Int32Array.from(indices, (i) => this.rows[i]),
    );
  }

  split(seed: number, share = 0.8): { search: Dataset; holdout: Dataset } {
    if (this.samples < 2) return { search: this, holdout: this };
    const order = Rng.from(seed, 'split').permutation(this.samples);
    const first = Math.min(this.samples - 1, Math.max(1, Math.round(share * this.samples)));
    return { search: this.subset(order.slice(0, first)), holdout: this.subset(order.slice(first)) };
  }
}
