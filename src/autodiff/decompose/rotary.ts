import type { Value } from '../../graph/ir.ts';
import type { Emitter } from '../emit.ts';

/** Rotary position embedding (Su et al.: RoFormer, arXiv 2104.09864) in plain ops. */

/** Cosines and sines of the angles, [batch or 1, length, half the rotated size]. */
export interface Angles {
  cos: Value;
  sin: Value;
}

/** Rows of tables [positions, half], by positions [batch, length] or [length]. */
export function anglesAt(e: Emitter, { cos, sin }: Angles, at: Value): Angles {
  const rows = (table: Value) => {
    const taken = e.op('Gather', [table, at], { axis: 0 });
    return e.rankOf(taken) === 2 ? e.unsqueeze(taken, [0]) : taken;
  };
  return { cos: rows(cos), sin: rows(sin) };
}

/**
 * Turns pairs of neighbouring numbers (interleaved) or of numbers half of the rotated size apart; what lies behind the
 * rotated size stays.
 * @param x [batch, heads, length, size]
 */
export function rotate(e: Emitter, x: Value, { cos, sin }: Angles, interleaved: boolean): Value {
  const [size, half] = [e.dimOf(x, 3), e.dimOf(cos, 2)];
  if (typeof size !== 'number' || typeof half !== 'number')
    return e.fail(`the size of the heads of "${x.name}" is unknown`);
  const [turned, rest] = 2 * half < size ? e.split(x, [2 * half, size - 2 * half], 3) : [x, undefined];
  // Pairs lie along an axis of their own, in front of what they are pairs of or behind it.
  const pairs = e.reshape(turned, interleaved ? [0, 0, 0, half, 2] : [0, 0, 0, 2, half]);
  const axis = interleaved ? 4 : 3;
  const [a, b] = e.split(pairs, [1, 1], axis);
  const [c, s] = [cos, sin].map((v) => e.unsqueeze(v, interleaved ? [1, 4] : [1, 3]));
  const real = e.sub(e.mul(a, c), e.mul(b, s));
  const imaginary = e.add(e.mul(a, s), e.mul(b, c));
  const joined = e.reshape(e.concat([real, imaginary], axis), [0, 0, 0, 2 * half]);
  return rest ? e.concat([joined, rest], 3) : joined;
}
