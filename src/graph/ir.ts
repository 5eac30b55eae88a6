import type { DataType } from '../onnx/data-type.ts';
import type { Tensor } from '../onnx/tensor.ts';

/** One dimension: a number, a symbol (`batch`), or null when nothing is known. */
export type Dim = number | string | null;

/** What is known of a value's type. `shape` undefined: not even the rank is known. */
export interface ValueType {
  /** `tensor` unless the file says otherwise; other kinds are carried through untouched. */
  kind: 'tensor' | 'sequence' | 'optional' | 'map' | 'sparse' | 'unknown';
  elemType: DataType;
  shape?: Dim[];
}

/** Where a value is read: input number `index` of `node`. */
export interface Use {
  node: Node;
  index: number;
}

export type Attribute = (
  | { kind: 'float'; value: number }
  | { kind: 'int'; value: bigint }
  | { kind: 'string'; value: Uint8Array }
  | { kind: 'tensor'; value: Tensor }
  | { kind: 'graph'; value: Graph }
  | { kind: 'floats'; value: number[] }
  | { kind: 'ints'; value: bigint[] }
  | { kind: 'strings'; value: Uint8Array[] }
  | { kind: 'tensors'; value: Tensor[] }
  | { kind: 'graphs'; value: Graph[] }
  /** Sparse tensors, type protos, references to a function's attribute: carried through by `proto` alone. */
  | { kind: 'opaque'; value: null }
) & {
  /** The message it was read from (doc string, unknown fields); absent when made here. */
  proto?: unknown;
};

/**
 * An edge of the graph: a graph input, an initializer or a node's output. References between nodes and values are
 * objects; names matter only in the file. `uses` is kept by the methods of Node and Graph: do not edit it by hand.
 */
export class Value {
  name: string;
  type?: ValueType;
  /** The node that computes it; null for graph inputs, initializers and values of an outer scope not found. */
  producer: Node | null = null;
  producerIndex = -1;
  /** Constant contents, when the value is an initializer of its graph. */
  initializer: Tensor | null = null;
  /** The graph whose scope it belongs to. */
  graph: Graph;
  readonly uses: Use[] = [];
  /** Whether files state its type though it is neither input nor output: where runtimes infer less than is known. */
  declared = false;
  /** The ValueInfoProto it was read from, if any (doc string, unknown fields). */
  proto?: unknown;

  constructor(graph: Graph, name: string, type?: ValueType) {
    this.graph = graph;
    this.name = name;
    this.type = type;
  }

  get isGraphInput(): boolean {
    return this.graph.inputs.includes(this);
  }
  get isGraphOutput(): boolean {
    return this.graph.outputs.includes(this);
  }
  /** Concrete dims, or undefined when rank or any dim is unknown or symbolic. */
  get staticShape(): number[] | undefined {
    const shape = this.type?.shape;
    return shape?.every((d) => typeof d === 'number') ? shape : undefined;
  }
  /** Lets every reader of this value (nodes and graph outputs, not in `except`) read `other` instead. */
  replaceUsesWith(other: Value, except?: ReadonlySet<Node>): void {
    for (const { node, index } of [...this.uses]) if (!except?.has(node)) node.setInput(index, other);
    const outputs = this.graph.outputs;
    outputs.forEach((v, i) => {
      if (v === this) outputs[i] = other;
    });
  }
}

/** One operator call. Absent optional inputs and outputs are null. */
export class Node {
  name: string;
  opType: string;
  /** '' is ai.onnx. */
  domain: string;
  overload = '';
  readonly inputs: (Value | null)[] = [];
  readonly outputs: (Value | null)[] = [];
  readonly attributes = new Map<string, Attribute>();
  graph: Graph;
  /** The NodeProto it was read from, if any (doc string, metadata, unknown fields). */
  proto?: unknown;

  constructor(graph: Graph, opType: string, name = '', domain = '') {
    this.graph = graph;
    this.opType = opType;
    this.name = name;
    this.domain = domain;
  }

  /** Sets input `index` (null: absent), keeping the use lists. */
  setInput(index: number, value: Value | null): void {
    const old = this.inputs[index];
    if (old) {
      const at = old.uses.findIndex((u) => u.node === this && u.index === index);
      if (at >= 0) old.uses.splice(at, 1);
    }
    while (this.inputs.length < index) this.inputs.push(null);
    this.inputs[index] = value;
    value?.uses.push({ node: this, index });
  }
  /** Sets output `index`; the value's producer becomes this node. */
  setOutput(index: number, value: Value | null): void {
    while (this.outputs.length < index) this.outputs.push(null);
    this.outputs[index] = value;
    if (value) {
      value.producer = this;
      value.producerIndex = index;
    }
  }
  /** Drops trailing inputs from `length` on. */
  truncateInputs(length: number): void {
    for (let i = this.inputs.length - 1; i >= length; i--) this.setInput(i, null);
    this.inputs.length = Math.min(this.inputs.length, length);
  }

  /** Integer attribute, clamped to the safe range (INT64_MAX stands for "to the end" in old Slice). */
  int(name: string): number | undefined;
  int(name: string, fallback: number): number;
  int(name: string, fallback?: number): number | undefined {
    const a = this.attributes.get(name);
    return a?.kind === 'int' ? clampInt(a.value) : fallback;
  }
  ints(name: string): number[] | undefined;
  ints(name: string, fallback: number[]): number[];
  ints(name: string, fallback?: number[]): number[] | undefined {
    const a = this.attributes.get(name);
    return a?.kind === 'ints' ? a.value.map(clampInt) : fallback;
  }
  float(name: string, fallback: number): number {
    const a = this.attributes.get(name);
    return a?.kind === 'float' ? a.value : fallback;
  }
  string(name: string, fallback: string): string {
    const a = this.attributes.get(name);
    return a?.kind === 'string' ? new TextDecoder().decode(a.value) : fallback;
  }
  setInt(name: string, value: number | bigint): this {
    this.attributes.set(name, { kind: 'int', value: BigInt(value) });
    return this;
  }
  setInts(name: string, value: readonly (number | bigint)[]): this {
    this.attributes.set(name, { kind: 'ints', value: value.map(BigInt) });
    return this;
  }
  setFloat(name: string, value: number): this {
    this.attributes.set(name, { kind: 'float', value });
    return this;
  }
  setString(name: string, value: string): this {
    this.attributes.set(name, { kind: 'string', value: new TextEncoder().encode(value) });
    return this;
  }

  /** `Conv` for ai.onnx, `com.microsoft.MoE` otherwise. */
  get op(): string {
    return this.domain && this.domain !== 'ai.onnx' ? `${this.domain}.${this.opType}` : this.opType;
  }
  /** Subgraphs in attributes (If, Loop, Scan). */
  get subgraphs(): Graph[] {
    const found: Graph[] = [];
    for (const a of this.attributes.values()) {
      if (a.kind === 'graph') found.push(a.value);
      else if (a.kind === 'graphs') found.push(...a.value);
    }
    return found;
  }
}

/** A graph or subgraph. `nodes` is in an order in which every node comes after what it reads. */
export class Graph {
  name: string;
  /** The node that holds it as an attribute; null for the main graph. */
  owner: Node | null = null;
  nodes: Node[] = [];
  readonly inputs: Value[] = [];
  readonly outputs: Value[] = [];
  /** Every value of this scope, by name. */
  readonly values = new Map<string, Value>();
  /** The GraphProto it was read from, if any. */
  proto?: unknown;
  private counter = 0;

  constructor(name: string, owner: Node | null = null) {
    this.name = name;
    this.owner = owner;
  }

  /** Initializers in file order. */
  get initializers(): Value[] {
    return [...this.values.values()].filter((v) => v.initializer !== null);
  }
  /** The value of that name in this scope, made if absent. */
  value(name: string, type?: ValueType): Value {
    let v = this.values.get(name);
    if (!v) this.values.set(name, (v = new Value(this, name, type)));
    return v;
  }
  /** A new value whose name starts with `stem` and is used nowhere in this graph or its outer scopes. */
  freshValue(stem: string, type?: ValueType): Value {
    return this.value(this.freshName(stem), type);
  }
  freshName(stem: string): string {
    let name = stem;
    while (this.nameTaken(name)) name = `${stem}_${++this.counter}`;
    return name;
  }
  private nameTaken(name: string): boolean {
    for (let g: Graph | null = this; g; g = g.owner?.graph ?? null) if (g.values.has(name)) return true;
    return false;
  }
  addInput(name: string, type: ValueType): Value {
    const v = this.freshValue(name, type);
    this.inputs.push(v);
    return v;
  }
  addInitializer(stem: string, tensor: Tensor): Value {
    const v = this.freshValue(stem, { kind: 'tensor', elemType: tensor.dataType, shape: [...tensor.dims] });
    v.initializer = tensor;
    tensor.name = v.name;
    return v;
  }
  /**
   * Adds a node, by default at the end, else in front of `before`. `outputs` are value stems (made fresh) or values.
   */
  addNode(
    opType: string,
    inputs: readonly (Value | null)[],
    outputs: readonly (string | Value)[],
    options: { name?: string; domain?: string; before?: Node } = {},
  ): Node {
    const node = new Node(this, opType, options.name ?? '', options.domain ?? '');
    inputs.forEach((v, i) => node.setInput(i, v));
    outputs.forEach((o, i) => node.setOutput(i, typeof o === 'string' ? this.freshValue(o) : o));
    if (options.before) this.nodes.splice(this.nodes.indexOf(options.before), 0, node);
    else this.nodes.push(node);
    return node;
  }
  /** Takes a node out; its inputs lose the use, its outputs stay as values without producer unless `dropOutputs`. */
  removeNode(node: Node, dropOutputs = true): void {
    node.truncateInputs(0);
    for (const out of node.outputs) {
      if (!out) continue;
      out.producer = null;
      out.producerIndex = -1;
      if (dropOutputs && out.uses.length === 0 && !this.outputs.includes(out)) this.values.delete(out.name);
    }
    const at = this.nodes.indexOf(node);
    if (at >= 0) this.nodes.splice(at, 1);
  }
  /** Forgets a value that nothing reads and nothing computes. */
  removeValue(value: Value): void {
    this.values.delete(value.name);
    const at = this.inputs.indexOf(value);
    if (at >= 0) this.inputs.splice(at, 1);
  }
}

/** A local function of the model, kept with its body as a graph. */
export interface FunctionDef {
  name: string;
  domain: string;
  overload: string;
  body: Graph;
  proto?: unknown;
}

/** A whole model file. */
export interface Model {
  /** Path it was read from, if any. */
  path?: string;
  irVersion: number;
  /** domain ('' for ai.onnx) → version */
  opsets: Map<string, number>;
  producer: string;
  metadata: Map<string, string>;
  graph: Graph;
  functions: FunctionDef[];
  /** The ModelProto (without graph and functions) it was read from, if any. */
  proto?: unknown;
}

/** Version of ai.onnx that the model imports (1 when it names none). */
export function opsetVersion(model: Model): number {
  return model.opsets.get('') ?? model.opsets.get('ai.onnx') ?? 1;
}

function clampInt(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) return Number.MAX_SAFE_INTEGER;
  if (value < BigInt(Number.MIN_SAFE_INTEGER)) return Number.MIN_SAFE_INTEGER;
  return Number(value);
}
