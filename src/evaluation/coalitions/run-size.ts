import type { DeviceName } from '../../formats.ts';
import type { Node } from '../../graph/ir.ts';
import type { FreedModel } from '../../units/batch-axis.ts';
import type { Instrumented } from './instrument.ts';
import type { RunSize } from './rows-evaluator.ts';

/** Bytes of the largest tensor of a run: small ones stay in the cache of a processor, large ones fill a graphics card. */
const CPU_BYTES = 2 * 2 ** 20;
const GPU_BYTES = 64 * 2 ** 20;
const PREFIX_BYTES = 16 * 2 ** 20;
/** Multiply-accumulates of a run, so that it can be cancelled within a fraction of a second. */
const RUN_MACS = 1e9;
const MOST_ROWS = 65536;

/** Rows and coalitions of a run of the suffix. Depends on shapes alone, so that results can be made again. */
export function runSize(parts: Instrumented, macs: ReadonlyMap<Node, number>, many: boolean, device: DeviceName): RunSize {
  const bytes = device === 'cpu' ? CPU_BYTES : GPU_BYTES;
  let perRow = parts.folds.reduce((sum, f) => sum + f.cost.folded, 0);
  for (const n of parts.running) perRow += macs.get(n) ?? 0;
  const rows = Math.max(1, Math.min(MOST_ROWS, Math.floor(bytes / parts.rowBytes), Math.floor(RUN_MACS / Math.max(1, perRow))));
  if (!many) return { rows, coalitions: 1 };
  // With folds the coalitions are the rows of a matrix product over all samples of a group.
  const coalitions = parts.folds.length > 0 ? Math.max(32, Math.min(256, Math.floor(rows / parts.s))) : Math.min(64, rows);
  return { rows, coalitions };
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
