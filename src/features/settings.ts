import type { FeatureScaling } from '../formats.ts';
import type { FeatureModel } from './feature-model.ts';

/** How Q-FIT is fitted. */
export interface QfitSettings {
  form: 'sampled' | 'point';
  /** Draws a step in the sampled form. */
  draws: number;
  /** α₀. */
  prior: number;
  klWeight: number;
  scaling: FeatureScaling;
  steps: number;
  /** Samples a step. */
  batch: number;
  learningRate: number;
  seed: number;
}

/** What a run is about; the defaults depend on it. */
export type QfitMode = 'global' | 'sample' | 'selector';

const PRIOR = 0.1;
const LEARNING_RATE = { global: 0.05, sample: 0.05, selector: 0.01 };
const STEPS = { global: 150, sample: 200, selector: 300 };
/** Draws a step with gradients, and without, where they are all that a gradient is estimated from. */
const DRAWS = { global: 5, sample: 20, selector: 5 };
const DRAWS_WITHOUT = 64;
const MOST_SAMPLES = 100;
const LEAST_SAMPLES = 8;
/** Multiply-accumulates of a step, which large models get fewer samples for. */
const STEP_MACS = 2e10;
/** For a single sample the divergence from the prior counts as if so many had been seen. */
const AS_IF_SAMPLES = 100;

/** Settings that were given, the others by the model and the number of samples. */
export function qfitSettings(
  model: FeatureModel,
  samples: number,
  mode: QfitMode,
  given: Partial<QfitSettings> & { seed: number },
): QfitSettings {
  const form = given.form ?? 'sampled';
  const draws = form === 'point' ? 1 : (given.draws ?? (model.hasGradients ? DRAWS[mode] : DRAWS_WITHOUT));
  const affordable = Math.floor(STEP_MACS / Math.max(1, draws * model.rowMacs));
  const batch = given.batch ?? Math.max(LEAST_SAMPLES, Math.min(MOST_SAMPLES, affordable));
  return {
    form,
    draws,
    prior: given.prior ?? PRIOR,
    // Bayes' rule for a loss that is a mean over the data.
    klWeight: given.klWeight ?? 1 / (mode === 'sample' ? AS_IF_SAMPLES : samples),
    scaling: given.scaling ?? 'max-one',
    steps: given.steps ?? STEPS[mode],
    batch: mode === 'sample' ? 1 : Math.min(batch, samples),
    learningRate: given.learningRate ?? LEARNING_RATE[mode],
    seed: given.seed,
  };
}
