import type { Value } from '../graph/ir.ts';
import type { Group, Structure } from './types.ts';

/**
 * Whether nothing that is fed to the model reaches an output any more once all units of a group are closed: so it is with
 * each layer of a plain chain, while residual paths lead around a layer.
 */
export function severs({ model }: Structure, group: Group): boolean {
  const closed = new Map(
    group.sites.map(({ node, input, units }) => [node, { input, all: units.every((u) => u >= 0) }]),
  );
  const reached = new Set<Value>(model.graph.inputs.filter((v) => !v.initializer));
  for (const node of model.graph.nodes) {
    const site = closed.get(node);
    const reads = node.inputs.some((v, i) => v && reached.has(v) && !(site?.all && site.input === i));
    if (reads) for (const v of node.outputs) if (v) reached.add(v);
  }
  return !model.graph.outputs.some((v) => reached.has(v));
}
