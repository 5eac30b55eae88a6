import type { GraphProto } from '../onnx/onnx_pb.ts';
import type { Graph } from './ir.ts';

/**
 * Names that a graph's message mentions (value_info, quantization annotations) though the graph never had such a value.
 * They are written again as they were, unlike mentions of values that have gone since.
 */
const orphans = new WeakMap<GraphProto, Set<string>>();

export function noteOrphans(proto: GraphProto, graph: Graph): void {
  const mentioned = [...proto.valueInfo.map((i) => i.name), ...proto.quantizationAnnotation.map((a) => a.tensorName)];
  const missing = mentioned.filter((name) => !graph.values.has(name));
  if (missing.length > 0) orphans.set(proto, new Set(missing));
}

export function isOrphan(proto: GraphProto | undefined, name: string): boolean {
  return proto !== undefined && (orphans.get(proto)?.has(name) ?? false);
}
