import type { SwitchForm } from '../../formats.ts';

/** α₀ of the prior. */
export const PRIOR = 2;
/** Adam's learning rate for θ at the start; it falls to 0 along half a cosine. */
export const LEARNING_RATE = 0.1;
/** Batches that the samples are cut into: the steps of one pass through the data. */
const BATCHES = 20;
/** Gate vectors per step: with gradients, and without, where the score function needs many. */
const DRAWS = 8;
const DRAWS_WITHOUT_GRADIENTS = 32;
/** Passes through the data when no budget is given. */
const PASSES = 4;
/** Gate vectors on all samples for the record: all units open, and none. */
export const ENDS = 2;

export interface SwitchSchedule {
  draws: number;
  batches: number;
  steps: number;
}

/** Evaluations (a gate vector on all samples is one) when none are given. */
export function defaultBudget(differentiable = true): number {
  return ENDS + PASSES * (differentiable ? DRAWS : DRAWS_WITHOUT_GRADIENTS);
}

/**
 * How a budget is spent: `draws` gate vectors in each step on one of the `batches` of the data. The point form, with one
 * gate vector a step, goes through the data the more often.
 */
export function schedule(
  samples: number,
  form: SwitchForm,
  differentiable: boolean,
  budget = defaultBudget(differentiable),
): SwitchSchedule {
  const draws = form === 'point' ? 1 : differentiable ? DRAWS : DRAWS_WITHOUT_GRADIENTS;
  const batches = Math.min(BATCHES, samples);
  return { draws, batches, steps: Math.max(1, Math.round((batches * (budget - ENDS)) / draws)) };
}

/** Evaluations that so many steps and the values of the ends take. */
export function spent({ draws, batches }: SwitchSchedule, steps: number): number {
  return ENDS + Math.round((draws * steps) / batches);
}
