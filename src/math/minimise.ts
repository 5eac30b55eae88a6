/** 1 / golden ratio: what is left of an interval in each step. */
const SHRINK = (Math.sqrt(5) - 1) / 2;

/**
 * Least value of a function that falls and then rises (or only one of both) between `low` and `high`, by golden-section search
 * (J. Kiefer 1953, Proceedings of the AMS 4, 502–506). It takes no derivatives and never leaves the interval. The point is
 * found to about √ε relative to the function's curvature, which is where its values stop to differ; the ends are compared too,
 * so that a minimum at an end is that end exactly.
 */
export function minimiseUnimodal(f: (x: number) => number, low: number, high: number, tolerance = 1e-10): number {
  let [a, b] = [low, high];
  let [c, d] = [b - SHRINK * (b - a), a + SHRINK * (b - a)];
  let [fc, fd] = [f(c), f(d)];
  while (b - a > tolerance * Math.max(1, Math.abs(a), Math.abs(b))) {
    if (fc < fd) {
      [b, d, fd] = [d, c, fc];
      c = b - SHRINK * (b - a);
      fc = f(c);
    } else {
      [a, c, fc] = [c, d, fd];
      d = a + SHRINK * (b - a);
      fd = f(d);
    }
  }
  const inner = (a + b) / 2;
  return [low, high].reduce((best, end) => (f(end) <= f(best) ? end : best), inner);
}
