import type { Value } from '../../graph/ir.ts';
import { cells, unroll, type Activation, type Direction, type Unrolled } from '../decompose/recurrent.ts';
import type { Emitter } from '../emit.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/** Recurrent layers: backpropagation through time, by unrolling them over a sequence of known length. */

/** Longer sequences would make graphs that take too long to open. */
const MAX_STEPS = 1024;

const ACTIVATIONS: readonly Activation[] = ['Sigmoid', 'Tanh', 'Relu'];

type CellName = keyof typeof cells;

/** @param activations those of one direction, unless the node names others */
function recurrent(cellOf: (c: RuleContext) => CellName, activations: readonly Activation[]): GradientRule {
  return (c) => {
    requirePlain(c);
    const steps = c.dimOf(c.input(0), 0);
    if (typeof steps !== 'number') return c.fail('the length of its sequence is not known ahead of time');
    if (steps > MAX_STEPS) c.fail(`its sequence of ${steps} steps is longer than the ${MAX_STEPS} that are supported`);
    c.instead((e) => {
      const sequence = { x: c.input(0), steps, lengths: c.node.inputs[4] ?? undefined };
      const directions = directionsOf(c, e, activations);
      const runs = directions.map((d) => unroll(e, cells[cellOf(c)], sequence, d));
      return [
        e.concat(
          runs.map((run) => e.unsqueeze(run.all, [1])),
          1,
        ),
        joined(e, runs, 'hidden'),
        joined(e, runs, 'cell'),
      ];
    });
  };
}

/** Last states of all directions. */
function joined(e: Emitter, runs: readonly Unrolled[], part: 'hidden' | 'cell'): Value | undefined {
  const states = runs.map((run) => run[part]).filter((v): v is Value => v !== undefined);
  return states.length > 0 ? e.concat(states, 0) : undefined;
}

function requirePlain(c: RuleContext): void {
  const { node } = c;
  if (node.int('layout', 0) !== 0) c.fail('batches in front of the sequence (layout = 1) are not supported');
  if (node.attributes.has('clip')) c.fail('clipping of its gates is not supported');
  if (node.int('input_forget', 0) !== 0) c.fail('coupled input and forget gates are not supported');
  if (c.has(7)) c.fail('peephole weights are not supported');
}

function directionsOf(c: RuleContext, e: Emitter, activations: readonly Activation[]): Direction[] {
  const { node } = c;
  const direction = node.string('direction', 'forward');
  const backwards = direction === 'bidirectional' ? [false, true] : [direction === 'reverse'];
  const size = c.dimOf(c.input(2), 2);
  if (typeof size !== 'number') return c.fail('its number of hidden units is unknown');
  const ones = backwards.map(() => 1);
  const parts = (i: number) => (c.has(i) ? e.split(c.input(i), ones, 0) : undefined);
  const [weights, recurrence, biases, hidden, cell] = [1, 2, 3, 5, 6].map(parts);
  const own = activationsOf(c, backwards.length, activations);
  return backwards.map((back, i) => ({
    weights: e.squeeze(weights![i], [0]),
    recurrence: e.squeeze(recurrence![i], [0]),
    biases: biases && e.squeeze(biases[i], [0]),
    hidden: hidden?.[i],
    cell: cell?.[i],
    activations: own.slice(i * activations.length, (i + 1) * activations.length),
    size,
    backwards: back,
  }));
}

/** Activations of all directions, one after the other; their names are read without regard to case. */
function activationsOf(c: RuleContext, directions: number, standard: readonly Activation[]): Activation[] {
  const named = c.node.attributes.get('activations');
  if (named?.kind !== 'strings' || named.value.length === 0)
    return Array.from({ length: directions }, () => standard).flat();
  const names = named.value.map((x) => new TextDecoder().decode(x));
  return names.map(
    (name) =>
      ACTIVATIONS.find((a) => a.toLowerCase() === name.toLowerCase()) ??
      c.fail(`its activation function ${name} is not supported`),
  );
}

export const recurrentRules: RuleTable = {
  LSTM: recurrent(() => 'lstm', ['Sigmoid', 'Tanh', 'Tanh']),
  GRU: recurrent((c) => (c.node.int('linear_before_reset', 0) ? 'linearGru' : 'gru'), ['Sigmoid', 'Tanh']),
  RNN: recurrent(() => 'rnn', ['Tanh']),
};
