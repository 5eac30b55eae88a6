import { DataType } from '../../onnx/data-type.ts';
import { gemm, matmul, normalise, reduce, softmax } from './mixing.ts';
import {
  expand,
  flatten,
  gather,
  reshape,
  reshapeLayers,
  slice,
  split,
  squeeze,
  transpose,
  unsqueeze,
} from './moving.ts';
import { broadcast, mixed, rank, rows, type BatchState, type Rule, type RuleContext } from './rule.ts';

/** Rules for values that are like rows, but not quite: layers of samples, numbers of rows, and tuples with them. */

type Kind = 'layers' | 'numbers';
type Rows = BatchState & { kind: 'rows' };

/** What an ordinary rule says when the operands of one kind count as rows; no other operand may hold samples. */
function asRows(c: RuleContext, kind: Kind, rule: Rule): BatchState[] {
  for (let i = 0; i < c.node.inputs.length; i++) {
    const other = c.state(i).kind;
    if (other !== kind && other !== 'free' && other !== 'sizes')
      return [mixed('two operands hold the samples in different ways')];
  }
  const state = (i: number): BatchState => {
    const s = c.state(i);
    return s.kind === kind ? rows(s.axis, s.inner) : s;
  };
  const result = rule({ ...c, state });
  return Array.isArray(result) ? result : c.node.outputs.map(() => result);
}

const relabel = (states: BatchState[], make: (s: Rows) => BatchState): BatchState[] =>
  states.map((s) => (s.kind === 'rows' ? make(s) : s));

/** Rules that treat the entries along the row axis each on its own: it does not matter how many a sample has, or where. */
const ENTRY_WISE: ReadonlySet<Rule> = new Set([
  broadcast,
  matmul,
  gemm,
  softmax,
  normalise,
  reduce,
  transpose,
  squeeze,
  unsqueeze,
  split,
  gather,
]);

/** Layers of samples: what treats every entry on its own leaves them as they are, and Reshape parts them. */
export function layersRule(op: string, ordinary: Rule | undefined): Rule | undefined {
  if (op === 'Reshape') return reshapeLayers;
  if (!ordinary || !ENTRY_WISE.has(ordinary)) return undefined;
  return (c) => {
    const found = c.node.inputs.flatMap((_, i) => {
      const s = c.state(i);
      return s.kind === 'layers' ? [s.outer] : [];
    });
    if (found.some((outer) => outer !== found[0])) return mixed('operands hold the samples in different layers');
    return relabel(asRows(c, 'layers', ordinary), ({ axis, inner }) => ({
      kind: 'layers',
      axis,
      outer: found[0],
      inner,
    }));
  };
}

/** Moves that keep the entries of a row in its place. */
const MOVES: ReadonlySet<Rule> = new Set([transpose, squeeze, unsqueeze, expand, reshape, flatten, slice]);

/** Numbers of rows: moved, multiplied and added to, put into tuples, or used to look up the rows that they name. */
export function numbersRule(op: string, ordinary: Rule | undefined): Rule | undefined {
  if (op === 'Gather') return gatherByNumber;
  if (op === 'Concat') return joinNumbers;
  if (!ordinary) return undefined;
  if (MOVES.has(ordinary) || op === 'Identity') return (c) => moved(c, ordinary);
  return ordinary === broadcast ? arithmetic : undefined;
}

/** The operand keeps what is known of it; targets and axes may count rows. */
function moved(c: RuleContext, rule: Rule): BatchState | BatchState[] {
  const s = c.state(0);
  if (s.kind !== 'numbers') return mixed('the row number is used as a size');
  return relabel(asRows(c, 'numbers', rule), ({ axis, inner }) =>
    inner === s.inner ? { ...s, axis } : mixed('it rearranges row numbers'),
  );
}

const INTEGERS: ReadonlySet<number> = new Set([DataType.INT64, DataType.INT32]);

/** Row numbers times a constant, plus constants; all else keeps only the axis along which rows differ. */
const arithmetic: Rule = (c) => {
  const at = c.node.inputs.findIndex((_, i) => c.state(i).kind === 'numbers');
  const s = c.state(at) as BatchState & { kind: 'numbers' };
  return relabel(asRows(c, 'numbers', broadcast), ({ axis, inner }) => {
    const unknown: BatchState = { kind: 'numbers', axis, inner, low: 0, high: 0 };
    if (s.step === undefined) return unknown;
    if (c.node.op === 'Cast') return INTEGERS.has(c.node.int('to', 0)) ? { ...s, axis } : unknown;
    const other = c.node.inputs.length === 2 ? c.range(1 - at) : undefined;
    if (!other || c.state(1 - at).kind !== 'free') return unknown;
    const [low, high] = other;
    if (c.node.op === 'Add') return { ...s, axis, low: s.low + low, high: s.high + high };
    if (c.node.op === 'Mul' && low === high && low > 0)
      return { ...s, axis, step: s.step * low, low: s.low * low, high: s.high * low };
    return unknown;
  });
};

/** Entries of the own row, taken from data that holds as many of them per row as the numbers step over. */
const gatherByNumber: Rule = (c) => {
  const [data, numbers] = [c.state(0), c.state(1)];
  const r = rank(c, 0);
  if (data.kind !== 'rows' || numbers.kind !== 'numbers' || r === undefined) return mixed('it picks samples');
  const axis = c.node.int('axis', 0);
  const own = numbers.step === data.inner && numbers.low >= 0 && numbers.high < data.inner;
  return own && (axis < 0 ? axis + r : axis) === data.axis
    ? rows(data.axis + numbers.axis, numbers.inner)
    : mixed('it picks samples');
};

/** Tuples whose first component is the number of the row. */
const joinNumbers: Rule = (c) => {
  const [first, ...others] = c.node.inputs.map((_, i) => c.state(i));
  const dims = c.dims(c.node.inputs[0]);
  const r = dims?.length ?? 0;
  const axis = c.node.int('axis', 1);
  if (first?.kind !== 'numbers' || first.step !== 1 || first.low !== 0 || first.high !== 0 || !dims)
    return mixed('it joins row numbers');
  const last = (axis < 0 ? axis + r : axis) === r - 1 && dims[r - 1] === 1 && first.axis < r - 1;
  const aligned = others.every((s) => s.kind === 'rows' && s.axis === first.axis && s.inner === first.inner);
  return last && aligned ? { kind: 'positions', axis: first.axis, inner: first.inner } : mixed('it joins row numbers');
};

/** GatherND whose tuples name the row that they belong to. */
export const positionsRule = (op: string): Rule | undefined => (op === 'GatherND' ? gatherByPosition : undefined);

const gatherByPosition: Rule = (c) => {
  const [data, tuples] = [c.state(0), c.state(1)];
  return data.kind === 'rows' &&
    tuples.kind === 'positions' &&
    data.axis === 0 &&
    data.inner === 1 &&
    c.node.int('batch_dims', 0) === 0
    ? rows(tuples.axis, tuples.inner)
    : mixed('it picks samples');
};
