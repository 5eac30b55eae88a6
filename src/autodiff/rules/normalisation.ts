import type { Value } from '../../graph/ir.ts';
import { precise } from '../distribution.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';
import { inverseGradient, standardise, standardisedGradient, type Standardised } from './standardise.ts';

/** Normalisations: y = x̂·γ + β with x̂ of mean 0 and variance 1 along some axes. */

const axesFrom = (first: number, rank: number) => Array.from({ length: rank - first }, (_, i) => first + i);

/** One number per channel, for values whose axis 1 the channels are: behind it come as many axes of size 1. */
function perChannel(c: RuleContext, v: Value, x: Value): Value {
  const behind = c.rankOf(x) - 2;
  return c.unsqueeze(
    precise(c, v),
    Array.from({ length: behind }, (_, i) => i + 1),
  );
}

/** The sum over all axes but 1, which channels are on. */
function channelSums(c: RuleContext, v: Value): Value {
  return c.reduceSum(v, [0, ...axesFrom(2, c.rankOf(v))], false);
}

/** Gives input `i` a gradient that was computed in float32 where the input is of half precision. */
function giveAs(c: RuleContext, i: number, gradient: Value): void {
  c.give(i, c.cast(gradient, c.elemTypeOf(c.input(i))));
}

// Batches

/** Stored statistics, unless the node trains; more outputs than one meant training before opset 14, without a flag. */
const batchNorm: GradientRule = (c) => {
  const { node } = c;
  if (node.int('spatial', 1) === 0) c.fail('statistics per element (spatial = 0) are not supported');
  if (node.int('training_mode', 0)) return trainingBatchNorm(c);
  const saves = node.outputs.some((v, i) => i > 0 && v);
  if (c.opset < 14 && (saves || (c.opset < 7 && !node.int('is_test', 0))))
    c.fail('training forms of opsets before 14 are not supported');
  const x = c.input(0);
  const g = precise(c, c.grad()!);
  const variance = c.plus(precise(c, c.input(4)), node.float('epsilon', 1e-5));
  const inverse = c.op('Reciprocal', [c.op('Sqrt', [variance])]);
  const slope = c.mul(precise(c, c.input(1)), inverse);
  if (c.needs(0)) giveAs(c, 0, c.mul(g, perChannel(c, slope, x)));
  if (c.needs(2) || c.needs(3)) {
    const total = channelSums(c, g);
    if (c.needs(2)) giveAs(c, 2, total);
    if (c.needs(3)) giveAs(c, 3, c.neg(c.mul(total, slope)));
  }
  if (c.needs(1) || c.needs(4)) {
    const centred = c.sub(precise(c, x), perChannel(c, c.input(3), x));
    const scaled = c.mul(channelSums(c, c.mul(g, centred)), inverse);
    if (c.needs(1)) giveAs(c, 1, scaled);
    if (c.needs(4)) giveAs(c, 4, c.scale(c.div(c.mul(scaled, precise(c, c.input(1))), variance), -0.5));
  }
};

/** Statistics of the batch; the running ones, which are outputs, move towards them by 1 − momentum. */
function trainingBatchNorm(c: RuleContext): void {
  const { node } = c;
  const x = c.input(0);
  const [g, gMean, gVariance] = [c.grad(0), c.grad(1), c.grad(2)].map((v) => v && precise(c, v));
  const momentum = node.float('momentum', 0.9);
  const batch = [0, ...axesFrom(2, c.rankOf(x))];
  const s = standardise(c, x, batch, node.float('epsilon', 1e-5));
  if (g) {
    if (c.needs(0)) giveAs(c, 0, standardisedGradient(c, s, c.mul(g, perChannel(c, c.input(1), x))));
    if (c.needs(1)) giveAs(c, 1, channelSums(c, c.mul(g, s.hat)));
    if (c.needs(2)) giveAs(c, 2, channelSums(c, g));
  }
  const share = (v: Value) => perChannel(c, c.div(c.scale(v, 1 - momentum), c.count(s.hat, batch)), x);
  if (gMean) {
    if (c.needs(0)) giveAs(c, 0, c.expandLike(share(gMean), x));
    giveAs(c, 3, c.scale(gMean, momentum));
  }
  if (gVariance) {
    if (c.needs(0)) giveAs(c, 0, c.mul(c.scale(share(gVariance), 2), s.centred));
    giveAs(c, 4, c.scale(gVariance, momentum));
  }
}

// Features of one sample

/** Along the axes from `axis` on, with a scale and a bias of their shape; also outputs mean and inverse deviation. */
const layerNorm: GradientRule = (c) => {
  const x = c.input(0);
  const [first] = c.axes(x, [c.node.int('axis', -1)]);
  const s = standardise(c, x, axesFrom(first, c.rankOf(x)), c.node.float('epsilon', 1e-5));
  const g = c.grad();
  if (g) affine(c, s, precise(c, g), 1, 2);
  if (!c.needs(0)) return;
  const [gMean, gInverse] = [c.grad(1), c.grad(2)];
  if (gMean) giveAs(c, 0, c.expandLike(c.div(gMean, c.count(s.hat, s.axes)), x));
  if (gInverse) giveAs(c, 0, inverseGradient(c, s, gInverse));
};

/** Gradients of y = x̂·γ + β, where γ and β (inputs of these numbers) broadcast to the shape of x. */
function affine(c: RuleContext, s: Standardised, g: Value, scale: number, bias?: number): void {
  if (bias !== undefined && c.needs(bias)) giveAs(c, bias, c.unbroadcast(g, c.input(bias)));
  if (c.needs(scale)) giveAs(c, scale, c.unbroadcast(c.mul(g, s.hat), c.input(scale)));
  if (!c.needs(0)) return;
  const gHat = c.has(scale) ? c.mul(g, precise(c, c.input(scale))) : g;
  giveAs(c, 0, standardisedGradient(c, s, gHat));
}

export const normalisationRules: RuleTable = {
  BatchNormalization: batchNorm,
  LayerNormalization: layerNorm,
  'com.microsoft.LayerNormalization': layerNorm,
};
