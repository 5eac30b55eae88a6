import { Rng } from '../math/random.ts';

/**
 * The batches of one epoch, in an order that comes from the seed and the epoch alone, so that a training can go on in
 * the middle of one. Every sample is met once. Sizes differ by one at most, so that no batch is left with few samples.
 * @param size samples per batch, at most
 * @param exact the model takes no other size: the last batch is filled up with samples from the start of the order
 */
export function epochBatches(samples: number, size: number, seed: number, epoch: number, exact = false): Int32Array[] {
  const order = Rng.from(seed, `epoch ${epoch}`).permutation(samples);
  const count = batchesPerEpoch(samples, size);
  return Array.from({ length: count }, (_, k) => {
    if (exact) return Int32Array.from({ length: size }, (_, i) => order[(k * size + i) % samples]);
    return order.slice(Math.round((k * samples) / count), Math.round(((k + 1) * samples) / count));
  });
}

/** How many batches an epoch has. */
export function batchesPerEpoch(samples: number, size: number): number {
  return Math.max(1, Math.ceil(samples / size));
}
