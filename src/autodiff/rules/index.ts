import { activationRules } from './activations.ts';
import { matrixRules } from './matrix.ts';
import { normalisationRules } from './normalisation.ts';
import { pointwiseRules } from './pointwise.ts';
import { quantisedRules } from './quantised.ts';
import type { GradientRule } from './rule.ts';
import { softmaxRules } from './softmax.ts';

/** Gradient rules by op (`Conv`, `com.microsoft.Gelu`). To add one: write it in the table of its family. */
export const gradientRules: ReadonlyMap<string, GradientRule> = new Map(
  Object.entries({
    ...pointwiseRules,
    ...activationRules,
    ...matrixRules,
    ...softmaxRules,
    ...normalisationRules,
    ...quantisedRules,
  }),
);
