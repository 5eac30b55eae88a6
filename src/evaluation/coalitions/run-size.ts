import type { DeviceName } from '../../formats.ts';
import type { Node } from '../../graph/ir.ts';
import type { FreedModel } from '../../units/batch-axis.ts';
import type { Instrumented } from './instrument.ts';
import type { RunSize } from './rows-evaluator.ts';

/** Bytes of the largest tensor of a run: small ones stay in the cache of a processor, large ones fill a graphics card. */
const CPU_BYTES = 3 * 2 ** 20;
const GPU_BYTES = 64 * 2 ** 20;
/** The same where a product needs many coalitions to be fast. */
const MOST_BYTES = 128 * 2 ** 20;
const PREFIX_BYTES = 4 * 2 ** 20;
/** All that a run with gradients keeps until the way back. */
const KEPT_BYTES = 512 * 2 ** 20;
/** Multiply-accumulates of a run, so that it can be cancelled within a fraction of a second. */
const RUN_MACS = 1e9;
const MOST_ROWS = 65536;
/** Groups of samples that share what is done once per coalition (spreading its mask), where nothing is folded. */
const SHARED = 16;
/** Rows of the masks × contributions product: with fewer it is slow. */
const FOLDED_COALITIONS = [64, 256];
/** With fewer, reading the contributions of all units takes longer than computing the consumer. */
const LEAST_FOLDED = 16;

/** Rows and coalitions of a run of the suffix. Depends on shapes alone, so that results can be made again. */
export function runSize(
  parts: Instrumented,
  macs: ReadonlyMap<Node, number>,
  many: boolean,
  samples: number,
  device: DeviceName,
  gradients = false,
): RunSize {
  const bytes = device === 'cpu' ? CPU_BYTES : GPU_BYTES;
  let perRow = parts.folds.reduce((sum, f) => sum + f.cost.folded, 0);
  for (const n of parts.running) perRow += macs.get(n) ?? 0;
  // The way back costs twice the way there, and needs what was computed on it besides its own.
  if (gradients) perRow *= 3;
  const short = Math.floor(RUN_MACS / Math.max(1, perRow));
  const kept = gradients ? Math.floor(KEPT_BYTES / (8 * Math.max(1, parts.rowElements))) : Infinity;
  const fitting = (limit: number) => Math.max(1, Math.min(MOST_ROWS, Math.floor(limit / parts.rowBytes), short, kept));
  const rows = fitting(bytes);
  if (!many) return { rows, coalitions: 1 };
  if (parts.folds.length > 0) {
    const [least, most] = FOLDED_COALITIONS;
    const wanted = Math.max(least, Math.min(most, Math.floor(rows / parts.s)));
    return { rows, coalitions: Math.max(1, Math.min(wanted, Math.floor(fitting(MOST_BYTES) / parts.s))) };
  }
  const groups = Math.max(1, Math.min(SHARED, Math.ceil(samples / parts.s)));
  return { rows, coalitions: Math.max(1, Math.min(64, Math.floor(rows / (groups * parts.s)))) };
}

/** Whether so many coalitions share a run that the products of masks and contributions are faster than what they stand for. */
export function foldsPay(parts: Pick<Instrumented, 'folds'>, { coalitions }: RunSize): boolean {
  return parts.folds.length === 0 || coalitions >= LEAST_FOLDED;
}

/** Groups per run of the prefix. */
export function prefixStep(parts: Instrumented, freed: FreedModel, macs: ReadonlyMap<Node, number>): number {
  const { proof } = freed;
  let bytes = 1;
  let work = 1;
  for (const node of freed.model.graph.nodes) {
    if (parts.dependent.has(node)) continue;
    work += macs.get(node) ?? 0;
    for (const v of node.outputs) {
      const dims = v && proof.state(v).kind === 'rows' && proof.dims(v);
      if (dims) bytes = Math.max(bytes, (4 * dims.reduce((p, d) => p * d, 1)) / proof.batch);
    }
  }
  for (const f of parts.folds) {
    bytes = Math.max(bytes, 4 * (f.units + 1) * f.elements);
    work += f.setup * 3;
  }
  const samples = Math.min(256, PREFIX_BYTES / bytes, RUN_MACS / work);
  return Math.max(1, Math.floor(samples / parts.s));
}
