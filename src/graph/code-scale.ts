import type { Value } from './ir.ts';

/** Ops that leave the scale of codes as it is. */
const CARRIES = new Set(['Identity', 'Reshape', 'Transpose', 'Flatten', 'Squeeze', 'Unsqueeze', 'MaxPool', 'Slice']);

/** The scale that quantised codes were made with; undefined where what made them is not known. */
export function codeScale(codes: Value): Value | undefined {
  let v: Value | null = codes;
  while (v?.producer && CARRIES.has(v.producer.op)) v = v.producer.inputs[0];
  const producer = v?.producer;
  if (producer?.op === 'QuantizeLinear') return producer.inputs[1] ?? undefined;
  if (producer?.op === 'DynamicQuantizeLinear' && v === producer.outputs[0]) return producer.outputs[1] ?? undefined;
  return undefined;
}
