import { SecateurError } from '../../errors.ts';
import type { CoalitionGame } from '../../evaluation/types.ts';
import { Rng } from '../../math/random.ts';
import { spread } from '../../math/statistics.ts';
import { cancelled, fullCoalition, isCancellation } from '../coalitions.ts';
import { requireFit, requireSeed } from '../require.ts';
import { groupRanks, secondsSince } from '../result.ts';
import type { RankContext, RankOptions, RankOutcome, RankProgress, RankState } from '../types.ts';
import { DEFAULT_TOLERANCE, defaultBudget, leastRegression, plannedRegression } from './budget.ts';
import { EvaluationLog, packNumbers, unpackNumbers } from './log.ts';
import type { Design } from './pair-stream.ts';
import { PairStream } from './pair-stream.ts';
import type { Fit, Observation } from './regression-fit.ts';
import { fitPairs } from './regression-fit.ts';
import { findSilent } from './silent.ts';

interface RegressionState extends RankState {
  kind: 'shapley-regression';
  design: Design;
  seed: number;
  /** All values that were evaluated, in the order of asking (`packNumbers`). */
  values: string;
  seconds: number;
}

const WORDS: Record<Design, string> = {
  leverage: 'leverage-score regression',
  kernel: 'kernel regression',
};

/**
 * Shapley values by a weighted least squares fit to the values of sampled coalitions and their complements: the design
 * `leverage` is Leverage SHAP (Musco, Witter, ICLR 2025, arXiv 2410.01917), `kernel` is KernelSHAP (Lundberg, Lee 2017)
 * with paired sampling (Covert, Lee 2021). See `PairStream` for the drawing and `fitPairs` for the fit, its standard errors
 * and how it is exact once all coalitions are in. Scores always add up to v(N) − v(∅). For a given budget the fit is
 * biased by a term that vanishes faster than its standard error.
 *
 * All units are first opened alone and closed alone. Those that never change anything (`findSilent`) get exactly 0 and
 * leave the game, which does not change the values of the others.
 *
 * @throws SecateurError 'usage' when the budget is below `leastRegression`
 */
export async function regressShapley(
  design: Design,
  context: RankContext,
  game: CoalitionGame,
  options: RankOptions,
  signal?: AbortSignal,
  onProgress?: (progress: RankProgress) => void,
): Promise<RankOutcome> {
  const started = performance.now();
  const { group } = context;
  const n = game.players;
  const budget = options.budget ?? defaultBudget(n);
  const tolerance = options.tolerance ?? DEFAULT_TOLERANCE;
  const planned = plannedRegression(n, budget);
  if (budget < leastRegression(n))
    throw new SecateurError(
      'usage',
      `The ${WORDS[design]} of the ${n} units of group '${group.id}' takes at least ${leastRegression(n)} evaluations, the budget is ${budget}.`,
      'Give a larger budget, or let the estimator be chosen.',
    );
  const before = readState(options.resume, design, options.seed);
  const log = new EvaluationLog(game, before && unpackNumbers(before.values));
  const report = (evaluations: number): void => onProgress?.({ evaluations: Math.min(evaluations, planned), planned });
  const ask = (count: number, make: (index: number) => Uint8Array): Promise<Float64Array> =>
    log.ask(count, make, signal, report);

  let ends: { full: number; empty: number } | undefined;
  let active = Int32Array.from({ length: n }, (_, i) => i);
  let stream: PairStream | undefined;
  const observations: Observation[] = [];

  const fit = (): Fit => {
    const k = active.length;
    const whole: Fit = { scores: new Float64Array(n), stderr: new Float64Array(n) };
    if (k === 0) return whole;
    const found = fitPairs(observations, k, ends!.full - ends!.empty, stream!.drawn, stream!.total);
    // A few pairs beside those of single units say nothing about the errors yet.
    const known = observations.length >= 1.5 * k || stream!.exhausted;
    active.forEach((unit, i) => {
      whole.scores[unit] = found.scores[i];
      whole.stderr[unit] = known ? found.stderr[i] : NaN;
    });
    return whole;
  };
  const outcome = (complete: boolean, { scores, stderr } = fit()): RankOutcome => {
    const seconds = secondsSince(started, before?.seconds);
    const pairs = observations.length;
    const ranks = groupRanks(group, {
      scores,
      stderr,
      value: ends,
      evaluations: log.asked,
      estimator: stream?.exhausted
        ? `${WORDS[design]} on all coalitions: exact`
        : `${WORDS[design]}, ${pairs} ${pairs === 1 ? 'pair' : 'pairs'} of coalitions`,
      seconds,
    });
    const resume: RegressionState = {
      kind: 'shapley-regression',
      design,
      seed: options.seed,
      values: packNumbers(log.values),
      seconds,
    };
    return { ranks, complete, resume };
  };

  try {
    const [full, empty] = await ask(2, (i) => (i === 0 ? fullCoalition(n) : new Uint8Array(n)));
    ends = { full, empty };
    const alone = await ask(2 * n, (index) => {
      const coalition = index & 1 ? fullCoalition(n) : new Uint8Array(n);
      coalition[index >> 1] ^= 1;
      return coalition;
    });
    const candidates = [...active].filter((i) => alone[2 * i] === empty && alone[2 * i + 1] === full);
    const rest = budget - log.asked;
    const silent = new Set(
      await findSilent(
        candidates,
        n,
        Math.floor(rest / 3),
        Rng.from(options.seed, `${group.id} silent`),
        (coalitions) => ask(coalitions.length, (i) => coalitions[i]),
      ),
    );
    active = active.filter((unit) => !silent.has(unit));
    stream = new PairStream(active.length, design, Rng.from(options.seed, `${group.id} ${design}`));
    for (let pair = stream.nextSingle(); pair; pair = stream.nextSingle()) {
      const unit = active[pair.open.indexOf(1)];
      observations.push({ ...pair, difference: alone[2 * unit] - alone[2 * unit + 1] });
    }

    let check = nextFit(observations.length);
    let found: Fit | undefined;
    const settled = (): boolean =>
      tolerance > 0 && found !== undefined && Math.max(...found.stderr) <= tolerance * spread(found.scores);
    while (!stream.exhausted && log.asked + 2 <= budget && !settled()) {
      const fitting = Math.max(1, Math.floor(game.preferredBatch / 2) || 1);
      const wanted = Math.min(fitting, check - observations.length, Math.floor((budget - log.asked) / 2));
      const pairs = stream.take(wanted);
      const values = await ask(2 * pairs.length, (index) => coalitionOf(pairs[index >> 1].open, active, n, index & 1));
      pairs.forEach((pair, p) => observations.push({ ...pair, difference: values[2 * p] - values[2 * p + 1] }));
      found = undefined;
      if (observations.length === check) {
        check = nextFit(check);
        found = fit();
        if (log.asked + 2 <= budget && !settled())
          onProgress?.({ evaluations: log.asked, planned, partial: outcome(false, found).ranks });
      }
    }
  } catch (thrown) {
    if (!isCancellation(thrown)) throw thrown;
    if (!stream || observations.length < active.length) throw cancelled();
    // Pairs that were drawn but not evaluated do not count.
    stream.takeBack(observations);
    return outcome(false);
  }
  const result = outcome(true);
  onProgress?.({ evaluations: result.ranks.evaluations, planned: result.ranks.evaluations, partial: result.ranks });
  return result;
}

/** After how many pairs the fit is made next: a quarter more each time. */
function nextFit(pairs: number): number {
  return Math.max(pairs + 1, Math.ceil(pairs * 1.25));
}

/** A coalition of the active units in the whole group, or its complement among them; silent units are closed. */
function coalitionOf(open: Uint8Array, active: Int32Array, players: number, complement: number): Uint8Array {
  const coalition = new Uint8Array(players);
  for (let i = 0; i < open.length; i++) coalition[active[i]] = open[i] ^ complement;
  return coalition;
}

function readState(resume: RankState | undefined, design: Design, seed: number): RegressionState | undefined {
  if (resume === undefined || resume.kind !== 'shapley-regression') return undefined;
  const state = resume as RegressionState;
  const fits = unpackNumbers(state.values) !== undefined && Number.isFinite(state.seconds);
  requireFit(state, fits && state.design === design);
  requireSeed(state, seed);
  return state;
}
