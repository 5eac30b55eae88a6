import type { FeatureExplanation, FeatureScore, Features } from '../formats.ts';
import { fitSwitch, type SwitchPosterior } from '../ranking/dirichlet/variational.ts';
import { dataLoss, openAndClosed } from './data-loss.ts';
import type { FeatureModel } from './feature-model.ts';
import type { QfitSettings } from './settings.ts';

/** An explanation, and how it was come by. */
export interface Explained extends Omit<FeatureExplanation, 'name'> {
  estimator: Features['estimator'];
  steps: number;
  /** False when the run was cancelled: the importances are those of the steps taken. */
  complete: boolean;
}

/** Told after every step. */
export type OnStep = (step: number, steps: number, features: FeatureScore[]) => void;

/**
 * Q-FIT (Adamczewski, Harder, Park 2020, arXiv 2010.13872): one Dirichlet distribution over the features of all of these
 * samples (global), or of a single one (local). Gates are scaled shares s ~ Dir(φ), and φ minimises
 * E[mean loss of x̃ = b + s ⊙ (x − b)] + β KL(Dir(φ) ‖ Dir(α₀)), the loss taken of every sample and then averaged.
 * @throws SecateurError 'cancelled' before the first step is done; 'usage' for bad settings; 'unsupported' for the point
 *   form of a model without gradients; 'runtime'
 */
export async function explainSamples(
  model: FeatureModel,
  samples: Int32Array,
  settings: QfitSettings,
  signal?: AbortSignal,
  onStep?: OnStep,
): Promise<Explained> {
  const { form, draws, prior, klWeight, scaling, steps, batch, learningRate, seed } = settings;
  const value = await openAndClosed(model, samples, signal);
  const { names, size } = model.layout;
  const outcome = await fitSwitch(
    dataLoss(model, samples, batch, seed),
    {
      ...{ form, draws, prior, klWeight, scaling, steps, learningRate, seed },
      label: 'features',
      // Even shares: draws of the prior itself have hardly more than one feature open.
      initial: new Float64Array(size).fill(1),
    },
    signal,
    ({ step, posterior }) => onStep?.(step, steps, scoresOf(names, posterior)),
  );
  return {
    samples: samples.length,
    features: scoresOf(names, outcome.posterior),
    phi: [...outcome.posterior.phi],
    value,
    estimator: outcome.estimator,
    steps: outcome.step,
    complete: outcome.complete,
  };
}

function scoresOf(names: readonly string[], { mean, deviation }: SwitchPosterior): FeatureScore[] {
  return names.map((name, index) => ({ index, name, importance: mean[index], sd: deviation[index] }));
}
