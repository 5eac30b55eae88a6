import { SecateurError } from '../../errors.ts';
import { choleskyOfBlock, compact, invertInPlace, sweep, type SymmetricMatrix } from '../../math/sweep.ts';

/** Part of the mean of the Gram matrix's diagonal that is added to the diagonal, as in GPTQ (arXiv 2210.17323). */
export const DAMPING = 0.01;

/** Removed columns are thrown out when so large a part of those that are left is theirs. */
const WASTE = 0.2;

export interface LayerData {
  /** E[x xᵀ], columns × columns. Taken over: its memory is used for the inverse. */
  gram: Float64Array;
  /** Columns × outputs. Not changed. */
  weights: Float64Array;
  outputs: number;
  /** Columns of each unit. Columns of no unit stay whatever is removed. */
  unitColumns: readonly (readonly number[])[];
}

/**
 * Group-wise optimal brain surgeon for one linear layer y = Wx (Hassibi and Stork 1993; Frantar and Alistarh 2022,
 * arXiv 2208.11580, here for blocks of columns). Units are removed one by one; all weights that are left are always
 * those that minimise E‖(W − W₀)x‖² + λ‖W − W₀‖². With H = E[xxᵀ] + λ, of which the inverse is kept up to date, removing
 * the columns c adds tr(W_c ([H⁻¹]_cc)⁻¹ W_cᵀ) to that minimum and takes W_c ([H⁻¹]_cc)⁻¹ [H⁻¹]_c,: from W.
 */
export class Elimination {
  private readonly inverse: SymmetricMatrix;
  /** Current weights, columns × outputs, columns in their original places. */
  readonly weights: Float64Array;
  private readonly original: Float64Array;
  private readonly outputs: number;
  private readonly unitColumns: readonly (readonly number[])[];
  private readonly lambda: number;
  /** Original columns that the inverse has, and where each column stands in it (−1: thrown out). */
  private kept: number[];
  private readonly place: Int32Array;
  private readonly gone: Uint8Array;
  private waste = 0;
  /** Columns that are 0 in every row. */
  private readonly silent: Uint8Array;
  /** The minimum that was reached, penalty included. */
  private minimum = 0;

  private constructor(
    inverse: SymmetricMatrix,
    { weights, outputs, unitColumns }: LayerData,
    lambda: number,
    silent: Uint8Array,
  ) {
    this.silent = silent;
    this.inverse = inverse;
    this.original = weights;
    this.weights = weights.slice();
    this.outputs = outputs;
    this.unitColumns = unitColumns;
    this.lambda = lambda;
    this.kept = Array.from({ length: inverse.n }, (_, i) => i);
    this.place = Int32Array.from(this.kept);
    this.gone = new Uint8Array(inverse.n);
  }

  /**
   * Inverts the damped Gram matrix.
   * @param damping λ as a part of the mean of the diagonal
   * @param pause awaited now and then: an inversion of 4 608 columns takes half a minute
   * @throws SecateurError 'runtime' when the matrix is not positive definite (with damping 0, or not finite)
   */
  static async open(layer: LayerData, damping = DAMPING, pause?: () => Promise<void>): Promise<Elimination> {
    const n = layer.weights.length / layer.outputs;
    const matrix: SymmetricMatrix = { n, data: layer.gram };
    const diagonal = Float64Array.from({ length: n }, (_, i) => layer.gram[i * n + i]);
    const trace = diagonal.reduce((a, b) => a + b, 0);
    const silent = Uint8Array.from(diagonal, (d) => (d === 0 ? 1 : 0));
    // Columns that are all 0 cost nothing whatever λ is.
    const lambda = trace > 0 ? (damping * trace) / n : 1;
    for (let i = 0; i < n; i++) layer.gram[i * n + i] += lambda;
    if (!(await invertInPlace(matrix, pause)))
      throw new SecateurError(
        'runtime',
        'The second moments of what a layer reads cannot be inverted.',
        'Use more samples.',
      );
    return new Elimination(matrix, layer, lambda, silent);
  }

  /**
   * What removing a unit next adds to the minimum of error and penalty. 0 for units without columns, and for those that
   * are silent on the data: they have no part in the error, only in the penalty.
   */
  loss(unit: number): number {
    const columns = this.unitColumns[unit];
    return columns.every((c) => this.silent[c]) ? 0 : this.lossOf(columns);
  }

  private lossOf(columns: readonly number[]): number {
    const { outputs, weights } = this;
    const k = columns.length;
    const l = this.factorOf(columns);
    // ‖L⁻¹ W_cᵀ‖², by forward substitution for all outputs at once.
    const solved = new Float64Array(k * outputs);
    let loss = 0;
    for (let i = 0; i < k; i++) {
      const row = solved.subarray(i * outputs, (i + 1) * outputs);
      row.set(weights.subarray(columns[i] * outputs, (columns[i] + 1) * outputs));
      for (let j = 0; j < i; j++) {
        const factor = l[i * k + j];
        const earlier = j * outputs;
        for (let o = 0; o < outputs; o++) row[o] -= factor * solved[earlier + o];
      }
      const scale = 1 / l[i * k + i];
      for (let o = 0; o < outputs; o++) {
        row[o] *= scale;
        loss += row[o] * row[o];
      }
    }
    return loss;
  }

  /** Removes a unit and refits the weights that are left. */
  remove(unit: number): void {
    const columns = this.unitColumns[unit];
    this.minimum += this.lossOf(columns);
    const n = this.inverse.n;
    const factor = sweep(
      this.inverse,
      columns.map((c) => this.place[c]),
      'zero',
    );
    if (!factor) return this.fail();
    const { outputs, weights } = this;
    columns.forEach((column, r) => {
      const own = weights.slice(column * outputs, (column + 1) * outputs);
      for (let at = 0; at < n; at++) {
        const f = factor[r * n + at];
        if (f === 0) continue;
        const start = this.kept[at] * outputs;
        for (let o = 0; o < outputs; o++) weights[start + o] -= f * own[o];
      }
    });
    for (const column of columns) {
      weights.fill(0, column * outputs, (column + 1) * outputs);
      this.gone[column] = 1;
    }
    this.waste += columns.length;
    if (this.waste > WASTE * n) this.throwOut();
  }

  /** E‖(W − W₀)x‖² of the weights as they are now, the sum over outputs of the mean squared error. */
  get error(): number {
    let penalty = 0;
    for (let i = 0; i < this.weights.length; i++) penalty += (this.weights[i] - this.original[i]) ** 2;
    return Math.max(0, this.minimum - this.lambda * penalty);
  }

  private throwOut(): void {
    const keep: number[] = [];
    this.kept.forEach((column, at) => {
      if (!this.gone[column]) keep.push(at);
    });
    compact(this.inverse, keep);
    this.kept = keep.map((at) => this.kept[at]);
    this.place.fill(-1);
    this.kept.forEach((column, at) => (this.place[column] = at));
    this.waste = 0;
  }

  private factorOf(columns: readonly number[]): Float64Array {
    const l = choleskyOfBlock(
      this.inverse,
      columns.map((c) => this.place[c]),
    );
    return l ?? this.fail();
  }

  private fail(): never {
    throw new SecateurError(
      'runtime',
      'The second moments of what a layer reads are too nearly singular.',
      'Use more samples.',
    );
  }
}
