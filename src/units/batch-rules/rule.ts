import type { Node, Value } from '../../graph/ir.ts';

/**
 * How a value depends on the sample axis.
 * - `free`: the same for any samples (constants, and what is computed from them).
 * - `rows`: axis `axis` holds rows × `inner` entries, row-major, and every row depends on its own sample alone.
 * - `sizes`: integers (or truth values) computed from shapes only; `entries` as far as they are known.
 * - `layers`: as `rows`, but axis `axis` holds `outer` × rows × `inner` entries: samples behind one another in each layer.
 * - `numbers`: integers that tell rows apart. Axis `axis` holds rows × `inner` entries, every entry of row r being
 *   r × `step` + c, where c depends on its place within the row alone and lies from `low` to `high`. Without `step`, some
 *   function of r and that place.
 * - `positions`: tuples along the last axis, as GatherND reads them. Axis `axis` holds rows × `inner` of them; the first
 *   component is the number of the row, the others depend on its own sample alone.
 * - `mixed`: none of these could be shown.
 */
export type BatchState =
  | { kind: 'free' }
  | { kind: 'rows'; axis: number; inner: number }
  | { kind: 'sizes'; entries: SizeEntry[] | null }
  | { kind: 'layers'; axis: number; outer: number; inner: number }
  | { kind: 'numbers'; axis: number; inner: number; step?: number; low: number; high: number }
  | { kind: 'positions'; axis: number; inner: number }
  | { kind: 'mixed'; reason: string };

/** A number, a multiple of the row count, or unknown. */
export type SizeEntry = number | { rows: number } | null;

export const FREE: BatchState = { kind: 'free' };

/** What a rule sees of a node. `dims` are concrete: the batch has its size in the model (or a stand-in). */
export interface RuleContext {
  node: Node;
  opset: number;
  /** The size that the batch has in `dims`. */
  batch: number;
  /** True when the model itself fixes it: then constants may hold it. */
  fixed: boolean;
  state(input: number): BatchState;
  dims(value: Value | null | undefined): readonly number[] | undefined;
  /** Integer contents of an input, as far as they are known. */
  sizes(input: number): SizeEntry[] | null;
  /** Smallest and largest entry of integers that are the same for all samples, where they are known. */
  range(input: number): [number, number] | undefined;
  /** Replaces a shape operand, because it holds the fixed batch. */
  rewrite(input: number, contents: number[]): void;
  /** Gives Resize scales in place of sizes. */
  rescale(scales: Float32Array): void;
}

/** State of all outputs alike, or one per output. */
export type Rule = (c: RuleContext) => BatchState | BatchState[];

export const rows = (axis: number, inner = 1): BatchState => ({ kind: 'rows', axis, inner });
export const mixed = (reason: string): BatchState => ({ kind: 'mixed', reason });

export const rank = (c: RuleContext, input: number) => c.dims(c.node.inputs[input])?.length;

/** The row axis of an input, or undefined when it holds no rows. */
export function rowsOf(c: RuleContext, input: number): { axis: number; inner: number } | undefined {
  const s = c.state(input);
  return s.kind === 'rows' ? s : undefined;
}

/** The axis of a value that grows with the rows, and how many entries it has per row. */
export function rowsAlong(s: BatchState): { axis: number; count: number } | undefined {
  if (s.kind === 'layers') return { axis: s.axis, count: s.outer * s.inner };
  return 'axis' in s ? { axis: s.axis, count: s.inner } : undefined;
}

/** What is the same for any samples, or only says how many: then `needed` entries must be plain numbers. */
export function settled(c: RuleContext, input: number, needed: (entry: number) => boolean = () => true): boolean {
  if (!c.node.inputs[input] || c.state(input).kind === 'free') return true;
  if (c.state(input).kind !== 'sizes') return false;
  return c.sizes(input)?.every((e, i) => typeof e === 'number' || !needed(i)) ?? false;
}

/** Element-wise with broadcasting: row axes must line up, counted from the right. */
export function broadcast(c: RuleContext): BatchState {
  const ranks = c.node.inputs.map((v) => (v ? c.dims(v)?.length : 0));
  if (ranks.some((r) => r === undefined)) return mixed('an operand has an unknown rank');
  const outRank = Math.max(...(ranks as number[]));
  let fromRight = -1;
  let inner = 1;
  for (let i = 0; i < c.node.inputs.length; i++) {
    const s = rowsOf(c, i);
    if (!s) continue;
    const p = ranks[i]! - s.axis;
    if (fromRight >= 0 && (p !== fromRight || s.inner !== inner))
      return mixed('two operands hold the samples on different axes');
    fromRight = p;
    inner = s.inner;
  }
  for (let i = 0; i < c.node.inputs.length; i++) {
    if (!c.node.inputs[i] || rowsOf(c, i)) continue;
    if (c.state(i).kind === 'sizes') return mixed('the batch size is used in arithmetic');
    const dims = c.dims(c.node.inputs[i])!;
    const at = dims.length - fromRight;
    if (at >= 0 && dims[at] !== 1) return mixed('a constant operand differs along the samples');
  }
  return rows(outRank - fromRight, inner);
}

/** Axis 0 of input 0 holds the samples, the other inputs are weights. */
export const firstAxis: Rule = (c) => {
  const s = rowsOf(c, 0);
  if (!s || s.axis !== 0) return mixed('the samples are not on axis 0');
  for (let i = 1; i < c.node.inputs.length; i++) {
    if (c.node.inputs[i] && c.state(i).kind !== 'free') return mixed('a weight depends on the samples');
  }
  return rows(0, s.inner);
};

/** Keeps all axes of input 0, works along `axis` (and, if `after`, all that follow). */
export function along(defaultAxis: number, after = false): Rule {
  return (c) => {
    const s = rowsOf(c, 0);
    const r = rank(c, 0);
    if (!s || r === undefined) return mixed('a parameter depends on the samples');
    for (let i = 1; i < c.node.inputs.length; i++) {
      if (c.node.inputs[i] && c.state(i).kind !== 'free') return mixed('a parameter depends on the samples');
    }
    let axis = c.node.int('axis', defaultAxis);
    if (axis < 0) axis += r;
    if (after ? s.axis >= axis : s.axis === axis) return mixed('it works along the samples');
    return rows(s.axis, s.inner);
  };
}
