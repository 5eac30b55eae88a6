import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import type { Value } from '../../../src/graph/ir.ts';
import { builder, type Attrs, type Builder } from '../build.ts';
import { seeded } from '../invariant.ts';

/** A float value of the graph in the making, with its sizes (the batch counted as 2). */
export interface Val {
  value: Value;
  dims: number[];
  /** The axis that is the batch, of unknown size, or a multiple of it; −1: all sizes are fixed. */
  rows: number;
}

/** How a random graph grows by one op or a few: from a value it makes others. */
export interface Template {
  /** The op, or what the pattern is called. */
  name: string;
  /** How often it is chosen, 1 unless stated. */
  weight?: number;
  /** First and last opset. */
  opset?: [number, number?];
  fits?: (x: Val, g: Maker) => boolean;
  make: (x: Val, g: Maker) => Val | Val[];
}

/** Values have at most so many elements (with a batch of 2). */
const MOST_ELEMENTS = 4000;

export const product = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);

/** The state of a random graph: the builder, the random numbers, the values made so far. */
export class Maker {
  readonly b: Builder;
  readonly opset: number;
  readonly random: () => number;
  /** Values that more may be made from. */
  readonly pool: Val[] = [];
  private readonly weights = new Map<string, Value[]>();

  constructor(seed: number) {
    this.random = seeded(seed);
    this.opset = this.pick([8, 10, 11, 12, 13, 13, 15, 17, 17, 18, 18, 20, 21, 22, 23]);
    this.b = builder({ seed: seed + 1, opset: this.opset });
    if (this.opset > 20) this.b.model.irVersion = 10;
  }

  /** A whole number from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.random() * (high - low + 1));
  }
  chance(p: number): boolean {
    return this.random() < p;
  }
  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.random() * list.length)];
  }
  shuffle<T>(list: readonly T[]): T[] {
    const pool = [...list];
    return Array.from({ length: list.length }, () => pool.splice(Math.floor(this.random() * pool.length), 1)[0]);
  }
  /** A number of units for a new axis. */
  width(): number {
    return this.pick([4, 4, 6, 6, 8, 8, 12, 5]);
  }
  small(dims: readonly number[]): boolean {
    return product(dims) <= MOST_ELEMENTS;
  }
  /** Axes other than that of the batch. */
  axes(x: Val): number[] {
    return x.dims.map((_, i) => i).filter((i) => i !== x.rows);
  }

  /** A node, and what is known of its first output. */
  emit(op: string, inputs: (Val | Value | null)[], dims: number[], rows: number, attrs: Attrs = {}): Val {
    return { value: this.b.op(op, inputs.map(valueOf), attrs), dims, rows };
  }
  /** A node whose output has the sizes of its first input. */
  like(op: string, inputs: (Val | Value | null)[], x: Val, attrs: Attrs = {}): Val {
    return this.emit(op, inputs, x.dims, x.rows, attrs);
  }
  many(op: string, inputs: (Val | Value | null)[], outputs: number, attrs: Attrs = {}): Value[] {
    return this.b.nodes(op, inputs.map(valueOf), attrs, outputs);
  }

  /** A constant vector of small numbers around `centre`. */
  around(dims: number[], centre: number, spread = 0.3): Value {
    const values = Array.from({ length: product(dims) }, () => centre + spread * (2 * this.random() - 1));
    return this.b.floats(values, dims);
  }
  scalar(x: number): Value {
    return this.b.floats([x], []);
  }

  /** A weight: mostly a new one, now and then that of another layer, a computed or a dequantised one. */
  weight(dims: number[]): Value {
    const key = dims.join();
    const known = this.weights.get(key) ?? [];
    if (known.length && this.chance(0.25)) return this.pick(known);
    const made = this.newWeight(dims);
    this.weights.set(key, [...known, made]);
    return made;
  }

  private newWeight(dims: number[]): Value {
    const { b } = this;
    const form = this.random();
    if (form < 0.8 || dims.length < 2) return b.weight(dims, 'w', 1.5 / Math.sqrt(product(dims) / Math.max(...dims)));
    if (form < 0.85) {
      const perm = this.shuffle(dims.map((_, i) => i));
      const stored: number[] = [];
      perm.forEach((p, i) => (stored[p] = dims[i]));
      return b.transpose(b.weight(stored, 'w'), perm);
    }
    if (form < 0.9) {
      const scale = this.around(
        dims.map((d, i) => (i === 0 ? d : 1)),
        1,
      );
      return b.mul(b.weight(dims, 'w'), scale);
    }
    if (form < 0.95 && this.opset >= 13) {
      const bytes = Int8Array.from({ length: product(dims) }, () => this.int(-100, 100));
      const stored = b.constant(Tensor.fromBytes('q', DataType.INT8, dims, new Uint8Array(bytes.buffer)));
      const axis = this.int(0, dims.length - 1);
      const perAxis = this.chance(0.7);
      const scale = perAxis ? this.around([dims[axis]], 0.006, 0.003) : this.scalar(0.006);
      return b.op('DequantizeLinear', [stored, scale], perAxis ? { axis } : {});
    }
    return b.op('Identity', [b.weight(dims, 'w')]);
  }

  /** Another value of the same sizes: from the pool, or computed from x, so that what follows is a residual or a branch. */
  mate(x: Val): Val {
    const same = this.pool.filter((v) => v !== x && v.rows === x.rows && v.dims.join() === x.dims.join());
    if (same.length && this.chance(0.6)) return this.pick(same);
    return this.linear(x, this.pick(this.axes(x)));
  }

  /** Units along `axis` are mixed into `out` new ones, by whichever op can. */
  linear(x: Val, axis: number, out = x.dims[axis]): Val {
    const rank = x.dims.length;
    const dims = x.dims.map((d, i) => (i === axis ? out : d));
    const last = axis === rank - 1;
    const convs = axis === 1 && rank >= 3 && rank <= 5 && x.rows <= 0;
    if (convs && this.chance(0.6)) {
      const kernel = Array<number>(rank - 2).fill(1);
      const weight = this.weight([out, x.dims[1], ...kernel]);
      const inputs = this.chance(0.7) ? [x, weight, this.around([out], 0)] : [x, weight];
      return this.emit('Conv', inputs, dims, x.rows, { kernel_shape: kernel });
    }
    if (rank === 2 && last && this.chance(0.5)) {
      const transB = this.int(0, 1);
      const weight = this.weight(transB ? [out, x.dims[1]] : [x.dims[1], out]);
      const inputs = this.chance(0.7) ? [x, weight, this.around([out], 0)] : [x, weight, this.scalar(0.1)];
      return this.emit('Gemm', inputs, dims, x.rows, { transB });
    }
    if (last && rank > 1) {
      const y = this.emit('MatMul', [x, this.weight([x.dims[axis], out])], dims, x.rows);
      return this.chance(0.7) ? this.like('Add', [y, this.around([out], 0)], y) : y;
    }
    if (axis === rank - 2 && this.chance(0.5))
      return this.emit('MatMul', [this.weight([out, x.dims[axis]]), x], dims, x.rows);
    if (this.opset >= 12) {
      const letters = 'abcdef'.slice(0, rank);
      const to = letters.replace(letters[axis], 'z');
      const equation = `${letters},${letters[axis]}z->${to}`;
      return this.emit('Einsum', [x, this.weight([x.dims[axis], out])], dims, x.rows, { equation });
    }
    const perm = x.dims.map((_, i) => (i === axis ? rank - 1 : i === rank - 1 ? axis : i));
    if (rank < 2) return this.like('Tanh', [x], x);
    return this.transpose(this.linear(this.transpose(x, perm), rank - 1, out), perm);
  }

  transpose(x: Val, perm: number[]): Val {
    return this.emit(
      'Transpose',
      [x],
      perm.map((p) => x.dims[p]),
      x.rows < 0 ? -1 : perm.indexOf(x.rows),
      { perm },
    );
  }

  /**
   * Reshape to `dims`; the batch's axis, `rows` of the output, gets −1. The shape is a constant, or some of its sizes are
   * read from the operand.
   */
  reshape(x: Val, dims: number[], rows: number): Val {
    const { b } = this;
    const copied = (i: number) => i < x.dims.length && i !== rows && i !== x.rows && x.dims[i] === dims[i];
    if (this.chance(0.8)) {
      const zero = this.chance(0.3);
      const entries = dims.map((d, i) => (i === rows ? -1 : zero && copied(i) ? 0 : d));
      if (rows < 0 && this.chance(0.2)) entries[this.int(0, entries.length - 1)] = -1;
      return this.emit('Reshape', [x, b.ints(entries)], dims, rows);
    }
    const shape = b.op('Shape', [x.value]);
    const parts = dims.map((d, i) => {
      const from = x.dims.findIndex((e, k) =>
        rows === i && x.rows === k ? d === e : i !== rows && k !== x.rows && d === e,
      );
      if (from >= 0) return b.op('Gather', [shape, b.ints([from])], { axis: 0 });
      return b.ints([i === rows ? -1 : d]);
    });
    return this.emit('Reshape', [x, b.concat(parts, 0)], dims, rows);
  }

  reduce(op: string, x: Val, axes: number[], keep: boolean, attrs: Attrs = {}): Val {
    const dims = keep ? x.dims.map((d, i) => (axes.includes(i) ? 1 : d)) : x.dims.filter((_, i) => !axes.includes(i));
    const rows = keep || x.rows < 0 ? x.rows : x.rows - axes.filter((a) => a < x.rows).length;
    const given = axes.map((a) => (this.chance(0.3) ? a - x.dims.length : a));
    const operand = this.opset >= (op === 'ReduceSum' ? 13 : 18);
    const all = { keepdims: keep ? 1 : 0, ...attrs };
    return operand
      ? this.emit(op, [x, this.b.ints(given)], dims, rows, all)
      : this.emit(op, [x], dims, rows, { axes: given, ...all });
  }

  unsqueeze(x: Val, axis: number): Val {
    const dims = [...x.dims.slice(0, axis), 1, ...x.dims.slice(axis)];
    const rows = x.rows >= axis ? x.rows + 1 : x.rows;
    return this.opset >= 13
      ? this.emit('Unsqueeze', [x, this.b.ints([axis])], dims, rows)
      : this.emit('Unsqueeze', [x], dims, rows, { axes: [axis] });
  }

  squeeze(x: Val, axis: number): Val {
    const dims = x.dims.filter((_, i) => i !== axis);
    const rows = x.rows > axis ? x.rows - 1 : x.rows;
    return this.opset >= 13
      ? this.emit('Squeeze', [x, this.b.ints([axis])], dims, rows)
      : this.emit('Squeeze', [x], dims, rows, { axes: [axis] });
  }

  split(x: Val, axis: number, sizes: number[]): Val[] {
    const even = sizes.every((s) => s === sizes[0]) && this.chance(0.5);
    const given = this.chance(0.3) ? axis - x.dims.length : axis;
    let values: Value[];
    if (even && this.opset >= 18)
      values = this.many('Split', [x], sizes.length, { axis: given, num_outputs: sizes.length });
    else if (even && this.opset !== 18) values = this.many('Split', [x], sizes.length, { axis: given });
    else if (this.opset < 13) values = this.many('Split', [x], sizes.length, { axis: given, split: sizes });
    else values = this.many('Split', [x, this.b.ints(sizes)], sizes.length, { axis: given });
    return values.map((value, i) => ({ value, dims: x.dims.map((d, k) => (k === axis ? sizes[i] : d)), rows: x.rows }));
  }

  /** Start:end:step along each of some axes. */
  slice(x: Val, cuts: { axis: number; start: number; end: number; step: number }[]): Val {
    const dims = [...x.dims];
    for (const { axis, start, end, step } of cuts) dims[axis] = Math.ceil((end - start) / step);
    const ints = (values: number[]) => this.b.ints(values);
    const [starts, axes] = [cuts.map((c) => c.start), cuts.map((c) => c.axis)];
    // An end of −1 on the way down is no place: below all of them stands for it.
    const ends = cuts.map((c) => (c.end < 0 ? -1000 : c.end === x.dims[c.axis] && this.chance(0.5) ? 1000 : c.end));
    if (this.opset < 10) return this.emit('Slice', [x], dims, x.rows, { starts, ends, axes });
    const plain = cuts.every((c) => c.step === 1);
    const operands = [ints(starts), ints(ends), ints(axes)];
    if (!plain) operands.push(ints(cuts.map((c) => c.step)));
    return this.emit('Slice', [x, ...operands], dims, x.rows);
  }

  concat(values: Val[], axis: number): Val {
    const dims = [...values[0].dims];
    dims[axis] = values.reduce((n, v) => n + v.dims[axis], 0);
    const given = this.chance(0.3) ? axis - dims.length : axis;
    return this.emit('Concat', values, dims, values[0].rows, { axis: given });
  }
}

function valueOf(x: Val | Value | null): Value | null {
  return x && 'dims' in x ? x.value : x;
}
