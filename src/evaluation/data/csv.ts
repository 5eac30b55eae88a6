import { readFileSync } from 'node:fs';
import { parse } from 'csv-parse/sync';
import { SecateurError } from '../../errors.ts';
import type { NamedArray } from './npy.ts';
import { LABEL_NAMES, type RawData } from './raw.ts';

/**
 * Reads a table with a header line; comma, semicolon or tab between the cells. Every column but the label must hold
 * numbers. Labels may be numbers or strings; strings become classes in sorted order.
 * @param label name of the label column; default: the first of label, target, class and the like that is there
 * @throws SecateurError 'bad-data' naming file, line and column
 */
export function readCsv(path: string, label?: string): RawData {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (thrown) {
    throw new SecateurError('io', `${path} cannot be read: ${(thrown as Error).message}.`, '', { cause: thrown });
  }
  const records = parseTable(text, path);
  if (records.length < 2) throw new SecateurError('bad-data', `${path} has no rows below its header line.`);
  const [header, ...rows] = records;
  if (header.every((cell) => isNumber(cell)) && header.some((cell) => !/^\d+$/.test(cell)))
    throw new SecateurError(
      'bad-data',
      `${path} has no header line: its first line holds only numbers.`,
      'Put the names of the columns in the first line.',
    );
  const repeated = header.find((name, i) => header.indexOf(name) !== i);
  if (repeated !== undefined) throw new SecateurError('bad-data', `${path} has two columns named ${repeated}.`);
  const labelAt = labelColumn(header, path, label);
  const arrays = header.flatMap((name, c) => (c === labelAt ? [] : [numericColumn(rows, c, name, path)]));
  return { path, arrays, table: true, warnings: [], ...labels(rows, labelAt, header, path) };
}

function parseTable(text: string, path: string): string[][] {
  const firstLine = text.slice(0, text.search(/[\r\n]|$/));
  const counts = [',', ';', '\t'].map((d) => ({ d, n: firstLine.split(d).length }));
  const delimiter = counts.reduce((best, c) => (c.n > best.n ? c : best)).d;
  try {
    return parse(text, { bom: true, delimiter, trim: true, skip_empty_lines: true, relax_quotes: true }) as string[][];
  } catch (thrown) {
    throw new SecateurError('bad-data', `${path} is not a readable table: ${(thrown as Error).message}.`, '', {
      cause: thrown,
    });
  }
}

function labelColumn(header: string[], path: string, wanted: string | undefined): number {
  if (wanted !== undefined) {
    const at = header.indexOf(wanted);
    if (at < 0)
      throw new SecateurError(
        'bad-data',
        `${path} has no column named ${wanted}.`,
        `Its columns: ${header.slice(0, 20).join(', ')}.`,
      );
    return at;
  }
  const lower = header.map((name) => name.toLowerCase());
  for (const name of LABEL_NAMES) if (lower.includes(name)) return lower.indexOf(name);
  return -1;
}

function isNumber(cell: string): boolean {
  return cell !== '' && Number.isFinite(Number(cell));
}

function numericColumn(rows: string[][], c: number, name: string, path: string): NamedArray {
  const data = new Float64Array(rows.length);
  for (let r = 0; r < rows.length; r++) {
    const cell = rows[r][c];
    if (!isNumber(cell))
      throw new SecateurError(
        'bad-data',
        `${path}: column ${name} holds ${cell === '' ? 'an empty cell' : `'${cell}'`} in row ${r + 2}, which is not a number.`,
        'Encode or remove columns that do not hold numbers; choose the label column by its name.',
      );
    data[r] = Number(cell);
  }
  return { name, dims: [rows.length], type: 'float64', data };
}

function labels(rows: string[][], at: number, header: string[], path: string): Pick<RawData, 'labels' | 'classNames'> {
  if (at < 0) return { labels: null };
  const cells = rows.map((row) => row[at]);
  const empty = cells.indexOf('');
  if (empty >= 0) throw new SecateurError('bad-data', `${path}: the label in row ${empty + 2} is empty.`);
  const dims = [cells.length];
  if (cells.every(isNumber))
    return { labels: { name: header[at], dims, type: 'float64', data: Float64Array.from(cells, Number) } };
  return { labels: { name: header[at], dims, type: 'string', data: cells } };
}
