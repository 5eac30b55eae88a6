import type { GroupInfo, InspectReport, LayerInfo, PortInfo } from '../../formats.ts';
import type { ModelCost } from '../../graph/cost.ts';
import type { Model, Value } from '../../graph/ir.ts';
import { opsetVersion } from '../../graph/ir.ts';
import { dataTypeName } from '../../onnx/data-type.ts';
import type { CostTerm } from '../../formats.ts';
import { describeMixture } from '../../units/moe/describe.ts';
import { findMixtures } from '../../units/moe/detect.ts';
import type { Group, Structure } from '../../units/types.ts';
import type { JobContext } from './context.ts';
import { checkpoint } from './context.ts';
import { GroupCosts } from './group-cost.ts';
import { openModel } from './model.ts';

/** Totals, layers and groups of a model; weights are not read, but for the file's hash. */
export async function inspect(
  { model: path }: { model: string },
  context: JobContext,
): Promise<InspectReport & { costTerms: CostTerm[] }> {
  context.progress({ fraction: null, note: 'reading the graph' });
  const opened = await openModel(path);
  // The hash reads the file piece by piece while the analysis runs in between.
  const reference = opened.ref();
  reference.catch(() => undefined);
  await checkpoint(context);
  const structure = opened.structure();
  await checkpoint(context);
  const cost = opened.cost();
  const costTerms = opened.costTerms();
  const groupOf = groupsByLayer(structure);
  const layers = cost.layers.map((l): LayerInfo => {
    const group = groupOf.get(l.name);
    return {
      name: l.name,
      op: l.op,
      parameters: l.parameters,
      macs: l.macs,
      shape: l.shape,
      activationBytes: l.activationBytes,
      ...(group ? { group } : {}),
    };
  });
  const costs = new GroupCosts(structure, cost);
  const groups = structure.groups.map((g) => describeGroup(g, structure, costs));
  const warnings = [...structure.warnings];
  if (opened.missingData) warnings.unshift(opened.missingData.toLine());
  context.progress({ fraction: null, note: 'computing the SHA-256 of the file' });
  const ref = await reference;
  await checkpoint(context);
  return {
    model: {
      ...ref,
      opset: opsetVersion(opened.model),
      irVersion: opened.model.irVersion,
      producer: opened.model.producer,
    },
    totals: { parameters: cost.parameters, macs: cost.macs, nodes: countNodes(opened.model) },
    inputs: opened.model.graph.inputs.filter((v) => !v.initializer).map(port),
    outputs: structure.model.graph.outputs.map(port),
    layers,
    groups,
    moe: findMixtures(structure).map((m) => describeMixture(m, structure.layerName)),
    exits: [],
    metadata: Object.fromEntries(opened.model.metadata),
    prunable: prunableShare(costs, cost),
    warnings,
    costTerms,
  };
}

/** Nodes of the main graph, as the file has them. */
function countNodes(model: Model): number {
  return model.graph.nodes.length;
}

function port(value: Value): PortInfo {
  const { type } = value;
  const name = type?.kind && type.kind !== 'tensor' ? type.kind : dataTypeName(type?.elemType ?? 0);
  return { name: value.name, type: name, shape: type?.shape ?? null };
}

function groupsByLayer(structure: Structure): Map<string, string> {
  const found = new Map<string, string>();
  for (const group of structure.groups) {
    // Blocks are made of layers, they are not what layers produce.
    if (group.kind === 'block') continue;
    for (const node of group.layers) {
      const name = structure.layerName(node);
      if (!found.has(name)) found.set(name, group.id);
    }
  }
  return found;
}

function describeGroup(group: Group, structure: Structure, costs: GroupCosts): GroupInfo {
  return {
    id: group.id,
    kind: group.kind,
    size: group.size,
    layers: group.layers.map(structure.layerName),
    consumers: group.consumers.map(structure.layerName),
    ...costs.of(group),
    prunable: group.prunable,
    ...(group.reason ? { reason: group.reason } : {}),
    ...(group.blocks ? { blocks: group.blocks } : {}),
    ...(group.parts ? { parts: group.parts } : {}),
  };
}

/** Share of the model's cost that lies in prunable groups. */
function prunableShare({ prunable }: GroupCosts, total: ModelCost): { parameters: number; macs: number } {
  return {
    parameters: total.parameters ? prunable.parameters / total.parameters : 0,
    macs: total.macs ? prunable.macs / total.macs : 0,
  };
}
