import { constantTensor } from '../../graph/edit.ts';
import type { Node, Value } from '../../graph/ir.ts';
import { isParameter } from '../../graph/parameters.ts';
import { type Constants, weightParameters } from './constants.ts';
import { sharedExperts } from './experts.ts';
import { scoresBehind } from './router.ts';
import type { Expert, ExpertWeight, MixtureOfExperts } from './types.ts';

/** Inputs with one slice per expert: weights of both layers and of the gate, then their biases, scales and zero points. */
const WEIGHTS: ReadonlyMap<string, { matrices: readonly number[]; others: readonly number[] }> = new Map([
  ['com.microsoft.MoE', { matrices: [2, 4, 6], others: [3, 5, 7] }],
  ['com.microsoft.QMoE', { matrices: [2, 5, 8], others: [3, 4, 6, 7, 9, 10, 11, 12, 13] }],
]);

export function isFused(node: Node): boolean {
  return WEIGHTS.has(node.op) && !!node.inputs[1] && !!node.inputs[2];
}

/**
 * The mixture that one com.microsoft MoE or QMoE node is. Its second input are the logits (`router_probs`): the op takes
 * their Softmax, keeps the k largest and, with `normalize_routing_weights`, divides by their sum.
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MoE
 */
export function fusedMixture(node: Node, constants: Constants, layerName: (n: Node) => string): MixtureOfExperts {
  const logits = node.inputs[1]!;
  const { matrices, others } = WEIGHTS.get(node.op)!;
  const stacked = [...matrices, ...others].flatMap((i) =>
    node.inputs[i] ? [{ value: node.inputs[i], matrix: matrices.includes(i) }] : [],
  );
  const count = (value: Value) => constantTensor(value)?.dims[0] ?? value.type?.shape?.[0];
  const sizes = new Set(stacked.map((s) => count(s.value)).filter((n) => typeof n === 'number'));
  const number = [...sizes][0] ?? 0;
  const scored = logits.type?.shape?.at(-1);
  const width = typeof scored === 'number' ? scored : number;
  const scores = scoresBehind(logits, width, constants);
  const k = node.int('k', 1);
  const problems: string[] = [];
  if (sizes.size > 1) problems.push(`Its weights are of ${[...sizes].join(', ')} experts.`);
  if (width !== number) problems.push(`The router chooses among ${width} experts, but the weights are of ${number}.`);
  if (k > number) problems.push(`It takes ${k} of ${number} experts.`);
  const tokens = scores?.tokens ?? node.inputs[0];
  return {
    id: layerName(scores?.node ?? node),
    router: {
      node: scores?.node ?? null,
      weight: scores?.weight ?? null,
      weightAxis: scores?.weightAxis ?? -1,
      logits,
      probabilities: softmaxOf(scores?.logits ?? logits),
      width,
      kind: 'softmax-topk',
      normalised: node.int('normalize_routing_weights', 0) === 1,
      selectionBias: null,
      indices: null,
      gates: null,
    },
    k,
    experts: Array.from({ length: number }, (_, index) => expertOf(index, stacked)),
    shared: sharedExperts([node], null, tokens, constants),
    form: 'fused',
    sharedNodes: [node],
    tokens,
    problems,
  };
}

function expertOf(index: number, stacked: readonly { value: Value; matrix: boolean }[]): Expert {
  const weight = (value: Value): ExpertWeight => ({ value, axis: 0, index });
  const sum = (list: readonly { value: Value }[]) => list.reduce((n, s) => n + weightParameters(weight(s.value)), 0);
  return {
    index,
    nodes: [],
    weights: stacked.map((s) => weight(s.value)),
    parameters: sum(stacked.filter((s) => isParameter(s.value))),
    macs: sum(stacked.filter((s) => s.matrix)),
  };
}

/** Probabilities that the graph computes beside the op, for an output of its own. */
function softmaxOf(logits: Value): Value | null {
  const use = logits.uses.find((u) => u.node.opType === 'Softmax');
  return use?.node.outputs[0] ?? null;
}
