import type { Reading } from '../formats.ts';
import type { Value } from '../graph/ir.ts';
import { isClass, logDistribution, precise } from './distribution.ts';
import type { Emitter } from './emit.ts';

/** Losses in plain ops, to be added to a model and differentiated. Smaller is better; in nats where they are logarithms. */

/** One number: the mean or the sum over all positions; or one number for each position. */
export type Reduction = 'mean' | 'sum' | 'none';

export interface OutputLayout {
  /** How the output is to be understood; logits unless said otherwise. */
  reading?: Exclude<Reading, 'regression'>;
  /** Axis of the classes, 1 unless given; means nothing to binary readings. */
  classAxis?: number;
  reduction?: Reduction;
}

/**
 * Cross-entropy with labels: −log p(label).
 * @param labels whole numbers, one for each position: the output's shape without the class axis, or as many in another
 * shape; the result of reduction 'none' has the former
 * @param ignore labels that do not count, neither in the sum nor in the mean
 * @param smoothing share of every label that is spread over all classes alike (Szegedy et al., Rethinking the Inception
 * architecture, CVPR 2016), as in torch
 */
export function crossEntropy(
  e: Emitter,
  output: Value,
  labels: Value,
  {
    reading = 'logits',
    classAxis = 1,
    reduction = 'mean',
    ignore,
    smoothing = 0,
  }: OutputLayout & { ignore?: number; smoothing?: number } = {},
): Value {
  const logs = logDistribution(e, output, reading, classAxis);
  const last = e.rankOf(logs) - 1;
  const positions = Array.from({ length: last }, (_, i) => i);
  const same = e.rankOf(labels) === last;
  const answers = same ? labels : e.reshape(labels, e.dims(logs, positions));
  const own = e.neg(e.reduceSum(e.keep(isClass(e, answers, logs, last), logs), [last], false));
  const losses = smoothing === 0 ? own : blend(e, own, e.neg(e.reduceMean(logs, [last], false)), smoothing);
  if (ignore === undefined) return reduced(e, losses, reduction);
  const counts = e.not(e.op('Equal', [answers, e.numbers([ignore], [], e.elemTypeOf(answers))]));
  const kept = e.keep(counts, losses);
  if (reduction !== 'mean') return reduced(e, kept, reduction);
  return e.div(e.sumAll(kept), e.sumAll(e.cast(counts, e.elemTypeOf(losses))));
}

/**
 * Kullback-Leibler divergence from a reference distribution to the output's, Σ p·(log p − log q), for each position.
 * @param reference log p, classes along the last axis; two of them for binary readings
 * @param temperature divides the logits before the softmax; the loss is multiplied by its square, so that gradients keep
 * their size (Hinton, Vinyals, Dean: Distilling the knowledge in a neural network, 2015). The reference has been
 * softened by its maker.
 */
export function divergence(
  e: Emitter,
  output: Value,
  reference: Value,
  {
    reading = 'logits',
    classAxis = 1,
    reduction = 'mean',
    temperature = 1,
  }: OutputLayout & { temperature?: number } = {},
): Value {
  const logs = softDistribution(e, output, temperature, { reading, classAxis });
  const p = precise(e, reference);
  const terms = e.mul(e.op('Exp', [p]), e.sub(p, logs));
  const losses = e.reduceSum(terms, [e.rankOf(logs) - 1], false);
  return reduced(e, e.scale(losses, temperature ** 2), reduction);
}

/** Log-probabilities at a temperature, classes along the last axis: of logits that were divided by it. */
export function softDistribution(
  e: Emitter,
  output: Value,
  temperature: number,
  { reading = 'logits', classAxis = 1 }: OutputLayout = {},
): Value {
  if (temperature === 1) return logDistribution(e, output, reading, classAxis);
  if (reading === 'logits' || reading === 'binary-logit')
    return logDistribution(e, e.scale(precise(e, output), 1 / temperature), reading, classAxis);
  // Log-probabilities are logits too.
  const logs = e.scale(logDistribution(e, output, reading, classAxis), 1 / temperature);
  return e.op('LogSoftmax', [logs], { axis: e.rankOf(logs) - 1 });
}

/** (1 − share)·a + share·b. */
export function blend(e: Emitter, a: Value, b: Value, share: number): Value {
  return e.add(e.scale(a, 1 - share), e.scale(b, share));
}

/** Squared error, of every element. */
export function squaredError(e: Emitter, output: Value, target: Value, reduction: Reduction = 'mean'): Value {
  const difference = e.sub(precise(e, output), precise(e, target));
  return reduced(e, e.mul(difference, difference), reduction);
}

function reduced(e: Emitter, losses: Value, reduction: Reduction): Value {
  if (reduction === 'none') return losses;
  return reduction === 'sum' ? e.sumAll(losses) : e.meanAll(losses);
}
