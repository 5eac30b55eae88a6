/**
 * The sweep operator on symmetric matrices (Beaton 1964; Goodnight 1979, A Tutorial on the SWEEP Operator, _The American
 * Statistician_ 33(3)), by blocks. Sweeping all of a positive definite matrix gives minus its inverse; sweeping some
 * columns of an inverse (and leaving them out) gives the inverse of the matrix without them. Matrices are square,
 * row-major, and only their lower triangle is read and written.
 */

/** Columns of one block of an inversion: some 0.2 s at the sizes that take long. */
const BLOCK = 32;

/** A symmetric matrix of which the lower triangle counts. */
export interface SymmetricMatrix {
  n: number;
  data: Float64Array;
}

/**
 * Sweeps some columns c: A_ij −= A_ic (A_cc)⁻¹ A_cj for all i, j outside of c.
 * @param after what becomes of the swept rows and columns: `swept`: (A_cc)⁻¹ A_c,: and −(A_cc)⁻¹, as the operator says;
 *   `zero`: zeros, for columns that are left out from then on
 * @returns (A_cc)⁻¹ A_c,: for the columns outside of c, 0 for those in it: c.length × n; null, with the matrix as it was,
 *   when A_cc is not positive definite
 */
export function sweep(
  { n, data }: SymmetricMatrix,
  c: readonly number[],
  after: 'swept' | 'zero',
): Float64Array | null {
  const k = c.length;
  const inverse = inverseOfBlock(data, n, c);
  if (!inverse) return null;
  const rows = new Float64Array(k * n);
  c.forEach((column, r) => copyRow(data, n, column, rows, r * n));
  for (let r = 0; r < k; r++) for (const column of c) rows[r * n + column] = 0;
  const factor = new Float64Array(k * n);
  for (let r = 0; r < k; r++)
    for (let s = 0; s < k; s++) {
      const p = inverse[r * k + s];
      if (p !== 0) for (let j = 0; j < n; j++) factor[r * n + j] += p * rows[s * n + j];
    }
  subtractProduct(data, n, rows, factor, k);
  const keep = after === 'swept';
  c.forEach((column, r) => {
    for (let j = 0; j < n; j++) data[lower(n, column, j)] = keep ? factor[r * n + j] : 0;
  });
  if (keep) c.forEach((i, r) => c.forEach((j, s) => (data[lower(n, i, j)] = -inverse[r * k + s])));
  return factor;
}

/** How often the inversion of a matrix of n columns pauses. */
export function inversionSteps(n: number): number {
  return Math.ceil(n / BLOCK);
}

/**
 * Inverts a positive definite matrix in place, block by block.
 * @param pause awaited after each block, so that long inversions can be cancelled
 * @returns whether it was positive definite; the matrix is of no use if not
 */
export async function invertInPlace(matrix: SymmetricMatrix, pause?: () => Promise<void>): Promise<boolean> {
  const { n, data } = matrix;
  for (let start = 0; start < n; start += BLOCK) {
    const columns = Array.from({ length: Math.min(BLOCK, n - start) }, (_, i) => start + i);
    if (!sweep(matrix, columns, 'swept')) return false;
    await pause?.();
  }
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) data[i * n + j] = -data[i * n + j];
  return true;
}

/** Keeps some rows and columns, ascending, and moves them together. The buffer stays, its first n² elements count. */
export function compact(matrix: SymmetricMatrix, keep: readonly number[]): void {
  const { n, data } = matrix;
  const m = keep.length;
  // Ascending, so that nothing is written over before it was read.
  for (let i = 0; i < m; i++) for (let j = 0; j <= i; j++) data[i * m + j] = data[keep[i] * n + keep[j]];
  matrix.n = m;
}

/** The lower Cholesky factor, k × k, of the block of a matrix at some columns; null when that is not positive definite. */
export function choleskyOfBlock({ n, data }: SymmetricMatrix, c: readonly number[]): Float64Array | null {
  const k = c.length;
  const l = new Float64Array(k * k);
  for (let i = 0; i < k; i++)
    for (let j = 0; j <= i; j++) {
      let sum = data[lower(n, c[i], c[j])];
      for (let m = 0; m < j; m++) sum -= l[i * k + m] * l[j * k + m];
      if (i > j) l[i * k + j] = sum / l[j * k + j];
      else if (sum > 0) l[i * k + i] = Math.sqrt(sum);
      else return null;
    }
  return l;
}

function lower(n: number, i: number, j: number): number {
  return i >= j ? i * n + j : j * n + i;
}

function copyRow(data: Float64Array, n: number, row: number, into: Float64Array, at: number): void {
  into.set(data.subarray(row * n, row * n + row + 1), at);
  for (let j = row + 1; j < n; j++) into[at + j] = data[j * n + row];
}

/** (A_cc)⁻¹ = L⁻ᵀ L⁻¹. */
function inverseOfBlock(data: Float64Array, n: number, c: readonly number[]): Float64Array | null {
  const k = c.length;
  const l = choleskyOfBlock({ n, data }, c);
  if (!l) return null;
  const li = new Float64Array(k * k);
  for (let j = 0; j < k; j++)
    for (let i = j; i < k; i++) {
      let sum = i === j ? 1 : 0;
      for (let m = j; m < i; m++) sum -= l[i * k + m] * li[m * k + j];
      li[i * k + j] = sum / l[i * k + i];
    }
  const inverse = new Float64Array(k * k);
  for (let i = 0; i < k; i++)
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let m = i; m < k; m++) sum += li[m * k + i] * li[m * k + j];
      inverse[i * k + j] = inverse[j * k + i] = sum;
    }
  return inverse;
}

/**
 * A_ij −= Σ_r p_ri q_rj in the lower triangle; p, q: k × n. Two rows of A and four of q at a time, so that a number that is
 * loaded is used more than once: all the time of an inversion goes here.
 */
function subtractProduct(a: Float64Array, n: number, p: Float64Array, q: Float64Array, k: number): void {
  for (let i = 0; i < n; i += 2) {
    const two = i + 1 < n;
    const [first, second] = [i * n, two ? (i + 1) * n : i * n];
    let r = 0;
    for (; r + 4 <= k; r += 4) {
      const [q0, q1, q2, q3] = [r * n, (r + 1) * n, (r + 2) * n, (r + 3) * n];
      const [a0, a1, a2, a3] = [p[q0 + i], p[q1 + i], p[q2 + i], p[q3 + i]];
      const [b0, b1, b2, b3] = two ? [p[q0 + i + 1], p[q1 + i + 1], p[q2 + i + 1], p[q3 + i + 1]] : [0, 0, 0, 0];
      if (two) {
        for (let j = 0; j <= i; j++) {
          const [c0, c1, c2, c3] = [q[q0 + j], q[q1 + j], q[q2 + j], q[q3 + j]];
          a[first + j] -= a0 * c0 + a1 * c1 + a2 * c2 + a3 * c3;
          a[second + j] -= b0 * c0 + b1 * c1 + b2 * c2 + b3 * c3;
        }
        const j = i + 1;
        a[second + j] -= b0 * q[q0 + j] + b1 * q[q1 + j] + b2 * q[q2 + j] + b3 * q[q3 + j];
      } else
        for (let j = 0; j <= i; j++) a[first + j] -= a0 * q[q0 + j] + a1 * q[q1 + j] + a2 * q[q2 + j] + a3 * q[q3 + j];
    }
    for (; r < k; r++) {
      const at = r * n;
      const [x, y] = [p[at + i], two ? p[at + i + 1] : 0];
      if (x !== 0) for (let j = 0; j <= i; j++) a[first + j] -= x * q[at + j];
      if (two && y !== 0) for (let j = 0; j <= i + 1; j++) a[second + j] -= y * q[at + j];
    }
  }
}
