import { attentionRules } from './attention.ts';
import { constantRules } from './constants.ts';
import type { Rule } from './context.ts';
import { controlRules } from './control.ts';
import { convRules } from './conv.ts';
import { elementwiseRules } from './elementwise.ts';
import { indexingRules } from './indexing.ts';
import { layoutRules } from './layout.ts';
import { matmulRules } from './matmul.ts';
import { quantizeRules } from './quantize.ts';
import { recurrentRules } from './recurrent.ts';
import { reduceRules } from './reduce.ts';
import { sequenceRules } from './sequences.ts';

/** Shape rules by op (`Conv`, `com.microsoft.MoE`). To add one: write it in the table of its family. */
export const rules: ReadonlyMap<string, Rule> = new Map(
  [
    elementwiseRules,
    convRules,
    matmulRules,
    layoutRules,
    indexingRules,
    reduceRules,
    constantRules,
    quantizeRules,
    recurrentRules,
    sequenceRules,
    controlRules,
    attentionRules,
  ].flatMap((table) => Object.entries(table)),
);
