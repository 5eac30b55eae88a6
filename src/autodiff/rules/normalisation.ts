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

/** Along the axes from `axis` on; also outputs the mean and the inverse deviation. */
const layerNorm: GradientRule = (c) => {
  const x = c.input(0);
  const [first] = c.axes(x, [c.node.int('axis', -1)]);
  const s = standardise(c, x, axesFrom(first, c.rankOf(x)), c.node.float('epsilon', 1e-5));
  const g = scaled(c, s, c.grad(), 1, 2);
  if (!c.needs(0)) return;
  const all = sum(c, [g && standardisedGradient(c, s, g), statistics(c, s, c.grad(1), c.grad(2))]);
  if (all) giveAs(c, 0, all);
};

/** As layer norm, without the mean: divides by the root of the mean square. */
const rmsNorm: GradientRule = (c) => {
  const x = c.input(0);
  const [first] = c.axes(x, [c.node.int('axis', -1)]);
  const s = standardise(c, x, axesFrom(first, c.rankOf(x)), c.node.float('epsilon', 1e-5), false);
  const g = scaled(c, s, c.grad(), 1);
  if (!c.needs(0)) return;
  const all = sum(c, [g && standardisedGradient(c, s, g), statistics(c, s, undefined, c.grad(1))]);
  if (all) giveAs(c, 0, all);
};

/** The sum of input, skip and a bias, normalised along the last axis; the sum is output 3. */
function skipNorm(subtractsMean: boolean, beta: number | undefined, bias: number): GradientRule {
  return (c) => {
    const added = [0, 1, bias].filter((i) => c.has(i));
    const x = added.map((i) => precise(c, c.input(i))).reduce((a, b) => c.add(a, b));
    const s = standardise(c, x, [c.rankOf(x) - 1], c.node.float('epsilon', 1e-5), subtractsMean);
    const g = scaled(c, s, c.grad(), 2, beta);
    const all = sum(c, [
      g && standardisedGradient(c, s, g),
      statistics(c, s, c.grad(1), c.grad(2)),
      c.grad(3) && precise(c, c.grad(3)!),
    ]);
    for (const i of added) if (all && c.needs(i)) giveAs(c, i, c.unbroadcast(all, c.input(i)));
  };
}

/**
 * Gradient of x̂ where that of y = x̂·γ + β is g; gives those of γ and β, inputs of these numbers that broadcast to the
 * shape of x.
 */
function scaled(
  c: RuleContext,
  s: Standardised,
  gradient: Value | undefined,
  scale: number,
  bias?: number,
): Value | undefined {
  if (!gradient) return undefined;
  const g = precise(c, gradient);
  if (bias !== undefined && c.needs(bias)) giveAs(c, bias, c.unbroadcast(g, c.input(bias)));
  if (c.needs(scale)) giveAs(c, scale, c.unbroadcast(c.mul(g, s.hat), c.input(scale)));
  return c.has(scale) ? c.mul(g, precise(c, c.input(scale))) : g;
}

/** What gradients of the mean and of the inverse deviation, which a node may give as outputs, add to that of x. */
function statistics(c: RuleContext, s: Standardised, gMean?: Value, gInverse?: Value): Value | undefined {
  return sum(c, [
    gMean && c.expandLike(c.div(gMean, c.count(s.hat, s.axes)), s.hat),
    gInverse && inverseGradient(c, s, gInverse),
  ]);
}

function sum(c: RuleContext, parts: readonly (Value | undefined)[]): Value | undefined {
  const there = parts.filter((v): v is Value => v !== undefined);
  return there.length === 0 ? undefined : there.reduce((a, b) => c.add(a, b));
}

// Channels of one sample

/** Each channel by itself. */
const instanceNorm: GradientRule = (c) => {
  const x = c.input(0);
  const g = precise(c, c.grad()!);
  const s = standardise(c, x, axesFrom(2, c.rankOf(x)), c.node.float('epsilon', 1e-5));
  if (c.needs(0)) giveAs(c, 0, standardisedGradient(c, s, c.mul(g, perChannel(c, c.input(1), x))));
  if (c.needs(1)) giveAs(c, 1, channelSums(c, c.mul(g, s.hat)));
  if (c.needs(2)) giveAs(c, 2, channelSums(c, g));
};

/** Several channels together: scale and bias are per group before opset 21, per channel since. */
const groupNorm: GradientRule = (c) => {
  const { node } = c;
  const x = c.input(0);
  const groups = node.int('num_groups') ?? c.fail('it lacks num_groups');
  // [batch, groups, all the rest]
  const grouped = (v: Value) => c.reshape(v, [0, groups, -1]);
  const g = precise(c, c.grad()!);
  const s = standardise(c, grouped(precise(c, x)), [2], node.float('epsilon', 1e-5));
  const perGroup = c.opset < 21;
  // γ and β lie on axis 1 of either form.
  const own = perGroup ? grouped(g) : g;
  const hat = perGroup ? s.hat : c.reshapeLike(s.hat, x);
  if (c.needs(1)) giveAs(c, 1, channelSums(c, c.mul(own, hat)));
  if (c.needs(2)) giveAs(c, 2, channelSums(c, own));
  if (!c.needs(0)) return;
  const gHat = c.mul(own, perChannel(c, c.input(1), own));
  giveAs(c, 0, c.reshapeLike(standardisedGradient(c, s, perGroup ? gHat : grouped(gHat)), x));
};

/** Without scale and bias. What the op adds to the deviation, 1e-9, is added to the variance as its square. */
const meanVariance: GradientRule = (c) => {
  const x = c.input(0);
  const s = standardise(c, x, c.axes(x, c.node.ints('axes', [0, 2, 3])), 1e-18);
  giveAs(c, 0, standardisedGradient(c, s, precise(c, c.grad()!)));
};

// Lengths

/** y = x/‖x‖; 0 where the norm is. dx = (g − u·⟨g, y⟩)/‖x‖ with u = y for the Euclidean norm, sign x for the sum norm. */
const lpNorm: GradientRule = (c) => {
  const p = c.node.int('p', 2);
  if (p !== 1 && p !== 2) c.fail(`norms of order ${p} are not supported`);
  const [x, y, g] = [precise(c, c.input(0)), precise(c, c.output()), precise(c, c.grad()!)];
  const axes = c.axes(x, [c.node.int('axis', -1)]);
  const norm = p === 1 ? c.reduceSum(c.op('Abs', [x]), axes) : c.op('Sqrt', [c.reduceSum(c.mul(x, x), axes)]);
  const along = c.mul(p === 1 ? c.op('Sign', [x]) : y, c.reduceSum(c.mul(g, y), axes));
  const none = c.equal(norm, c.scalar(0, norm));
  const length = c.where(none, c.scalar(1, norm), norm);
  giveAs(c, 0, c.keep(c.expandLike(c.not(none), x), c.div(c.sub(g, along), length)));
};

/** y = x·s^−β with s = bias + α·(mean of x² over neighbouring channels, those past the edge counted as 0). */
const localResponse: GradientRule = (c) => {
  const { node } = c;
  const size = node.int('size') ?? c.fail('it lacks size');
  const [alpha, beta] = [node.float('alpha', 1e-4), node.float('beta', 0.75)];
  const [x, y, g] = [c.input(0), c.output(), c.grad()!].map((v) => precise(c, v));
  if (size % 2 === 0) c.fail('only odd numbers of channels are supported, in the runtime as well');
  const s = c.plus(c.scale(channelMeans(c, c.mul(x, x), size), alpha), node.float('bias', 1));
  const own = c.mul(g, c.op('Pow', [s, c.scalar(-beta, s)]));
  const others = c.mul(x, channelMeans(c, c.div(c.mul(g, y), s), size));
  giveAs(c, 0, c.sub(own, c.scale(others, 2 * alpha * beta)));
};

/** Means over as many channels around each one, with zeros past the edge. */
function channelMeans(c: RuleContext, v: Value, size: number): Value {
  const plane = c.reshape(v, c.joinInts([c.ints([0, 1]), c.dims(v, [1]), c.ints([-1])]));
  const half = (size - 1) / 2;
  const attributes = { kernel_shape: [size, 1], pads: [half, 0, half, 0], count_include_pad: 1 };
  return c.reshapeLike(c.op('AveragePool', [plane], attributes), v);
}

export const normalisationRules: RuleTable = {
  BatchNormalization: batchNorm,
  LayerNormalization: layerNorm,
  'com.microsoft.LayerNormalization': layerNorm,
  RMSNormalization: rmsNorm,
  SimplifiedLayerNormalization: rmsNorm,
  'com.microsoft.SkipLayerNormalization': skipNorm(true, 3, 4),
  'com.microsoft.SkipSimplifiedLayerNormalization': skipNorm(false, undefined, 3),
  InstanceNormalization: instanceNorm,
  GroupNormalization: groupNorm,
  MeanVarianceNormalization: meanVariance,
  LpNormalization: lpNorm,
  LRN: localResponse,
};
