import { Rng } from '../math/random.ts';
import { finishedRanks, secondsSince } from './result.ts';
import type { RankMethod } from './types.ts';

/** A random order: the baseline that every other method has to beat. Scores are uniform in [0, 1). */
export const random: RankMethod = {
  name: 'random',
  label: 'Random',
  description: 'A random order from the seed: the baseline that every other method has to beat.',
  needs: 'nothing',
  comparable: false,
  plannedEvaluations: () => 0,
  async rank({ group }, { seed }, _signal, onProgress) {
    const started = performance.now();
    const rng = Rng.from(seed, group.id);
    const scores = Float64Array.from({ length: group.size }, () => rng.float());
    return finishedRanks(group, { scores, seconds: secondsSince(started) }, onProgress);
  },
};
