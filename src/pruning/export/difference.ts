import type { HostTensor } from '../../runtime/host-tensor.ts';
import { toFloat64 } from '../../runtime/host-tensor.ts';

export interface Difference {
  maxAbsDiff: number;
  /** max|a − b| / max|b| over all samples. */
  maxRelDiff: number;
}

/**
 * Gathers how far outputs of two models are apart over several batches: per output max|a − b| and max|a − b| / max|b|.
 * Equal infinities and NaN on both sides count as equal; NaN on one side only is infinitely far.
 */
export class DifferenceMeter {
  private readonly outputs = new Map<string, { difference: number; magnitude: number }>();

  /** @throws RangeError when the shapes differ: that is for the caller to explain */
  add(name: string, a: HostTensor, b: HostTensor): void {
    if (a.dims.join() !== b.dims.join())
      throw new RangeError(`${name}: [${a.dims.join(', ')}] against [${b.dims.join(', ')}]`);
    const entry = this.outputs.get(name) ?? { difference: 0, magnitude: 0 };
    const [x, y] = [toFloat64(a), toFloat64(b)];
    for (let i = 0; i < x.length; i++) {
      const magnitude = Math.abs(y[i]);
      if (magnitude > entry.magnitude && magnitude < Infinity) entry.magnitude = magnitude;
      if (x[i] === y[i] || (Number.isNaN(x[i]) && Number.isNaN(y[i]))) continue;
      const difference = Math.abs(x[i] - y[i]);
      if (Number.isNaN(difference)) entry.difference = Infinity;
      else if (difference > entry.difference) entry.difference = difference;
    }
    this.outputs.set(name, entry);
  }

  /** Of one output. */
  of(name: string): Difference {
    const { difference, magnitude } = this.outputs.get(name) ?? { difference: 0, magnitude: 0 };
    return {
      maxAbsDiff: difference,
      maxRelDiff: difference === 0 ? 0 : magnitude === 0 ? Infinity : difference / magnitude,
    };
  }

  /** The worst of all outputs, or of those named, each figure by itself. */
  worst(of: readonly string[] = this.names): Difference & { output: string | null } {
    let worst: Difference & { output: string | null } = { maxAbsDiff: 0, maxRelDiff: 0, output: null };
    for (const name of of) {
      const one = this.of(name);
      worst = {
        maxAbsDiff: Math.max(worst.maxAbsDiff, one.maxAbsDiff),
        maxRelDiff: Math.max(worst.maxRelDiff, one.maxRelDiff),
        output: one.maxRelDiff > worst.maxRelDiff ? name : worst.output,
      };
    }
    return worst;
  }

  get names(): string[] {
    return [...this.outputs.keys()];
  }
}
