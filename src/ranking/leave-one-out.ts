import { cancelled, evaluateInBatches, fullCoalition, isCancellation } from './coalitions.ts';
import { requireFit, requireGame } from './require.ts';
import { groupRanks, secondsSince } from './result.ts';
import type { RankMethod, RankOutcome, RankState } from './types.ts';

interface LeaveOneOutState extends RankState {
  kind: 'leave-one-out';
  /** v(N), v(∅), then v(N∖i) for units 0, 1, … as far as they were evaluated. */
  values: number[];
  seconds: number;
}

/**
 * What is lost when one unit alone is closed: v(N) − v(N∖i), in the metric's unit. n + 2 coalitions, whatever the
 * budget (v(∅) is for the record only). Blind to units that stand in for each other.
 */
export const leaveOneOut: RankMethod = {
  name: 'leave-one-out',
  label: 'Leave one out',
  description: 'Loss of the metric when this unit alone is closed; blind to units that stand in for each other.',
  needs: 'game',
  comparable: true,
  plannedEvaluations: (size) => size + 2,

  async rank(context, options, signal, onProgress) {
    const started = performance.now();
    const game = requireGame('leave-one-out', context);
    const n = game.players;
    const before = readState(options.resume, n);
    const known = before ? [...before.values] : [];
    const already = known.length;

    const outcome = (complete: boolean): RankOutcome => {
      const seconds = secondsSince(started, before?.seconds);
      const [full, empty] = known;
      const ranks = groupRanks(context.group, {
        scores: known.slice(2).map((without) => full - without),
        scored: (unit) => unit < known.length - 2,
        value: { full, empty },
        evaluations: known.length,
        seconds,
      });
      const resume: LeaveOneOutState = { kind: 'leave-one-out', values: known, seconds };
      return complete ? { ranks, complete } : { ranks, complete, resume };
    };

    const coalition = (number: number): Uint8Array => {
      if (number === 1) return new Uint8Array(n);
      const open = fullCoalition(n);
      if (number > 1) open[number - 2] = 0;
      return open;
    };
    try {
      await evaluateInBatches(
        game,
        n + 2 - already,
        (index) => coalition(already + index),
        signal,
        (done, values) => {
          for (let i = known.length - already; i < done; i++) known.push(values[i]);
          const partial = known.length > 2 && known.length < n + 2 ? { partial: outcome(false).ranks } : {};
          onProgress?.({ evaluations: known.length, planned: n + 2, ...partial });
        },
      );
    } catch (thrown) {
      if (!isCancellation(thrown)) throw thrown;
      if (known.length <= 2) throw cancelled();
      return outcome(false);
    }
    const result = outcome(true);
    onProgress?.({ evaluations: n + 2, planned: n + 2, partial: result.ranks });
    return result;
  },
};

function readState(resume: RankState | undefined, n: number): LeaveOneOutState | undefined {
  if (resume === undefined || resume.kind !== 'leave-one-out') return undefined;
  const state = resume as LeaveOneOutState;
  const fits =
    Array.isArray(state.values) &&
    state.values.length <= n + 2 &&
    state.values.every((v) => Number.isFinite(v)) &&
    Number.isFinite(state.seconds);
  return requireFit(state, fits);
}
