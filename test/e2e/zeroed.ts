/**
 * A second way to switch units off, to judge exported models by: the weights with which the consumers read a closed unit
 * are set to 0 in the original. Knows Conv and Gemm, which is all that the example has. Shares neither the gates nor the
 * surgery with the product.
 */
import { loadModel } from '../../src/graph/load.ts';
import { serializeModel } from '../../src/graph/save.ts';
import { constantTensor } from '../../src/graph/edit.ts';
import type { Node } from '../../src/graph/ir.ts';
import { Tensor } from '../../src/onnx/tensor.ts';

interface Group {
  id: string;
  size: number;
  consumers: string[];
}

/**
 * Bytes of the model at `path` with all units closed that `keep` does not name.
 * @param keep kept units by group; groups that are not named stay whole
 */
export function zeroedModel(path: string, groups: readonly Group[], keep: Record<string, number[]>): Uint8Array {
  const model = loadModel(path);
  for (const group of groups) {
    const kept = keep[group.id] && new Set(keep[group.id]);
    if (!kept) continue;
    for (const name of group.consumers) {
      const node = model.graph.nodes.find((candidate) => candidate.name === name);
      if (!node) throw new Error(`no node ${name}`);
      closeInputs(node, group.size, kept);
    }
  }
  return serializeModel(model);
}

function closeInputs(node: Node, size: number, kept: ReadonlySet<number>): void {
  const value = node.inputs[1];
  const tensor = constantTensor(value);
  if (!value || !tensor) throw new Error(`${node.name} has no constant weight`);
  const { dims } = tensor;
  // Axis of the weight that meets the units, and how many entries of it one unit has (spatial positions after Flatten).
  const axis = node.opType === 'Gemm' && node.int('transB', 0) === 0 ? 0 : 1;
  if (!['Conv', 'Gemm'].includes(node.opType) || dims[axis] % size !== 0)
    throw new Error(`${node.name} is not understood`);
  const perUnit = dims[axis] / size;
  const inner = dims.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  const weights = tensor.toFloat32().map((weight, i) => {
    const unit = Math.floor((Math.floor(i / inner) % dims[axis]) / perUnit);
    return kept.has(unit) ? weight : 0;
  });
  node.setInput(1, node.graph.freshValue(`${value.name}_zeroed`));
  const closed = node.inputs[1];
  if (closed) closed.initializer = Tensor.fromFloat32(closed.name, dims, weights);
}
