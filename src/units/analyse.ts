import { opsetVersion, type Model, type Node } from '../graph/ir.ts';
import { layerNames } from '../graph/names.ts';
import { storedUnits } from './constants.ts';
import { freezeEscapingSizes } from './escapes.ts';
import { Flow } from './flow.ts';
import { formGroups } from './groups.ts';
import { normalise } from './normalise.ts';
import { residualGroup } from './residual.ts';
import { applyRule } from './rules/index.ts';
import type { Structure } from './types.ts';

/**
 * Finds the groups of a model by following its dimensions op by op (architecture.md, "Structure"). Reads no weights.
 * The structure works on a normalised copy; the model given is not changed. Never throws for an op that is not
 * understood: what it touches is frozen, with the reason.
 */
export function analyseStructure(model: Model): Structure {
  const { model: copy, shapes, origin } = normalise(model);
  const flow = new Flow(shapes, opsetVersion(copy));
  const nodes = copy.graph.nodes;
  const warnings: string[] = [];
  for (const node of nodes) {
    try {
      applyRule(node, flow);
    } catch (error) {
      // A malformed node (an attribute out of range, say) must not stop the analysis of the rest.
      const reason = `feeds ${node.op}, which does not follow its definition`;
      flow.barrier(node, reason);
      warnings.push(
        `${node.op} "${node.name}" could not be analysed: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
  for (const value of copy.graph.outputs) {
    flow.axesOf(value)?.forEach((axis) => flow.freeze(axis, `is the model output ${value.name}`));
  }
  for (const [value, axes] of flow.tracked) {
    const inner = value.uses.find((u) => u.node.graph !== copy.graph);
    if (inner)
      axes.forEach((axis) => flow.freeze(axis, `is read inside ${inner.node.graph.owner?.op ?? 'a subgraph'}`));
  }
  freezeEscapingSizes(flow, nodes);
  flow.productions.push(...storedUnits(flow));

  const position = new Map(nodes.map((n, i) => [n, i]));
  const names = layerNames(model);
  const layerName = (n: Node) => names.get(origin(n) ?? n) ?? (n.name || n.op);
  const groups = formGroups(flow, layerName, (n) => position.get(n) ?? nodes.length);
  const blocks = residualGroup(copy.graph, flow, layerName, new Set(groups.map((g) => g.id)));
  if (blocks) groups.push(blocks);
  return { model: copy, groups, warnings, flow, layerName };
}
