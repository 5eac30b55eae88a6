import { type LinearRead, stackedWeights } from '../evaluation/moments/index.ts';
import { requireMoments } from './require.ts';
import { finishedRanks, secondsSince } from './result.ts';
import type { RankMethod } from './types.ts';

/**
 * Σ|w|·‖x‖ over all weights that read a unit (Sun et al. 2023, arXiv 2306.11695, equation 1, summed over the weights that
 * go with the unit), ‖x‖ the root of the mean square over samples and positions.
 */
export const wanda: RankMethod = {
  name: 'wanda',
  label: 'Wanda (weight × activation)',
  description: 'Sum over the weights that read the unit of |weight| × root mean square of what it multiplies.',
  needs: 'moments',
  comparable: false,
  plannedEvaluations: () => 0,
  async rank(context, _options, signal, onProgress) {
    const started = performance.now();
    const { group } = context;
    const source = requireMoments('wanda', context);
    const { reads } = source.reads;
    const scores = new Float64Array(group.size);
    const moments = await source.moments('squares', reads, signal);
    reads.forEach((read, i) => addProducts(scores, read, moments[i].second));
    return finishedRanks(group, { scores, seconds: secondsSince(started) }, onProgress);
  },
};

function addProducts(scores: Float64Array, read: LinearRead, squares: Float64Array): void {
  read.units.forEach((unit, column) => {
    if (unit < 0) return;
    const { weights } = stackedWeights(read, [column]);
    scores[unit] += weights.reduce((sum, w) => sum + Math.abs(w), 0) * Math.sqrt(squares[column]);
  });
}
