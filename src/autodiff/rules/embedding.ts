import type { Value } from '../../graph/ir.ts';
import { positions } from '../positions.ts';
import type { Emitter } from '../emit.ts';
import { standardise } from './standardise.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/** Embeddings as onnxruntime fuses them: rows of tables, added up and normalised. */

/** Inputs: ids, segments, tables of words, positions and segments, γ, β, mask, ids of positions; output 2 is the sum. */
const embedLayerNorm: GradientRule = (c) =>
  c.instead((e) => {
    const ids = c.input(0);
    const places = c.node.inputs[8] ?? positions(e, ids, 1);
    const rows = (table: number, at: Value) => e.op('Gather', [c.input(table), at], { axis: 0 });
    const words = e.add(rows(2, ids), rows(3, places));
    const sum = c.has(1) && c.has(4) ? e.add(words, rows(4, c.input(1))) : words;
    return [normalised(c, e, sum), undefined, sum];
  });

function normalised(c: RuleContext, e: Emitter, sum: Value): Value {
  const { hat } = standardise(e, sum, [e.rankOf(sum) - 1], c.node.float('epsilon', 1e-12));
  return e.add(e.mul(e.cast(hat, e.elemTypeOf(sum)), c.input(5)), c.input(6));
}

export const embeddingRules: RuleTable = { 'com.microsoft.EmbedLayerNormalization': embedLayerNorm };
