import { activationRules } from './activations.ts';
import { attentionContribRules } from './attention-contrib.ts';
import { attentionRules } from './attention.ts';
import { convolutionRules } from './convolution.ts';
import { embeddingRules } from './embedding.ts';
import { indexingRules } from './indexing.ts';
import { matrixRules } from './matrix.ts';
import { movingRules } from './moving.ts';
import { normalisationRules } from './normalisation.ts';
import { pointwiseRules } from './pointwise.ts';
import { poolingRules } from './pooling.ts';
import { qLinearRules } from './qlinear.ts';
import { quantisedRules } from './quantised.ts';
import { recurrentRules } from './recurrent.ts';
import { reducingRules } from './reducing.ts';
import { resizingRules } from './resizing.ts';
import type { GradientRule } from './rule.ts';
import { slicingRules } from './slicing.ts';
import { softmaxRules } from './softmax.ts';

/** Gradient rules by op (`Conv`, `com.microsoft.Gelu`). To add one: write it in the table of its family. */
export const gradientRules: ReadonlyMap<string, GradientRule> = new Map(
  Object.entries({
    ...pointwiseRules,
    ...activationRules,
    ...matrixRules,
    ...convolutionRules,
    ...poolingRules,
    ...softmaxRules,
    ...normalisationRules,
    ...quantisedRules,
    ...qLinearRules,
    ...movingRules,
    ...slicingRules,
    ...indexingRules,
    ...reducingRules,
    ...embeddingRules,
    ...attentionRules,
    ...attentionContribRules,
    ...recurrentRules,
    ...resizingRules,
  }),
);
