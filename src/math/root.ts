/**
 * Where an increasing function crosses zero, by bisection until neighbouring numbers are reached: at most some 60 halvings for
 * ends of like magnitude, and no derivative that could overshoot.
 * @returns the largest point found at which `f` is not above 0: `low` where `f` is positive everywhere (or no number at `low`),
 *   `high` where it is nowhere
 */
export function lastNotAbove(f: (x: number) => number, low: number, high: number): number {
  if (f(high) <= 0) return high;
  let [below, above] = [low, high];
  for (;;) {
    const middle = below + (above - below) / 2;
    if (middle <= below || middle >= above) return below;
    if (f(middle) <= 0) below = middle;
    else above = middle;
  }
}
