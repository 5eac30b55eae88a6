import { constantTensor } from '../../graph/edit.ts';
import type { Dim, Node, Value } from '../../graph/ir.ts';
import { addDims, mulDims, productOf, subDims } from '../../graph/shapes/dims.ts';
import type { ShapeInfo } from '../../graph/shapes/index.ts';
import { DataType } from '../../onnx/data-type.ts';
import type { Tensor } from '../../onnx/tensor.ts';

/** Integers that grow evenly along each axis: element [i, j, …] is base + steps[0]·i + steps[1]·j + …; all sizes are known. */
export interface Numbering {
  shape: Dim[];
  base: Dim;
  /** 0 for axes of size 1. */
  steps: Dim[];
}

/** Larger constants are not looked into. */
const MAX_ELEMENTS = 1 << 20;
/** Longer chains of nodes are not followed. */
const MAX_DEPTH = 32;

/**
 * How the integers of a value are numbered, where that can be told for every input of the model: Range, constants in
 * even steps, and what sums, products, casts and rearrangements make of them. Undefined otherwise.
 */
export function numberingOf(value: Value | null | undefined, shapes: ShapeInfo, depth = 0): Numbering | undefined {
  const shape = value?.type?.shape;
  const integer = value?.type?.elemType === DataType.INT64 || value?.type?.elemType === DataType.INT32;
  if (!value || !shape || !integer || shape.includes(null) || depth > MAX_DEPTH || value.isGraphInput) return undefined;
  const content = shapes.constant(value);
  if (shape.every((d) => d === 1) && content?.length === 1 && content[0] !== null) {
    return { shape, base: content[0], steps: shape.map(() => 0) };
  }
  const tensor = constantTensor(value, false);
  if (tensor) return progression(tensor);
  const node = value.producer;
  const rule = node && RULES[node.op];
  if (!rule) return undefined;
  const found = rule({
    node,
    shape,
    input: (i) => numberingOf(node.inputs[i], shapes, depth + 1),
    scalar: (i) => {
      const v = node.inputs[i];
      return v && !v.isGraphInput ? (shapes.constant(v)?.[0] ?? null) : null;
    },
  });
  if (!found || found.base === null || found.steps.includes(null)) return undefined;
  return { ...found, steps: found.steps.map((step, i) => (shape[i] === 1 ? 0 : step)) };
}

/** True when the elements are 0, 1, 2, … in row-major order. */
export function isRowMajor({ shape, base, steps }: Numbering): boolean {
  const strides = stridesOf(shape);
  return base === 0 && shape.every((d, i) => d === 1 || (strides[i] !== null && steps[i] === strides[i]));
}

/** All elements, where every size and step is a number. */
export function elementsOf({ shape, base, steps }: Numbering): number[] | undefined {
  const sizes = shape.filter((d) => typeof d === 'number');
  if (sizes.length !== shape.length || typeof base !== 'number' || !steps.every((s) => typeof s === 'number')) return;
  const count = sizes.reduce((a, b) => a * b, 1);
  if (count > MAX_ELEMENTS) return undefined;
  return Array.from({ length: count }, (_, flat) => {
    let element = base;
    for (let k = sizes.length - 1, rest = flat; k >= 0; rest = Math.floor(rest / sizes[k]), k--)
      element += (rest % sizes[k]) * steps[k];
    return element;
  });
}

/** Elements between neighbours along each axis, in row-major order. */
function stridesOf(shape: readonly Dim[]): Dim[] {
  return shape.map((_, i) => productOf(shape.slice(i + 1)));
}

function progression(tensor: Tensor): Numbering | undefined {
  const count = tensor.elementCount;
  if (count === 0 || count > MAX_ELEMENTS) return undefined;
  let values: number[];
  try {
    values = tensor.toInts();
  } catch {
    return undefined; // a missing external file: whoever needs the bytes will say so
  }
  const strides = stridesOf(tensor.dims) as number[];
  const numbering = {
    shape: [...tensor.dims],
    base: values[0],
    steps: tensor.dims.map((d, i) => (d > 1 ? values[strides[i]] - values[0] : 0)),
  };
  return elementsOf(numbering)?.every((v, i) => v === values[i]) ? numbering : undefined;
}

/** One node as its rule sees it. */
interface Numbered {
  node: Node;
  /** Of the output. */
  shape: readonly Dim[];
  input(i: number): Numbering | undefined;
  scalar(i: number): Dim;
}
type Rule = (c: Numbered) => Numbering | undefined;

/** Steps along the axes of a shape that the numbering is broadcast to. */
function broadcastSteps(n: Numbering, shape: readonly Dim[]): Dim[] | undefined {
  const missing = shape.length - n.shape.length;
  if (missing < 0) return undefined;
  const fits = n.shape.every((d, i) => d === 1 || d === shape[i + missing]);
  return fits ? shape.map((_, i) => (i < missing ? 0 : n.steps[i - missing])) : undefined;
}

const sum =
  (f: (a: Dim, b: Dim) => Dim): Rule =>
  ({ shape, input }) => {
    const [a, b] = [input(0), input(1)];
    const [p, q] = [a && broadcastSteps(a, shape), b && broadcastSteps(b, shape)];
    if (!a || !b || !p || !q) return undefined;
    return { shape: [...shape], base: f(a.base, b.base), steps: p.map((step, i) => f(step, q[i])) };
  };

/** A product with one number for all. */
const product: Rule = ({ shape, input }) => {
  const operands = [input(0), input(1)];
  const factor = operands.findIndex((n) => n?.steps.every((s) => s === 0));
  const other = operands[1 - factor];
  const steps = factor >= 0 && other ? broadcastSteps(other, shape) : undefined;
  if (!steps || !other) return undefined;
  const by = operands[factor]!.base;
  return { shape: [...shape], base: mulDims(other.base, by), steps: steps.map((s) => mulDims(s, by)) };
};

const range: Rule = ({ shape, scalar }) => ({ shape: [...shape], base: scalar(0), steps: [scalar(2)] });

const same: Rule = ({ input }) => input(0);

const expand: Rule = ({ shape, input }) => {
  const n = input(0);
  const steps = n && broadcastSteps(n, shape);
  return steps && { shape: [...shape], base: n.base, steps };
};

/** Reshape, Squeeze, Unsqueeze: what is numbered evenly throughout stays so; else only axes of size 1 come and go. */
const reshape: Rule = ({ shape, input }) => {
  const n = input(0);
  if (!n || productOf(n.shape) !== productOf(shape)) return undefined;
  const [before, after] = [n.shape, shape].map((s) => s.flatMap((d, i) => (d === 1 ? [] : [i])));
  if (before.length === after.length && before.every((i, k) => n.shape[i] === shape[after[k]])) {
    const steps = shape.map((_, i) => (after.includes(i) ? n.steps[before[after.indexOf(i)]] : 0));
    return { shape: [...shape], base: n.base, steps };
  }
  const each = n.steps[before[before.length - 1]] ?? 0;
  const even = (s: readonly Dim[]) => stridesOf(s).map((stride) => mulDims(stride, each));
  const steps = even(n.shape);
  if (!before.every((i) => steps[i] !== null && steps[i] === n.steps[i])) return undefined;
  return { shape: [...shape], base: n.base, steps: even(shape) };
};

const transpose: Rule = ({ node, shape, input }) => {
  const n = input(0);
  if (!n) return undefined;
  const perm = node.ints('perm') ?? shape.map((_, i) => shape.length - 1 - i);
  return { shape: [...shape], base: n.base, steps: perm.map((p) => n.steps[p]) };
};

const RULES: Readonly<Record<string, Rule>> = {
  Range: range,
  Add: sum(addDims),
  Sub: sum(subDims),
  Mul: product,
  Identity: same,
  Cast: same,
  Expand: expand,
  Reshape: reshape,
  Flatten: reshape,
  Squeeze: reshape,
  Unsqueeze: reshape,
  Transpose: transpose,
};
