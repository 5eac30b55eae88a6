import { SecateurError } from '../../../errors.ts';
import type { NamedArray } from '../npy.ts';
import { LABEL_NAMES } from '../raw.ts';

/** Names of the field that holds the text, in order of preference. */
const TEXT_NAMES = ['text', 'content', 'sentence', 'document', 'review', 'prompt'];

/** The lines of a `.jsonl` file. */
export interface TextLines {
  texts: string[];
  /** Name of the field that holds labels, if there is one, and its values. */
  labels: NamedArray | null;
}

/**
 * Reads one JSON value per line: a text, or an object with a field of text and, if all lines have one, a label (a number
 * or a name). Empty lines are skipped.
 * @param label name of the field that holds labels; default: the first of label, target, class and the like
 * @throws SecateurError 'bad-data' naming the line
 */
export function parseJsonLines(content: string, path: string, label?: string): TextLines {
  const records: { line: number; value: unknown }[] = [];
  content.split(/\r?\n/).forEach((text, i) => {
    if (text.trim() !== '') records.push({ line: i + 1, value: parseLine(text, path, i + 1) });
  });
  if (records.length === 0) throw new SecateurError('bad-data', `${path} is empty.`);
  const first = records[0].value;
  if (typeof first === 'string') return { texts: records.map((r) => plainText(r.value, path, r.line)), labels: null };
  const fields = Object.keys(fieldsOf(first, path, records[0].line));
  const labelField = labelName(fields, path, label);
  const textField = textName(first as Record<string, unknown>, fields, labelField, path);
  const texts = records.map(({ value, line }) => {
    const text = fieldsOf(value, path, line)[textField];
    return plainText(text, path, line, textField);
  });
  if (labelField === undefined) return { texts, labels: null };
  const labels = records.map(({ value, line }) =>
    labelOf(fieldsOf(value, path, line)[labelField], path, line, labelField),
  );
  return { texts, labels: asArray(labels, labelField, path) };
}

function parseLine(text: string, path: string, line: number): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new SecateurError('bad-data', `${path}, line ${line}: ${(thrown as Error).message}.`, '', { cause: thrown });
  }
}

function fieldsOf(value: unknown, path: string, line: number): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new SecateurError('bad-data', `${path}, line ${line}: this is no object with fields.`);
}

function plainText(value: unknown, path: string, line: number, field?: string): string {
  if (typeof value === 'string') return value;
  const what = field === undefined ? 'this is no text' : `the field ${field} holds no text`;
  throw new SecateurError('bad-data', `${path}, line ${line}: ${what}.`);
}

function labelName(fields: readonly string[], path: string, wanted?: string): string | undefined {
  if (wanted === undefined) return LABEL_NAMES.map((n) => fields.find((f) => f.toLowerCase() === n)).find(Boolean);
  if (fields.includes(wanted)) return wanted;
  throw new SecateurError('bad-data', `${path} has no field named ${wanted}.`, `Its fields: ${fields.join(', ')}.`);
}

function textName(
  record: Record<string, unknown>,
  fields: readonly string[],
  labelField: string | undefined,
  path: string,
): string {
  const candidates = fields.filter((f) => f !== labelField && typeof record[f] === 'string');
  const usual = TEXT_NAMES.map((n) => candidates.find((f) => f.toLowerCase() === n)).find(Boolean);
  if (usual !== undefined) return usual;
  if (candidates.length === 1) return candidates[0];
  throw new SecateurError(
    'bad-data',
    `${path}: which field holds the text is not clear.`,
    `Name it text. The fields: ${fields.join(', ')}.`,
  );
}

function labelOf(value: unknown, path: string, line: number, field: string): number | string {
  if (typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value))) return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  throw new SecateurError('bad-data', `${path}, line ${line}: the field ${field} holds no label.`);
}

function asArray(labels: (number | string)[], name: string, path: string): NamedArray {
  const dims = [labels.length];
  if (labels.every((l) => typeof l === 'number'))
    return { name, dims, type: 'float64', data: Float64Array.from(labels) };
  if (labels.every((l) => typeof l === 'string')) return { name, dims, type: 'string', data: labels };
  throw new SecateurError('bad-data', `${path}: the field ${name} holds numbers in some lines and names in others.`);
}
