import type { AttributeProto, FunctionProto } from '../onnx/onnx_pb.ts';
import type { Value } from './ir.ts';
import { Graph, Node, type Attribute, type FunctionDef, type Model } from './ir.ts';
import { readBy } from './sort.ts';

/** Calls within calls beyond this are left as they are (functions must not call themselves, files can say anything). */
const MAX_ROUNDS = 20;
/** A model is not inlined beyond so many nodes. */
const MAX_NODES = 200_000;

/**
 * Replaces calls of local functions, in the main graph and in subgraphs, by their bodies, in place, so that analyses
 * see plain operators. Names of the body's nodes and values get the call's name in front. Functions stay defined.
 * @returns How many calls were replaced.
 */
export function inlineFunctions(model: Model): number {
  const functions = new Map(model.functions.map((f) => [key(f.domain, f.name, f.overload), f]));
  if (functions.size === 0) return 0;
  let calls = 0;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const before = calls;
    let size = 0;
    const visit = (graph: Graph): void => {
      for (const node of [...graph.nodes]) {
        node.subgraphs.forEach(visit);
        const f = functions.get(key(node.domain, node.opType, node.overload));
        if (f && size < MAX_NODES) {
          size += f.body.nodes.length;
          inlineCall(graph, node, f);
          importOpsets(model, f);
          calls++;
        }
      }
    };
    visit(model.graph);
    if (calls === before) break;
  }
  return calls;
}

function key(domain: string, name: string, overload: string): string {
  return `${domain}\0${name}\0${overload}`;
}

/** Domains that only the body uses. Where both import one, the model's version counts, as for the runtime. */
function importOpsets(model: Model, f: FunctionDef): void {
  for (const { domain, version } of (f.proto as FunctionProto | undefined)?.opsetImport ?? []) {
    const name = domain === 'ai.onnx' ? '' : domain;
    if (!model.opsets.has(name)) model.opsets.set(name, Number(version));
  }
}

function inlineCall(graph: Graph, call: Node, f: FunctionDef): void {
  const prefix = prefixOf(call);
  const copier = new BodyCopier(prefix, attributesOf(call, f));
  f.body.inputs.forEach((parameter, i) => copier.bind(parameter, call.inputs[i] ?? null));
  replaceByBody(graph, call, f.body, copier, prefix);
}

/**
 * Puts the nodes of a branch in the place of its If, for a condition that is always the same. Nodes keep their names, so
 * that two of one name may meet.
 */
export function inlineBranch(node: Node, branch: Graph): void {
  const prefix = prefixOf(node);
  const copier = new BodyCopier(prefix, new Map(), '');
  // What a branch reads of the scopes around it stays where it is.
  for (const value of readBy(node)) copier.bind(value, value);
  const { subgraphs } = node;
  replaceByBody(node.graph, node, branch, copier, prefix);
  subgraphs.forEach(dropReads);
}

function dropReads(graph: Graph): void {
  for (const node of graph.nodes) {
    node.truncateInputs(0);
    node.subgraphs.forEach(dropReads);
  }
}

function prefixOf(call: Node): string {
  return `${call.name || call.outputs.find((v) => v)?.name || call.opType}/`;
}

function replaceByBody(graph: Graph, call: Node, body: Graph, copier: BodyCopier, prefix: string): void {
  const results = body.outputs;
  // What the body gives back is computed under the names that the call had; a parameter given back needs an Identity.
  const outputs = [...call.outputs];
  call.truncateInputs(0);
  outputs.forEach((out, i) => {
    const result = results[i];
    if (out && result?.producer && !copier.isBound(result)) copier.bind(result, out);
  });
  const nodes = body.nodes.map((n) => copier.node(n, graph));
  outputs.forEach((out, i) => {
    const result = results[i];
    if (!out || out.producer !== call) return;
    const identity = new Node(graph, 'Identity', `${prefix}result_${i}`);
    identity.setInput(0, result ? copier.value(result, graph) : null);
    identity.setOutput(0, out);
    nodes.push(identity);
  });
  graph.nodes.splice(graph.nodes.indexOf(call), 1, ...nodes);
}

/** The call's attributes, else the function's defaults. */
function attributesOf(call: Node, f: FunctionDef): Map<string, Attribute> {
  const defaults = ((f.proto as FunctionProto | undefined)?.attributeProto ?? []).flatMap(
    (a): [string, Attribute][] => {
      const value = defaultValue(a);
      return value ? [[a.name, value]] : [];
    },
  );
  return new Map([...defaults, ...call.attributes]);
}

/** Default of a function's attribute, for the kinds that are plain numbers and texts. */
export function defaultValue(a: AttributeProto): Attribute | undefined {
  switch (a.type) {
    case 1:
      return { kind: 'float', value: a.f };
    case 2:
      return { kind: 'int', value: a.i };
    case 3:
      return { kind: 'string', value: a.s };
    case 6:
      return { kind: 'floats', value: a.floats };
    case 7:
      return { kind: 'ints', value: a.ints };
    case 8:
      return { kind: 'strings', value: a.strings };
    default:
      return undefined;
  }
}

/** Copies the nodes of a body into a graph, subgraphs included, with attribute references resolved. */
class BodyCopier {
  private readonly values = new Map<Value, Value | null>();
  private readonly prefix: string;
  private readonly attributes: ReadonlyMap<string, Attribute>;
  private readonly nodePrefix: string;

  constructor(prefix: string, attributes: ReadonlyMap<string, Attribute>, nodePrefix = prefix) {
    this.prefix = prefix;
    this.attributes = attributes;
    this.nodePrefix = nodePrefix;
  }
  bind(original: Value, copy: Value | null): void {
    this.values.set(original, copy);
  }
  isBound(original: Value): boolean {
    return this.values.has(original);
  }

  value(original: Value, graph: Graph): Value | null {
    const known = this.values.get(original);
    if (known !== undefined) return known;
    const copy = graph.freshValue(this.prefix + original.name, original.type && { ...original.type });
    copy.initializer = original.initializer?.renamed(copy.name) ?? null;
    this.values.set(original, copy);
    return copy;
  }

  node(original: Node, graph: Graph): Node {
    const node = new Node(
      graph,
      original.opType,
      this.nodePrefix + (original.name || original.opType),
      original.domain,
    );
    node.overload = original.overload;
    original.inputs.forEach((v, i) => node.setInput(i, v && this.value(v, graph)));
    original.outputs.forEach((v, i) => node.setOutput(i, v && this.value(v, graph)));
    for (const [name, a] of original.attributes) {
      const copy = this.attribute(a, node);
      if (copy) node.attributes.set(name, copy);
    }
    return node;
  }

  private attribute(a: Attribute, owner: Node): Attribute | undefined {
    if (a.kind === 'opaque') {
      const reference = (a.proto as AttributeProto | undefined)?.refAttrName;
      if (!reference) return a;
      const given = this.attributes.get(reference);
      // The message of the caller's attribute carries the caller's name for it.
      return given && given.kind !== 'opaque' ? ({ kind: given.kind, value: given.value } as Attribute) : undefined;
    }
    if (a.kind === 'graph') return { kind: 'graph', value: this.subgraph(a.value, owner) };
    if (a.kind === 'graphs') return { kind: 'graphs', value: a.value.map((g) => this.subgraph(g, owner)) };
    return a;
  }

  private subgraph(original: Graph, owner: Node): Graph {
    const graph = new Graph(original.name, owner);
    for (const v of original.values.values()) if (v.initializer) this.value(v, graph);
    for (const v of original.inputs) {
      const copy = this.value(v, graph);
      if (copy) graph.inputs.push(copy);
    }
    for (const n of original.nodes) graph.nodes.push(this.node(n, graph));
    for (const v of original.outputs) {
      const copy = this.value(v, graph);
      if (copy) graph.outputs.push(copy);
    }
    return graph;
  }
}
