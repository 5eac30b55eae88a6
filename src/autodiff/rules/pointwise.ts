import type { Value } from '../../graph/ir.ts';
import { DataType, isFloatType } from '../../onnx/data-type.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/** Arithmetic and elementary functions, element by element. Where operands were broadcast, their gradients are summed. */

/** A function of one value: `slope` gives dy/dx from x and y. */
export function unary(slope: (c: RuleContext, x: Value, y: Value) => Value): GradientRule {
  return (c) => {
    if (c.needs(0)) c.give(0, c.mul(c.grad()!, slope(c, c.input(0), c.output())));
  };
}

/** Steps: the gradient is 0 wherever there is one. */
export const flat: GradientRule = () => undefined;

const add: GradientRule = (c) => {
  c.node.inputs.forEach((v, i) => {
    if (v && c.needs(i)) c.give(i, c.unbroadcast(c.grad()!, v));
  });
};

const sub: GradientRule = (c) => {
  if (c.needs(0)) c.give(0, c.unbroadcast(c.grad()!, c.input(0)));
  if (c.needs(1)) c.give(1, c.neg(c.unbroadcast(c.grad()!, c.input(1))));
};

const mul: GradientRule = (c) => {
  for (const i of [0, 1]) if (c.needs(i)) c.give(i, c.unbroadcast(c.mul(c.grad()!, c.input(1 - i)), c.input(i)));
};

const div: GradientRule = (c) => {
  const [a, b] = [c.input(0), c.input(1)];
  const q = c.div(c.grad()!, b);
  if (c.needs(0)) c.give(0, c.unbroadcast(q, a));
  if (c.needs(1)) c.give(1, c.neg(c.unbroadcast(c.mul(q, c.output()), b)));
};

const mean: GradientRule = (c) => {
  const share = c.scale(c.grad()!, 1 / c.node.inputs.length);
  c.node.inputs.forEach((v, i) => {
    if (v && c.needs(i)) c.give(i, c.unbroadcast(share, v));
  });
};

/** d aᵇ = b·aᵇ⁻¹ da + aᵇ·ln a db; 0 for b = 0, and for the exponent where a = 0. */
const pow: GradientRule = (c) => {
  const [a, y, g] = [c.input(0), c.output(), c.grad()!];
  const b = c.cast(c.input(1), c.elemTypeOf(a));
  if (c.needs(0)) c.give(0, c.unbroadcast(c.mul(g, powSlope(c, a, b)), a));
  if (c.needs(1)) {
    const zero = c.equal(a, c.scalar(0, a));
    const safe = c.where(zero, c.scalar(1, a), a);
    const slope = c.mul(y, c.op('Log', [safe]));
    c.give(1, c.unbroadcast(c.mul(g, slope), b));
  }
};

function powSlope(c: RuleContext, a: Value, b: Value): Value {
  const known = c.numbersOf(c.input(1));
  const power = known?.length === 1 ? known[0] : undefined;
  if (power === 0) return c.zerosLike(c.output());
  if (power === 1) return c.expandLike(c.scalar(1, a), c.output());
  if (power === 2) return c.scale(a, 2);
  if (power !== undefined) return c.scale(c.op('Pow', [a, c.plus(b, -1)]), power);
  const slope = c.mul(b, c.op('Pow', [a, c.plus(b, -1)]));
  return c.where(c.equal(b, c.scalar(0, b)), c.scalar(0, a), slope);
}

/** Of several equal largest (or smallest) operands each takes an equal share, as in torch.maximum. */
const extreme: GradientRule = (c) => {
  const [g, y] = [c.grad()!, c.output()];
  const inputs = c.node.inputs.filter((v): v is Value => v !== null);
  if (inputs.length === 1) return c.give(0, g);
  const hits = inputs.map((v) => c.cast(c.equal(v, y), c.elemTypeOf(g)));
  const share = c.div(
    g,
    hits.reduce((a, b) => c.add(a, b)),
  );
  inputs.forEach((v, i) => {
    if (c.needs(i)) c.give(i, c.unbroadcast(c.mul(share, hits[i]), v));
  });
};

const where: GradientRule = (c) => {
  const [condition, g] = [c.input(0), c.grad()!];
  if (isFiniteProduct(c)) return c.give(1, c.unbroadcast(g, c.input(1)));
  if (c.needs(1)) c.give(1, c.unbroadcast(c.keep(condition, g), c.input(1)));
  if (c.needs(2)) c.give(2, c.unbroadcast(c.keep(c.not(condition), g), c.input(2)));
};

/**
 * x·f written so that it is 0 where f is, also where x is not finite: Where(f ≠ 0, x·f, 0), as closed gates are. At f = 0
 * its slope is that of the product too, which the choice made there does not tell.
 */
function isFiniteProduct(c: RuleContext): boolean {
  const [cast, product] = [c.input(0).producer, c.input(1).producer];
  if (cast?.op !== 'Cast' || product?.op !== 'Mul' || !product.inputs.includes(cast.inputs[0])) return false;
  return c.numbersOf(c.input(2))?.every((x) => x === 0) ?? false;
}

/** Bounds are attributes before opset 11; outside of them the gradient goes to the bound. */
const clip: GradientRule = (c) => {
  const [x, g] = [c.input(0), c.grad()!];
  const bound = (i: number, attribute: string): Value | undefined => {
    if (c.opset >= 11) return c.node.inputs[i] ?? undefined;
    const a = c.node.attributes.get(attribute);
    return a?.kind === 'float' ? c.scalar(a.value, x) : undefined;
  };
  const [low, high] = [bound(1, 'min'), bound(2, 'max')];
  const below = low && c.less(x, low);
  const above = high && c.greater(x, high);
  if (c.needs(0)) {
    const outside = below && above ? c.op('Or', [below, above]) : (below ?? above);
    c.give(0, outside ? c.keep(c.not(outside), g) : g);
  }
  if (below && c.needs(1)) c.give(1, c.sumAll(c.keep(above ? c.and(below, c.not(above)) : below, g)));
  if (above && c.needs(2)) c.give(2, c.sumAll(c.keep(above, g)));
};

/** y = a − b·⌊a/b⌋ (or rounded to 0), so that dy/db = (y − a)/b. */
const mod: GradientRule = (c) => {
  const [a, b, g] = [c.input(0), c.input(1), c.grad()!];
  if (c.needs(0)) c.give(0, c.unbroadcast(g, a));
  if (c.needs(1)) c.give(1, c.unbroadcast(c.mul(g, c.div(c.sub(c.output(), a), b)), b));
};

/** Sums of products of codes (int32) have gradients as floats; codes have that of another number, which stands for them. */
const cast: GradientRule = (c) => {
  const [from, to] = [c.elemTypeOf(c.input(0)), c.elemTypeOf(c.output())];
  if (isFloatType(from) && !isFloatType(to)) c.fail('it makes quantised codes of numbers');
  if (isFloatType(from)) return c.give(0, c.cast(c.grad()!, from));
  if (c.needs(0) && from !== DataType.INT32) c.fail('it takes quantised codes as numbers');
  c.give(0, c.grad()!);
};

/** The identity, unless it trains: then what was kept and scaled up. */
const dropout: GradientRule = (c) => {
  const g = c.grad()!;
  const training = c.node.inputs[2];
  if (!training || c.numbersOf(training)?.[0] === 0) return c.give(0, g);
  if (c.numbersOf(training)?.[0] !== 1) c.fail('whether it trains is not a constant');
  const ratio = c.has(1) ? (c.numbersOf(c.input(1))?.[0] ?? c.fail('its ratio is not a constant')) : 0.5;
  const mask = c.madeOutput(1);
  c.give(0, ratio >= 1 ? c.zerosLike(g) : c.scale(c.keep(mask, g), 1 / (1 - ratio)));
};

/** 1 / √(…) */
const inverseRoot = (c: RuleContext, v: Value) => c.op('Reciprocal', [c.op('Sqrt', [v])]);
/** 1 − v, and v − 1. */
const lessOne = (c: RuleContext, v: Value) => c.sub(c.scalar(1, v), v);
const square = (c: RuleContext, v: Value) => c.mul(v, v);

/** −1, 0 or 1. */
export function sign(c: RuleContext, x: Value): Value {
  if (c.opset >= 9) return c.op('Sign', [x]);
  const zero = c.scalar(0, x);
  return c.sub(c.cast(c.greater(x, zero), c.elemTypeOf(x)), c.cast(c.less(x, zero), c.elemTypeOf(x)));
}

export const pointwiseRules: RuleTable = {
  Add: add,
  Sum: add,
  Sub: sub,
  Mul: mul,
  Div: div,
  Mean: mean,
  Pow: pow,
  Max: extreme,
  Min: extreme,
  Mod: mod,
  Where: where,
  Clip: clip,
  Cast: cast,
  CastLike: cast,
  Dropout: dropout,
  Identity: (c) => c.give(0, c.grad()!),
  Neg: (c) => c.give(0, c.neg(c.grad()!)),
  Abs: unary((c, x) => sign(c, x)),
  Sqrt: (c) => c.give(0, c.div(c.scale(c.grad()!, 0.5), c.output())),
  Reciprocal: unary((c, _, y) => c.neg(square(c, y))),
  Exp: unary((_c, _x, y) => y),
  Log: (c) => c.give(0, c.div(c.grad()!, c.input(0))),
  /** 2/√π · exp(−x²) */
  Erf: unary((c, x) => c.scale(c.op('Exp', [c.neg(square(c, x))]), 2 / Math.sqrt(Math.PI))),
  Sin: unary((c, x) => c.op('Cos', [x])),
  Cos: unary((c, x) => c.neg(c.op('Sin', [x]))),
  Tan: unary((c, _, y) => c.plus(square(c, y), 1)),
  Asin: unary((c, x) => inverseRoot(c, lessOne(c, square(c, x)))),
  Acos: unary((c, x) => c.neg(inverseRoot(c, lessOne(c, square(c, x))))),
  Atan: unary((c, x) => c.op('Reciprocal', [c.plus(square(c, x), 1)])),
  Sinh: unary((c, x) => c.op('Cosh', [x])),
  Cosh: unary((c, x) => c.op('Sinh', [x])),
  Tanh: unary((c, _, y) => lessOne(c, square(c, y))),
  Asinh: unary((c, x) => inverseRoot(c, c.plus(square(c, x), 1))),
  Acosh: unary((c, x) => inverseRoot(c, c.plus(square(c, x), -1))),
  Atanh: unary((c, x) => c.op('Reciprocal', [lessOne(c, square(c, x))])),
  Floor: flat,
  Ceil: flat,
  Round: flat,
  Sign: flat,
  // Only the shape of what they read matters.
  RandomNormalLike: flat,
  RandomUniformLike: flat,
  EyeLike: flat,
};
