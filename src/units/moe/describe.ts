import type { MoeInfo } from '../../formats.ts';
import type { Node } from '../../graph/ir.ts';
import { isLinear } from './constants.ts';
import type { MixtureOfExperts } from './types.ts';

/** A mixture by names, as `inspect --json` gives it. */
export function describeMixture(mixture: MixtureOfExperts, layerName: (n: Node) => string): MoeInfo {
  const { router } = mixture;
  const layers = (nodes: readonly Node[]) =>
    nodes.filter((n) => isLinear(n) || /^Q?MoE$/.test(n.opType)).map(layerName);
  return {
    id: mixture.id,
    form: mixture.form,
    k: mixture.k,
    router: {
      layer: router.node ? layerName(router.node) : null,
      weight: router.weight?.name ?? null,
      logits: router.logits.name,
      probabilities: router.probabilities?.name ?? null,
      width: router.width,
      kind: router.kind,
      normalised: router.normalised,
      selectionBias: router.selectionBias?.name ?? null,
      indices: router.indices?.name ?? null,
      gates: router.gates?.name ?? null,
    },
    experts: mixture.experts.map(({ index, nodes, parameters, macs }) => ({
      index,
      layers: layers(nodes),
      parameters,
      macs,
    })),
    shared: mixture.shared.map(({ nodes, parameters, macs }) => ({ layers: layers(nodes), parameters, macs })),
    layers: layers(mixture.sharedNodes),
    problems: mixture.problems,
  };
}
