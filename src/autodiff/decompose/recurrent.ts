import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import type { Emitter } from '../emit.ts';

/** Recurrent layers in plain ops, one step after the other, of which gradients follow by their rules. */

export type Activation = 'Sigmoid' | 'Tanh' | 'Relu';

/** One direction of a layer. */
export interface Direction {
  /** [gates·hidden, input] */
  weights: Value;
  /** [gates·hidden, hidden] */
  recurrence: Value;
  /** Of the input, then of the hidden state: [2·gates·hidden]. */
  biases?: Value;
  /** State to start from, [1, batch, hidden]: 0 unless given. */
  hidden?: Value;
  cell?: Value;
  activations: readonly Activation[];
  /** Number of hidden units. */
  size: number;
  /** From the last step to the first. */
  backwards: boolean;
}

/** The input, [steps, batch, input], and how many steps of each sample count, int32 [batch]; all unless given. */
export interface Sequence {
  x: Value;
  steps: number;
  lengths?: Value;
}

/** Everything is [1, batch, hidden], so that steps join along the first axis. */
interface State {
  hidden: Value;
  cell?: Value;
}

/** Hidden states of all steps, [steps, batch, hidden], and the state after the last one. */
export interface Unrolled extends State {
  all: Value;
}

/** Makes a cell: from the projected input of a step, [1, batch, gates·hidden], and a state the next one. */
type Cell = (e: Emitter, d: Direction) => { bias?: Value; step: (input: Value, state: State) => State };

/** Gates in the order input, output, forget, cell. */
const lstm: Cell = (e, d) => {
  const recurrence = e.transpose(d.recurrence, [1, 0]);
  const [gate, candidate, shown] = d.activations;
  return {
    bias: bothBiases(e, d, 4),
    step: (input, { hidden, cell }) => {
      const gates = e.add(input, e.op('MatMul', [hidden, recurrence]));
      const [i, o, f, c] = e.split(gates, [d.size, d.size, d.size, d.size], 2);
      const kept = e.mul(e.op(gate, [f]), cell!);
      const next = e.add(kept, e.mul(e.op(gate, [i]), e.op(candidate, [c])));
      return { hidden: e.mul(e.op(gate, [o]), e.op(shown, [next])), cell: next };
    },
  };
};

/** Gates in the order update, reset, hidden; the reset gate acts on the hidden state before it is multiplied. */
const gru: Cell = (e, d) => {
  const recurrence = e.transpose(d.recurrence, [1, 0]);
  const [forGates, forHidden] = e.split(recurrence, [2 * d.size, d.size], 1);
  const [gate, candidate] = d.activations;
  return {
    bias: bothBiases(e, d, 3),
    step: (input, { hidden }) => {
      const [own, last] = e.split(input, [2 * d.size, d.size], 2);
      const gates = e.op(gate, [e.add(own, e.op('MatMul', [hidden, forGates]))]);
      const [update, reset] = e.split(gates, [d.size, d.size], 2);
      const next = e.op(candidate, [e.add(last, e.op('MatMul', [e.mul(reset, hidden), forHidden]))]);
      return { hidden: mixed(e, update, hidden, next) };
    },
  };
};

/** As `gru`, where the reset gate acts on the product with the hidden state, bias included (as in torch and cuDNN). */
const linearGru: Cell = (e, d) => {
  const recurrence = e.transpose(d.recurrence, [1, 0]);
  const [gate, candidate] = d.activations;
  const [bias, ownBias] = d.biases ? e.split(d.biases, [3 * d.size, 3 * d.size], 0) : [];
  return {
    bias,
    step: (input, { hidden }) => {
      const product = e.op('MatMul', [hidden, recurrence]);
      const [own, last] = e.split(input, [2 * d.size, d.size], 2);
      const [past, pastLast] = e.split(ownBias ? e.add(product, ownBias) : product, [2 * d.size, d.size], 2);
      const [update, reset] = e.split(e.op(gate, [e.add(own, past)]), [d.size, d.size], 2);
      const next = e.op(candidate, [e.add(last, e.mul(reset, pastLast))]);
      return { hidden: mixed(e, update, hidden, next) };
    },
  };
};

const rnn: Cell = (e, d) => {
  const recurrence = e.transpose(d.recurrence, [1, 0]);
  return {
    bias: bothBiases(e, d, 1),
    step: (input, { hidden }) => ({
      hidden: e.op(d.activations[0], [e.add(input, e.op('MatMul', [hidden, recurrence]))]),
    }),
  };
};

export const cells = { lstm, gru, linearGru, rnn } as const;

/** Biases of input and hidden state, which only ever occur as a sum. */
function bothBiases(e: Emitter, d: Direction, gates: number): Value | undefined {
  if (!d.biases) return undefined;
  const [a, b] = e.split(d.biases, [gates * d.size, gates * d.size], 0);
  return e.add(a, b);
}

/** share·old + (1 − share)·next */
function mixed(e: Emitter, share: Value, old: Value, next: Value): Value {
  return e.add(next, e.mul(share, e.sub(old, next)));
}

/** Runs a cell over a sequence: one set of nodes per step. */
export function unroll(e: Emitter, cell: Cell, sequence: Sequence, d: Direction): Unrolled {
  const { x, steps, lengths } = sequence;
  const { bias, step } = cell(e, d);
  const product = e.op('MatMul', [x, e.transpose(d.weights, [1, 0])]);
  const inputs = e.split(bias ? e.add(product, bias) : product, Array<number>(steps).fill(1), 0);
  const zeros = () => e.op('Expand', [e.scalar(0, x), e.joinInts([e.ints([1]), e.dims(x, [1]), e.ints([d.size])])]);
  let state: State = { hidden: d.hidden ?? zeros(), cell: cell === lstm ? (d.cell ?? zeros()) : undefined };
  const all = Array<Value>(steps);
  for (let k = 0; k < steps; k++) {
    const t = d.backwards ? steps - 1 - k : k;
    const next = step(inputs[t], state);
    const counts = lengths && e.unsqueeze(e.less(e.scalar(t, DataType.INT32), lengths), [0, 2]);
    state = counts ? chosen(e, counts, next, state) : next;
    all[t] = counts ? e.keep(counts, next.hidden) : next.hidden;
  }
  return { all: e.concat(all, 0), ...state };
}

/** The next state where a step counts, the old one where the sequence has ended. */
function chosen(e: Emitter, counts: Value, next: State, old: State): State {
  return {
    hidden: e.where(counts, next.hidden, old.hidden),
    cell: next.cell && e.where(counts, next.cell, old.cell!),
  };
}
