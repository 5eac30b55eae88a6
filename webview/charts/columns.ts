import type { UnitScore } from '../../src/formats.ts';
import { coversZero, ERRORS, type Whiskers } from '../logic/units.ts';

/** One drawn column: a unit, or neighbours that share a pixel. */
export interface Column {
  x: number;
  width: number;
  /** Positions in the sorted order, end exclusive. */
  first: number;
  end: number;
  score: number;
  low: number;
  high: number;
  /** Interval covers zero: drawn lighter. */
  light: boolean;
  hasError: boolean;
}

/** Columns of a bar chart over so many pixels: one per unit while there is room, else one per pixel. */
export function columnsOf(units: readonly UnitScore[], width: number, whiskers: Whiskers = ERRORS): Column[] {
  const { reach, posterior } = whiskers;
  const n = units.length;
  if (n === 0 || width <= 0) return [];
  const step = width / n;
  const gap = step >= 12 ? 3 : step >= 5 ? 1.5 : step >= 3 ? 1 : 0;
  if (step >= 1) {
    const drawn = Math.min(step - gap, 48);
    return units.map((u, i) => {
      const half = reach * (u.stderr ?? 0);
      return {
        x: i * step + (step - drawn) / 2,
        width: drawn,
        first: i,
        end: i + 1,
        score: u.score,
        low: u.score - half,
        high: u.score + half,
        light: !posterior && coversZero(u),
        hasError: u.stderr !== undefined,
      };
    });
  }
  const pixels = Math.floor(width);
  const columns: Column[] = [];
  for (let p = 0; p < pixels; p++) {
    const first = Math.floor((p * n) / pixels);
    const end = Math.max(first + 1, Math.floor(((p + 1) * n) / pixels));
    let sum = 0;
    let low = Infinity;
    let high = -Infinity;
    let light = 0;
    let errors = 0;
    for (let i = first; i < end; i++) {
      const half = reach * (units[i].stderr ?? 0);
      sum += units[i].score;
      low = Math.min(low, units[i].score - half);
      high = Math.max(high, units[i].score + half);
      if (!posterior && coversZero(units[i])) light++;
      if (units[i].stderr !== undefined) errors++;
    }
    const many = end - first;
    columns.push({
      x: p,
      width: 1,
      first,
      end,
      score: sum / many,
      low,
      high,
      light: light * 2 > many,
      hasError: errors > 0,
    });
  }
  return columns;
}
