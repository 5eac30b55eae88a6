import { cloneModel } from '../../graph/clone.ts';
import { removeDeadNodes, sortTopologically } from '../../graph/edit.ts';
import type { Model } from '../../graph/ir.ts';
import { hostTypeOf } from '../../runtime/host-tensor.ts';
import type { GatedModel } from '../../units/gating.ts';
import { cutAtGates } from './cut.ts';
import { dropUnusedInputs, setOutputs } from '../../graph/outputs.ts';

/**
 * Cuts a gated model in two without touching its batch: the suffix has one input for each tensor that crosses, by the
 * name of the prefix's output. Undefined when nothing is gained, or when something crosses that cannot be fed.
 */
export function cutRaw(gated: GatedModel): { prefix: Model; suffix: Model; crossing: string[] } | undefined {
  const { model } = gated;
  const cut = cutAtGates(model, new Set(gated.gates.map((g) => g.input)));
  const crossing = [...cut.crossing];
  if (crossing.every((v) => v.isGraphInput)) return undefined;
  if (crossing.some((v) => v.isGraphOutput || v.type?.kind !== 'tensor' || !hostTypeOf(v.type.elemType)))
    return undefined;
  const front = cloneModel(model);
  const back = cloneModel(model);
  const names: string[] = [];
  const outputs = crossing.map((v, i) => {
    const out = front.model.graph.addNode('Identity', [front.value(v)], [`secateur_cut_${i}`]).outputs[0]!;
    const input = back.model.graph.freshValue(out.name, { kind: 'tensor', elemType: v.type!.elemType });
    if (input.name !== out.name) throw new Error(`the name ${out.name} is taken`);
    back.model.graph.inputs.push(input);
    back.value(v).replaceUsesWith(input);
    names.push(out.name);
    return out;
  });
  setOutputs(front.model.graph, outputs);
  for (const m of [front.model, back.model]) {
    removeDeadNodes(m);
    dropUnusedInputs(m.graph);
    sortTopologically(m.graph);
  }
  return { prefix: front.model, suffix: back.model, crossing: names };
}
