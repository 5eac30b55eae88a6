import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import type { Emitter } from '../emit.ts';
import { positions } from '../positions.ts';
import { cells, type Activation, type Direction, type Operands, type Outer } from './recurrent-cells.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/** Recurrent layers. Inputs: X, W, R, B, lengths, first hidden state, first cell state; their directions come first. */

const ACTIVATIONS: readonly Activation[] = ['Sigmoid', 'Tanh', 'Relu'];

type CellName = keyof typeof cells;

/** @param activations those of one direction, unless the node names others */
function recurrent(cellOf: (c: RuleContext) => CellName, activations: readonly Activation[]): GradientRule {
  return (c) => {
    requirePlain(c);
    const name = cellOf(c);
    const directions = directionsOf(c, activations, name === 'lstm');
    const outer = gradientsOf(c, directions, name === 'lstm');
    const ways = directions.map((d, i) => cells[name](c, d, outer[i]));
    const first = (part: 'hidden' | 'cell') =>
      stacked(
        c,
        ways.map((way) => way.first[part]!),
        0,
      );
    if (c.needs(5)) c.give(5, first('hidden'));
    if (c.needs(6)) c.give(6, first('cell'));
    c.along((e) => {
      const operands = operandsOf(c, e, directions.length);
      return ways.flatMap((way, i) => way.linear(e, operands[i]));
    });
  };
}

function requirePlain(c: RuleContext): void {
  const { node } = c;
  if (node.int('layout', 0) !== 0) c.fail('batches in front of the sequence (layout = 1) are not supported');
  if (node.attributes.has('clip')) c.fail('clipping of its gates is not supported');
  if (node.int('input_forget', 0) !== 0) c.fail('coupled input and forget gates are not supported');
  if (c.has(7)) c.fail('peephole weights are not supported');
}

/** Slices of a value along an axis that has one of size 1 for each direction; the axis is dropped. */
function slices(e: Emitter, v: Value, axis: number, count: number): Value[] {
  return e.split(v, Array<number>(count).fill(1), axis).map((part) => e.squeeze(part, [axis]));
}

/** Undoes `slices`. */
function stacked(e: Emitter, parts: readonly Value[], axis: number): Value {
  return e.concat(
    parts.map((v) => e.unsqueeze(v, [axis])),
    axis,
  );
}

function operandsOf(c: RuleContext, e: Emitter, count: number): Operands[] {
  const part = (i: number) => slices(e, c.input(i), 0, count);
  const [weights, recurrence, biases] = [part(1), part(2), c.has(3) ? part(3) : undefined];
  return weights.map((w, i) => ({
    x: c.input(0),
    weights: w,
    recurrence: recurrence[i],
    biases: biases && halves(c, e, biases[i]),
  }));
}

function halves(c: RuleContext, e: Emitter, bias: Value): [Value, Value] {
  const rows = c.dimOf(c.input(2), 1);
  if (typeof rows !== 'number') return c.fail('its number of gates is unknown');
  const [a, b] = e.split(bias, [rows, rows], 0);
  return [a, b];
}

function directionsOf(c: RuleContext, activations: readonly Activation[], cellular: boolean): Direction[] {
  const direction = c.node.string('direction', 'forward');
  const ways = direction === 'bidirectional' ? [false, true] : [direction === 'reverse'];
  const size = c.dimOf(c.input(2), 2);
  if (typeof size !== 'number') return c.fail('its number of hidden units is unknown');
  const operands = operandsOf(c, c, ways.length);
  const after = slices(c, c.madeOutput(0), 1, ways.length);
  const states = (i: number) => (c.has(i) ? slices(c, c.input(i), 0, ways.length) : ways.map(() => zeros(c, size)));
  const [hidden, cell] = [states(5), cellular ? states(6) : undefined];
  const lengths = c.node.inputs[4];
  const named = activationsOf(c, ways.length, activations);
  return ways.map((backwards, i) => ({
    ...operands[i],
    before: shifted(c, after[i], hidden[i], backwards, lengths),
    after: after[i],
    cell: cell?.[i],
    activations: named.slice(i * activations.length, (i + 1) * activations.length),
    size,
    backwards,
    counts: lengths ? c.less(steps(c, after[i]), c.unsqueeze(lengths, [0, 2])) : undefined,
  }));
}

/** States before each step: those after the one in front of it, for the first step that counts the state given. */
function shifted(c: RuleContext, after: Value, first: Value, backwards: boolean, lengths?: Value | null): Value {
  const start = c.unsqueeze(first, [0]);
  if (!backwards) return c.concat([start, c.slice(after, [0], [-1], [0])], 0);
  const moved = c.concat([c.slice(after, [1], [Number.MAX_SAFE_INTEGER], [0]), start], 0);
  if (!lengths) return moved;
  const next = c.add(steps(c, after), c.scalar(1, DataType.INT32));
  return c.where(c.less(next, c.unsqueeze(lengths, [0, 2])), moved, start);
}

/** Numbers of the steps, int32 [steps, 1, 1]. */
const steps = (c: RuleContext, v: Value) => c.unsqueeze(c.cast(positions(c, v, 0), DataType.INT32), [1, 2]);

/** A state of zeros, [batch, hidden]. */
function zeros(c: RuleContext, size: number): Value {
  return c.op('Expand', [c.scalar(0, c.input(0)), c.joinInts([c.dims(c.input(0), [1]), c.ints([size])])]);
}

/** Gradients of outputs, by direction; zeros where nothing depends on them. */
function gradientsOf(c: RuleContext, directions: readonly Direction[], cellular: boolean): Outer[] {
  const count = directions.length;
  const parts = (i: number, axis: number) => {
    const g = c.grad(i);
    return g && slices(c, g, axis, count);
  };
  const [all, hidden, cell] = [parts(0, 1), parts(1, 0), parts(2, 0)];
  return directions.map(({ after, size }, i) => ({
    all: all?.[i] ?? c.zerosLike(after),
    hidden: hidden?.[i] ?? zeros(c, size),
    cell: cellular ? (cell?.[i] ?? zeros(c, size)) : undefined,
  }));
}

/** Activations of all directions, one after the other; their names are read without regard to case. */
function activationsOf(c: RuleContext, count: number, standard: readonly Activation[]): Activation[] {
  const named = c.node.attributes.get('activations');
  if (named?.kind !== 'strings' || named.value.length === 0)
    return Array.from({ length: count }, () => standard).flat();
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
