import { SecateurError } from '../errors.ts';
import { standardNormal } from './normal.ts';
import type { Rng } from './random.ts';

/**
 * The logarithm of a draw z ~ Gamma(shape, 1). The logarithm, because z itself is smaller than the smallest number that
 * can be held in most draws of a shape below 0.001 (z is about U^(1/shape)).
 *
 * Marsaglia and Tsang (2000), A Simple Method for Generating Gamma Variables, ACM TOMS 26(3): rejection from the cube of
 * a normal variable. A shape below 1 is drawn as Gamma(shape + 1) times U^(1/shape).
 * @param shape finite and above 0
 * @throws SecateurError 'internal' for another shape
 */
export function sampleLogGamma(rng: Rng, shape: number): number {
  if (!(shape > 0 && shape < Infinity)) throw new SecateurError('internal', `A Gamma distribution of shape ${shape}.`);
  if (shape >= 1) return marsagliaTsang(rng, shape);
  const above = marsagliaTsang(rng, shape + 1);
  return above + Math.log(1 - rng.float()) / shape;
}

/** ln z for a shape of at least 1. The quick acceptance ("squeeze") of the paper saves little here and is left out. */
function marsagliaTsang(rng: Rng, shape: number): number {
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = standardNormal(rng);
    const root = 1 + c * x;
    if (root <= 0) continue;
    const logCube = 3 * Math.log(root);
    const logUniform = Math.log(1 - rng.float());
    if (logUniform < 0.5 * x * x + d * (1 - Math.exp(logCube) + logCube)) return Math.log(d) + logCube;
  }
}
