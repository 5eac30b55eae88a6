import type { CoalitionGame } from '../../evaluation/types.ts';
import { evaluateInBatches } from '../coalitions.ts';

/** A sweep is looked at in about so many pieces. */
const PIECES = 12;

/**
 * Values along sweeps from the full coalition to the empty one, of which each ends as soon as its value is within
 * `truncation` of v(∅): the rest of it counts as v(∅) (after Ghorbani, Zou 2019, who stop near v(N)). The scores of a
 * sweep still add up to v(N) − v(∅), but they are biased: v may pass through v(∅) on its way, and what the units that
 * are closed last do is not seen.
 * @param sweeps number of sweeps
 * @param steps coalitions of each
 * @param coalition the coalition after `step` steps of a sweep, smaller and smaller
 * @returns values sweep by sweep, and how many were evaluated
 */
export async function truncatedSweeps(
  game: CoalitionGame,
  sweeps: number,
  steps: number,
  coalition: (sweep: number, step: number) => Uint8Array,
  empty: number,
  truncation: number,
  signal?: AbortSignal,
): Promise<{ values: Float64Array; evaluations: number }> {
  const values = new Float64Array(sweeps * steps).fill(empty);
  const piece = Math.max(1, Math.ceil(steps / PIECES));
  let open = Array.from({ length: sweeps }, (_, i) => i);
  let evaluations = 0;
  for (let from = 0; from < steps && open.length > 0; from += piece) {
    const length = Math.min(piece, steps - from);
    const found = await evaluateInBatches(
      game,
      open.length * length,
      (index) => coalition(open[Math.floor(index / length)], from + (index % length)),
      signal,
    );
    evaluations += found.length;
    open = open.filter((sweep, i) => {
      for (let step = 0; step < length; step++) {
        const value = found[i * length + step];
        if (Math.abs(value - empty) <= truncation) return false;
        values[sweep * steps + from + step] = value;
      }
      return true;
    });
  }
  return { values, evaluations };
}
