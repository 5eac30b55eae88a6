import { Graph, Node, Value, type Attribute, type FunctionDef, type Model } from './ir.ts';

/** A copy of a model and the way from the original's parts to the copy's. */
export interface Clone {
  model: Model;
  /** The copy of a node, also of one in a subgraph or function. */
  node(original: Node): Node;
  value(original: Value): Value;
}

/**
 * Deep copy: nodes, values, types, attributes and subgraphs are new objects; tensors' contents and the messages that
 * the parts were read from are shared (both are never changed).
 */
export function cloneModel(model: Model): Clone {
  const cloner = new Cloner();
  const copy: Model = {
    ...model,
    opsets: new Map(model.opsets),
    metadata: new Map(model.metadata),
    graph: cloner.graph(model.graph, null),
    functions: model.functions.map((f): FunctionDef => ({ ...f, body: cloner.graph(f.body, null) })),
  };
  return {
    model: copy,
    node: (original) => found(cloner.nodes.get(original), `node ${original.name}`),
    value: (original) => found(cloner.values.get(original), `value ${original.name}`),
  };
}

function found<T>(copy: T | undefined, what: string): T {
  if (copy === undefined) throw new Error(`${what} does not belong to the cloned model`);
  return copy;
}

class Cloner {
  readonly nodes = new Map<Node, Node>();
  readonly values = new Map<Value, Value>();

  graph(original: Graph, owner: Node | null): Graph {
    const graph = new Graph(original.name, owner);
    graph.proto = original.proto;
    for (const v of original.values.values()) graph.values.set(v.name, this.value(v, graph));
    for (const v of original.inputs) graph.inputs.push(this.value(v, graph));
    for (const node of original.nodes) graph.nodes.push(this.node(node, graph));
    for (const v of original.outputs) graph.outputs.push(this.value(v, graph));
    return graph;
  }

  /** Values of outer graphs were copied before, with their graph; `graph` counts for those of this one. */
  private value(original: Value, graph: Graph): Value {
    let copy = this.values.get(original);
    if (copy) return copy;
    copy = new Value(
      graph,
      original.name,
      original.type && { ...original.type, shape: original.type.shape && [...original.type.shape] },
    );
    copy.initializer = original.initializer && original.initializer.renamed(original.initializer.name);
    copy.declared = original.declared;
    copy.proto = original.proto;
    this.values.set(original, copy);
    return copy;
  }

  private node(original: Node, graph: Graph): Node {
    const node = new Node(graph, original.opType, original.name, original.domain);
    node.overload = original.overload;
    node.proto = original.proto;
    this.nodes.set(original, node);
    original.inputs.forEach((v, i) => node.setInput(i, v && this.value(v, graph)));
    original.outputs.forEach((v, i) => node.setOutput(i, v && this.value(v, graph)));
    for (const [name, a] of original.attributes) node.attributes.set(name, this.attribute(a, node));
    return node;
  }

  private attribute(a: Attribute, owner: Node): Attribute {
    switch (a.kind) {
      case 'graph':
        return { ...a, value: this.graph(a.value, owner) };
      case 'graphs':
        return { ...a, value: a.value.map((g) => this.graph(g, owner)) };
      case 'floats':
        return { ...a, value: [...a.value] };
      case 'ints':
        return { ...a, value: [...a.value] };
      case 'strings':
        return { ...a, value: [...a.value] };
      case 'tensors':
        return { ...a, value: [...a.value] };
      default:
        return { ...a };
    }
  }
}
