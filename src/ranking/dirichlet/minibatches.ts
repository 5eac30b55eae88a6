import type { GateLoss } from '../../evaluation/types.ts';
import { Rng } from '../../math/random.ts';
import type { SwitchLoss } from './estimators.ts';

/**
 * The samples of a loss in batches of equal size (up to one), a batch per step: step by step through all of them, in a new
 * order each time. Which batch a step takes depends on its number, the seed and the group alone.
 */
export function minibatches(loss: GateLoss, batches: number, seed: number): SwitchLoss {
  const { size, samples } = loss;
  let pass = -1;
  let order: ArrayLike<number> = [];
  return {
    size,
    evaluate(gates, count, step, signal) {
      const wanted = Math.floor(step / batches);
      if (wanted !== pass) {
        order = Rng.from(seed, `${loss.group}, pass ${wanted}`).permutation(batches);
        pass = wanted;
      }
      const at = order[step % batches];
      const from = Math.floor((at * samples) / batches);
      const to = Math.floor(((at + 1) * samples) / batches);
      return loss.evaluate(gates, count, { from, to }, signal);
    },
  };
}
