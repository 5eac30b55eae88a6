import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { attend, causal, fromHeads, toHeads } from '../decompose/attention.ts';
import type { Emitter } from '../emit.ts';
import { positions } from '../positions.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/** Fused attention: differentiated as the plain ops that it stands for. */

/** ai.onnx Attention: operands by heads, or with the heads side by side along the last axis; also with a cache. */
const attention: GradientRule = (c) =>
  c.instead((e) => {
    const { node } = c;
    const windows = ['left_window_size', 'right_window_size'];
    if (windows.some((side) => node.int(side, -1) >= 0)) c.fail('windows are not supported');
    const flat = c.rankOf(c.input(0)) === 3;
    const heads = (i: number, attribute: string) =>
      flat ? toHeads(e, c.input(i), node.int(attribute) ?? c.fail(`it lacks ${attribute}`)) : c.input(i);
    const behind = (past: number, v: Value) => (c.has(past) ? e.concat([c.input(past), v], 2) : v);
    const query = heads(0, 'q_num_heads');
    const key = behind(4, heads(1, 'kv_num_heads'));
    const value = behind(5, heads(2, 'kv_num_heads'));
    const { biases, allowed } = masks(c, e, query, key);
    if (c.has(6)) allowed.push(e.less(positions(e, key, 2), lengths(c, e)));
    if (node.int('is_causal', 0)) allowed.push(causal(e, query, key, offset(c, e, query)));
    const form = { scale: node.float('scale', 0) || undefined, softcap: node.float('softcap', 0), biases, allowed };
    const seen = attend(e, { query, key, value }, form);
    return [flat ? fromHeads(e, seen) : seen, key, value];
  });

/** The mask, input 3: booleans say what is seen, numbers of any type are added. */
function masks(c: RuleContext, e: Emitter, query: Value, key: Value): { biases: Value[]; allowed: Value[] } {
  if (!c.has(3)) return { biases: [], allowed: [] };
  const mask = c.input(3);
  const [own, keys] = [e.dimOf(mask, -1), e.dimOf(key, 2)];
  if (typeof own === 'number' && typeof keys === 'number' && own !== keys && own !== 1)
    c.fail('masks shorter than the keys are not supported');
  if (e.elemTypeOf(mask) === DataType.BOOL) return { biases: [], allowed: [mask] };
  return { biases: [e.cast(mask, e.elemTypeOf(query))], allowed: [] };
}

/** How many keys of each sample are no padding, input 6: [batch, 1, 1, 1]. */
const lengths = (c: RuleContext, e: Emitter): Value => e.unsqueeze(c.input(6), [1, 2, 3]);

/** How many keys lie before the first query. */
function offset(c: RuleContext, e: Emitter, query: Value): Value | undefined {
  if (c.has(4)) return e.dims(c.input(4), [2]);
  return c.has(6) ? e.sub(lengths(c, e), e.dims(query, [2])) : undefined;
}

export const attentionRules: RuleTable = {
  Attention: attention,
};
