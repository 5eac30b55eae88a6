import { SecateurError } from '../../errors.ts';
import { cancelled, coalitionOf, evaluateInBatches, isCancellation } from '../coalitions.ts';
import { requireFit, requireGame } from '../require.ts';
import { groupRanks, secondsSince } from '../result.ts';
import type { RankMethod, RankState } from '../types.ts';
import { oracleSets } from './sets.ts';

interface OracleState extends RankState {
  kind: 'oracle';
  /** By bit mask (bit i: unit i is open), as far as they were evaluated. */
  values: number[];
  seconds: number;
}

/** All coalitions of more units are not tried. */
export const MOST_UNITS = 16;

/**
 * The best that any ranking could do: all coalitions are evaluated, and for each size the best set of units to keep is
 * found. Score: how often a unit is in these sets (`oracleSets`), from 0 to 1. A yardstick for other methods.
 * A run that is cancelled has no scores to show, but keeps the values of its coalitions.
 */
export const oracle: RankMethod = {
  name: 'oracle',
  label: 'Oracle',
  description: 'How often the unit is in the best set of each size, by trying all sets; up to 16 units.',
  needs: 'game',
  comparable: false,
  plannedEvaluations: (size) => (size <= MOST_UNITS ? 2 ** size : 1),

  async rank(context, options, signal, onProgress) {
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
    const before = readState(options.resume, n);
    const values = new Float64Array(planned);
    values.set(before?.values ?? []);
    const already = before?.values.length ?? 0;
    let known = already;
    try {
      await evaluateInBatches(
        game,
        planned - already,
        (index) => coalitionOf(already + index, n),
        signal,
        (done, chunk) => {
          values.set(chunk.subarray(known - already, done), known);
          known = already + done;
          onProgress?.({ evaluations: known, planned });
        },
      );
    } catch (thrown) {
      if (!isCancellation(thrown)) throw thrown;
      if (known === 0) throw cancelled();
      const seconds = secondsSince(started, before?.seconds);
      const resume: OracleState = { kind: 'oracle', values: [...values.subarray(0, known)], seconds };
      const scores = new Float64Array(n);
      const ranks = groupRanks(context.group, { scores, scored: () => false, evaluations: known, seconds });
      return { ranks, complete: false, resume };
    }
    const { sets, scores } = oracleSets(values, n);
    const ranks = groupRanks(context.group, {
      scores,
      stderr: new Float64Array(n),
      value: { full: values[planned - 1], empty: values[0] },
      evaluations: planned,
      seconds: secondsSince(started, before?.seconds),
    });
    ranks.oracle = sets;
    onProgress?.({ evaluations: planned, planned, partial: ranks });
    return { ranks, complete: true };
  },
};

function readState(resume: RankState | undefined, n: number): OracleState | undefined {
  if (resume === undefined || resume.kind !== 'oracle') return undefined;
  const state = resume as OracleState;
  const fits =
    Array.isArray(state.values) &&
    state.values.length <= 2 ** n &&
    state.values.every((v) => Number.isFinite(v)) &&
    Number.isFinite(state.seconds);
  return requireFit(state, fits);
}
