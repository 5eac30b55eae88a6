import { setImmediate } from 'node:timers/promises';
import { columnsOfUnits, type LinearRead, type MomentSource, stackedWeights } from '../../evaluation/moments/index.ts';
import { inversionSteps } from '../../math/sweep.ts';
import { cancelled } from '../coalitions.ts';
import { requireMoments } from '../require.ts';
import { finishedRanks, secondsSince } from '../result.ts';
import type { RankMethod, RankProgress } from '../types.ts';
import { DAMPING, Elimination } from './elimination.ts';

/** Numbers in double precision that the elimination may hold: 320 MB. One convolution over 512 channels of 3 × 3 takes 26e6. */
const MOST_NUMBERS = 40e6;

/**
 * Optimal brain surgeon for units: at each step the unit goes whose columns cost least when all other weights of the
 * consumers are refitted by least squares. Score: the squared error of the consumers' outputs when this unit and all
 * that went before it are gone, the rest refitted.
 */
export const obs: RankMethod = {
  name: 'obs',
  label: 'Optimal brain surgeon',
  description:
    "Squared error of the consumers' outputs when the unit and all less important ones are gone and the remaining weights are refitted.",
  needs: 'moments',
  comparable: false,
  plannedEvaluations: () => 0,
  async rank(context, _options, signal, onProgress) {
    const started = performance.now();
    const { group } = context;
    const source = requireMoments('obs', context);
    const large = source.reads.reads.reduce((sum, read) => sum + numbersOf(read), 0) > MOST_NUMBERS;
    const scores = large
      ? await errorsWithoutRefit(source, group.size, signal)
      : await eliminate(source, group.size, onProgress, signal);
    const estimator = large ? 'one-shot, without refit' : undefined;
    return finishedRanks(group, { scores, estimator, seconds: secondsSince(started) }, onProgress);
  },
};

/** The Gram matrix and its single-precision original, and the weights before and after. */
function numbersOf({ columns, consumers }: LinearRead): number {
  return 1.5 * columns ** 2 + 2 * columns * consumers.reduce((sum, c) => sum + c.outputs, 0);
}

/** Removes unit after unit. @returns by unit the error that its removal led to, never less than before */
async function eliminate(
  source: MomentSource,
  size: number,
  onProgress?: (progress: RankProgress) => void,
  signal?: AbortSignal,
): Promise<Float64Array> {
  const { reads } = source.reads;
  const planned = reads.reduce((sum, read) => sum + inversionSteps(read.columns), size);
  let done = 0;
  const step = async (): Promise<void> => {
    await pause(signal);
    onProgress?.({ evaluations: ++done, planned });
  };
  const moments = await source.moments('gram', reads, signal);
  const layers: Elimination[] = [];
  for (const [i, read] of reads.entries()) {
    const unitColumns = columnsOfUnits(read.units, size);
    const layer = { gram: moments[i].second, ...stackedWeights(read), unitColumns };
    layers.push(await Elimination.open(layer, DAMPING, step));
  }
  const scores = new Float64Array(size);
  const left = new Set(Array.from({ length: size }, (_, unit) => unit));
  let reached = 0;
  while (left.size > 0) {
    await step();
    const unit = cheapest(left, layers);
    left.delete(unit);
    for (const layer of layers) layer.remove(unit);
    reached = Math.max(
      reached,
      layers.reduce((sum, layer) => sum + layer.error, 0),
    );
    scores[unit] = reached;
  }
  return scores;
}

function cheapest(left: ReadonlySet<number>, layers: readonly Elimination[]): number {
  let best = -1;
  let least = Infinity;
  for (const unit of left) {
    const loss = layers.reduce((sum, layer) => sum + layer.loss(unit), 0);
    if (best >= 0 && !(loss < least)) continue;
    best = unit;
    least = loss;
  }
  return best;
}

/** Σ E‖W_c x_c‖², the squared error when one unit goes and nothing is refitted: what can be had of very wide layers. */
async function errorsWithoutRefit(source: MomentSource, size: number, signal?: AbortSignal): Promise<Float64Array> {
  const { reads } = source.reads;
  const scores = new Float64Array(size);
  const moments = await source.moments('blocks', reads, signal);
  for (const [i, read] of reads.entries()) {
    const blocks = moments[i].second;
    for (const [unit, columns] of columnsOfUnits(read.units, size).entries()) {
      await pause(signal);
      const { outputs, weights } = stackedWeights(read, columns);
      const k = columns.length;
      for (let a = 0; a < k; a++)
        for (let b = 0; b < k; b++) scores[unit] += blocks[(unit * k + a) * k + b] * rowProduct(weights, outputs, a, b);
    }
  }
  return scores;
}

function rowProduct(matrix: Float64Array, width: number, a: number, b: number): number {
  let sum = 0;
  for (let i = 0; i < width; i++) sum += matrix[a * width + i] * matrix[b * width + i];
  return sum;
}

/** Lets a cancellation in. */
async function pause(signal?: AbortSignal): Promise<void> {
  await setImmediate();
  if (signal?.aborted) throw cancelled();
}
