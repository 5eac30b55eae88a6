import type { LayerCost, ModelCost } from '../../graph/cost.ts';
import { isParameter } from '../../graph/cost.ts';
import type { Value } from '../../graph/ir.ts';
import type { Group, Structure } from '../../units/types.ts';

export interface Share {
  parameters: number;
  macs: number;
}

/**
 * What of a model's cost depends on groups of units: elements of weights and MACs that go when all units of the groups
 * go, each once. Also for groups that cannot be pruned.
 */
export class GroupCosts {
  private readonly weights: { elements: number; axes: (Int32Array | string)[] }[] = [];
  private readonly layers: { macs: number; axes: (Int32Array | string)[] }[] = [];
  private readonly structure: Structure;

  constructor(structure: Structure, cost: ModelCost) {
    this.structure = structure;
    const { flow, model } = structure;
    const counted = new Set<unknown>();
    const count = (value: Value): void => {
      if (!value.initializer || counted.has(value.initializer) || !isParameter(value)) return;
      counted.add(value.initializer);
      this.weights.push({ elements: value.initializer.elementCount, axes: flow.axesOf(value) ?? [] });
    };
    for (const node of model.graph.nodes) for (const value of node.inputs) if (value) count(value);
    for (const layer of cost.layers as LayerCost[]) {
      if (layer.macs > 0) this.layers.push({ macs: layer.macs, axes: flow.macAxes.get(layer.node) ?? [] });
    }
  }

  of(groups: readonly Group[]): Share {
    const { atoms } = this.structure.flow;
    const classes = new Set<number>();
    for (const group of groups) for (const atom of group.atoms) classes.add(atoms.find(atom));
    // Σ over positions outside of the groups is the product over axes of what each leaves.
    const touched = (axes: readonly (Int32Array | string)[]): number => {
      let left = 1;
      for (const labels of axes) {
        if (typeof labels === 'string' || labels.length === 0) continue;
        let inside = 0;
        for (const label of labels) if (classes.has(atoms.find(label))) inside++;
        left *= 1 - inside / labels.length;
      }
      return 1 - left;
    };
    const share = { parameters: 0, macs: 0 };
    for (const { elements, axes } of this.weights) share.parameters += Math.round(elements * touched(axes));
    for (const { macs, axes } of this.layers) share.macs += Math.round(macs * touched(axes));
    return share;
  }
}
