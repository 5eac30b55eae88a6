import type { Clone } from '../graph/clone.ts';
import { removeDeadNodes } from '../graph/edit.ts';
import type { Graph, Node, Value } from '../graph/ir.ts';
import { NORMALISING, type ResidualBlock } from '../units/residual.ts';
import type { KeepSets, Structure } from '../units/types.ts';

/**
 * Takes the residual blocks that `keep` leaves out from a copy of the structure's model, and all that only they needed:
 * what read a block's sum reads its skip.
 */
export function removeBlocks(structure: Structure, keep: KeepSets, clone: Clone): void {
  let removed = false;
  for (const { id, residuals } of structure.groups) {
    const stays = residuals && keep.get(id);
    residuals?.forEach((block, unit) => {
      if (!stays || stays.includes(unit)) return;
      removeBlock(block, clone.node(block.node));
      removed = true;
    });
  }
  if (removed) removeDeadNodes(clone.model);
}

function removeBlock(block: ResidualBlock, sum: Node): void {
  const skip = sum.inputs[block.skip]!;
  if (NORMALISING[sum.op]) return normaliseAlone(sum, skip);
  const out = sum.outputs[0]!;
  sum.graph.removeNode(sum, false);
  putInPlace(sum.graph, out, skip);
}

/** Lets all readers of `out`, which nothing computes any more, read `value`; a model output keeps its name. */
function putInPlace(graph: Graph, out: Value, value: Value): void {
  const { producer, producerIndex } = value;
  if (!out.isGraphOutput) {
    out.replaceUsesWith(value);
    graph.removeValue(out);
  } else if (producer && producer.graph === graph && !value.isGraphOutput) {
    value.replaceUsesWith(out);
    producer.setOutput(producerIndex, out);
    graph.removeValue(value);
  } else {
    // A model input, or a value that is an output itself.
    for (const { node, index } of [...out.uses]) node.setInput(index, value);
    graph.addNode('Identity', [value], [out]);
  }
}

/** LayerNorm(skip + branch + bias) becomes LayerNorm(skip + bias). */
function normaliseAlone(node: Node, skip: Value): void {
  const { graph } = node;
  const { alone, parameters, bias } = NORMALISING[node.op];
  const weights = parameters.map((i) => node.inputs[i] ?? null);
  const offset = node.inputs[bias];
  let x = skip;
  if (offset) {
    x = graph.addNode('Add', [skip, offset], [`${skip.name}_bias`], { before: node }).outputs[0]!;
    x.type = skip.type && { ...skip.type };
  }
  const sum = node.outputs[3];
  node.outputs.length = 1;
  if (sum) {
    sum.producer = null;
    sum.producerIndex = -1;
    putInPlace(graph, sum, x);
    if (graph.values.get(x.name) !== x) x = sum;
  }
  node.truncateInputs(0);
  [x, ...weights].forEach((v, i) => v && node.setInput(i, v));
  node.opType = alone;
  node.domain = '';
  const epsilon = node.float('epsilon', 1e-12);
  node.attributes.clear();
  node.setInt('axis', -1).setFloat('epsilon', epsilon);
}
