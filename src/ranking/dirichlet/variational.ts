import { SecateurError } from '../../errors.ts';
import { Adam, type AdamState } from '../../math/adam.ts';
import { sampleDirichlet } from '../../math/dirichlet-sampling.ts';
import { dirichletKl, dirichletKlGradient, dirichletMean, dirichletVariance } from '../../math/dirichlet.ts';
import { Rng } from '../../math/random.ts';
import { RunningVector, type RunningState } from '../../math/statistics.ts';
import { sigmoid, softplus, softplusInverse } from '../../math/softplus.ts';
import { cancelled, isCancellation } from '../coalitions.ts';
import { requireFit } from '../require.ts';
import type { RankState } from '../types.ts';
import { estimateAtMean, estimateFromDraws, type Estimate, type SwitchLoss } from './estimators.ts';
import type { SwitchScaling } from './scaling.ts';

export interface SwitchOptions {
  /** `sampled`: the loss is averaged over draws; `point`: it is taken at the mean of the distribution. */
  form: 'sampled' | 'point';
  /** Draws a step in the sampled form. */
  draws: number;
  /** α₀ of the symmetric prior Dir(α₀, …, α₀). Below 1 it favours few large switches. */
  prior: number;
  /** β, what a nat of divergence from the prior costs: 1/(number of samples) is Bayes' rule for a loss that is a mean. */
  klWeight: number;
  /** Steps of the whole run. The learning rate falls to 0 along half a cosine over them. */
  steps: number;
  /** Adam's, at the start, for θ with φ = softplus(θ). */
  learningRate: number;
  scaling: SwitchScaling;
  seed: number;
  /** Name of the stream of random numbers, so that each group has its own. */
  label?: string;
  /** φ to start from; the prior by default. */
  initial?: ArrayLike<number>;
  /** What an earlier run with the same options returned as `resume`. */
  resume?: RankState;
}

/** What is known about the switches: s ~ Dir(φ). */
export interface SwitchPosterior {
  phi: Float64Array;
  /** E[s_i] = φ_i/φ₀: the importance. The means add up to 1; the prior's is 1/n. */
  mean: Float64Array;
  /** Standard deviation of s_i. */
  deviation: Float64Array;
}

export interface SwitchProgress {
  /** Steps taken so far, those of a resumed run included. */
  step: number;
  steps: number;
  /** Estimated loss in the last step, on its batch of data. */
  loss: number;
  /** KL(q ‖ prior) before the last step, in nats. */
  divergence: number;
  posterior: SwitchPosterior;
  estimator: Estimate['estimator'];
  /**
   * What the data did to each φ_i: ∂E_q[loss]/∂φ_i, its mean over the steps and the standard error of that, which counts the
   * way that φ went as noise. Without signal all of them are 0 but for noise.
   */
  pull: { mean: Float64Array; stderr: Float64Array };
}

export interface SwitchOutcome extends SwitchProgress {
  /** False when the run was cancelled: the posterior is that of the steps taken. */
  complete: boolean;
  /** To go on exactly as if the run had not been stopped; there unless it is complete. */
  resume?: RankState;
}

interface SwitchState extends RankState {
  kind: 'dirichlet';
  step: number;
  theta: number[];
  adam: AdamState;
  rng: number[];
  pulls: RunningState;
  loss: number;
  divergence: number;
  estimator: Estimate['estimator'];
}

/** φ stays above this: draws and derivatives are exact down to there, and no share of such a unit is left. */
const SMALLEST_PHI = 1e-4;

/**
 * Fits the variational Dirichlet switch (Adamczewski and Park 2021, Dirichlet Pruning, AISTATS, arXiv 2011.05985; for
 * input features Adamczewski, Harder, Park, arXiv 2010.13872): gates of a frozen model are a scaled draw s ~ Dir(φ), and
 * φ minimises  E_q[loss(gates)] + β KL(Dir(φ) ‖ Dir(α₀)), by Adam on θ with φ = softplus(θ).
 *
 * Units share a fixed sum of switches, so that a useful unit grows at the cost of the useless ones. In the point form the
 * loss does not depend on φ₀, so only the KL term gives the deviations their size.
 * @param onProgress told after every step
 * @returns the posterior; when the signal fires, that of the steps so far, with `complete: false`
 * @throws SecateurError 'cancelled' when the signal fires before the first step is done; 'usage' for bad options;
 *   'unsupported' for the point form of a model without gradients; 'runtime' when the loss is not finite
 */
export async function fitSwitch(
  model: SwitchLoss,
  options: SwitchOptions,
  signal?: AbortSignal,
  onProgress?: (progress: SwitchProgress) => void,
): Promise<SwitchOutcome> {
  requireOptions(model.size, options);
  const n = model.size;
  const { scaling, steps, klWeight } = options;
  const prior = new Float64Array(n).fill(options.prior);
  const start = Float64Array.from(options.initial ?? prior);
  const lowest = softplusInverse(SMALLEST_PHI);
  const theta = start.map((p) => softplusInverse(Math.max(p, SMALLEST_PHI)));
  const adam = new Adam(n, { learningRate: options.learningRate });
  let rng = Rng.from(options.seed, options.label);
  let pulls = new RunningVector(n);
  let last: SwitchProgress | undefined;
  const progressAt = (taken: Pick<SwitchProgress, 'step' | 'loss' | 'divergence' | 'estimator'>): SwitchProgress => ({
    ...taken,
    steps,
    posterior: posteriorOf(theta),
    pull: { mean: pulls.mean.slice(), stderr: pulls.standardError() },
  });
  const before = readState(options.resume, n);
  if (before) {
    theta.set(before.theta);
    adam.restore(before.adam);
    rng = Rng.fromState(before.rng);
    pulls = RunningVector.fromState(before.pulls);
    const { step, loss, divergence, estimator } = before;
    last = progressAt({ step, loss, divergence, estimator });
  }
  // A step that is cancelled half-way has drawn already; resuming draws the same again.
  let rngAfterStep = rng.state();

  const outcome = (complete: boolean): SwitchOutcome => {
    if (!last) throw cancelled();
    if (complete) return { ...last, complete };
    const { step, loss, divergence, estimator } = last;
    const resume: SwitchState = {
      kind: 'dirichlet',
      step,
      theta: [...theta],
      adam: adam.state(),
      rng: rngAfterStep,
      pulls: pulls.state(),
      loss,
      divergence,
      estimator,
    };
    return { ...last, complete, resume };
  };

  for (let step = before?.step ?? 0; step < steps; step++) {
    if (signal?.aborted) return outcome(false);
    const phi = theta.map(softplus);
    let estimate: Estimate;
    try {
      if (options.form === 'point') estimate = await estimateAtMean(model, phi, scaling, step, signal);
      else {
        const draws = Array.from({ length: options.draws }, () => sampleDirichlet(rng, phi));
        estimate = await estimateFromDraws(model, phi, draws, scaling, step, signal);
      }
    } catch (thrown) {
      if (!isCancellation(thrown)) throw thrown;
      return outcome(false);
    }
    const kl = dirichletKlGradient(phi, prior);
    const gradient = theta.map((t, i) => (estimate.gradient[i] + klWeight * kl[i]) * sigmoid(t));
    adam.learningRate = options.learningRate * 0.5 * (1 + Math.cos((Math.PI * step) / steps));
    adam.step(theta, gradient);
    for (let i = 0; i < n; i++) theta[i] = Math.max(theta[i], lowest);
    rngAfterStep = rng.state();
    pulls.add(estimate.gradient);
    const { loss, estimator } = estimate;
    last = progressAt({ step: step + 1, loss, divergence: dirichletKl(phi, prior), estimator });
    onProgress?.(last);
  }
  return outcome(true);
}

function posteriorOf(theta: Float64Array): SwitchPosterior {
  const phi = theta.map(softplus);
  return { phi, mean: dirichletMean(phi), deviation: dirichletVariance(phi).map(Math.sqrt) };
}

function requireOptions(size: number, options: SwitchOptions): void {
  const fail = (what: string, hint: string): never => {
    throw new SecateurError('usage', `The Dirichlet switch cannot run with ${what}.`, hint);
  };
  const positive = (x: number): boolean => x > 0 && x < Infinity;
  const { draws, prior, klWeight, steps, learningRate, initial } = options;
  if (!(Number.isInteger(steps) && steps > 0)) fail(`${steps} steps`, 'Give a whole number of at least 1.');
  if (options.form === 'sampled' && !(Number.isInteger(draws) && draws > 0))
    fail(`${draws} draws a step`, 'Give a whole number of at least 1.');
  if (!positive(prior)) fail(`a prior of ${prior}`, 'Give a number above 0, such as 2.');
  if (!(klWeight >= 0 && klWeight < Infinity)) fail(`a weight of ${klWeight}`, 'Give a number of at least 0.');
  if (!positive(learningRate)) fail(`a learning rate of ${learningRate}`, 'Give a number above 0, such as 0.05.');
  if (initial && !(initial.length === size && Array.from(initial).every(positive)))
    fail('these initial values', `Give ${size} numbers above 0.`);
}

function readState(resume: RankState | undefined, n: number): SwitchState | undefined {
  if (resume === undefined || resume.kind !== 'dirichlet') return undefined;
  const state = resume as SwitchState;
  const numbers = (list: unknown, length: number): boolean =>
    Array.isArray(list) && list.length === length && list.every((x) => Number.isFinite(x));
  const fits =
    Number.isInteger(state.step) &&
    numbers(state.theta, n) &&
    numbers(state.adam?.first, n) &&
    numbers(state.adam?.second, n) &&
    Number.isInteger(state.adam?.steps) &&
    numbers(state.rng, 4) &&
    numbers(state.pulls?.mean, n) &&
    numbers(state.pulls?.squares, n) &&
    state.pulls.count === state.step &&
    Number.isFinite(state.loss) &&
    Number.isFinite(state.divergence);
  return requireFit(state, fits);
}
