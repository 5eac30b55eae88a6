/** Numbers for people: three significant digits, SI prefixes, signs where a difference is meant. */

const PREFIXES: [number, string][] = [
  [1e12, 'T'],
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
];

/** Three significant digits without an exponent where it can be helped. */
export function significant(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return '0';
  // Rounded first: 0.99999 has as many decimals as 1.
  const magnitude = Math.abs(Number(value.toPrecision(digits)));
  if (magnitude < 1e-4 || magnitude >= 1e6) return value.toExponential(digits - 1);
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(magnitude)));
  return value.toFixed(decimals);
}

/** `12.5 M`, `349 k`, `87`. */
export function count(value: number): string {
  for (const [unit, prefix] of PREFIXES) {
    // 999 500 would round to 1000 k
    if (Math.abs(value) >= unit * 0.9995) return `${significant(value / unit)} ${prefix}`;
  }
  return Number.isInteger(value) ? String(value) : significant(value);
}

/** `313 kB`, `12 B`. */
export function bytes(value: number): string {
  return value < 1000 ? `${value} B` : `${count(value)}B`;
}

/** `4.10 ms`, `1.20 s`, `3 min 20 s`. */
export function duration(milliseconds: number): string {
  if (milliseconds < 1) return `${significant(milliseconds * 1000)} µs`;
  if (milliseconds < 1000) return `${significant(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${significant(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** `42.1 %`. */
export function percent(share: number, digits = 1): string {
  return `${(share * 100).toFixed(digits)} %`;
}

/** `−37.2 %` from a value before and one after. */
export function change(before: number | null, after: number | null): string {
  if (before === null || after === null || !before) return '';
  const relative = after / before - 1;
  return relative === 0 ? '±0 %' : `${relative < 0 ? '−' : '+'}${(Math.abs(relative) * 100).toFixed(1)} %`;
}

/** A metric's value: shares in per cent with no more digits than the samples support, others in three digits. */
export function metricValue(metric: string, value: number | null, samples: number): string {
  if (value === null) return '–';
  if (metric !== 'accuracy' && metric !== 'agreement') return significant(value, 4);
  return percent(value, samples >= 100 ? (samples >= 10_000 ? 2 : 1) : 0);
}

/** A metric's difference, signed; shares in percentage points. */
export function metricChange(metric: string, before: number | null, after: number | null, samples: number): string {
  if (before === null || after === null) return '';
  const difference = after - before;
  const sign = difference < 0 ? '−' : difference > 0 ? '+' : '±';
  if (metric !== 'accuracy' && metric !== 'agreement') return `${sign}${significant(Math.abs(difference))}`;
  return `${sign}${(Math.abs(difference) * 100).toFixed(samples >= 100 ? (samples >= 10_000 ? 2 : 1) : 0)} points`;
}
