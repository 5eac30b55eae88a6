import type { Value } from '../../graph/ir.ts';
import { flat } from './pointwise.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';
import { isClass, softmaxAlong } from '../distribution.ts';

/** Softmax and the losses made of it. */

/** Axes that are normalised together: one since opset 13, before that all from the given one on. */
function normalised(c: RuleContext): number[] {
  const rank = c.rankOf(c.input(0));
  if (c.opset >= 13) return c.axes(c.input(0), [c.node.int('axis', -1)]);
  const [first] = c.axes(c.input(0), [c.node.int('axis', 1)]);
  return Array.from({ length: rank - first }, (_, i) => first + i);
}

/**
 * What the softmax gives, with 0 for NaN where the model looks for it: of scores that are all −∞ (a query that may see
 * nothing), which have no part in what follows.
 */
function finite(c: RuleContext, y: Value): Value {
  if (!y.uses.some(({ node }) => node.op === 'IsNaN')) return y;
  return c.keep(c.not(c.op('IsNaN', [y])), y);
}

/** y·(g − Σ g·y) */
const softmax: GradientRule = (c) => {
  const [g, y] = [c.grad()!, finite(c, c.output())];
  const gy = c.mul(g, y);
  c.give(0, c.sub(gy, c.mul(y, c.reduceSum(gy, normalised(c)))));
};

/** g − eʸ·Σ g */
const logSoftmax: GradientRule = (c) => {
  const g = c.grad()!;
  c.give(0, c.sub(g, c.mul(c.op('Exp', [c.output()]), c.reduceSum(g, normalised(c)))));
};

/**
 * For each element of the loss's labels its class, one-hot along axis 1, and its weight times the loss's gradient: class
 * weights, 0 where the label is to be ignored, and the share in a mean.
 */
function labelled(c: RuleContext, g: Value): { own: Value; weight: Value } {
  const { node } = c;
  const [x, labels] = [c.input(0), c.input(1)];
  if (c.needs(2)) c.fail('gradients of class weights are not supported');
  const own = isClass(c, labels, x, 1);
  const ignored = node.int('ignore_index');
  let weight: Value | undefined;
  if (c.has(2)) {
    const rank = c.rankOf(x);
    const perClass = c.unsqueeze(
      c.input(2),
      Array.from({ length: rank - 1 }, (_, i) => (i === 0 ? 0 : i + 1)),
    );
    weight = c.reduceSum(c.keep(own, c.expandLike(perClass, x)), [1]);
  }
  if (ignored !== undefined) {
    const code = c.numbers([ignored], [], labels.type!.elemType);
    const counts = c.not(c.op('Equal', [c.unsqueeze(labels, [1]), code]));
    weight = weight ? c.keep(counts, weight) : c.cast(counts, c.elemTypeOf(x));
  }
  const reduction = node.string('reduction', 'mean');
  if (reduction === 'none') {
    const each = c.unsqueeze(g, [1]);
    return { own, weight: weight ? c.mul(each, weight) : each };
  }
  if (reduction === 'sum') return { own, weight: weight ? c.mul(g, weight) : g };
  const total = weight ? c.sumAll(weight) : countOf(c, labels, x);
  return { own, weight: c.mul(weight ?? c.scalar(1, x), c.div(g, total)) };
}

/** Number of labels, in the element type of `x`. */
function countOf(c: RuleContext, labels: Value, x: Value): Value {
  const axes = Array.from({ length: c.rankOf(x) }, (_, i) => i).filter((i) => i !== 1);
  return c.rankOf(labels) === 0 ? c.scalar(1, x) : c.count(x, axes);
}

const crossEntropy: GradientRule = (c) => {
  const x = c.input(0);
  const [g, gLogs] = [c.grad(0), c.grad(1)];
  const p = softmaxAlong(c, x, 1);
  if (g) {
    const { own, weight } = labelled(c, g);
    c.give(0, c.mul(c.sub(p, c.cast(own, c.elemTypeOf(x))), weight));
  }
  if (gLogs) c.give(0, c.sub(gLogs, c.mul(p, c.reduceSum(gLogs, [1]))));
};

const likelihood: GradientRule = (c) => {
  const { own, weight } = labelled(c, c.grad()!);
  c.give(0, c.neg(c.keep(own, c.expandLike(weight, c.input(0)))));
};

export const softmaxRules: RuleTable = {
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  Hardmax: flat,
  SoftmaxCrossEntropyLoss: crossEntropy,
  NegativeLogLikelihoodLoss: likelihood,
};
