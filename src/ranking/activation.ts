import { SecateurError } from '../errors.ts';
import { requireActivations } from './require.ts';
import { finishedRanks, secondsSince } from './result.ts';
import type { RankMethod } from './types.ts';

/** Mean |activation| of a unit on the data, where its gate stands (after normalisation and activation function). */
export const activation: RankMethod = {
  name: 'activation',
  label: 'Mean activation',
  description: 'Mean absolute activation of the unit on the data, where its consumers read it.',
  needs: 'activations',
  comparable: false,
  plannedEvaluations: () => 0,
  async rank(context, _options, signal, onProgress) {
    const started = performance.now();
    const { group } = context;
    const scores = await requireActivations('activation', context).meanAbs(group, signal);
    if (scores.length !== group.size)
      throw new SecateurError(
        'internal',
        `Got ${scores.length} mean activations for the ${group.size} units of group '${group.id}'.`,
      );
    const broken = scores.findIndex((score) => !Number.isFinite(score));
    if (broken >= 0)
      throw new SecateurError(
        'runtime',
        `The mean activation of unit ${broken} of group '${group.id}' is ${scores[broken]}.`,
        'Check the data for infinities and NaN.',
      );
    return finishedRanks(group, { scores, seconds: secondsSince(started) }, onProgress);
  },
};
