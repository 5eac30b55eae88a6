import { allGraphs } from '../graph/edit.ts';
import type { Attribute, Model, Value } from '../graph/ir.ts';
import { DataType, isHalfType } from '../onnx/data-type.ts';
import { Tensor } from '../onnx/tensor.ts';

/**
 * Turns a model of half precision (float16, bfloat16) into one of float32, in place: small steps would be lost in the
 * rounding of the weights. Its inputs stay as they are and are converted inside; its outputs become float32.
 */
export function widenHalves(model: Model): void {
  for (const graph of allGraphs(model)) {
    for (const v of graph.values.values()) {
      if (v.initializer && isHalfType(v.initializer.dataType)) v.initializer = widened(v.initializer);
      if (v.type && isHalfType(v.type.elemType) && !(v.isGraphInput && graph === model.graph)) widenType(v);
    }
    for (const node of graph.nodes) for (const [name, a] of node.attributes) widenAttribute(node.attributes, name, a);
  }
  for (const input of model.graph.inputs) if (input.type && isHalfType(input.type.elemType)) castInput(model, input);
}

function widenType(v: Value): void {
  v.type = { ...v.type!, elemType: DataType.FLOAT };
  v.proto = undefined;
}

function widened(tensor: Tensor): Tensor {
  return Tensor.fromFloat32(tensor.name, [...tensor.dims], tensor.toFloat32());
}

/** Tensors, and the types that casts and generators are told to give. */
function widenAttribute(attributes: Map<string, Attribute>, name: string, a: Attribute): void {
  if (a.kind === 'tensor' && isHalfType(a.value.dataType))
    attributes.set(name, { kind: 'tensor', value: widened(a.value) });
  if (a.kind === 'int' && /^(to|dtype|output_dtype)$/.test(name) && isHalfType(Number(a.value)))
    attributes.set(name, { kind: 'int', value: BigInt(DataType.FLOAT) });
}

function castInput({ graph }: Model, input: Value): void {
  if (input.initializer) return widenType(input);
  const cast = graph.addNode('Cast', [input], [`${input.name}_float32`], { before: graph.nodes[0] });
  cast.setInt('to', DataType.FLOAT);
  input.replaceUsesWith(cast.outputs[0]!, new Set([cast]));
}
