import type { Rng } from './random.ts';

/**
 * A standard normal number (Box and Muller 1958). Two uniform numbers make one, the second half of the pair is not kept:
 * so the generator's state is all there is to save.
 */
export function standardNormal(rng: Rng): number {
  // 1 − u lies in (0, 1], where the logarithm is finite.
  const radius = Math.sqrt(-2 * Math.log(1 - rng.float()));
  return radius * Math.cos(2 * Math.PI * rng.float());
}
