import { DataType, isFloatType } from '../../onnx/data-type.ts';
import { addDims, broadcast, exactDiv, extremeDim, floorDiv, mulDims, subDims } from './dims.ts';
import type { Content, Rule, RuleContext, RuleTable } from './context.ts';

/** Element-wise ops: shapes broadcast; contents of small integer tensors are computed along. */

type Element = number | string | null;

/** Shape of input 0, element type of input 0. */
const unary: Rule = (c) => c.same(0);

function map(f: (x: number, c: RuleContext) => Element): Rule {
  return (c) => {
    const content = c.content(0)?.map((x) => (typeof x === 'number' ? f(x, c) : null));
    c.same(0, 0, content);
  };
}

/** Broadcast of all inputs; contents by folding `f` over scalars and vectors. */
function nary(f?: (a: Element, b: Element, c: RuleContext) => Element, elemType?: number): Rule {
  return (c) => {
    const present = c.node.inputs.flatMap((v, i) => (v ? [i] : []));
    const shape = legacyBroadcast(c) ?? broadcast(present.map((i) => c.shape(i)));
    const type = elemType ?? c.elem(c.node.opType === 'Where' ? 1 : (present.find((i) => c.elem(i) !== 0) ?? 0));
    let content: Content | undefined;
    if (f && present.length > 0 && shape && shape.length <= 1) {
      content = c.content(present[0]);
      for (const i of present.slice(1)) content = zip(content, c.content(i), (a, b) => f(a, b, c));
    }
    c.out(0, type, shape, content);
  };
}

/** Opset 6 and older broadcast the second input only where told to, into the first one's shape. */
function legacyBroadcast(c: RuleContext) {
  return c.opset < 7 && /^(Add|Sub|Mul|Div|Pow|And|Or|Xor|Equal|Less|Greater)$/.test(c.node.opType)
    ? c.shape(0)
    : undefined;
}

/** Element by element; a single element goes with all of the other. */
export function zip(
  a: Content | undefined,
  b: Content | undefined,
  f: (a: Element, b: Element) => Element,
): Content | undefined {
  if (!a || !b) return undefined;
  const n = a.length === 1 ? b.length : a.length;
  if (b.length !== n && b.length !== 1) return undefined;
  return Array.from({ length: n }, (_, i) => f(a[a.length === 1 ? 0 : i], b[b.length === 1 ? 0 : i]));
}

const both = (f: (a: number, b: number) => number) => (a: Element, b: Element) =>
  typeof a === 'number' && typeof b === 'number' ? f(a, b) : null;

/** Comparison of two sizes: equal texts are equal, a symbol is never negative. */
const compare = (f: (a: number, b: number) => boolean, ifSame: boolean) => (a: Element, b: Element) => {
  if (a === null || b === null) return null;
  if (typeof a === 'number' && typeof b === 'number') return f(a, b) ? 1 : 0;
  if (a === b) return ifSame ? 1 : 0;
  if (typeof a === 'number' && a < 0) return f(a, 0) === f(a, 1) ? Number(f(a, 0)) : null;
  if (typeof b === 'number' && b < 0) return f(0, b) === f(1, b) ? Number(f(0, b)) : null;
  return null;
};

function divide(a: Element, b: Element, c: RuleContext): Element {
  if (typeof a === 'number' && typeof b === 'number') {
    if (isFloatType(c.elem(0))) return a / b;
    return b === 0 ? null : Math.trunc(a / b);
  }
  if (b === 1) return a;
  const exact = exactDiv(a, b);
  if (exact !== null) return exact;
  return typeof b === 'number' && !isFloatType(c.elem(0)) ? floorDiv(a, b) : null;
}

const safeMul = (a: Element, b: Element): Element => mixed(a, b) ?? mulDims(a, b);
const safeAdd = (a: Element, b: Element): Element => mixed(a, b) ?? addDims(a, b);
const safeSub = (a: Element, b: Element): Element => mixed(a, b) ?? subDims(a, b);
/** A fraction times a symbol is nothing that a dim can say. */
function mixed(a: Element, b: Element): Element | undefined {
  const fraction = (x: Element) => typeof x === 'number' && !Number.isInteger(x);
  return (fraction(a) && typeof b === 'string') || (fraction(b) && typeof a === 'string') ? null : undefined;
}

const cast: Rule = (c) => {
  const to = c.int('to') ?? (c.string('to', '') === '' ? 0 : legacyType(c.string('to', '')));
  const toInt = !isFloatType(to) && to !== DataType.BOOL;
  const content = c.content(0)?.map((x) => {
    if (typeof x !== 'number') return x;
    if (to === DataType.BOOL) return x ? 1 : 0;
    return toInt ? Math.trunc(x) : x;
  });
  c.out(0, to, c.shape(0), content);
};

/** Cast named its type in words before opset 6. */
function legacyType(name: string): number {
  return Object.entries(DataType).find(([key]) => key === name.toUpperCase())?.[1] ?? 0;
}

const where: Rule = (c) => {
  const shape = broadcast([c.shape(0), c.shape(1), c.shape(2)]);
  let content: Content | undefined;
  const [condition, x, y] = [c.content(0), c.content(1), c.content(2)];
  if (shape && shape.length <= 1 && condition && x && y) {
    const n = Math.max(condition.length, x.length, y.length);
    const at = (list: Content, i: number) => list[list.length === 1 ? 0 : i];
    content = Array.from({ length: n }, (_, i) => {
      const on = at(condition, i);
      const [a, b] = [at(x, i), at(y, i)];
      return on === null ? (a === b ? a : null) : on ? a : b;
    });
  }
  c.out(0, c.elem(1) || c.elem(2), shape, content);
};

/** bool of input 0's shape */
const predicate: Rule = (c) => c.out(0, DataType.BOOL, c.shape(0));

const dropout: Rule = (c) => {
  c.same(0, 0, c.content(0));
  c.out(1, c.opset >= 10 ? DataType.BOOL : c.elem(0), c.shape(0));
};

const prelu: Rule = (c) => c.same(0);

const names = (list: string, rule: Rule, domain = ''): RuleTable =>
  Object.fromEntries(
    list
      .trim()
      .split(/\s+/)
      .map((n) => [domain + n, rule]),
  );

export const elementwiseRules: RuleTable = {
  ...names(
    `Relu LeakyRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Mish Swish Gelu Tanh Softplus Softsign ThresholdedRelu Shrink
     Exp Log Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh Atanh Erf Reciprocal Sqrt Clip Affine ScaledTanh
     ParametricSoftplus BitwiseNot Softmax LogSoftmax Hardmax LpNormalization MeanVarianceNormalization LRN CumSum CumProd
     Scale ImageScaler com.microsoft.Gelu com.microsoft.FastGelu com.microsoft.QuickGelu`,
    unary,
  ),
  ...names('BiasGelu BiasAdd BiasDropout GatedAdd ScaledSiLU', unary, 'com.microsoft.'),
  SwiGLU: unary,
  Identity: (c) => c.same(0, 0, c.content(0)),
  Sqrt: map((x) => Math.sqrt(x)),
  Abs: (c) =>
    c.same(
      0,
      0,
      c.content(0)?.map((x) => (typeof x === 'number' ? Math.abs(x) : x)),
    ),
  Neg: (c) =>
    c.same(
      0,
      0,
      c.content(0)?.map((x) => (x === null ? null : subDims(0, x))),
    ),
  Floor: (c) =>
    c.same(
      0,
      0,
      c.content(0)?.map((x) => (typeof x === 'number' ? Math.floor(x) : x)),
    ),
  Ceil: (c) =>
    c.same(
      0,
      0,
      c.content(0)?.map((x) => (typeof x === 'number' ? Math.ceil(x) : x)),
    ),
  Round: (c) =>
    c.same(
      0,
      0,
      c
        .content(0)
        ?.map((x) =>
          typeof x === 'number' && Math.abs(x % 1) !== 0.5 ? Math.round(x) : typeof x === 'string' ? x : null,
        ),
    ),
  Sign: map((x) => Math.sign(x)),
  Not: (c) =>
    c.same(
      0,
      0,
      c.content(0)?.map((x) => (typeof x === 'number' ? Number(!x) : null)),
    ),
  Cast: cast,
  CastLike: (c) => c.out(0, c.elem(1), c.shape(0), c.content(0)),
  BitCast: (c) => c.out(0, c.int('to', 0), c.shape(0)),
  Add: nary(safeAdd),
  Sub: nary(safeSub),
  Mul: nary(safeMul),
  Div: nary(divide),
  Mod: nary(both((a, b) => (b === 0 ? NaN : ((a % b) + b) % b))),
  Pow: nary(both(Math.pow)),
  Max: nary((a, b) => extremeDim(a, b, 'max')),
  Min: nary((a, b) => extremeDim(a, b, 'min')),
  ...names('Sum Mean BitwiseAnd BitwiseOr BitwiseXor BitShift', nary()),
  And: nary((a, b) => (a === 0 || b === 0 ? 0 : a === 1 && b === 1 ? 1 : null), DataType.BOOL),
  Or: nary((a, b) => (a === 1 || b === 1 ? 1 : a === 0 && b === 0 ? 0 : null), DataType.BOOL),
  Xor: nary(
    both((a, b) => (a ? 1 : 0) ^ (b ? 1 : 0)),
    DataType.BOOL,
  ),
  Equal: nary(
    compare((a, b) => a === b, true),
    DataType.BOOL,
  ),
  Less: nary(
    compare((a, b) => a < b, false),
    DataType.BOOL,
  ),
  LessOrEqual: nary(
    compare((a, b) => a <= b, true),
    DataType.BOOL,
  ),
  Greater: nary(
    compare((a, b) => a > b, false),
    DataType.BOOL,
  ),
  GreaterOrEqual: nary(
    compare((a, b) => a >= b, true),
    DataType.BOOL,
  ),
  Where: where,
  IsInf: predicate,
  IsNaN: predicate,
  Dropout: dropout,
  PRelu: prelu,
};
