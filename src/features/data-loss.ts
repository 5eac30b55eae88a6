import { Rng } from '../math/random.ts';
import type { SwitchLoss } from '../ranking/dirichlet/estimators.ts';
import type { FeatureModel } from './feature-model.ts';

/** Samples of a step, drawn without repeats from one epoch to the next; the same for the same seed. */
export function batchOf(samples: Int32Array, size: number, step: number, seed: number): Int32Array {
  const n = samples.length;
  if (size >= n) return samples;
  const perEpoch = Math.floor(n / size);
  const order = Rng.from(seed, `epoch ${Math.floor(step / perEpoch)}`).permutation(n);
  const from = (step % perEpoch) * size;
  return order.slice(from, from + size).map((i) => samples[i]);
}

/**
 * The mean loss over samples as a function of gates that all samples share: what Q-FIT minimises in its global mode, and
 * for one sample in its local mode. The loss of each sample is taken, then their mean: outputs are never averaged.
 * @param batch samples a step
 */
export function dataLoss(model: FeatureModel, samples: Int32Array, batch: number, seed: number): SwitchLoss {
  const { size } = model.layout;
  return {
    size,
    async evaluate(gates, count, step, signal) {
      const chosen = batchOf(samples, batch, step, seed);
      const b = chosen.length;
      const rows = new Float64Array(count * b * size);
      for (let k = 0; k < count; k++)
        for (let i = 0; i < b; i++) rows.set(gates.subarray(k * size, (k + 1) * size), (k * b + i) * size);
      const all = Int32Array.from({ length: count * b }, (_, r) => chosen[r % b]);
      const { losses, gradients } = await model.run(all, rows, { gradients: true, signal });
      const means = new Float64Array(count);
      losses.forEach((l, r) => (means[Math.floor(r / b)] += l / b));
      if (!gradients) return { losses: means };
      const summed = new Float64Array(count * size);
      for (let r = 0; r < all.length; r++)
        for (let i = 0, to = Math.floor(r / b) * size; i < size; i++) summed[to + i] += gradients[r * size + i] / b;
      return { losses: means, gradients: summed };
    },
  };
}

/** The mean loss over samples under the same gates. */
export async function meanLoss(
  model: FeatureModel,
  samples: Int32Array,
  gates: ArrayLike<number>,
  signal?: AbortSignal,
): Promise<number> {
  const { size } = model.layout;
  const rows = Float32Array.from({ length: samples.length * size }, (_, i) => gates[i % size]);
  const { losses } = await model.run(samples, rows, { gradients: false, signal });
  return losses.reduce((sum, l) => sum + l, 0) / losses.length;
}

/** The mean loss over samples with all features as they are, and with all at the baseline. */
export async function openAndClosed(
  model: FeatureModel,
  samples: Int32Array,
  signal?: AbortSignal,
): Promise<{ open: number; closed: number }> {
  const { size } = model.layout;
  return {
    open: await meanLoss(model, samples, new Float32Array(size).fill(1), signal),
    closed: await meanLoss(model, samples, new Float32Array(size), signal),
  };
}
