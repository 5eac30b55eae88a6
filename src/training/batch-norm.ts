import { Emitter } from '../autodiff/emit.ts';
import { Workspace } from '../autodiff/workspace.ts';
import { sortTopologically } from '../graph/edit.ts';
import type { Model, Node, Value } from '../graph/ir.ts';

/** A running statistic and the value that holds it after a step. */
export interface Statistic {
  /** The initializer that holds it in the model. */
  value: Value;
  next: Value;
}

/**
 * Gives BatchNormalization nodes of a model, in place, their training form: they normalise by mean and (biased)
 * variance of the batch, through which gradients flow, and the running statistics move towards them,
 * running·momentum + batch·(1 − momentum), where the variance counts n/(n − 1) times as in torch. In plain ops around the
 * node, so that every opset and device can: the training mode of the operator runs on few, and keeps the biased variance.
 * Nodes whose statistics are computed stay as they are.
 * @param wanted which nodes
 * @returns what the statistics are after a step
 */
export function trainBatchNorms(model: Model, wanted: (node: Node) => boolean): Statistic[] {
  const nodes = model.graph.nodes.filter((n) => n.op === 'BatchNormalization' && hasStatistics(n) && wanted(n));
  if (nodes.length === 0) return [];
  const workspace = new Workspace(model);
  // A statistic that two nodes share moves by both in turn.
  const latest = new Map<Value, Value>();
  for (const node of nodes) {
    const [x, running, runningVariance] = [0, 3, 4].map((i) => node.inputs[i]!);
    const e = new Emitter(workspace, `${node.outputs[0]!.name}_batch`);
    const { mean, variance, count } = batchStatistics(e, x);
    const momentum = node.float('momentum', 0.9);
    const move = (statistic: Value, batch: Value) => {
      const now = latest.get(statistic) ?? statistic;
      latest.set(statistic, e.add(e.scale(now, momentum), e.scale(batch, 1 - momentum)));
    };
    const others = e.op('Max', [e.plus(count, -1), e.scalar(1, count)]);
    move(running, mean);
    move(runningVariance, e.mul(variance, e.div(count, others)));
    inferenceForm(node);
    node.setInput(3, mean);
    node.setInput(4, variance);
  }
  sortTopologically(model.graph);
  return [...latest].map(([value, next]) => ({ value, next }));
}

function hasStatistics(node: Node): boolean {
  return [3, 4].every((i) => node.inputs[i]?.initializer) && node.int('spatial', 1) === 1;
}

/** Mean and biased variance of each channel (axis 1) [C], and of how many numbers. */
function batchStatistics(e: Emitter, x: Value): { mean: Value; variance: Value; count: Value } {
  const rank = e.rankOf(x);
  const behind = Array.from({ length: rank - 2 }, (_, i) => i + 2);
  const axes = [0, ...behind];
  const mean = e.reduceMean(x, axes, false);
  const centred = e.sub(
    x,
    e.unsqueeze(
      mean,
      behind.map((a) => a - 1),
    ),
  );
  return { mean, variance: e.reduceMean(e.mul(centred, centred), axes, false), count: e.count(x, axes) };
}

/** The node with statistics as inputs, whatever form it was exported in. */
function inferenceForm(node: Node): void {
  node.attributes.delete('training_mode');
  for (let i = 1; i < node.outputs.length; i++) node.setOutput(i, null);
  node.outputs.length = 1;
}
