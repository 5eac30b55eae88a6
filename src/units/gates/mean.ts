import type { Gate } from './gate.ts';

/**
 * A mean over units: Σ g·x / max(Σ g, 1e-6) in the place of what the consumer gives.
 * @param axes axes that the mean runs over, non-negative
 * @param keep whether the output keeps them
 */
export function mean(axes: readonly number[], keep: boolean): Gate {
  return (g) => {
    const replaced = g.mean(g.operand, axes, { keepdims: keep });
    g.replaceOutput(0, () => replaced);
  };
}
