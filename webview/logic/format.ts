import type { MetricName } from '../../src/formats.ts';

/** Numbers for people: three significant digits, SI prefixes, a real minus sign, no-break spaces. */

const MINUS = '−';
const NBSP = '\u00a0';
const PREFIXES = ['', 'k', 'M', 'G', 'T', 'P'];
export const DASH = '–';

function sign(text: string): string {
  return text.replace(/^-/, MINUS).replace(/e-/, 'e' + MINUS);
}

/** Groups of three digits: 10 000. */
export function count(value: number): string {
  if (!Number.isFinite(value)) return DASH;
  const digits = String(Math.abs(Math.round(value)));
  const grouped = digits.length <= 4 ? digits : digits.replace(/\B(?=(\d{3})+$)/g, NBSP);
  return (value < -0.5 ? MINUS : '') + grouped;
}

/** A plain number with so many significant digits: 12.5, −0.0842, 3.1e−7. */
export function number(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return DASH;
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e7) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split('e');
    return sign(`${Number(mantissa)}e${Number(exponent)}`);
  }
  const rounded = Number(value.toPrecision(digits));
  if (Math.abs(rounded) >= 1000) return count(rounded);
  return sign(String(rounded));
}

/** `12.5 M`, and with a unit `12.5 MMACs` is avoided: the unit follows a space unless it is B. */
export function si(value: number, unit = ''): string {
  if (!Number.isFinite(value)) return DASH;
  let rounded = Number(value.toPrecision(3));
  let power = 0;
  while (Math.abs(rounded) >= 1000 && power < PREFIXES.length - 1) {
    rounded = Number((rounded / 1000).toPrecision(3));
    power++;
  }
  const text = sign(String(rounded));
  const prefix = PREFIXES[power];
  if (unit === 'B') return `${text}${NBSP}${prefix}B`;
  if (!prefix) return unit ? `${text}${NBSP}${unit}` : text;
  return unit ? `${text}${NBSP}${prefix}${NBSP}${unit}` : `${text}${NBSP}${prefix}`;
}

export function bytes(value: number): string {
  return si(value, 'B');
}

/** A share 0..1 as per cent: 62 %, 3.1 %, <0.1 %. */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return DASH;
  const points = share * 100;
  const size = Math.abs(points);
  if (size === 0) return `0${NBSP}%`;
  if (size < 0.1) return `${points < 0 ? '>' + MINUS : '<'}0.1${NBSP}%`;
  const text = size >= 99.95 ? points.toFixed(0) : points.toFixed(1).replace(/\.0$/, '');
  return `${sign(text)}${NBSP}%`;
}

/** Relative change, signed: −38.2 %. */
export function change(before: number, after: number): string {
  if (!(before > 0)) return DASH;
  const share = after / before - 1;
  const text = percent(share);
  return share > 0 ? `+${text}` : text;
}

/** Milliseconds for people: 420 µs, 4.1 ms, 12 s. */
export function milliseconds(ms: number): string {
  if (!Number.isFinite(ms)) return DASH;
  if (ms < 1) return `${number(ms * 1000)}${NBSP}µs`;
  if (ms < 1000) return `${number(ms)}${NBSP}ms`;
  return seconds(ms / 1000);
}

/** Seconds for people: 0.42 s, 12 s, 3 min 20 s, 2 h 5 min. */
export function seconds(value: number): string {
  if (!Number.isFinite(value)) return DASH;
  if (value < 60) return `${number(value, value < 10 ? 2 : 3)}${NBSP}s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)}${NBSP}min${whole % 60 ? ` ${whole % 60}${NBSP}s` : ''}`;
  return `${Math.floor(whole / 3600)}${NBSP}h ${Math.floor((whole % 3600) / 60)}${NBSP}min`;
}

export function shape(dims: readonly (number | string | null)[] | null): string {
  if (!dims) return 'unknown';
  if (dims.length === 0) return 'scalar';
  return dims.map((d) => (d === null ? '?' : String(d))).join(`${NBSP}×${NBSP}`);
}

/** Metrics that are shares of samples: shown in per cent points. */
export function isShare(metric: MetricName | null): boolean {
  return metric === 'accuracy' || metric === 'agreement';
}

/** Decimals of per cent points that so many samples support. */
export function shareDecimals(samples: number): number {
  return samples >= 200 ? 1 : 0;
}

/** A metric's value: 97.2 % for shares, −0.0842 for the rest. */
export function metricValue(metric: MetricName | null, value: number | null, samples = Infinity): string {
  if (value === null || !Number.isFinite(value)) return DASH;
  if (!isShare(metric)) return number(value);
  return `${sign((value * 100).toFixed(shareDecimals(samples)))}${NBSP}%`;
}

/** A difference of metric values, signed: −0.6 points, +0.0121. */
export function metricDelta(metric: MetricName | null, delta: number, samples = Infinity): string {
  if (!Number.isFinite(delta)) return DASH;
  const share = isShare(metric);
  const text = share ? (Math.abs(delta) * 100).toFixed(shareDecimals(samples)) : number(Math.abs(delta));
  const unit = share ? `${NBSP}points` : '';
  const zero = Number(text) === 0;
  return `${zero ? '±' : delta < 0 ? MINUS : '+'}${text}${unit}`;
}

/** Half width of a 95 % interval: ± 0.3 %. */
export function interval(metric: MetricName | null, stderr: number | null): string {
  if (stderr === null || !Number.isFinite(stderr)) return '';
  const half = 1.96 * stderr;
  if (isShare(metric)) return `±${NBSP}${(half * 100).toFixed(half < 0.01 ? 2 : 1)}${NBSP}%`;
  return `±${NBSP}${number(half, 2)}`;
}

/** `1 group`, `3 groups`. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)}${NBSP}${n === 1 ? one : many}`;
}
