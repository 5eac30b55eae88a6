import type { ViewState } from '../../src/protocol.ts';
import { keepSignature } from './keep.ts';

export type HistoryPoint = ViewState['history'][number];

/** Bounds of what is saved with the tab: points, and unit indices over all points. */
const POINTS = 40;
const UNITS = 60_000;

/** Adds a measured point: one per keep-set, the oldest go first when there are too many. */
export function addPoint(history: readonly HistoryPoint[], point: HistoryPoint): HistoryPoint[] {
  const signature = keepSignature(point.keep);
  const next = [...history.filter((p) => keepSignature(p.keep) !== signature), point];
  let units = 0;
  let from = next.length;
  while (from > 0 && next.length - from < POINTS) {
    units += Object.values(next[from - 1].keep).reduce((sum, k) => sum + k.length, 0);
    if (units > UNITS && from < next.length) break;
    from--;
  }
  return next.slice(from);
}

/** Points that no other point beats in both cost and value, cheapest first. */
export function paretoFront<T extends { cost: number; value: number }>(points: readonly T[]): T[] {
  const sorted = [...points].sort((a, b) => a.cost - b.cost || b.value - a.value);
  const front: T[] = [];
  for (const p of sorted) if (front.length === 0 || p.value > front[front.length - 1].value) front.push(p);
  return front;
}
