import { addGradients } from '../../autodiff/gradient.ts';
import { cloneModel } from '../../graph/clone.ts';
import { removeDeadNodes, sortTopologically } from '../../graph/edit.ts';
import type { Model } from '../../graph/ir.ts';
import { setOutputs, outputNamed } from '../../graph/outputs.ts';
import { GraphBuilder } from './graph-builder.ts';
import type { Instrumented } from './instrument.ts';

/** A suffix that gives the gradients of its metric besides the metric. */
export interface GradientSuffix {
  model: Model;
  /** Outputs with the gradient of the sum of all rows, float32 [K, size + 1], one per gate. */
  outputs: string[];
}

/**
 * A copy of a suffix that also gives the gradient of Σ metric over all of its rows with respect to its masks. A row of
 * masks has no part in the metric of another, so that row k is the gradient of coalition k's sum over samples. Folded
 * gates are included: their product with the contributions is differentiated as any other.
 * @throws SecateurError 'unsupported' naming the node, where an op of the suffix has no gradient rule
 */
export function addMaskGradients({ suffix, masks, result }: Instrumented): GradientSuffix {
  const { model } = cloneModel(suffix);
  const { graph } = model;
  const rows = outputNamed(graph, result);
  const b = new GraphBuilder(model);
  const inputs = masks.map((name) => graph.values.get(name)!);
  const { gradients } = addGradients(model, b.op('ReduceSum', [rows], { keepdims: 0 }), inputs);
  // A gradient may be shared by several values, or be a constant.
  const outputs = inputs.map((v) => b.op('Identity', [gradients.get(v)!]));
  setOutputs(graph, [rows, ...outputs]);
  removeDeadNodes(model);
  sortTopologically(graph);
  return { model, outputs: outputs.map((v) => v.name) };
}
