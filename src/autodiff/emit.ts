import { SecateurError } from '../errors.ts';
import type { Dim, Model, Node, Value } from '../graph/ir.ts';
import type { Content } from '../graph/shapes/context.ts';
import { DataType } from '../onnx/data-type.ts';
import { Tensor } from '../onnx/tensor.ts';
import { Workspace } from './workspace.ts';

/** Attributes of a new node: whole numbers, texts, lists of whole numbers and tensors as they are, floats wrapped. */
export type EmitAttributes = Readonly<
  Record<string, number | string | readonly number[] | Tensor | { float: number } | { floats: readonly number[] }>
>;

/**
 * Adds plain ONNX nodes at the end of a graph, each in the form that the model's opset asks for (axes as attribute or as
 * operand), with the types of what they give. Axes may be negative wherever the rank is known.
 */
export class Emitter {
  readonly workspace: Workspace;
  /** What names of new values start with. */
  readonly stem: string;

  constructor(workspace: Workspace, stem: string) {
    this.workspace = workspace;
    this.stem = stem;
  }

  /** Version of ai.onnx. */
  get opset(): number {
    return this.workspace.opset;
  }

  // What is known of a value

  /** Dims; undefined when even the rank is unknown. */
  shapeOf(v: Value): Dim[] | undefined {
    return v.type?.kind === 'tensor' ? v.type.shape : undefined;
  }
  /** Number of axes. @throws SecateurError 'unsupported' where it is unknown */
  rankOf(v: Value): number {
    const shape = this.shapeOf(v);
    return shape ? shape.length : this.fail(`the rank of "${v.name}" is unknown`);
  }
  /** Size of an axis: a number, a symbol or null; null too when the rank is unknown. */
  dimOf(v: Value, axis: number): Dim {
    const shape = this.shapeOf(v);
    return shape?.[axis < 0 ? axis + shape.length : axis] ?? null;
  }
  /** Element type; float32 where nothing is known. */
  elemTypeOf(v: Value): DataType {
    return v.type?.elemType || DataType.FLOAT;
  }
  /** Elements of a small constant, or of what is computed from shapes; texts are symbolic sizes. */
  contentOf(v: Value): Content | undefined {
    return this.workspace.content(v);
  }
  /** Elements of a small constant, all of them known numbers. */
  numbersOf(v: Value | null | undefined): number[] | undefined {
    const content = v && this.contentOf(v);
    return content?.every((x) => typeof x === 'number') ? (content as number[]) : undefined;
  }
  /** Non-negative axes of a value. */
  axes(v: Value, axes: readonly number[]): number[] {
    const rank = this.rankOf(v);
    return axes.map((a) => (a < 0 ? a + rank : a));
  }
  /** Gives up: the sentence ends with what is not supported. */
  fail(reason: string): never {
    throw new SecateurError('unsupported', `No gradient can be computed: ${reason}.`);
  }

  // Nodes

  /** Adds a node and gives its first output. `op` may carry a domain: `com.microsoft.Gelu`. */
  op(op: string, inputs: readonly (Value | null)[], attributes: EmitAttributes = {}): Value {
    return this.ops(op, inputs, attributes, 1)[0];
  }
  /** Adds a node with several outputs. */
  ops(op: string, inputs: readonly (Value | null)[], attributes: EmitAttributes, outputs: number): Value[] {
    const dot = op.lastIndexOf('.');
    const stems = Array.from({ length: outputs }, () => this.stem);
    const node = this.workspace.graph.addNode(op.slice(dot + 1), inputs, stems, {
      domain: dot < 0 ? '' : op.slice(0, dot),
    });
    for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
    this.workspace.infer(node);
    return node.outputs as Value[];
  }

  // Constants

  constant(tensor: Tensor): Value {
    return this.workspace.graph.addInitializer(`${this.stem}_c`, tensor);
  }
  /** A small constant tensor; equal ones are stored once. */
  numbers(values: readonly number[], dims: readonly number[], elemType: DataType): Value {
    const key = `${elemType}[${dims.join()}]${values.map((x) => (Object.is(x, -0) ? '-0' : String(x))).join()}`;
    const known = this.workspace.constants.get(key);
    if (known) return known;
    const made = this.constant(Tensor.fromNumbers('', elemType, dims, values));
    this.workspace.constants.set(key, made);
    return made;
  }
  /** A list of int64. */
  ints(values: readonly number[]): Value {
    return this.numbers(values, [values.length], DataType.INT64);
  }
  /** A number without axes, of the element type of `like` (or of that element type). */
  scalar(x: number, like: Value | DataType): Value {
    return this.numbers([x], [], typeof like === 'number' ? like : this.elemTypeOf(like));
  }

  // Elementwise

  add(a: Value, b: Value): Value {
    return this.op('Add', [a, b]);
  }
  sub(a: Value, b: Value): Value {
    return this.op('Sub', [a, b]);
  }
  mul(a: Value, b: Value): Value {
    return this.op('Mul', [a, b]);
  }
  div(a: Value, b: Value): Value {
    return this.op('Div', [a, b]);
  }
  neg(a: Value): Value {
    return this.op('Neg', [a]);
  }
  /** a · x for a number x. */
  scale(a: Value, x: number): Value {
    return x === 1 ? a : this.mul(a, this.scalar(x, a));
  }
  /** a + x for a number x. */
  plus(a: Value, x: number): Value {
    return x === 0 ? a : this.add(a, this.scalar(x, a));
  }
  greater(a: Value, b: Value): Value {
    return this.op('Greater', [a, b]);
  }
  less(a: Value, b: Value): Value {
    return this.op('Less', [a, b]);
  }
  /** a = b, which older opsets have for integers only. */
  equal(a: Value, b: Value): Value {
    if (this.opset >= 11) return this.op('Equal', [a, b]);
    return this.not(this.op('Or', [this.greater(a, b), this.less(a, b)]));
  }
  not(a: Value): Value {
    return this.op('Not', [a]);
  }
  and(a: Value, b: Value): Value {
    return this.op('And', [a, b]);
  }
  cast(v: Value, elemType: DataType): Value {
    return v.type?.elemType === elemType ? v : this.op('Cast', [v], { to: elemType });
  }
  /** `a` where the condition holds, else `b`; broadcasts. Before opset 9, which has no Where, neither may be infinite. */
  where(condition: Value, a: Value, b: Value): Value {
    if (this.opset >= 9) return this.op('Where', [condition, a, b]);
    const yes = this.cast(condition, this.elemTypeOf(a));
    const no = this.cast(this.not(condition), this.elemTypeOf(b));
    return this.add(this.mul(a, yes), this.mul(b, no));
  }
  /** `v` where the condition holds, else 0. */
  keep(condition: Value, v: Value): Value {
    return this.opset >= 9
      ? this.op('Where', [condition, v, this.scalar(0, v)])
      : this.mul(v, this.cast(condition, this.elemTypeOf(v)));
  }

  // Shapes

  /** The shape as an int64 vector: a constant where it is known. */
  shape(v: Value): Value {
    const dims = v.staticShape;
    return dims ? this.ints(dims) : this.op('Shape', [v]);
  }
  /** Sizes of some axes as an int64 vector: a constant where they are known. */
  dims(v: Value, axes: readonly number[]): Value {
    const known = axes.map((a) => this.dimOf(v, a));
    if (known.every((d) => typeof d === 'number')) return this.ints(known);
    return this.op('Gather', [this.op('Shape', [v]), this.ints(this.axes(v, axes))], { axis: 0 });
  }
  /** Number of elements along some axes, without axes, in the element type of `v`: a mean's denominator. */
  count(v: Value, axes: readonly number[]): Value {
    const known = axes.map((a) => this.dimOf(v, a));
    if (known.every((d) => typeof d === 'number')) {
      return this.scalar(
        known.reduce((a, b) => a * b, 1),
        v,
      );
    }
    const sizes = this.cast(this.dims(v, axes), this.elemTypeOf(v));
    return this.reduce('ReduceProd', sizes, [0], false);
  }
  /** Joins int64 vectors. */
  joinInts(parts: readonly Value[]): Value {
    return parts.length === 1 ? parts[0] : this.op('Concat', parts, { axis: 0 });
  }
  reshape(v: Value, shape: Value | readonly number[]): Value {
    return this.op('Reshape', [v, isValue(shape) ? shape : this.ints(shape)]);
  }
  /** Reshapes to the shape of another value, which model files then state: the runtime may know its rank only. */
  reshapeLike(v: Value, like: Value): Value {
    const made = this.typedAs(this.reshape(v, this.shape(like)), like);
    made.declared = true;
    return made;
  }
  /** Broadcasts to the shape of another value, of which it has no larger axis. */
  expandLike(v: Value, like: Value): Value {
    if (sameDims(this.shapeOf(v), this.shapeOf(like))) return v;
    if (this.opset >= 8) return this.typedAs(this.op('Expand', [v, this.shape(like)]), like);
    return this.typedAs(this.add(v, this.cast(this.zerosLike(like), this.elemTypeOf(v))), like);
  }
  transpose(v: Value, perm: readonly number[]): Value {
    return perm.every((p, i) => p === i) ? v : this.op('Transpose', [v], { perm });
  }
  unsqueeze(v: Value, axes: readonly number[]): Value {
    if (axes.length === 0) return v;
    return this.opset >= 13 ? this.op('Unsqueeze', [v, this.ints(axes)]) : this.op('Unsqueeze', [v], { axes });
  }
  squeeze(v: Value, axes: readonly number[]): Value {
    if (axes.length === 0) return v;
    return this.opset >= 13 ? this.op('Squeeze', [v, this.ints(axes)]) : this.op('Squeeze', [v], { axes });
  }
  concat(values: readonly Value[], axis: number): Value {
    return values.length === 1 ? values[0] : this.op('Concat', values, { axis });
  }
  /** Parts along an axis, of these sizes. */
  split(v: Value, sizes: readonly number[], axis: number): Value[] {
    if (sizes.length === 1) return [v];
    const [inputs, own] = this.opset >= 13 ? [[v, this.ints(sizes)], {}] : [[v], { split: sizes }];
    return this.ops('Split', inputs, { axis, ...own }, sizes.length);
  }
  /** Slice with bounds known ahead of time; steps need opset 10. */
  slice(
    v: Value,
    starts: readonly number[],
    ends: readonly number[],
    axes: readonly number[],
    steps?: readonly number[],
  ): Value {
    if (this.opset < 10) return this.op('Slice', [v], { starts, ends, axes });
    const inputs = [v, this.ints(starts), this.ints(ends), this.ints(axes)];
    return this.op('Slice', steps ? [...inputs, this.ints(steps)] : inputs);
  }
  /** Pads with zeros: how many in front of every axis, then how many behind every axis. Negative numbers crop. */
  pad(v: Value, pads: readonly number[]): Value {
    if (pads.every((p) => p === 0)) return v;
    return this.opset >= 11 ? this.op('Pad', [v, this.ints(pads)]) : this.op('Pad', [v], { pads });
  }
  zerosLike(v: Value): Value {
    const dims = v.staticShape;
    const elemType = this.elemTypeOf(v);
    if (this.opset >= 9 && !dims)
      return this.typedAs(
        this.op('ConstantOfShape', [this.op('Shape', [v])], { value: Tensor.fromNumbers('', elemType, [1], [0]) }),
        v,
      );
    if (this.opset >= 8) return this.expandLike(this.scalar(0, v), v);
    return this.mul(v, this.scalar(0, v));
  }

  // Reductions

  /** A reduction along axes, given as attribute or operand, whichever the opset takes. No axes: the value itself. */
  reduce(
    op: 'ReduceSum' | 'ReduceMean' | 'ReduceMax' | 'ReduceMin' | 'ReduceProd',
    v: Value,
    axes: readonly number[],
    keepdims = true,
  ): Value {
    if (axes.length === 0) return v;
    const since = op === 'ReduceSum' ? 13 : 18;
    const keep = { keepdims: keepdims ? 1 : 0 };
    // Negative axes came with opset 11.
    const own = axes.some((a) => a < 0) ? this.axes(v, axes) : axes;
    return this.opset >= since ? this.op(op, [v, this.ints(own)], keep) : this.op(op, [v], { axes: own, ...keep });
  }
  reduceSum(v: Value, axes: readonly number[], keepdims = true): Value {
    return this.reduce('ReduceSum', v, axes, keepdims);
  }
  reduceMean(v: Value, axes: readonly number[], keepdims = true): Value {
    return this.reduce('ReduceMean', v, axes, keepdims);
  }
  /** Sum of all elements, without axes. */
  sumAll(v: Value): Value {
    return this.rankOf(v) === 0 ? v : this.op('ReduceSum', [v], { keepdims: 0 });
  }
  /** Mean of all elements, without axes. */
  meanAll(v: Value): Value {
    return this.rankOf(v) === 0 ? v : this.op('ReduceMean', [v], { keepdims: 0 });
  }

  /**
   * The sum over all axes along which `like` was broadcast to the shape of `v`: a value of the shape of `like`. Decided
   * now where the sizes are known or equal symbols; by the sizes at run time else.
   */
  unbroadcast(v: Value, like: Value): Value {
    const [from, to] = [this.shapeOf(v), this.shapeOf(like)];
    if (!from || !to) return this.fail(`the rank of "${from ? like.name : v.name}" is unknown`);
    const lead = from.length - to.length;
    const grown = to.flatMap((d, i) => (d === 1 && from[i + lead] !== 1 ? [i + lead] : []));
    const leading = Array.from({ length: lead }, (_, i) => i);
    let sum = this.reduceSum(this.reduceSum(v, grown), leading, false);
    const unsure = to.flatMap((d, i) => (typeof d !== 'number' && (d === null || d !== from[i + lead]) ? [i] : []));
    if (unsure.length > 0) sum = this.sumToShape(sum, like, unsure);
    return this.typedAs(sum, like);
  }

  /**
   * The sum over repeats along some axes (all of them unless given): the size f of `v` is a multiple of the size t that
   * the axis has in `like`. Each becomes two, of sizes f/t and t, and the first of each pair is added up.
   */
  sumToShape(v: Value, like: Value, axes = Array.from({ length: this.rankOf(like) }, (_, i) => i)): Value {
    const sizes: Value[] = [];
    const shape: Dim[] = [];
    const repeats: number[] = [];
    for (let axis = 0; axis < this.rankOf(like); axis++) {
      const size = this.dims(like, [axis]);
      if (axes.includes(axis)) {
        repeats.push(sizes.length);
        sizes.push(this.div(this.dims(v, [axis]), size));
        shape.push(null);
      }
      sizes.push(size);
      shape.push(this.dimOf(like, axis));
    }
    const spread = this.reshape(v, this.joinInts(sizes));
    spread.type = { kind: 'tensor', elemType: this.elemTypeOf(v), shape };
    return this.reduceSum(spread, repeats, false);
  }

  /** Says that a value has the shape of another, where that knows more, and its element type where nothing is known. */
  typedAs(v: Value, like: Value): Value {
    const shape = this.shapeOf(like);
    const own = this.shapeOf(v);
    if (shape && (!own || own.length === shape.length))
      v.type = {
        kind: 'tensor',
        elemType: v.type?.elemType || this.elemTypeOf(like),
        shape: shape.map((d, i) => (typeof own?.[i] === 'number' ? own[i] : (d ?? own?.[i] ?? null))),
      };
    return v;
  }
}

function isValue(x: Value | readonly number[]): x is Value {
  return !Array.isArray(x);
}

/** Equal for certain: unknown dims are never. */
function sameDims(a: readonly Dim[] | undefined, b: readonly Dim[] | undefined): boolean {
  return !!a && !!b && a.length === b.length && a.every((d, i) => d !== null && d === b[i]);
}

function setAttribute(node: Node, name: string, value: EmitAttributes[string]): void {
  if (typeof value === 'number') node.setInt(name, value);
  else if (typeof value === 'string') node.setString(name, value);
  else if (value instanceof Tensor) node.attributes.set(name, { kind: 'tensor', value });
  else if ('float' in value) node.setFloat(name, value.float);
  else if ('floats' in value) node.attributes.set(name, { kind: 'floats', value: [...value.floats] });
  else node.setInts(name, value);
}

/** Adds nodes to a model, whose shapes it infers. Names of new values start with `stem`. */
export function emitterFor(model: Model, stem: string): Emitter {
  return new Emitter(new Workspace(model), stem);
}
