/** Path and values of the first difference of two trees; null when they say the same. Quick on large trees, unlike a diff. */
export function firstDifference(a: unknown, b: unknown, path = ''): string | null {
  if (Object.is(a, b)) return null;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null)
    return `${path}: ${show(a)} / ${show(b)}`;
  if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) {
    const [x, y] = [a, b].map((v) => Buffer.from(v.buffer as ArrayBuffer, v.byteOffset, v.byteLength));
    return x.equals(y) ? null : `${path}: ${x.length} and ${y.length} bytes that differ`;
  }
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  for (const key of keys) {
    const [x, y] = [(a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]];
    const found = firstDifference(x, y, `${path}.${key}`);
    if (found) return found;
  }
  return null;
}

function show(value: unknown): string {
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
