import { SecateurError } from '../../errors.ts';
import { evaluateInBatches } from '../coalitions.ts';
import { requireGame } from '../require.ts';
import { groupRanks, secondsSince } from '../result.ts';
import type { RankMethod } from '../types.ts';
import { oracleSets } from './sets.ts';

/** All coalitions of more units are not tried. */
export const MOST_UNITS = 16;

/**
 * The best that any ranking could do: all coalitions are evaluated, and for each size the best set of units to keep is
 * found. Score: how often a unit is in these sets (`oracleSets`), from 0 to 1. A yardstick for other methods.
 * A run that is cancelled has nothing to show.
 */
export const oracle: RankMethod = {
  name: 'oracle',
  label: 'Oracle',
  description: 'How often the unit is in the best set of each size, by trying all sets; up to 16 units.',
  needs: 'game',
  comparable: false,
  plannedEvaluations: (size) => (size <= MOST_UNITS ? 2 ** size : 1),

  async rank(context, _options, signal, onProgress) {
    const started = performance.now();
    const game = requireGame('oracle', context);
    const n = game.players;
    if (n > MOST_UNITS)
      throw new SecateurError(
        'usage',
        `The oracle tries all sets of units, which is possible for up to ${MOST_UNITS} units; group '${context.group.id}' has ${n}.`,
        'Name smaller groups, or choose another method.',
      );
    const planned = 2 ** n;
    const values = await evaluateInBatches(
      game,
      planned,
      (mask) => Uint8Array.from({ length: n }, (_, unit) => (mask >> unit) & 1),
      signal,
      (evaluations) => onProgress?.({ evaluations, planned }),
    );
    const { sets, scores } = oracleSets(values, n);
    const ranks = groupRanks(context.group, {
      scores,
      stderr: new Float64Array(n),
      value: { full: values[planned - 1], empty: values[0] },
      evaluations: planned,
      seconds: secondsSince(started),
    });
    ranks.oracle = sets;
    onProgress?.({ evaluations: planned, planned, partial: ranks });
    return { ranks, complete: true };
  },
};
