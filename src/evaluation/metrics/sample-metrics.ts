import type { Reading } from '../../formats.ts';
import { IGNORED_LABEL } from '../data/labels.ts';
import { klDivergence, type Layout, logDistribution, positions, topAnswer } from './numeric.ts';

/** One output of one sample: `values` from `at` on, laid out as `layout`. */
export interface SampleOutput {
  reading: Reading;
  values: ArrayLike<number>;
  at: number;
  layout: Layout;
}

/** Calls `visit` with the index of the first number of each position. */
function eachPosition(layout: Layout, at: number, visit: (start: number, position: number) => void): void {
  let position = 0;
  for (let o = 0; o < layout.outer; o++)
    for (let i = 0; i < layout.inner; i++) visit(at + o * layout.classes * layout.inner + i, position++);
}

const everyPosition = (_position: number): boolean => true;

/** Share of positions whose top answer is the label; ignored labels are never met. */
export function accuracyOf(output: SampleOutput, labels: ArrayLike<number>, from: number): number {
  const { reading, values, layout } = output;
  let right = 0;
  eachPosition(layout, output.at, (start, p) => {
    if (topAnswer(reading, values, start, layout.classes, layout.inner) === labels[from + p]) right++;
  });
  return right / positions(layout);
}

/** Mean log-probability of the labels in nats (0 is perfect); that of ignored labels is 0. */
export function logLikelihoodOf(output: SampleOutput, labels: ArrayLike<number>, from: number): number {
  const { reading, values, layout } = output;
  let sum = 0;
  eachPosition(layout, output.at, (start, p) => {
    const label = labels[from + p];
    if (label !== IGNORED_LABEL) sum += logDistribution(reading, values, start, layout.classes, layout.inner)[label];
  });
  return sum / positions(layout);
}

/**
 * Mean KL divergence from the reference's distribution to the output's, in nats.
 * @param counts positions that it leaves out give 0
 */
export function divergenceOf(output: SampleOutput, reference: SampleOutput, counts = everyPosition): number {
  const { layout } = output;
  let sum = 0;
  const shift = reference.at - output.at;
  eachPosition(layout, output.at, (start, position) => {
    if (!counts(position)) return;
    const p = logDistribution(reference.reading, reference.values, start + shift, layout.classes, layout.inner);
    sum += klDivergence(p, logDistribution(output.reading, output.values, start, layout.classes, layout.inner));
  });
  return sum / positions(layout);
}

/**
 * Share of positions where both give the same top answer.
 * @param counts positions that it leaves out give 0
 */
export function agreementOf(output: SampleOutput, reference: SampleOutput, counts = everyPosition): number {
  const { layout } = output;
  let same = 0;
  const shift = reference.at - output.at;
  eachPosition(layout, output.at, (start, position) => {
    if (!counts(position)) return;
    const a = topAnswer(output.reading, output.values, start, layout.classes, layout.inner);
    const b = topAnswer(reference.reading, reference.values, start + shift, layout.classes, layout.inner);
    if (a === b && a >= 0) same++;
  });
  return same / positions(layout);
}

/** Mean squared difference of `count` numbers. */
export function squaredError(
  a: ArrayLike<number>,
  fromA: number,
  b: ArrayLike<number>,
  fromB: number,
  count: number,
): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += (a[fromA + i] - b[fromB + i]) ** 2;
  return sum / count;
}
