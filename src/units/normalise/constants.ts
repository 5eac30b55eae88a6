import { constantTensor, isConstantOnly } from '../../graph/edit.ts';
import type { Graph, Model, Node, Value } from '../../graph/ir.ts';
import type { ShapeInfo } from '../../graph/shapes/index.ts';
import { Tensor } from '../../onnx/tensor.ts';

/** Constants with more elements than this are not shapes: they are left to be computed. */
const SHAPE_ELEMENTS = 64;

/** Constant nodes become initializers. */
export function constantsToInitializers(graph: Graph): void {
  const gone = new Set<Node>();
  for (const node of graph.nodes) {
    const out = node.outputs[0];
    if (node.op !== 'Constant' || !out || out.isGraphOutput) continue;
    const tensor = constantTensor(out);
    if (!tensor) continue;
    setConstant(out, tensor);
    gone.add(node);
  }
  removeAll(graph, gone);
}

/** Takes nodes out whose outputs are computed by nothing any more: many at once, where one by one would search for each. */
function removeAll(graph: Graph, nodes: ReadonlySet<Node>): void {
  for (const node of nodes) node.truncateInputs(0);
  if (nodes.size > 0) graph.nodes = graph.nodes.filter((node) => !nodes.has(node));
}

/** Makes a value an initializer; the node that computed it is to be taken out. */
export function setConstant(value: Value, tensor: Tensor): void {
  value.initializer = tensor.renamed(value.name);
  value.producer = null;
  value.producerIndex = -1;
  value.type = { kind: 'tensor', elemType: tensor.dataType, shape: [...tensor.dims] };
}

/** Integers that shape inference knows, whatever is fed, become initializers. */
export function foldShapes(model: Model, shapes: ShapeInfo): void {
  const graph = model.graph;
  const constants = new Map<Value, boolean>();
  const gone = new Set<Node>();
  for (const node of graph.nodes) {
    const out = node.outputs[0];
    if (!out || node.outputs.length !== 1 || out.isGraphOutput || node.subgraphs.length) continue;
    const known = shapes.constant(out);
    const rank = out.type?.shape?.length;
    if (!known || known.length > SHAPE_ELEMENTS || rank === undefined || rank > 1) continue;
    if (isConstantOnly(out, constants)) continue;
    const ints = known.filter((d): d is number => typeof d === 'number');
    if (ints.length !== known.length || (out.type!.elemType !== 7 && out.type!.elemType !== 6)) continue;
    const dims = rank === 0 ? [] : [ints.length];
    const tensor =
      out.type!.elemType === 7
        ? Tensor.fromInt64(out.name, dims, ints)
        : Tensor.fromBytes(out.name, 6, dims, new Uint8Array(Int32Array.from(ints).buffer));
    setConstant(out, tensor);
    gone.add(node);
    // Nodes come after what they read: no answer for a later one has been given yet.
    constants.set(out, true);
  }
  removeAll(graph, gone);
}
