import type { Graph, Node, Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { Tensor } from '../../onnx/tensor.ts';

/**
 * How a consumer is gated where multiplying its operand is not the same as removing units (architecture.md, idea 1, rules
 * b to d). Gate 1 leaves the consumer's outputs as they are; with gate 0 the other units see what they would see in the
 * model without the unit. What such a consumer gives for a closed unit itself does not matter: later gates close it.
 */
export interface Gate {
  (context: GateContext): void;
  /** It knows what a closed unit of whole numbers is; others leave integers alone. */
  integers?: boolean;
}

export type GateAttributes = Record<string, number | readonly number[] | string | { float: number }>;

/** The least count of units that something is divided by, so that the value of no unit at all is finite. */
export const FEWEST = 1e-6;

/**
 * A product with a gate that is 0 wherever the gate is, also where the operand is not finite: behind a norm over open units
 * only, closed units may grow without bound.
 */
function zeroWhereClosed(
  at: Pick<GateContext, 'add' | 'scalar'>,
  product: Value,
  factor: Value,
  elemType?: number,
): Value {
  return at.add('Where', [at.add('Cast', [factor], { to: DataType.BOOL }), product, at.scalar(0, elemType)]);
}

/** What differs from a mean over the consumer's operand. */
export interface MeanOptions {
  keepdims?: boolean;
  /** Axes of x along which units lie. */
  units?: readonly number[];
  /** The gates, where they are laid out or typed otherwise than those of the operand. */
  factor?: Value;
  elemType?: number;
}

/** What a gate finds in the graph that is being gated, and the means to edit it. */
export class GateContext {
  readonly graph: Graph;
  /** The consumer, the copy in the gated graph. */
  readonly node: Node;
  /** Input number of the operand that carries the units. */
  readonly input: number;
  /** That operand, not gated. */
  readonly operand: Value;
  /**
   * One multiplier per unit, in the operand's element type (float32 where that is an integer): its rank, with size 1 on
   * every axis without units; rows of coalitions lie on axis 0.
   */
  readonly factor: Value;
  readonly opset: number;

  /** Axes of the operand along which units lie. */
  readonly axes: readonly number[];

  constructor(parts: { node: Node; input: number; factor: Value; axes: readonly number[]; opset: number }) {
    this.axes = parts.axes;
    this.node = parts.node;
    this.graph = parts.node.graph;
    this.input = parts.input;
    this.operand = parts.node.inputs[parts.input]!;
    this.factor = parts.factor;
    this.opset = parts.opset;
  }

  /** Element type of the operand. */
  get elemType(): number {
    return this.operand.type?.elemType || DataType.FLOAT;
  }

  /** Rank of the operand. */
  get rank(): number {
    return this.operand.type!.shape!.length;
  }

  /** Adds a node of ai.onnx and gives its first output. The graph is sorted when all gates are in. */
  add(op: string, inputs: (Value | null)[], attributes: GateAttributes = {}): Value {
    const node = this.graph.addNode(op, inputs, [`${this.operand.name}_gate`]);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === 'number') node.setInt(name, value);
      else if (typeof value === 'string') node.setString(name, value);
      else if ('float' in value) node.setFloat(name, value.float);
      else node.setInts(name, value);
    }
    return node.outputs[0]!;
  }

  /** Adds a reduction that keeps its axes, given as attribute or operand, whichever the opset takes. */
  reduce(op: 'ReduceMean' | 'ReduceSum', x: Value, axes: readonly number[], keepdims = true): Value {
    const since = op === 'ReduceSum' ? 13 : 18;
    const keep = { keepdims: keepdims ? 1 : 0 };
    return this.opset >= since ? this.add(op, [x, this.ints(axes)], keep) : this.add(op, [x], { axes, ...keep });
  }

  constant(tensor: Tensor): Value {
    return this.graph.addInitializer(`${this.operand.name}_gate`, tensor);
  }

  ints(values: readonly number[]): Value {
    return this.constant(Tensor.fromInt64('', [values.length], values));
  }

  /** A number without axes, of the operand's element type unless another is named. */
  scalar(x: number, elemType = this.elemType): Value {
    return this.cast(this.constant(Tensor.fromFloat32('', [], Float32Array.of(x))), DataType.FLOAT, elemType);
  }

  /** A value in another element type. */
  cast(v: Value, from: number, to: number): Value {
    return from === to ? v : this.add('Cast', [v], { to });
  }

  /** max(x, least), and never a number that half precision rounds to 0. */
  atLeast(x: Value, least: number, elemType = this.elemType): Value {
    const bound = elemType === DataType.FLOAT16 ? Math.max(least, 6e-8) : least;
    return this.opset >= 8
      ? this.add('Max', [x, this.scalar(bound, elemType)])
      : this.add('Clip', [x], { min: { float: bound } });
  }

  /** x times the gates, 0 where they are closed whatever x is. Gradients know this form (autodiff/rules/pointwise.ts). */
  product(x: Value, factor = this.factor, elemType = this.elemType): Value {
    const product = this.add('Mul', [x, factor]);
    return this.opset >= 9 ? zeroWhereClosed(this, product, factor, elemType) : product;
  }

  /** Multiplies the operand: what a gate does where nothing else is needed. */
  multiply(): void {
    this.node.setInput(this.input, this.product(this.operand));
  }

  /**
   * Mean over open units, Σ g·x / max(Σ g, 1e-6), and over all positions of axes without units. Sums and not means of
   * gates: of a single open unit it is exactly that unit, as in the pruned model, whose deviation from it must be 0.
   * @param axes axes of x that the mean runs over, non-negative
   */
  mean(x: Value, axes: readonly number[], options: MeanOptions = {}): Value {
    const { keepdims = true, units = this.axes, factor = this.factor, elemType = this.elemType } = options;
    const others = axes.filter((axis) => !units.includes(axis));
    const gated = this.product(x, factor, elemType);
    const inner = others.length ? this.reduce('ReduceMean', gated, others) : gated;
    const count = this.atLeast(this.reduce('ReduceSum', factor, axes, keepdims), FEWEST, elemType);
    return this.add('Div', [this.reduce('ReduceSum', inner, axes, keepdims), count]);
  }

  /** Lets all readers of output `index` of the consumer read what `make` gives, which may be computed from that output. */
  replaceOutput(index: number, make: (output: Value) => Value): void {
    const output = this.node.outputs[index];
    if (!output) return;
    const isOutput = output.isGraphOutput;
    // A model output keeps its name: the consumer computes into another value.
    if (isOutput) {
      const inner = this.graph.freshValue(`${output.name}_ungated`, output.type && { ...output.type });
      const readers = new Set(output.uses.map((u) => u.node));
      this.node.setOutput(index, inner);
      const made = make(inner);
      for (const use of [...output.uses]) if (readers.has(use.node)) use.node.setInput(use.index, made);
      const last = this.graph.addNode('Identity', [made], []);
      last.setOutput(0, output);
      return;
    }
    const readers = [...output.uses];
    const made = make(output);
    for (const { node, index: i } of readers) if (node !== made.producer) node.setInput(i, made);
    if (made.type === undefined) made.type = output.type && { ...output.type };
  }
}
