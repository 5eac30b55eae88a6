import { create } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType as Kind,
  AttributeProtoSchema,
  FunctionProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  ValueInfoProtoSchema,
  type AttributeProto,
  type FunctionProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type ValueInfoProto,
} from '../onnx/onnx_pb.ts';
import { tensorToProto, type TensorSink } from '../onnx/tensor-proto.ts';
import type { Attribute, FunctionDef, Graph, Model, Node, Value } from './ir.ts';
import { isOrphan } from './orphans.ts';
import { typeToProto } from './value-type.ts';

/** The ModelProto of a model: the messages it was read from, with what the IR says merged into them. */
export function modelToProto(model: Model, sink: TensorSink): ModelProto {
  const base = model.proto as ModelProto | undefined;
  const proto = copyOf(ModelProtoSchema, base);
  setIf(proto, 'irVersion', BigInt(model.irVersion));
  if (!base && model.producer) proto.producerName = model.producer;
  proto.opsetImport = opsetImports(model, base);
  proto.metadataProps = entries(model.metadata, base?.metadataProps);
  proto.graph = graphToProto(model.graph, sink);
  proto.functions = model.functions.map((f) => functionToProto(f, sink));
  return proto;
}

function opsetImports(model: Model, base: ModelProto | undefined): ModelProto['opsetImport'] {
  const imports: ModelProto['opsetImport'] = [];
  const seen = new Set<string>();
  for (const old of base?.opsetImport ?? []) {
    const domain = old.domain === 'ai.onnx' ? '' : old.domain;
    const version = model.opsets.get(domain);
    if (version === undefined) continue;
    seen.add(domain);
    const entry = copyOf(OperatorSetIdProtoSchema, old);
    setIf(entry, 'version', BigInt(version));
    imports.push(entry);
  }
  for (const [domain, version] of model.opsets)
    if (!seen.has(domain)) imports.push(create(OperatorSetIdProtoSchema, { domain, version: BigInt(version) }));
  return imports;
}

function entries(
  map: ReadonlyMap<string, string>,
  base: ModelProto['metadataProps'] = [],
): ModelProto['metadataProps'] {
  const same = base.filter((e) => map.get(e.key) === e.value);
  const kept = new Set(same.map((e) => e.key));
  const added = [...map].filter(([key]) => !kept.has(key));
  return [...same, ...added.map(([key, value]) => create(StringStringEntryProtoSchema, { key, value }))];
}

function graphToProto(graph: Graph, sink: TensorSink): GraphProto {
  const base = graph.proto as GraphProto | undefined;
  const proto = copyOf(GraphProtoSchema, base);
  setIf(proto, 'name', graph.name || (base ? '' : 'graph'));
  proto.node = graph.nodes.map((n) => nodeToProto(n, sink));
  proto.initializer = graph.initializers.map((v) => tensorToProto(named(v), sink));
  proto.input = graph.inputs.map((v) => valueToProto(v, undefined, true));
  const declared = new Map((base?.output ?? []).map((info) => [info.name, info]));
  proto.output = graph.outputs.map((v) => outputToProto(v, declared.get(v.name)));
  proto.sparseInitializer = (base?.sparseInitializer ?? []).filter((t) => graph.values.has(t.values?.name ?? ''));
  proto.valueInfo = valueInfo(graph, base);
  proto.quantizationAnnotation = (base?.quantizationAnnotation ?? []).filter(
    (a) => graph.values.has(a.tensorName) || isOrphan(base, a.tensorName),
  );
  return proto;
}

/** Entries that the file had, with types as they are now, for values that still exist, and those to be declared. */
function valueInfo(graph: Graph, base: GraphProto | FunctionProto | undefined): ValueInfoProto[] {
  const out: ValueInfoProto[] = [];
  const written = new Set<Value>([...graph.inputs, ...graph.outputs]);
  for (const info of base?.valueInfo ?? []) {
    const v = graph.values.get(info.name);
    if (!v) {
      if (isOrphan(base as GraphProto, info.name)) out.push(info);
      continue;
    }
    written.add(v);
    // A value that has lost its declaration has another shape now: symbols of the old one are not to stay.
    const entry = valueToProto(v, info, v.proto === undefined);
    if (entry.type || !info.type) out.push(entry);
  }
  for (const v of graph.values.values())
    if ((v.proto || v.declared) && !written.has(v) && v.type && !v.initializer) out.push(valueToProto(v));
  return out;
}

function named(value: Value) {
  const tensor = value.initializer!;
  return tensor.name === value.name ? tensor : tensor.renamed(value.name);
}

function valueToProto(
  value: Value,
  info: ValueInfoProto | undefined = value.proto as ValueInfoProto | undefined,
  strict = false,
): ValueInfoProto {
  const proto = copyOf(ValueInfoProtoSchema, info);
  setIf(proto, 'name', value.name);
  proto.type = typeToProto(value.type, info?.type, strict);
  return proto;
}

/** A constant as an output keeps the type that the file declares: it may be looser than the constant's own. */
function outputToProto(value: Value, declared: ValueInfoProto | undefined): ValueInfoProto {
  return value.initializer && declared ? declared : valueToProto(value, declared);
}

function nodeToProto(node: Node, sink: TensorSink): NodeProto {
  const base = node.proto as NodeProto | undefined;
  const proto = copyOf(NodeProtoSchema, base);
  setIf(proto, 'opType', node.opType);
  setIf(proto, 'name', node.name);
  if (!(node.domain === '' && proto.domain === 'ai.onnx')) setIf(proto, 'domain', node.domain);
  setIf(proto, 'overload', node.overload);
  proto.input = node.inputs.map((v) => v?.name ?? '');
  proto.output = node.outputs.map((v) => v?.name ?? '');
  proto.attribute = [...node.attributes].map(([name, a]) => attributeToProto(name, a, sink));
  return proto;
}

function attributeToProto(name: string, a: Attribute, sink: TensorSink): AttributeProto {
  const base = a.proto as AttributeProto | undefined;
  const proto = copyOf(AttributeProtoSchema, base);
  setIf(proto, 'name', name);
  const type = (kind: Kind) => {
    // Files of IR version 1 leave the type out; so do we then.
    if (!base || Object.hasOwn(base, 'type')) proto.type = kind;
  };
  switch (a.kind) {
    case 'float':
      type(Kind.FLOAT);
      setIf(proto, 'f', a.value, !base);
      break;
    case 'int':
      type(Kind.INT);
      setIf(proto, 'i', a.value, !base);
      break;
    case 'string':
      type(Kind.STRING);
      setIf(proto, 's', a.value, !base);
      break;
    case 'tensor':
      type(Kind.TENSOR);
      proto.t = tensorToProto(a.value, sink);
      break;
    case 'graph':
      type(Kind.GRAPH);
      proto.g = graphToProto(a.value, sink);
      break;
    case 'floats':
      type(Kind.FLOATS);
      proto.floats = a.value;
      break;
    case 'ints':
      type(Kind.INTS);
      proto.ints = a.value;
      break;
    case 'strings':
      type(Kind.STRINGS);
      proto.strings = a.value;
      break;
    case 'tensors':
      type(Kind.TENSORS);
      proto.tensors = a.value.map((t) => tensorToProto(t, sink));
      break;
    case 'graphs':
      type(Kind.GRAPHS);
      proto.graphs = a.value.map((g) => graphToProto(g, sink));
      break;
    case 'opaque':
      break;
  }
  return proto;
}

function functionToProto(f: FunctionDef, sink: TensorSink): FunctionProto {
  const base = f.proto as FunctionProto | undefined;
  const proto = copyOf(FunctionProtoSchema, base);
  setIf(proto, 'name', f.name);
  setIf(proto, 'domain', f.domain);
  setIf(proto, 'overload', f.overload);
  proto.input = f.body.inputs.map((v) => v.name);
  proto.output = f.body.outputs.map((v) => v.name);
  proto.node = f.body.nodes.map((n) => nodeToProto(n, sink));
  proto.valueInfo = valueInfo(f.body, base);
  return proto;
}

type Schema<T> = Parameters<typeof create>[0] & { readonly __type?: T };

/** A new message with the own fields (and unknown fields) of `base`; lists are shared, so replace them, never push. */
function copyOf<T extends object>(schema: Schema<T>, base: T | undefined): T {
  const proto = create(schema) as unknown as T;
  if (base) Object.assign(proto, base);
  return proto;
}

/** Sets a field only where that changes what a reader sees, so that a field that was absent stays absent. */
function setIf<T, K extends keyof T>(proto: T, key: K, value: T[K], always = false): void {
  if (always || proto[key] !== value) proto[key] = value;
}
