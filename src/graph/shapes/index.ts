import type { Attribute, Dim, FunctionDef, Graph, Model, Node, Value, ValueType } from '../ir.ts';
import type { FunctionProto } from '../../onnx/onnx_pb.ts';
import { defaultValue } from '../inline.ts';
import { contentOfTensor } from './content.ts';
import { RuleContext, type CallerAttributes, type Content, type Host } from './context.ts';
import { rules } from './registry.ts';

export type { Content } from './context.ts';

/** What an inference found besides the types that it wrote into the values. */
export interface ShapeInfo {
  /**
   * Contents of a small integer (or float) tensor as far as they are known, in row-major order: constants, and what is
   * computed from shapes. A text is the size of a symbolic dim. Undefined when nothing is known.
   */
  constant(value: Value): Content | undefined;
}

export interface InferOptions {
  /** Shapes of graph inputs to assume instead of the declared ones, by name. */
  inputs?: ReadonlyMap<string, readonly Dim[]>;
  /** Lets an exception of a rule through, for tests. */
  strict?: boolean;
}

/**
 * Static shape inference: sets `value.type` of every value that it can tell something of, in the main graph and in
 * subgraphs, in place. Everything is computed anew from graph inputs and constants; a type that was there before counts
 * only for values of ops without a rule, or of which the rule can say nothing. Dims are numbers, symbols, expressions
 * over symbols, or null. Never throws: a malformed node leaves its outputs as they were.
 */
export function inferShapes(model: Model, options: InferOptions = {}): ShapeInfo {
  const inference = new Inference(model, options);
  for (const value of model.graph.inputs) {
    const shape = options.inputs?.get(value.name);
    if (shape) value.type = { kind: 'tensor', elemType: value.type?.elemType ?? 0, shape: [...shape] };
  }
  inference.graph(model.graph);
  return inference;
}

class Inference implements Host, ShapeInfo {
  private readonly contents = new Map<Value, Content>();
  private readonly model: Model;
  private readonly options: InferOptions;
  private readonly functions: Map<string, FunctionDef>;
  private readonly outputs: ReadonlySet<Value>;
  private caller: CallerAttributes | undefined;
  private depth = 0;

  constructor(model: Model, options: InferOptions) {
    this.model = model;
    this.options = options;
    this.outputs = new Set(model.graph.outputs);
    this.functions = new Map(model.functions.map((f) => [`${f.domain}\0${f.name}\0${f.overload}`, f]));
  }

  constant(value: Value): Content | undefined {
    return this.contentOf(value);
  }
  contentOf(value: Value): Content | undefined {
    return this.contents.get(value);
  }
  typeOf(value: Value): ValueType | undefined {
    return value.type;
  }

  set(value: Value, type: ValueType, content?: Content): void {
    const old = value.type;
    const known = type.kind !== 'tensor' || type.shape !== undefined;
    const shape = type.shape?.map((d, i) => {
      // A symbol that the file gives to a dim of which nothing else is known names it.
      const declared = old?.shape?.length === type.shape!.length ? old.shape[i] : null;
      // What the file promises of a graph output holds where nothing else is known, too.
      return d === null && (typeof declared === 'string' || this.outputs.has(value)) ? declared : d;
    });
    const elemType = type.elemType || (old?.elemType ?? 0);
    if (known || !old || old.kind !== type.kind) value.type = { kind: type.kind, elemType, shape };
    else value.type = { ...old, elemType };
    if (content && shape && fits(content, shape)) this.contents.set(value, content);
    else this.contents.delete(value);
  }

  graph(graph: Graph): void {
    if (this.depth > 100) return;
    this.depth++;
    for (const value of graph.initializers) {
      const tensor = value.initializer!;
      value.type = { kind: 'tensor', elemType: tensor.dataType, shape: [...tensor.dims] };
      const content = contentOfTensor(tensor);
      if (content) this.contents.set(value, content);
    }
    for (const node of graph.nodes) this.node(node);
    this.depth--;
  }

  private node(node: Node): void {
    for (const out of node.outputs) if (out) this.contents.delete(out);
    const rule = rules.get(node.op);
    try {
      if (rule) rule(new RuleContext(node, this.model.opsets.get(node.domain) ?? 1, this, this.caller));
      else this.call(node);
    } catch (error) {
      if (this.options.strict) throw error;
    }
  }

  /** A call of a local function: its body is looked at with the types of the arguments. */
  private call(node: Node): void {
    const f = this.functions.get(`${node.domain}\0${node.opType}\0${node.overload}`);
    if (!f || this.depth > 50) return;
    const defaults = ((f.proto as FunctionProto | undefined)?.attributeProto ?? []).flatMap(
      (a): [string, Attribute][] => {
        const value = defaultValue(a);
        return value ? [[a.name, value]] : [];
      },
    );
    const outer = this.caller;
    const context = new RuleContext(node, 1, this, outer);
    const given = [...node.attributes.keys()].flatMap((name): [string, Attribute][] => {
      const a = context.attribute(name);
      return a ? [[name, a]] : [];
    });
    f.body.inputs.forEach((parameter, i) => {
      const argument = node.inputs[i];
      parameter.type = argument?.type && { ...argument.type };
      const content = argument && this.contents.get(argument);
      if (content) this.contents.set(parameter, content);
      else this.contents.delete(parameter);
    });
    this.caller = new Map([...defaults, ...given]);
    this.graph(f.body);
    this.caller = outer;
    node.outputs.forEach((out, i) => {
      const result = f.body.outputs[i];
      if (out && result?.type) this.set(out, result.type, this.contents.get(result));
    });
  }
}

function fits(content: Content, shape: readonly unknown[]): boolean {
  const count = shape.reduce<number>((n, d) => (typeof d === 'number' ? n * d : NaN), 1);
  return Number.isNaN(count) || count === content.length;
}
