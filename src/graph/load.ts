import { SecateurError } from '../errors.ts';
import { externalFolder } from '../onnx/external.ts';
import {
  AttributeProto_AttributeType as Kind,
  type AttributeProto,
  type FunctionProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
} from '../onnx/onnx_pb.ts';
import { readModelBytes, readModelFile } from '../onnx/read.ts';
import { tensorFromProto } from '../onnx/tensor-proto.ts';
import { Graph, Node, Value, type Attribute, type FunctionDef, type Model } from './ir.ts';
import { noteOrphans } from './orphans.ts';
import { sortTopologically } from './sort.ts';
import { typeFromProto } from './value-type.ts';

/**
 * Opens a model file. No weights are read: tensors know where their bytes are. Missing external files are noticed only
 * when their bytes are wanted.
 * @throws SecateurError 'io' when the file cannot be opened, 'bad-model' when it is no ONNX model.
 */
export function loadModel(path: string): Model {
  return guarded(path, () => new Loader(externalFolder(path)).model(readModelFile(path), path));
}

/**
 * A model from memory; tensors are views into `bytes`. External data is looked for beside `path`, if given.
 * @throws SecateurError 'bad-model' when it is no ONNX model.
 */
export function parseModel(bytes: Uint8Array, path?: string): Model {
  const folder = path === undefined ? undefined : externalFolder(path);
  return guarded(path ?? 'The model', () => new Loader(folder).model(readModelBytes(bytes, path), path));
}

/** Whatever a malformed file brings about (a stack overflow included) becomes one sentence. */
function guarded(name: string, build: () => Model): Model {
  try {
    return build();
  } catch (error) {
    if (error instanceof SecateurError) throw error;
    throw new SecateurError('bad-model', `${name} is not a readable ONNX model: its graph is malformed.`, '', {
      cause: error,
    });
  }
}

class Loader {
  private readonly folder: string | undefined;
  constructor(folder: string | undefined) {
    this.folder = folder;
  }

  model(proto: ModelProto, path: string | undefined): Model {
    const opsets = new Map<string, number>();
    for (const { domain, version } of proto.opsetImport)
      opsets.set(domain === 'ai.onnx' ? '' : domain, Number(version));
    const model: Model = {
      path,
      irVersion: Number(proto.irVersion),
      opsets,
      producer: [proto.producerName, proto.producerVersion].filter(Boolean).join(' '),
      metadata: new Map(proto.metadataProps.map((e) => [e.key, e.value])),
      graph: this.graph(proto.graph!, null),
      functions: proto.functions.map((f) => this.function(f)),
      proto,
    };
    proto.graph = undefined;
    proto.functions = [];
    return model;
  }

  private graph(proto: GraphProto, owner: Node | null): Graph {
    const graph = new Graph(proto.name, owner);
    // Initializers first: the order of `values` is the order in which they are written again.
    for (const t of proto.initializer) {
      const tensor = tensorFromProto(t, this.folder);
      const v = graph.value(tensor.name);
      v.type = { kind: 'tensor', elemType: tensor.dataType, shape: [...tensor.dims] };
      v.initializer = tensor;
    }
    for (const info of proto.input) {
      const v = graph.value(info.name);
      v.type ??= typeFromProto(info.type);
      v.proto = info;
      graph.inputs.push(v);
    }
    for (const t of proto.sparseInitializer) {
      const shape = t.dims.map(Number);
      graph.value(t.values?.name ?? '', { kind: 'tensor', elemType: t.values?.dataType ?? 0, shape });
    }
    this.nodes(graph, proto.node);
    for (const info of proto.output) {
      const v = resolveName(graph, info.name);
      if (v.graph === graph && !v.proto) {
        v.type ??= typeFromProto(info.type);
        v.proto = info;
      }
      graph.outputs.push(v);
    }
    for (const info of proto.valueInfo) {
      const v = graph.values.get(info.name);
      if (!v || v.proto) continue;
      v.type ??= typeFromProto(info.type);
      v.proto = info;
    }
    graph.proto = proto;
    noteOrphans(proto, graph);
    // Held by the IR from here on; the rest of the message is only looked up when the model is saved.
    proto.node = [];
    proto.initializer = [];
    sortTopologically(graph);
    return graph;
  }

  /** Outputs first, so that a node may come before what it reads: some writers do not sort. */
  private nodes(graph: Graph, protos: readonly NodeProto[]): void {
    const nodes = protos.map((proto) => {
      const node = new Node(graph, proto.opType, proto.name, proto.domain === 'ai.onnx' ? '' : proto.domain);
      node.overload = proto.overload;
      node.proto = proto;
      proto.output.forEach((name, i) => {
        if (name === '') return node.setOutput(i, null);
        const v = graph.value(name);
        // Two nodes with one output name: the second gets a value of its own, which nothing finds by name.
        node.setOutput(i, v.producer ? new Value(graph, name) : v);
      });
      graph.nodes.push(node);
      return node;
    });
    nodes.forEach((node, n) => {
      const proto = protos[n];
      proto.input.forEach((name, i) => node.setInput(i, name === '' ? null : resolveName(graph, name)));
      for (const a of proto.attribute) node.attributes.set(a.name, this.attribute(a, node));
    });
  }

  private attribute(proto: AttributeProto, node: Node): Attribute {
    const value = this.attributeValue(proto, node);
    return { ...value, proto } as Attribute;
  }

  private attributeValue(a: AttributeProto, node: Node): Attribute {
    if (a.refAttrName !== '') return { kind: 'opaque', value: null };
    switch (a.type === Kind.UNDEFINED ? guessKind(a) : a.type) {
      case Kind.FLOAT:
        return { kind: 'float', value: a.f };
      case Kind.INT:
        return { kind: 'int', value: a.i };
      case Kind.STRING:
        return { kind: 'string', value: a.s };
      case Kind.TENSOR: {
        if (!a.t) break;
        const value = tensorFromProto(a.t, this.folder);
        a.t = undefined;
        return { kind: 'tensor', value };
      }
      case Kind.GRAPH: {
        if (!a.g) break;
        const value = this.graph(a.g, node);
        a.g = undefined;
        return { kind: 'graph', value };
      }
      case Kind.FLOATS:
        return { kind: 'floats', value: a.floats };
      case Kind.INTS:
        return { kind: 'ints', value: a.ints };
      case Kind.STRINGS:
        return { kind: 'strings', value: a.strings };
      case Kind.TENSORS: {
        const value = a.tensors.map((t) => tensorFromProto(t, this.folder));
        a.tensors = [];
        return { kind: 'tensors', value };
      }
      case Kind.GRAPHS: {
        const value = a.graphs.map((g) => this.graph(g, node));
        a.graphs = [];
        return { kind: 'graphs', value };
      }
    }
    return { kind: 'opaque', value: null };
  }

  private function(proto: FunctionProto): FunctionDef {
    const body = new Graph(proto.name);
    for (const name of proto.input) body.inputs.push(body.value(name));
    this.nodes(body, proto.node);
    for (const name of proto.output) body.outputs.push(body.value(name));
    for (const info of proto.valueInfo) {
      const v = body.values.get(info.name);
      if (!v || v.proto) continue;
      v.type = typeFromProto(info.type);
      v.proto = info;
    }
    proto.node = [];
    sortTopologically(body);
    return { name: proto.name, domain: proto.domain, overload: proto.overload, body, proto };
  }
}

/** The value that a name means in a scope: this graph's, else the nearest outer graph's, else a new one without producer. */
function resolveName(graph: Graph, name: string): Value {
  for (let g: Graph | null = graph; g; g = g.owner?.graph ?? null) {
    const v = g.values.get(name);
    if (v) return v;
  }
  return graph.value(name);
}

/** Files of IR version 1 leave the type of an attribute out. */
function guessKind(a: AttributeProto): Kind {
  if (Object.hasOwn(a, 'f')) return Kind.FLOAT;
  if (Object.hasOwn(a, 'i')) return Kind.INT;
  if (Object.hasOwn(a, 's')) return Kind.STRING;
  if (a.t) return Kind.TENSOR;
  if (a.g) return Kind.GRAPH;
  if (a.floats.length > 0) return Kind.FLOATS;
  if (a.ints.length > 0) return Kind.INTS;
  if (a.strings.length > 0) return Kind.STRINGS;
  if (a.tensors.length > 0) return Kind.TENSORS;
  if (a.graphs.length > 0) return Kind.GRAPHS;
  return Kind.UNDEFINED;
}
