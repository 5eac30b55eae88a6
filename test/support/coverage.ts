import type { Node, Value } from '../../src/graph/ir.ts';
import { isParameter, modelCost, parameterCount } from '../../src/graph/cost.ts';
import type { Structure } from '../../src/units/types.ts';

/** How much of a model the analysis lets prune. */
export interface Coverage {
  /** Groups found, and those that may lose units. */
  groups: number;
  prunable: number;
  /** Shares of the parameters and of the MACs that lie in prunable groups. */
  parameters: number;
  macs: number;
  /** How many groups are frozen, by reason. */
  frozen: Map<string, number>;
}

/**
 * Coverage as docs/coverage.md defines it. Residual blocks, which go whole, do not count for the shares: else one block
 * would make everything in it prunable.
 */
export function coverageOf(structure: Structure): Coverage {
  const { model, flow, groups } = structure;
  const owned = new Set<number>();
  for (const g of groups) if (g.prunable && !g.residuals) for (const atom of g.atoms) owned.add(flow.atoms.find(atom));
  const touched = (labels: Int32Array) => labels.some((atom) => flow.atoms.causes(atom).some((c) => owned.has(c)));
  const last = lastLayers(structure);
  const parameters = { all: 0, prunable: 0 };
  const counted = new Set<unknown>();
  for (const node of model.graph.nodes) {
    for (const value of node.inputs) {
      if (!value?.initializer || counted.has(value.initializer.storage) || !isParameter(value)) continue;
      counted.add(value.initializer.storage);
      if (value.uses.some((u) => last.has(u.node) || (u.node.op === 'Gather' && u.index === 0))) continue;
      const axes = flow.weightAxes.get(value) ?? flow.axesOf(value) ?? [];
      parameters.all += parameterCount(value);
      if (axes.some((a) => a instanceof Int32Array && touched(a))) parameters.prunable += parameterCount(value);
    }
  }
  const macs = { all: 0, prunable: 0 };
  for (const layer of modelCost(model).layers) {
    if (last.has(layer.node)) continue;
    macs.all += layer.macs;
    const terms = flow.macTerms.get(layer.node) ?? [];
    if (terms.some((t) => t.axes.some(touched))) macs.prunable += layer.macs;
  }
  const frozen = new Map<string, number>();
  for (const g of groups) {
    if (g.prunable) continue;
    // Names of nodes and values would make every reason one of its own.
    const reason = (g.reason ?? '').replace(/ "[^"]*"/g, '').replace(/(model (?:in|out)put) \S+/, '$1');
    frozen.set(reason, (frozen.get(reason) ?? 0) + 1);
  }
  return {
    groups: groups.length,
    prunable: groups.filter((g) => g.prunable).length,
    parameters: parameters.all ? parameters.prunable / parameters.all : 1,
    macs: macs.all ? macs.prunable / macs.all : 1,
    frozen,
  };
}

/** Nodes whose result reaches a model output without another layer with weights in between, and what lies behind them. */
function lastLayers({ model }: Structure): Set<Node> {
  const found = new Set<Node>();
  const open: Value[] = [...model.graph.outputs];
  for (let value = open.pop(); value; value = open.pop()) {
    const node = value.producer;
    if (!node || found.has(node)) continue;
    found.add(node);
    if (!isWeighted(node)) for (const input of node.inputs) if (input) open.push(input);
  }
  return found;
}

/** A layer: it reads a weight of at least two axes (scales and shifts of normalisations have one). */
function isWeighted(node: Node): boolean {
  const isWeight = (value: Value | null | undefined): boolean => {
    if (!value) return false;
    if (value.initializer) return value.initializer.dims.length > 1 && isParameter(value);
    const producer = value.producer;
    const carries = producer && ['Transpose', 'Reshape', 'Identity', 'Cast', 'DequantizeLinear'].includes(producer.op);
    return !!carries && isWeight(producer.inputs[0]);
  };
  return (
    /^(Conv|ConvTranspose|Gemm|MatMul|Einsum|LSTM|GRU|RNN|Gather)$/.test(node.opType) && node.inputs.some(isWeight)
  );
}
