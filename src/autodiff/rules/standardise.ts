import type { Value } from '../../graph/ir.ts';
import { precise } from '../distribution.ts';
import type { Emitter } from '../emit.ts';

/** Numbers brought to mean 0 and variance 1 along some axes: what normalisations have in common. */

/** x̂ = (x − mean)·inverse; half precision is held in float32. */
export interface Standardised {
  axes: readonly number[];
  /** x̂, of the shape of x. */
  hat: Value;
  /** 1/√(variance + ε), with axes of size 1 where it was taken. */
  inverse: Value;
  /** x − mean: x itself where it is not centred. */
  centred: Value;
  /** Whether the mean was taken off: RMS normalisations leave it. */
  subtractsMean: boolean;
}

/** Standardises `x` along `axes` (not negative); the variance is the biased one, as in every normalisation of ONNX. */
export function standardise(
  e: Emitter,
  x: Value,
  axes: readonly number[],
  epsilon: number,
  subtractsMean = true,
): Standardised {
  const exact = precise(e, x);
  const centred = subtractsMean ? e.sub(exact, e.reduceMean(exact, axes)) : exact;
  const variance = e.reduceMean(e.mul(centred, centred), axes);
  const inverse = e.op('Reciprocal', [e.op('Sqrt', [e.plus(variance, epsilon)])]);
  return { axes, hat: e.mul(centred, inverse), inverse, centred, subtractsMean };
}

/** d/dx of ⟨g, x̂⟩: inverse·(g − mean g − x̂·mean(g·x̂)), in the element type of `hat`. */
export function standardisedGradient(e: Emitter, s: Standardised, g: Value): Value {
  const along = e.mul(s.hat, e.reduceMean(e.mul(g, s.hat), s.axes));
  const centred = s.subtractsMean ? e.sub(g, e.reduceMean(g, s.axes)) : g;
  return e.mul(e.sub(centred, along), s.inverse);
}

/** d/dx of ⟨g, inverse⟩: −g·inverse²·x̂/n, where n numbers were averaged. */
export function inverseGradient(e: Emitter, s: Standardised, g: Value): Value {
  const share = e.div(e.mul(g, e.mul(s.inverse, s.inverse)), e.count(s.hat, s.axes));
  return e.neg(e.mul(s.hat, share));
}
