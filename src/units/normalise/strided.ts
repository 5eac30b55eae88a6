import type { Model, Value } from '../../graph/ir.ts';
import { opsetVersion } from '../../graph/ir.ts';
import { productOf } from '../../graph/shapes/dims.ts';
import type { ShapeInfo } from '../../graph/shapes/index.ts';
import { Tensor } from '../../onnx/tensor.ts';
import { isRowMajor, numberingOf } from './numbering.ts';

/** Versions of Reshape from here on take the shape as an operand. */
const SHAPE_OPERAND = 5;

/**
 * A Gather that takes all elements of a flat value in their order only reshapes it: torch.as_strided (which torch
 * decomposes adaptive average pooling to) is exported as a Reshape to one axis and a Gather at computed places.
 * Where the shape before the flattening comes back, both go.
 */
export function gathersToReshapes(model: Model, shapes: ShapeInfo): void {
  if (opsetVersion(model) < SHAPE_OPERAND) return;
  const { graph } = model;
  for (const node of graph.nodes) {
    const [data, index] = node.inputs;
    const out = node.outputs[0];
    if (node.op !== 'Gather' || !out || data?.type?.shape?.length !== 1) continue;
    const numbering = numberingOf(index, shapes);
    const count = numbering && isRowMajor(numbering) ? productOf(numbering.shape) : null;
    if (!numbering || count === null || count !== data.type.shape[0]) continue;
    const source = beforeReshapes(data);
    const target = numbering.shape.map((d) => (typeof d === 'number' ? d : -1));
    const before = source.type?.shape;
    if (before?.length === target.length && before.every((d, i) => d === numbering.shape[i]) && !out.isGraphOutput) {
      out.replaceUsesWith(source);
    } else if (!target.includes(0) && target.filter((d) => d === -1).length <= 1) {
      node.opType = 'Reshape';
      node.attributes.clear();
      node.setInput(0, source);
      node.setInput(1, graph.addInitializer(`${out.name}_shape`, Tensor.fromInt64('', [target.length], target)));
    }
  }
}

/** What a value is a rearrangement of by shape alone. */
function beforeReshapes(value: Value): Value {
  let source = value;
  while (source.producer && /^(Reshape|Flatten|Squeeze|Unsqueeze)$/.test(source.producer.op)) {
    source = source.producer.inputs[0]!;
  }
  return source;
}
