import { CholeskyDecomposition, Matrix, pseudoInverse } from 'ml-matrix';

/**
 * Inverse of a symmetric positive definite n × n matrix in row-major order, by Cholesky decomposition; where rounding has
 * taken away its definiteness, the Moore–Penrose inverse.
 */
export function inverseOfSymmetric(matrix: Float64Array, n: number): Float64Array {
  const m = Matrix.from1DArray(n, n, matrix);
  const cholesky = new CholeskyDecomposition(m);
  const inverse = cholesky.isPositiveDefinite() ? cholesky.solve(Matrix.eye(n)) : pseudoInverse(m);
  return Float64Array.from(inverse.to1DArray());
}

/** Matrix (row-major, n columns) times vector. */
export function timesVector(matrix: Float64Array, n: number, vector: ArrayLike<number>): Float64Array {
  const out = new Float64Array(matrix.length / n);
  for (let row = 0; row < out.length; row++) {
    let sum = 0;
    for (let column = 0; column < n; column++) sum += matrix[row * n + column] * vector[column];
    out[row] = sum;
  }
  return out;
}
