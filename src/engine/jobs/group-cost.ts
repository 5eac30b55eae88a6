import type { ModelCost } from '../../graph/cost.ts';
import { isParameter, parameterCount } from '../../graph/cost.ts';
import type { Value } from '../../graph/ir.ts';
import { BlockNeeds } from '../../units/residual.ts';
import type { Group, Structure } from '../../units/types.ts';

export interface Share {
  parameters: number;
  macs: number;
}

type Labels = Int32Array;

/**
 * What of a model's cost depends on groups of units: elements of weights and MACs that go when all units of a group
 * go, each once. Also for groups that cannot be pruned. One pass over the axes of all weights and layers. Of a group of
 * residual blocks it is all that is there for blocks alone.
 */
export class GroupCosts {
  /** What goes with all prunable groups together, those of blocks aside. */
  readonly prunable: Share = { parameters: 0, macs: 0 };
  private readonly shares = new Map<Group, Share>();
  private readonly owners = new Map<number, Group>();
  private readonly counts = new Map<Labels, { groups: Map<Group, number>; prunable: number }>();
  private readonly structure: Structure;

  constructor(structure: Structure, cost: ModelCost) {
    this.structure = structure;
    const { flow, model } = structure;
    for (const group of structure.groups) {
      this.shares.set(group, { parameters: 0, macs: 0 });
      for (const atom of group.atoms) this.owners.set(flow.atoms.find(atom), group);
    }
    const blocks = structure.groups.find((g) => g.residuals);
    const needs = new BlockNeeds(model.graph, blocks?.residuals ?? []);
    const inBlocks = blocks && this.shares.get(blocks)!;
    const counted = new Set<unknown>();
    const count = (value: Value): void => {
      if (!value.initializer || counted.has(value.initializer.storage) || !isParameter(value)) return;
      counted.add(value.initializer.storage);
      this.add('parameters', parameterCount(value), flow.axesOf(value) ?? []);
      if (inBlocks && needs.weight(value).length) inBlocks.parameters += parameterCount(value);
    };
    for (const node of model.graph.nodes) for (const value of node.inputs) if (value) count(value);
    for (const { node, macs } of cost.layers) {
      for (const { axes, share } of flow.macTerms.get(node) ?? []) this.add('macs', macs * share, axes);
      if (inBlocks && needs.node(node).length) inBlocks.macs += macs;
    }
  }

  of(group: Group): Share {
    const { parameters, macs } = this.shares.get(group)!;
    return { parameters: Math.round(parameters), macs: Math.round(macs) };
  }

  /** Adds a product over axes to every group that one of them belongs to: what is left without it is a smaller product. */
  private add(what: keyof Share, amount: number, axes: readonly unknown[]): void {
    const tracked = axes.filter((axis): axis is Labels => axis instanceof Int32Array && axis.length > 0);
    const left = new Map<Group, number>();
    let leftOfAll = 1;
    for (const labels of tracked) {
      const { groups, prunable } = this.countsOf(labels);
      for (const [group, inside] of groups) left.set(group, (left.get(group) ?? 1) * (1 - inside / labels.length));
      leftOfAll *= 1 - prunable / labels.length;
    }
    for (const [group, share] of left) this.shares.get(group)![what] += amount * (1 - share);
    this.prunable[what] += amount * (1 - leftOfAll);
  }

  /** How many positions of an axis go with units of each group, and with a unit of any prunable one. */
  private countsOf(labels: Labels): { groups: Map<Group, number>; prunable: number } {
    let counts = this.counts.get(labels);
    if (!counts) {
      counts = { groups: new Map(), prunable: 0 };
      for (const label of labels) {
        const causes = this.structure.flow.atoms.causes(label);
        const groups = new Set(causes.flatMap((c) => this.owners.get(c) ?? []));
        for (const group of groups) counts.groups.set(group, (counts.groups.get(group) ?? 0) + 1);
        if ([...groups].some((g) => g.prunable)) counts.prunable++;
      }
      this.counts.set(labels, counts);
    }
    return counts;
  }
}
