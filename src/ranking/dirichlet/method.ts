import { SecateurError } from '../../errors.ts';
import type { GateLoss } from '../../evaluation/types.ts';
import type { GroupRanks, SwitchForm, SwitchScaling } from '../../formats.ts';
import { intervalGap } from '../../math/statistics.ts';
import { requireFit, requireLoss, requireSeed } from '../require.ts';
import { groupRanks, secondsSince } from '../result.ts';
import type { RankMethod, RankOptions, RankState } from '../types.ts';
import { minibatches } from './minibatches.ts';
import { defaultBudget, LEARNING_RATE, PRIOR, schedule, spent } from './schedule.ts';
import { fitSwitch, type SwitchProgress } from './variational.ts';

/** What a run is made with: a run that is gone on with keeps it. */
interface Settings {
  form: SwitchForm;
  scaling: SwitchScaling;
  prior: number;
  budget: number;
}

interface MethodState extends RankState {
  kind: 'dirichlet-switch';
  seed: number;
  settings: Settings;
  value: { full: number; empty: number };
  fit: RankState;
  seconds: number;
}

/**
 * The Dirichlet importance switch (Adamczewski and Park 2021, Dirichlet Pruning, AISTATS, arXiv 2011.05985): gates that
 * are a scaled draw s ~ Dir(φ), fitted to the data with all weights frozen. Score: the posterior mean φ_i/φ₀ of unit i's
 * share, which add up to 1; `stderr`: its posterior standard deviation.
 *
 * Scores are shares of their group and not comparable between groups. One evaluation is one gate vector on all samples.
 */
export const dirichlet: RankMethod = {
  name: 'dirichlet',
  label: 'Dirichlet switch',
  description: 'Share of a fixed sum of gates that the units of a group compete for, fitted by gradients to the data.',
  needs: 'switch',
  comparable: false,
  plannedEvaluations: (_size, budget = defaultBudget()) => budget,

  async rank(context, options, signal, onProgress) {
    const started = performance.now();
    const loss = requireLoss('dirichlet', context);
    const { group } = context;
    const before = readState(options);
    const settings = before?.settings ?? chosenSettings(options, loss);
    const { form, scaling, prior, budget } = settings;
    const plan = schedule(loss.samples, form, loss.differentiable, budget);
    const value = before?.value ?? (await valuesAtEnds(loss, signal));

    const planned = spent(plan, plan.steps);
    const { draws } = plan;
    const ranksOf = (fit: SwitchProgress): GroupRanks => {
      const { posterior, pull, step, loss: lastLoss, divergence, estimator } = fit;
      const ranks = groupRanks(group, {
        scores: posterior.mean,
        stderr: posterior.deviation,
        value,
        evaluations: spent(plan, step),
        estimator: `${scaling} gates, ${step} steps${form === 'sampled' ? ` of ${draws} draws` : ''}, ${words[estimator]}`,
        seconds: secondsSince(started, before?.seconds),
      });
      ranks.switch = { form, scaling, prior, draws, steps: step, gradient: estimator, loss: lastLoss, divergence };
      // Intervals by posterior deviations say how wide the gates may vary, not how sure the order is.
      delete ranks.noSignal;
      const silent = pulledAlike(pull, lastLoss);
      return silent === undefined ? ranks : { ...ranks, noSignal: silent };
    };

    const fit = await fitSwitch(
      minibatches(loss, plan.batches, options.seed),
      {
        form,
        draws,
        prior,
        klWeight: 1 / loss.samples,
        steps: plan.steps,
        learningRate: LEARNING_RATE,
        scaling,
        seed: options.seed,
        label: group.id,
        resume: before?.fit,
      },
      signal,
      (progress) => onProgress?.({ evaluations: spent(plan, progress.step), planned, partial: ranksOf(progress) }),
    );
    const ranks = ranksOf(fit);
    if (fit.complete) return { ranks, complete: true };
    const resume: MethodState = {
      kind: 'dirichlet-switch',
      seed: options.seed,
      settings,
      value,
      fit: fit.resume!,
      seconds: ranks.seconds,
    };
    return { ranks, complete: false, resume };
  },
};

const words = {
  point: 'gradients at the mean',
  pathwise: 'pathwise gradients',
  'score-function': 'by the score function',
};

/** Minus the losses with all units open and with none, on all samples. */
async function valuesAtEnds(loss: GateLoss, signal?: AbortSignal): Promise<{ full: number; empty: number }> {
  const { size, samples } = loss;
  const gates = new Float64Array(2 * size).fill(1, 0, size);
  const { losses } = await loss.evaluate(gates, 2, { from: 0, to: samples }, signal);
  return { full: -losses[0], empty: -losses[1] };
}

/** Chance that intervals for the pulls of all units, taken together, miss one. */
const MISSED = 0.05;
/** Pulls below this share of the loss are rounding. */
const ROUNDING = 1e-6;

/**
 * Whether the data pulled all switches alike, up to noise: the intervals of their pulls share a point. With n intervals
 * of z = √(2 ln(n / 0.05)) standard errors all hold together with 95 % at least (P(|Z| > z) ≤ exp(−z²/2)).
 */
function pulledAlike({ mean, stderr }: SwitchProgress['pull'], loss: number): boolean | undefined {
  const n = mean.length;
  if (n < 2 || !stderr.every(Number.isFinite)) return undefined;
  const z = Math.sqrt(2 * Math.log(n / MISSED));
  return intervalGap(mean, stderr, z) <= ROUNDING * Math.abs(loss);
}

/** What the user chose, and defaults. @throws SecateurError 'usage' for the point form of a model without gradients */
function chosenSettings(
  { form = 'sampled', scaling = 'saturating', prior = PRIOR, budget }: RankOptions,
  loss: GateLoss,
) {
  if (form === 'point' && !loss.differentiable)
    throw new SecateurError(
      'unsupported',
      `The point form of the Dirichlet switch needs gradients, which the model does not have at group '${loss.group}'.`,
      'Use the sampled form: losses are enough for it.',
    );
  const settings: Settings = { form, scaling, prior, budget: budget ?? defaultBudget(loss.differentiable) };
  return settings;
}

/** The state of an earlier run. @throws SecateurError 'usage' when it was made with other choices; 'bad-data' */
function readState(options: RankOptions): MethodState | undefined {
  const { resume, seed } = options;
  if (resume === undefined || resume.kind !== 'dirichlet-switch') return undefined;
  const state = resume as MethodState;
  const numbers = [state.value?.full, state.value?.empty, state.seconds, state.settings?.prior, state.settings?.budget];
  const { settings } = requireFit(state, numbers.every(Number.isFinite) && typeof state.fit === 'object');
  requireSeed(state, seed);
  for (const name of ['form', 'scaling', 'prior', 'budget'] as const)
    if (options[name] !== undefined && options[name] !== settings[name])
      throw new SecateurError(
        'usage',
        `The saved ranking was made with the ${name} ${settings[name]}, not ${options[name]}.`,
        'Its steps are laid out for the whole run: resume with the same, or rank anew.',
      );
  return state;
}
