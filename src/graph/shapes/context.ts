import { DataType } from '../../onnx/data-type.ts';
import type { Attribute, Dim, Graph, Node, Value, ValueType } from '../ir.ts';

/**
 * What is known of the elements of a small tensor, in row-major order: numbers, symbols (sizes of dims), null unknown.
 * Booleans are 0 and 1.
 */
export type Content = readonly (number | string | null)[];

/** Attributes of the caller, while the body of a local function is looked at. */
export type CallerAttributes = ReadonlyMap<string, Attribute>;

/** What a rule sees of the inference around it. */
export interface Host {
  typeOf(value: Value): ValueType | undefined;
  contentOf(value: Value): Content | undefined;
  /** Sets a value's type, and its contents where they are known. */
  set(value: Value, type: ValueType, content?: Content): void;
  /** Looks at a subgraph (again) with what is known of its inputs now. */
  graph(graph: Graph): void;
}

/** One node as its shape rule sees it: inputs by number, attributes by name. */
export class RuleContext {
  readonly node: Node;
  /** Version of the node's domain that the model imports. */
  readonly opset: number;
  readonly host: Host;
  private readonly caller: CallerAttributes | undefined;

  constructor(node: Node, opset: number, host: Host, caller?: CallerAttributes) {
    this.node = node;
    this.opset = opset;
    this.host = host;
    this.caller = caller;
  }

  /** Whether input `i` is there. */
  has(i: number): boolean {
    return !!this.node.inputs[i];
  }
  type(i: number): ValueType | undefined {
    const v = this.node.inputs[i];
    return v ? this.host.typeOf(v) : undefined;
  }
  /** Element type of input `i`; 0 when unknown. */
  elem(i: number): number {
    return this.type(i)?.elemType ?? DataType.UNDEFINED;
  }
  /** Dims of input `i`; undefined when even the rank is unknown. */
  shape(i: number): Dim[] | undefined {
    const type = this.type(i);
    return type?.kind === 'tensor' ? type.shape : undefined;
  }
  rank(i: number): number | undefined {
    return this.shape(i)?.length;
  }
  /** Contents of input `i` as far as they are known. */
  content(i: number): Content | undefined {
    const v = this.node.inputs[i];
    return v ? this.host.contentOf(v) : undefined;
  }
  /** Contents of input `i`, when every element is a known number. */
  numbers(i: number): number[] | undefined {
    const content = this.content(i);
    return content?.every((x) => typeof x === 'number') ? (content as number[]) : undefined;
  }
  number(i: number): number | undefined {
    const all = this.numbers(i);
    return all?.length === 1 ? all[0] : undefined;
  }
  get inputCount(): number {
    return this.node.inputs.length;
  }

  /** The attribute, with a reference to an attribute of the enclosing function followed. */
  attribute(name: string): Attribute | undefined {
    const a = this.node.attributes.get(name);
    if (a?.kind !== 'opaque') return a;
    const reference = (a.proto as { refAttrName?: string } | undefined)?.refAttrName;
    return reference ? this.caller?.get(reference) : undefined;
  }
  int(name: string): number | undefined;
  int(name: string, fallback: number): number;
  int(name: string, fallback?: number): number | undefined {
    const a = this.attribute(name);
    return a?.kind === 'int' ? clamp(a.value) : fallback;
  }
  ints(name: string): number[] | undefined {
    const a = this.attribute(name);
    return a?.kind === 'ints' ? a.value.map(clamp) : undefined;
  }
  float(name: string): number | undefined {
    const a = this.attribute(name);
    return a?.kind === 'float' ? a.value : undefined;
  }
  floats(name: string): number[] | undefined {
    const a = this.attribute(name);
    return a?.kind === 'floats' ? a.value : undefined;
  }
  string(name: string, fallback: string): string {
    const a = this.attribute(name);
    return a?.kind === 'string' ? new TextDecoder().decode(a.value) : fallback;
  }
  /** Axes, as an attribute in older opsets and an input in newer ones. Null: given, but not known. */
  axes(attribute: string, input: number): number[] | undefined | null {
    const fromAttribute = this.ints(attribute);
    if (fromAttribute) return fromAttribute;
    if (!this.has(input)) return undefined;
    return this.numbers(input) ?? null;
  }

  /** Sets output `i` (if the node has it) to a tensor; shape undefined: not even the rank is known. */
  out(i: number, elemType: number, shape: readonly Dim[] | undefined, content?: Content): void {
    const v = this.node.outputs[i];
    if (!v) return;
    this.host.set(v, { kind: 'tensor', elemType, shape: shape && [...shape] }, content);
  }
  /** Output `i` has the type of input `from`, whatever it is. */
  same(i: number, from = 0, content?: Content): void {
    const v = this.node.outputs[i];
    const type = this.type(from);
    if (v && type) this.host.set(v, { ...type, shape: type.shape && [...type.shape] }, content);
  }
  sequence(i: number, elemType: number): void {
    const v = this.node.outputs[i];
    if (v) this.host.set(v, { kind: 'sequence', elemType });
  }
}

export type Rule = (c: RuleContext) => void;
/** Rules by op: `Conv`, `com.microsoft.MoE`. */
export type RuleTable = Readonly<Record<string, Rule>>;

/** An axis counted from the front; undefined when it is out of range. */
export function normalAxis(axis: number, rank: number): number | undefined {
  const a = axis < 0 ? axis + rank : axis;
  return a >= 0 && a < rank ? a : undefined;
}

/** `n` unknown dims. */
export function unknownDims(n: number): Dim[] {
  return Array.from({ length: n }, () => null);
}

function clamp(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) return Number.MAX_SAFE_INTEGER;
  if (value < BigInt(Number.MIN_SAFE_INTEGER)) return Number.MIN_SAFE_INTEGER;
  return Number(value);
}
