import { Matrix, inverse } from 'ml-matrix';
import { describe, expect, it } from 'vitest';
import { Rng } from '../../../src/math/random.ts';
import { choleskyOfBlock, compact, inversionSteps, invertInPlace, sweep } from '../../../src/math/sweep.ts';

/** A random positive definite matrix; what stands above the diagonal is never to be read. */
function positiveDefinite(n: number): { full: Matrix; lower: Float64Array } {
  const rng = Rng.from(3, `${n}`);
  const x = new Matrix(Array.from({ length: n }, () => Array.from({ length: n + 3 }, () => rng.float() - 0.5)));
  const full = x.mmul(x.transpose()).add(Matrix.eye(n).mul(0.01));
  const lower = Float64Array.from({ length: n * n }, (_, i) => {
    const [row, column] = [Math.floor(i / n), i % n];
    return column <= row ? full.get(row, column) : NaN;
  });
  return { full, lower };
}

function expectLower(data: Float64Array, n: number, wanted: Matrix): void {
  const scale = Math.max(...wanted.to1DArray().map(Math.abs));
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++)
      expect(Math.abs(data[i * n + j] - wanted.get(i, j)) / scale, `${i}, ${j}`).toBeLessThan(1e-9);
}

describe('the sweep operator', () => {
  it.each([1, 2, 5, 31, 32, 33, 70])('inverts a matrix of %i columns in place', async (n) => {
    const { full, lower } = positiveDefinite(n);
    let pauses = 0;
    const pause = async (): Promise<void> => void pauses++;
    expect(await invertInPlace({ n, data: lower }, pause)).toBe(true);
    expect(pauses).toBe(inversionSteps(n));
    expectLower(lower, n, inverse(full));
  });

  it.each([[[4]], [[0, 1, 2]], [[7, 2, 10, 3, 5]]])('takes columns %j out of an inverse', async (gone) => {
    const n = 11;
    const { full, lower } = positiveDefinite(n);
    const matrix = { n, data: lower };
    await invertInPlace(matrix);
    const before = inverse(full);
    const factor = sweep(matrix, gone, 'zero')!;
    const keep = Array.from({ length: n }, (_, i) => i).filter((i) => !gone.includes(i));
    const wanted = inverse(before.selection(gone, gone)).mmul(before.selection(gone, keep));
    gone.forEach((_, r) => {
      keep.forEach((j, at) => expect(factor[r * n + j]).toBeCloseTo(wanted.get(r, at), 8));
      for (const j of gone) expect(factor[r * n + j]).toBe(0);
    });
    for (const i of gone) for (let j = 0; j <= i; j++) expect(matrix.data[i * n + j]).toBe(0);
    compact(matrix, keep);
    expect(matrix.n).toBe(keep.length);
    expectLower(matrix.data, keep.length, inverse(full.selection(keep, keep)));
  });

  it('gives the Cholesky factor of a block', () => {
    const { full, lower } = positiveDefinite(6);
    const columns = [4, 1, 5];
    const l = Matrix.from1DArray(3, 3, choleskyOfBlock({ n: 6, data: lower }, columns)!);
    const product = l.mmul(l.transpose());
    columns.forEach((i, a) =>
      columns.forEach((j, b) => expect(product.get(a, b)).toBeCloseTo(full.get(Math.max(i, j), Math.min(i, j)), 9)),
    );
  });

  it('says when a matrix is not positive definite, and leaves it alone', async () => {
    const data = Float64Array.of(1, 0, 2, 1);
    expect(sweep({ n: 2, data }, [0, 1], 'zero')).toBeNull();
    expect([...data]).toEqual([1, 0, 2, 1]);
    expect(await invertInPlace({ n: 2, data })).toBe(false);
  });
});
