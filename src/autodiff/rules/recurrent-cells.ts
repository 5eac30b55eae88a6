import type { Value } from '../../graph/ir.ts';
import type { Emitter } from '../emit.ts';
import { scan, type Scanned } from '../scan.ts';
import type { Seeds } from './rule.ts';

/**
 * Backpropagation through time. A layer gives its hidden states, so that all gates can be computed again for all steps at
 * once; only the gradients of the states go from step to step. What the gradients of a step's pre-activations mean for
 * inputs and weights follows by the rules of plain ops, again for all steps at once.
 */

export type Activation = 'Sigmoid' | 'Tanh' | 'Relu';

/** What a direction of a layer reads. */
export interface Operands {
  /** [steps, batch, input] */
  x: Value;
  /** [gates·hidden, input] */
  weights: Value;
  /** [gates·hidden, hidden] */
  recurrence: Value;
  /** Of the input and of the hidden state, [gates·hidden]. */
  biases?: readonly [Value, Value];
}

/** One direction of a layer that has run; everything over time has the shape [steps, batch, …]. */
export interface Direction extends Operands {
  /** Hidden states before every step. */
  before: Value;
  /** Hidden states after every step. */
  after: Value;
  /** Cell state in front of the first step, [batch, hidden]. */
  cell?: Value;
  activations: readonly Activation[];
  /** Number of hidden units. */
  size: number;
  /** From the last step to the first. */
  backwards: boolean;
  /** Which steps of which samples count, [steps, batch, 1]; all unless given. */
  counts?: Value;
}

/** Gradients from outside: of the hidden states of all steps, and of the last states. */
export interface Outer {
  all: Value;
  hidden: Value;
  cell?: Value;
}

export interface StateGradients {
  hidden: Value;
  cell?: Value;
}

/** The way back. */
export interface WayBack {
  /** Gradients of the states in front of the first step. */
  first: StateGradients;
  /** Adds the pre-activations of all steps once more, from these operands alone, and says what their gradients are. */
  linear(e: Emitter, own: Operands): Seeds;
}

export type Cell = (e: Emitter, d: Direction, g: Outer) => WayBack;

const times = (e: Emitter, v: Value, matrix: Value) => e.op('MatMul', [v, e.transpose(matrix, [1, 0])]);
const maybeAdd = (e: Emitter, v: Value, bias: Value | undefined) => (bias ? e.add(v, bias) : v);
const oneLess = (e: Emitter, v: Value) => e.sub(e.scalar(1, v), v);

/** Slope of an activation function, by what it gives. */
function slope(e: Emitter, activation: Activation, y: Value): Value {
  if (activation === 'Sigmoid') return e.mul(y, oneLess(e, y));
  if (activation === 'Tanh') return oneLess(e, e.mul(y, y));
  return e.cast(e.greater(y, e.scalar(0, y)), e.elemTypeOf(y));
}

/** x·Wᵀ with the input's bias. */
const fromInput = (e: Emitter, own: Operands) => maybeAdd(e, times(e, own.x, own.weights), own.biases?.[0]);
/** h⁻·Rᵀ with the hidden state's bias. */
const fromState = (e: Emitter, own: Operands, before: Value) =>
  maybeAdd(e, times(e, before, own.recurrence), own.biases?.[1]);
const preActivation = (e: Emitter, own: Operands, before: Value) => e.add(fromInput(e, own), fromState(e, own, before));

const gates = (e: Emitter, d: Direction, v: Value, ...counts: number[]) =>
  e.split(
    v,
    counts.map((n) => n * d.size),
    2,
  );

/** h = f(x·Wᵀ + h⁻·Rᵀ) */
const rnn: Cell = (e, d, g) => {
  const back = backwards(e, d, g, [slope(e, d.activations[0], d.after)], (s, { hidden }, [k]) => {
    const own = s.mul(hidden, k);
    return { states: [s.op('MatMul', [own, d.recurrence])], outputs: [own] };
  });
  return { first: back.first, linear: (p, own) => [[preActivation(p, own, d.before), back.gradients[0]]] };
};

/** c = f·c⁻ + i·c̃ and h = o·tanh c; gates in the order input, output, forget, cell. */
const lstm: Cell = (e, d, g) => {
  const [gate, candidate, shown] = d.activations;
  const [pi, po, pf, pc] = gates(e, d, preActivation(e, d, d.before), 1, 1, 1, 1);
  const [i, o, f] = [pi, po, pf].map((v) => e.op(gate, [v]));
  const next = e.op(candidate, [pc]);
  const cells = cellStates(e, d, f, e.mul(i, next));
  const y = e.op(shown, [cells.after]);
  const slopes = [
    e.mul(next, slope(e, gate, i)),
    e.mul(y, slope(e, gate, o)),
    e.mul(cells.before, slope(e, gate, f)),
    e.mul(i, slope(e, candidate, next)),
    e.mul(o, slope(e, shown, y)),
    f,
  ];
  const back = backwards(e, d, g, slopes, (s, { hidden, cell }, [ki, ko, kf, kc, kCell, kept]) => {
    const own = s.add(cell!, s.mul(hidden, kCell));
    const all = s.concat([s.mul(own, ki), s.mul(hidden, ko), s.mul(own, kf), s.mul(own, kc)], 1);
    return { states: [s.op('MatMul', [all, d.recurrence]), s.mul(own, kept)], outputs: [all] };
  });
  return { first: back.first, linear: (p, own) => [[preActivation(p, own, d.before), back.gradients[0]]] };
};

/** Cell states of all steps, which the layer keeps to itself: c = kept·c⁻ + added. */
function cellStates(e: Emitter, d: Direction, kept: Value, added: Value): { before: Value; after: Value } {
  const inputs = d.counts ? [kept, added, d.counts] : [kept, added];
  const [before, after] = scan(e, [d.cell!], inputs, d.backwards, (s, [cell], [k, a, counts]) => {
    const next = s.add(s.mul(k, cell), a);
    const own = counts ? s.where(counts, next, cell) : next;
    return { states: [own], outputs: [cell, own] };
  }).outputs;
  return { before, after };
}

/** h = n + z·(h⁻ − n); gates in the order update z, reset r, hidden n = tanh(x·Wᵀ + (r·h⁻)·Rᵀ). */
const gru: Cell = (e, d, g) => {
  const [gate, candidate] = d.activations;
  const [forGates, forHidden] = e.split(d.recurrence, [2 * d.size, d.size], 0);
  const input = (p: Emitter, own: Operands) => maybeAdd(p, fromInput(p, own), own.biases?.[1]);
  const [first, last] = gates(e, d, input(e, d), 2, 1);
  const [z, r] = gates(e, d, e.op(gate, [e.add(first, times(e, d.before, forGates))]), 1, 1);
  const reset = e.mul(r, d.before);
  const n = e.op(candidate, [e.add(last, times(e, reset, forHidden))]);
  const slopes = [...mixSlopes(e, d, z, n), z, r, e.mul(d.before, slope(e, gate, r))];
  const back = backwards(e, d, g, slopes, (s, { hidden }, [kz, kn, update, res, kr]) => {
    const gn = s.mul(hidden, kn);
    const gReset = s.op('MatMul', [gn, forHidden]);
    const both = s.concat([s.mul(hidden, kz), s.mul(gReset, kr)], 1);
    const direct = s.add(s.mul(hidden, update), s.mul(gReset, res));
    return { states: [s.add(direct, s.op('MatMul', [both, forGates]))], outputs: [both, gn] };
  });
  const [gBoth, gLast] = back.gradients;
  return {
    first: back.first,
    linear: (p, own) => {
      const all = p.concat([gBoth, gLast], 2);
      const [rows, lastRows] = p.split(own.recurrence, [2 * d.size, d.size], 0);
      return [
        [input(p, own), all],
        [times(p, d.before, rows), gBoth],
        [times(p, reset, lastRows), gLast],
      ];
    },
  };
};

/** As `gru`, where the reset gate acts on the product: n = tanh(x·Wᵀ + r·(h⁻·Rᵀ + b)), as in torch and cuDNN. */
const linearGru: Cell = (e, d, g) => {
  const [gate, candidate] = d.activations;
  const [first, last] = gates(e, d, fromInput(e, d), 2, 1);
  const [past, pastLast] = gates(e, d, fromState(e, d, d.before), 2, 1);
  const [z, r] = gates(e, d, e.op(gate, [e.add(first, past)]), 1, 1);
  const n = e.op(candidate, [e.add(last, e.mul(r, pastLast))]);
  const slopes = [...mixSlopes(e, d, z, n), z, r, e.mul(pastLast, slope(e, gate, r))];
  const back = backwards(e, d, g, slopes, (s, { hidden }, [kz, kn, update, res, kr]) => {
    const gn = s.mul(hidden, kn);
    const both = s.concat([s.mul(hidden, kz), s.mul(gn, kr)], 1);
    const product = s.concat([both, s.mul(gn, res)], 1);
    const before = s.add(s.mul(hidden, update), s.op('MatMul', [product, d.recurrence]));
    return { states: [before], outputs: [s.concat([both, gn], 1), product] };
  });
  return {
    first: back.first,
    linear: (p, own) => [
      [fromInput(p, own), back.gradients[0]],
      [fromState(p, own, d.before), back.gradients[1]],
    ],
  };
};

/** Slopes of h = n + z·(h⁻ − n) by the pre-activations of z and n. */
function mixSlopes(e: Emitter, d: Direction, z: Value, n: Value): [Value, Value] {
  const [gate, candidate] = d.activations;
  return [e.mul(e.sub(d.before, n), slope(e, gate, z)), e.mul(oneLess(e, z), slope(e, candidate, n))];
}

/**
 * The steps in reverse. `step` gets the gradients of the states after a step and slices of `kept`; it gives those of the
 * states before the step, and what is to be stacked. Steps that do not count hand the states' gradients on.
 */
function backwards(
  e: Emitter,
  d: Direction,
  g: Outer,
  kept: readonly Value[],
  step: (s: Emitter, g: StateGradients, kept: Value[]) => Scanned,
): { first: StateGradients; gradients: Value[] } {
  const all = d.counts ? e.keep(d.counts, g.all) : g.all;
  const states = g.cell ? [g.hidden, g.cell] : [g.hidden];
  const inputs = [all, ...kept, ...(d.counts ? [d.counts] : [])];
  const result = scan(e, states, inputs, !d.backwards, (s, after, [own, ...rest]) => {
    const counts = d.counts && rest.pop();
    const made = step(s, { hidden: s.add(after[0], own), cell: after[1] }, rest);
    if (!counts) return made;
    return {
      states: made.states.map((v, i) => s.where(counts, v, after[i])),
      outputs: made.outputs.map((v) => s.keep(counts, v)),
    };
  });
  return { first: { hidden: result.states[0], cell: result.states[1] }, gradients: result.outputs };
}

export const cells = { rnn, lstm, gru, linearGru } as const;
