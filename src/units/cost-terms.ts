import { modelCost, isParameter, parameterCount } from '../graph/cost.ts';
import type { CostTerm } from '../formats.ts';
import type { Value } from '../graph/ir.ts';
import type { Labels } from './atoms.ts';
import type { Structure } from './types.ts';

/**
 * The model's cost as a sum of products over the kept units of its groups. With all units kept the terms add up to the
 * totals of `modelCost`; with a keep-set they give those of the pruned model. Two approximations: a tensor which several
 * layers share is counted once even where they come to keep different units, and an axis that holds only some of a
 * group's units is taken to lose its share of them.
 */
export function costTerms(structure: Structure): CostTerm[] {
  const { model, flow, layerName } = structure;
  const owners = unitOwners(structure);
  const factor = (labels: Labels) => {
    const counts = new Map<string, number>();
    let fixed = 0;
    for (const atom of labels) {
      const owner = owners.get(flow.atoms.find(atom));
      if (owner) counts.set(owner.id, (counts.get(owner.id) ?? 0) + 1);
      else fixed++;
    }
    return { fixed, groups: [...counts].map(([id, positions]) => ({ id, multiplicity: positions / sizes.get(id)! })) };
  };
  const sizes = new Map(structure.groups.map((g) => [g.id, g.size]));
  const terms: CostTerm[] = [];
  const add = (layer: string, macs: number, parameters: number, axes: Labels[]) => {
    if (macs === 0 && parameters === 0) return;
    const size = axes.reduce((n, a) => n * a.length, 1);
    terms.push({
      layer,
      macs: macs / size,
      parameters: parameters / size,
      factors: axes.map(factor).filter((f) => f.groups.length || f.fixed !== 1),
    });
  };
  for (const layer of modelCost(model).layers)
    for (const { axes, share } of flow.macTerms.get(layer.node) ?? [{ axes: [], share: 1 }])
      add(layerName(layer.node), layer.macs * share, 0, axes);
  const counted = new Set<unknown>();
  const count = (value: Value, layer: string) => {
    if (!value.initializer || counted.has(value.initializer.storage) || !isParameter(value)) return;
    counted.add(value.initializer.storage);
    const axes =
      flow.weightAxes.get(value) ?? (flow.axesOf(value) ?? []).filter((a): a is Labels => a instanceof Int32Array);
    add(layer, 0, parameterCount(value), axes);
  };
  for (const node of model.graph.nodes) for (const value of node.inputs) if (value) count(value, layerName(node));
  return terms;
}

/** Class of atoms to the group that may remove it. */
function unitOwners(structure: Structure): Map<number, { id: string }> {
  const owners = new Map<number, { id: string }>();
  for (const group of structure.groups) {
    if (!group.prunable) continue;
    for (const atom of group.atoms) owners.set(structure.flow.atoms.find(atom), group);
  }
  return owners;
}
