import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import type { BatchProof } from '../../units/batch-axis.ts';
import type { GatedSite } from '../../units/gating.ts';
import type { GraphBuilder } from './graph-builder.ts';

const product = (dims: readonly number[]) => dims.reduce((p, d) => p * d, 1);

/** Name of the suffix input that says how many groups of s samples a run has (int64 [1]). */
export const GROUPS = 'secateur_groups';

/**
 * The frame around a suffix graph in which K coalitions meet samples/s groups of s samples. Its rows lie in the order
 * [groups, K, s]: samples of a group stay together, so that what the prefix stored per group is copied in one piece.
 */
export class SuffixFrame {
  /** float32 [K, size + 1] per gate; the last column is 1. */
  readonly masks: Value[];
  /** int64 [1] */
  readonly groups: Value;
  private coalitions: Value | undefined;
  private rowCount: Value | undefined;
  private readonly known = new Map<string, Value>();

  constructor(
    readonly b: GraphBuilder,
    private readonly sizes: readonly number[],
    readonly s: number,
    /** False: one coalition per run. */
    private readonly many: boolean,
  ) {
    this.groups = b.input(GROUPS, DataType.INT64, [1]);
    this.masks = sizes.map((n, i) => b.input(`secateur_masks_${i}`, DataType.FLOAT, ['coalitions', n + 1]));
  }

  /** int64 [1]: K. */
  private k(): Value {
    return (this.coalitions ??= this.b.size(this.masks[0], 0));
  }

  /** [groups, …] with all elements of s rows per group and coalition → the shape that `like` has, with all rows. */
  restore(v: Value, like: Value, proof: BatchProof): Value {
    const state = proof.state(like);
    const dims = proof.dims(like)!;
    const axis = state.kind === 'rows' ? state.axis : 0;
    const flat = this.b.reshape(v, [-1, ...dims.filter((_, i) => i !== axis)]);
    return this.b.transpose(
      flat,
      dims.map((_, i) => (i < axis ? i + 1 : i === axis ? 0 : i)),
    );
  }

  /** Repeats an input [groups, elements] for every coalition. */
  tile(input: Value, elements: number): Value {
    if (!this.many) return input;
    const { b } = this;
    return b.expand(b.reshape(input, [-1, 1, elements]), b.concat([b.ints([1]), this.k(), b.ints([1])], 0));
  }

  /** [1, K, 1, elements of a row]: the gates of all coalitions spread over an operand of one row. */
  mask(gate: number, site: Pick<GatedSite, 'axis' | 'units'>, operand: Value, proof: BatchProof): Value {
    const { b } = this;
    const state = proof.state(operand);
    const dims = proof.dims(operand)!;
    const batchAxis = state.kind === 'rows' ? state.axis : 0;
    const inner = state.kind === 'rows' ? state.inner : 1;
    const others = dims.filter((_, i) => i !== batchAxis);
    const axis = site.axis > batchAxis ? site.axis - 1 : site.axis;
    // An operand that is one unit as a whole counts as an axis of one position in front of all others.
    const before = inner * (axis < 0 ? 1 : product(others.slice(0, axis)));
    const after = product(others.slice(axis + 1));
    const elemType = operand.type?.elemType ?? DataType.FLOAT;
    const key = `${gate}|${before}|${after}|${elemType}|${site.units.join()}`;
    let mask = this.known.get(key);
    if (!mask) {
      const n = this.sizes[gate];
      mask = b.gather(
        this.masks[gate],
        [...site.units].map((u) => (u < 0 ? n : u)),
        1,
      );
      if (elemType !== DataType.FLOAT) mask = b.cast(mask, elemType);
      mask = b.reshape(mask, [-1, 1, site.units.length, 1]);
      if (before > 1 || after > 1) mask = b.expand(mask, [1, before, 1, after]);
      mask = b.reshape(mask, [1, -1, 1, before * site.units.length * after]);
      this.known.set(key, mask);
    }
    return mask;
  }

  /** A gate's rows for operands inside the suffix: [rows, size], or [1, size] when there is one coalition. */
  gateRows(gate: number): Value {
    const { b } = this;
    const n = this.sizes[gate];
    const own = b.gather(
      this.masks[gate],
      Array.from({ length: n }, (_, i) => i),
      1,
    );
    if (!this.many) return own;
    const all = b.expand(b.reshape(own, [1, -1, 1, n]), b.concat([this.groups, b.ints([1, this.s, 1])], 0));
    return b.reshape(all, [-1, n]);
  }

  /** int64 [1]: groups × K × s. */
  rows(): Value {
    return (this.rowCount ??= this.b.op('Mul', [this.b.op('Mul', [this.groups, this.k()]), this.b.ints([this.s])]));
  }

  /** A tensor without elements, such as an empty cache: nothing crosses the cut for it, only its shape counts. */
  empty(like: Value, proof: BatchProof): Value {
    const { b } = this;
    const state = proof.state(like);
    const parts = proof
      .dims(like)!
      .map((d, axis) =>
        state.kind === 'rows' && state.axis === axis ? b.op('Mul', [this.rows(), b.ints([state.inner])]) : b.ints([d]),
      );
    const v = b.op('ConstantOfShape', [b.concat(parts, 0)]);
    const elemType = like.type?.elemType ?? DataType.FLOAT;
    return elemType === DataType.FLOAT ? v : b.cast(v, elemType);
  }

  /** Sizes that the prefix took from its own batch, for the rows of this run. */
  sizesFor(entries: readonly (number | { rows: number } | null)[], like: Value, proof: BatchProof): Value {
    const { b } = this;
    const parts = entries.map((e) =>
      typeof e === 'number' ? b.ints([e]) : b.op('Mul', [this.rows(), b.ints([e!.rows])]),
    );
    let v = b.concat(parts, 0);
    if (proof.dims(like)?.length === 0) v = b.reshape(v, b.ints([], [0]));
    const elemType = like.type?.elemType ?? DataType.INT64;
    return elemType === DataType.INT64 ? v : b.cast(v, elemType);
  }
}
