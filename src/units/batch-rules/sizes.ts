import type { Node, Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { rowsAlong, type BatchState, type SizeEntry } from './rule.ts';

/** Exact arithmetic on sizes, where rows × n is kept apart from plain numbers. */

export const SIZE_OPS: ReadonlySet<string> = new Set(
  'Shape Size Gather Slice Concat Unsqueeze Squeeze Cast Identity Mul Add Sub Div Reshape Equal Where'.split(' '),
);

export interface SizeContext {
  contents(v: Value | null | undefined): SizeEntry[] | null;
  state(v: Value | null | undefined): BatchState;
  dims(v: Value | null | undefined): readonly number[] | undefined;
}

/** What a node of `SIZE_OPS` makes of sizes; null where the contents are lost. Booleans are 0 and 1. */
export function sizeArithmetic(node: Node, { contents, state, dims }: SizeContext): SizeEntry[] | null {
  // Contents are flat: what picks, joins or broadcasts entries is followed in lists and numbers only.
  const flat = node.inputs.every((v) => !v || (dims(v)?.length ?? 2) <= 1);
  const [a, b] = [contents(node.inputs[0]), contents(node.inputs[1])];
  switch (node.op) {
    case 'Shape': {
      const shape = shapeEntries(node.inputs[0], state, dims);
      const end = node.int('end');
      return shape && shape.slice(node.int('start', 0), end === undefined ? undefined : end);
    }
    case 'Size': {
      const shape = shapeEntries(node.inputs[0], state, dims);
      return shape && [shape.reduce((p, e) => combine('Mul', p, e), 1)];
    }
    case 'Gather':
      return flat && a && b && b.every((i) => typeof i === 'number') ? b.map((i) => a.at(i as number) ?? null) : null;
    case 'Slice': {
      const start = node.ints('starts')?.[0] ?? b?.[0];
      const end = node.ints('ends')?.[0] ?? contents(node.inputs[2])?.[0];
      const step = node.inputs[4] ? contents(node.inputs[4])?.[0] : 1;
      const known = typeof start === 'number' && typeof end === 'number' && step === 1;
      return flat && a && known ? a.slice(start, end) : null;
    }
    case 'Concat': {
      const parts = node.inputs.map(contents);
      return flat && parts.every((p) => p !== null) ? (parts as SizeEntry[][]).flat() : null;
    }
    case 'Unsqueeze':
    case 'Squeeze':
    case 'Identity':
    case 'Reshape':
      return a;
    case 'Cast': {
      const to = node.int('to', 0);
      return to === DataType.INT64 || to === DataType.INT32 ? a : null;
    }
    case 'Where': {
      const c = contents(node.inputs[2]);
      return flat ? entryWise([a, b, c], ([x, y, z]) => choose(x, y, z)) : null;
    }
    default:
      return flat ? entryWise([a, b], ([x, y]) => combine(node.op, x, y)) : null;
  }
}

function shapeEntries(
  v: Value | null | undefined,
  state: SizeContext['state'],
  dims: SizeContext['dims'],
): SizeEntry[] | null {
  const along = rowsAlong(state(v));
  return dims(v)?.map((d, i): SizeEntry => (i === along?.axis ? { rows: along.count } : d)) ?? null;
}

/** Applies `f` to lists of one length, in which a single entry stands for all. */
function entryWise(lists: (SizeEntry[] | null)[], f: (entries: SizeEntry[]) => SizeEntry): SizeEntry[] | null {
  if (!lists.every((l) => l !== null)) return null;
  const length = Math.max(...lists.map((l) => l.length));
  if (lists.some((l) => l.length !== length && l.length !== 1)) return null;
  return Array.from({ length }, (_, i) => f(lists.map((l) => l[l.length === 1 ? 0 : i])));
}

function choose(condition: SizeEntry, yes: SizeEntry, no: SizeEntry): SizeEntry {
  if (typeof condition === 'number') return condition ? yes : no;
  return equal(yes, no) === 1 ? yes : null;
}

/** 1 or 0; null where it depends on the number of rows, which is at least 1. */
function equal(x: SizeEntry, y: SizeEntry): SizeEntry {
  if (x === null || y === null) return null;
  if (typeof x === 'number' && typeof y === 'number') return x === y ? 1 : 0;
  if (typeof x === 'object' && typeof y === 'object') return x.rows === y.rows ? 1 : 0;
  const [number, { rows }] = (typeof x === 'number' ? [x, y] : [y, x]) as [number, { rows: number }];
  return number < rows || number % rows !== 0 ? 0 : null;
}

function combine(op: string, x: SizeEntry, y: SizeEntry): SizeEntry {
  if (op === 'Equal') return equal(x, y);
  if (x === null || y === null) return null;
  if (typeof x === 'number' && typeof y === 'number') {
    return op === 'Mul' ? x * y : op === 'Add' ? x + y : op === 'Sub' ? x - y : y === 0 ? null : Math.trunc(x / y);
  }
  if (typeof x === 'object' && typeof y === 'object') {
    // The number of rows cancels out.
    if (op === 'Div') return Math.trunc(x.rows / y.rows);
    if (op === 'Add') return { rows: x.rows + y.rows };
    return op === 'Sub' && x.rows >= y.rows ? multiple(x.rows - y.rows) : null;
  }
  if (op === 'Mul' && typeof x === 'number' && typeof y === 'object') return x < 0 ? null : multiple(x * y.rows);
  if (op === 'Mul' && typeof y === 'number' && typeof x === 'object') return y < 0 ? null : multiple(y * x.rows);
  if (op === 'Div' && typeof x === 'object' && typeof y === 'number' && y > 0 && x.rows % y === 0)
    return { rows: x.rows / y };
  return null;
}

const multiple = (rows: number): SizeEntry => (rows === 0 ? 0 : { rows });
