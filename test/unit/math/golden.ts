import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Reference values that scripts/golden/special_functions.py wrote. */
export function golden<T>(name: string): T {
  const path = fileURLToPath(new URL(`../../fixtures/math/${name}.json`, import.meta.url));
  return JSON.parse(readFileSync(path, 'utf8')) as T;
}

/** |a − b| / |b|, element by element the largest; absolute where b is 0. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let worst = a.length === b.length ? 0 : Infinity;
  for (let i = 0; i < b.length; i++) {
    const error = Math.abs(a[i] - b[i]) / (Math.abs(b[i]) || 1);
    // Written so that NaN is an error.
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

/** max|a − b| / max|b|. */
export function vectorError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = 0;
  let worst = a.length === b.length ? 0 : Infinity;
  for (let i = 0; i < b.length; i++) {
    largest = Math.max(largest, Math.abs(b[i]));
    const error = Math.abs(a[i] - b[i]);
    if (!(error <= worst)) worst = error;
  }
  return worst / (largest || 1);
}

/** Central differences of f, element by element. */
export function centralDifferences(
  f: (x: Float64Array) => number,
  at: ArrayLike<number>,
  relativeStep = 1e-5,
): Float64Array {
  return Float64Array.from(at, (x, i) => {
    const moved = Float64Array.from(at);
    const h = relativeStep * (Math.abs(x) || 1);
    moved[i] = x + h;
    const above = f(moved);
    moved[i] = x - h;
    return (above - f(moved)) / (2 * h);
  });
}
