/** Rows of a scrolled list that must exist, end exclusive. */
export function visibleRange(
  scrollTop: number,
  viewport: number,
  rowHeight: number,
  rows: number,
  overscan = 6,
): { start: number; end: number } {
  if (rows <= 0 || rowHeight <= 0) return { start: 0, end: 0 };
  const top = Math.min(Math.max(0, scrollTop), Math.max(0, rows * rowHeight - viewport));
  const start = Math.max(0, Math.floor(top / rowHeight) - overscan);
  const end = Math.min(rows, Math.ceil((top + Math.max(0, viewport)) / rowHeight) + overscan);
  return { start, end };
}

/** Scroll position that shows a row with the least movement. */
export function scrollToShow(row: number, scrollTop: number, viewport: number, rowHeight: number): number {
  const top = row * rowHeight;
  if (top < scrollTop) return top;
  if (top + rowHeight > scrollTop + viewport) return top + rowHeight - viewport;
  return scrollTop;
}

export type SortKey = string | number | null | undefined;

/** Order of rows by a key, stable; missing keys come last in both directions. */
export function sortedOrder(rows: number, key: (row: number) => SortKey, descending: boolean): Int32Array {
  const order = new Int32Array(rows).map((_, i) => i);
  const keys = Array.from(order, key);
  const direction = descending ? -1 : 1;
  return order.sort((a, b) => {
    const x = keys[a];
    const y = keys[b];
    const xMissing = x === null || x === undefined || Number.isNaN(x);
    const yMissing = y === null || y === undefined || Number.isNaN(y);
    if (xMissing || yMissing) return xMissing && yMissing ? a - b : xMissing ? 1 : -1;
    const c =
      typeof x === 'number' && typeof y === 'number'
        ? x - y
        : String(x).localeCompare(String(y), 'en', { numeric: true, sensitivity: 'base' });
    return c === 0 ? a - b : c * direction;
  });
}
