import type { Node, Value } from '../../graph/ir.ts';
import type { WeightValues } from '../../graph/weight-values.ts';
import type { Group } from '../../units/types.ts';

/** Mean absolute activations, from runs of the graph on data. */
export interface ActivationSource {
  /**
   * Mean over samples and positions of |activation| of each unit, at the gate's place (what the consumers read), on
   * the data. With several gate sites: the mean over the sites.
   * @throws SecateurError 'cancelled' when the signal fires
   */
  meanAbs(group: Group, signal?: AbortSignal): Promise<Float64Array>;
}

/** A consumer that computes y = Σ columns of weight × column, plus what no column has a part in (a bias). */
export interface LinearConsumer {
  node: Node;
  /** Which of its inputs is read in columns, and which is the weight. */
  input: number;
  weightInput: number;
  /** The weight's elements; that of output o and column c has the index o · outputStride + c · columnStride. */
  weight: WeightValues;
  outputs: number;
  outputStride: number;
  columnStride: number;
  /** What the product is multiplied by (alpha of Gemm). */
  scale: number;
}

/**
 * Columns that one or more consumers read, all of the same value in the same way. A row of them is what one position of
 * one sample gives: the features of a token, or the patch under a convolution's kernel in the order channel, kernel
 * position (zeros where the kernel hangs over the edge).
 */
export interface LinearRead {
  consumers: LinearConsumer[];
  operand: Value;
  /** Axis of the operand along which the units lie. */
  axis: number;
  columns: number;
  /** Unit of each column; −1 where it is none of the group's. */
  units: Int32Array;
  /** Of convolutions: the kernel's size along each spatial axis. */
  kernel?: readonly number[];
}

/** What of the consumers of a group can be told by moments. */
export interface LinearReads {
  reads: LinearRead[];
  /** Consumers that are not linear in the units with a constant weight (norms, recurrences, grouped convolutions). */
  uncovered: Node[];
}

/** Means over the rows of a read: over samples and positions. */
export interface Moments {
  /** How many rows the means are over. */
  rows: number;
  /** E[x] by column. */
  mean: Float64Array;
  /**
   * `squares`: E[x²] by column. `gram`: E[x xᵀ], columns × columns, symmetric. `blocks`: the blocks of the Gram matrix
   * that belong to one unit each, units × k × k, k columns a unit in ascending order.
   */
  second: Float64Array;
}

export type MomentKind = 'squares' | 'gram' | 'blocks';

/** Second moments of what the consumers of a group read, from runs of the graph on data. */
export interface MomentSource {
  /** What the group's consumers read, as far as they are linear in it. */
  reads: LinearReads;
  /**
   * Moments of some reads, in their order. The memory of `gram` is columns² numbers twice; it is for the caller to see
   * to it that this fits.
   * @throws SecateurError 'cancelled' when the signal fires; 'runtime' when a moment is not finite; 'unsupported' for
   *   `blocks` of a read whose units have different numbers of columns
   */
  moments(kind: MomentKind, reads: readonly LinearRead[], signal?: AbortSignal): Promise<Moments[]>;
}
