import { FEWEST, type Gate } from './gate.ts';

/**
 * A mean over units: Σ g·x / max(Σ g, 1e-6). The consumer takes the mean of the gated operand; its output is divided by
 * the mean of the gates.
 * @param axes axes that the mean runs over, non-negative
 * @param keep whether the output keeps them
 * @param size positions along those of the axes that carry units
 */
export function mean(axes: readonly number[], keep: boolean, size: number): Gate {
  return (g) => {
    g.multiply();
    const share = g.atLeast(g.reduce('ReduceMean', g.factor, axes, keep), FEWEST / size);
    g.replaceOutput(0, (output) => g.add('Div', [output, share]));
  };
}
