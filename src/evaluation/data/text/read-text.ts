import { existsSync, readFileSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { SecateurError } from '../../../errors.ts';
import type { Model } from '../../../graph/ir.ts';
import type { DataSpec } from '../../../protocol.ts';
import type { ModelInput } from '../model-inputs.ts';
import type { NamedArray } from '../npy.ts';
import type { RawData } from '../raw.ts';
import { encodeText } from './encode.ts';
import { parseJsonLines } from './jsonl.ts';
import { fixedLength, positionLimit, predictsNextToken, tokenInput, vocabularySize } from './token-input.ts';
import { findTokenizer, type TextTokenizer } from './tokenizer.ts';

/** Tokens of a sample when neither the model nor the user says how many. */
const SEQUENCE = 128;
const MOST_BYTES = 256 * 2 ** 20;
/** Name of the array that says which tokens are no padding. */
export const MASK_NAME = 'attention_mask';

/** Tokens of samples, and the label of each where the file has some. */
interface Rows {
  rows: number[][];
  labels: NamedArray | null;
}

/**
 * Reads text for a model of tokens. `.txt`: the tokens of the whole file, cut into windows of equal length without
 * overlap; what does not fill a window is left out, unless there is no other. `.jsonl`: one sample per line, longer ones cut
 * off, shorter ones filled up on the right. Samples are as long as `spec.sequence`, as the model demands, or 128 tokens
 * (less where no line is so long, or where the model knows fewer positions).
 * @throws SecateurError 'bad-data', 'usage', 'unsupported', 'cancelled'
 */
export async function readText(
  path: string,
  model: Model,
  inputs: readonly ModelInput[],
  spec: DataSpec,
  signal?: AbortSignal,
): Promise<RawData> {
  const wanted = inputs.filter((i) => !Object.hasOwn(spec.constants ?? {}, i.name));
  const tokens = tokenInput(wanted);
  if (!tokens)
    throw new SecateurError(
      'bad-data',
      `Text feeds one input of token numbers, and which it is among ${wanted.map((i) => i.name).join(', ')} is not clear.`,
      'Give token numbers as .npz, one array for each input.',
    );
  const tokenizer = findTokenizer(model.path, path);
  const next = predictsNextToken(model, inputs, tokens, tokenizer.masks);
  const most = sequenceLimit(model, tokens, spec.sequence);
  const content = readContent(path);
  const lines = extname(path).toLowerCase() === '.jsonl';
  const { rows, labels } = lines
    ? await lineRows(content, path, tokenizer, most, spec.label, signal)
    : await windows(content, path, tokenizer, most, next, signal);
  checkKnown(rows, tokens, tokenizer);
  const { arrays, cut } = asArrays(rows, tokens, tokenizer, most);
  const warnings = cut > 0 ? [`${cut} of ${rows.length} texts are longer than ${most} tokens and were cut off.`] : [];
  // Labels of whole texts say nothing about each next token, unless they are asked for.
  const own = next && spec.label === undefined ? null : labels;
  if (labels && !own) warnings.push(`The labels in ${path} are left aside: the model predicts the next token.`);
  return { path, arrays, labels: own, warnings, ...(tokenizer.masks ? { masks: true } : {}) };
}

function readContent(path: string): string {
  try {
    const bytes = readFileSync(path);
    if (bytes.length > MOST_BYTES)
      throw new SecateurError(
        'bad-data',
        `${path} has more than ${MOST_BYTES / 2 ** 20} MiB of text.`,
        'Give a part of it.',
      );
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (thrown) {
    if (thrown instanceof SecateurError) throw thrown;
    if (thrown instanceof TypeError) throw new SecateurError('bad-data', `${path} is not text in UTF-8.`);
    throw new SecateurError('io', `${path} cannot be read: ${(thrown as Error).message}.`, '', { cause: thrown });
  }
}

/** Tokens of a sample at most. @throws SecateurError 'usage' when the model demands another number */
function sequenceLimit(model: Model, tokens: ModelInput, wanted: number | undefined): number {
  const fixed = fixedLength(tokens);
  if (fixed !== undefined) {
    if (wanted !== undefined && wanted !== fixed)
      throw new SecateurError('usage', `The model takes texts of ${fixed} tokens only, not of ${wanted}.`);
    return fixed;
  }
  if (wanted !== undefined) return wanted;
  const known = [positionLimit(model, tokens), configuredLimit(model.path)].filter((n) => n !== undefined);
  return Math.min(SEQUENCE, ...known);
}

/** Positions that the `config.json` beside a model speaks of. */
function configuredLimit(modelPath: string | undefined): number | undefined {
  const path = modelPath && join(dirname(modelPath), 'config.json');
  if (!path || !existsSync(path)) return undefined;
  try {
    const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    const length = config.max_position_embeddings ?? config.n_positions ?? config.n_ctx;
    return typeof length === 'number' && length > 0 ? length : undefined;
  } catch {
    // Only a default depends on it.
    return undefined;
  }
}

async function windows(
  content: string,
  path: string,
  tokenizer: TextTokenizer,
  length: number,
  next: boolean,
  signal?: AbortSignal,
): Promise<Rows> {
  const ids = await encodeText(tokenizer, content, signal);
  if (ids.length === 0) throw new SecateurError('bad-data', `${path} is empty.`);
  const { prefix, suffix } = tokenizer;
  // A text that is continued begins once; a text that is looked at as a whole has its special tokens in every window.
  const around = next ? { before: [], after: [] } : { before: prefix, after: suffix };
  const stream = next ? [...prefix, ...ids] : ids;
  const step = length - around.before.length - around.after.length;
  if (step < 1) throw tooShort(length);
  const rows: number[][] = [];
  for (let at = 0; at + step <= stream.length || rows.length === 0; at += step)
    rows.push([...around.before, ...stream.slice(at, at + step), ...around.after]);
  return { rows, labels: null };
}

async function lineRows(
  content: string,
  path: string,
  tokenizer: TextTokenizer,
  length: number,
  label: string | undefined,
  signal?: AbortSignal,
): Promise<Rows> {
  const { texts, labels } = parseJsonLines(content, path, label);
  const { prefix, suffix } = tokenizer;
  if (length <= prefix.length + suffix.length) throw tooShort(length);
  const rows: number[][] = [];
  for (const text of texts) {
    const ids = await encodeText(tokenizer, text, signal);
    if (prefix.length + ids.length + suffix.length === 0)
      throw new SecateurError('bad-data', `${path}: text number ${rows.length + 1} is empty.`);
    rows.push([...prefix, ...ids, ...suffix]);
  }
  return { rows, labels };
}

function tooShort(length: number): SecateurError {
  return new SecateurError('usage', `Texts of ${length} tokens have no room for more than special tokens.`);
}

/** @throws SecateurError 'bad-data' for tokens that the model has no embedding for: it is another model's tokenizer */
function checkKnown(rows: readonly number[][], tokens: ModelInput, tokenizer: TextTokenizer): void {
  const size = vocabularySize(tokens);
  if (size === undefined) return;
  for (const row of rows)
    for (const id of row)
      if (id >= size)
        throw new SecateurError(
          'bad-data',
          `${tokenizer.path} gives the token ${id}, but the model knows only ${size} tokens: it is not the model's tokenizer.`,
        );
}

/** Matrices of tokens and of what is no padding. Texts that are too long keep the special tokens at their end. */
function asArrays(
  rows: readonly number[][],
  tokens: ModelInput,
  { pad, suffix }: TextTokenizer,
  most: number,
): { arrays: NamedArray[]; cut: number } {
  const longest = rows.reduce((max, row) => Math.max(max, row.length), 0);
  const length = fixedLength(tokens) ?? Math.min(most, longest);
  const dims = [rows.length, length];
  const ids = new Int32Array(rows.length * length).fill(pad);
  const mask = new Int32Array(rows.length * length);
  let cut = 0;
  rows.forEach((row, r) => {
    const kept = row.length <= length ? row : [...row.slice(0, length - suffix.length), ...suffix];
    if (kept !== row) cut++;
    ids.set(kept, r * length);
    mask.fill(1, r * length, r * length + kept.length);
  });
  const arrays: NamedArray[] = [{ name: tokens.name, dims, type: 'int32', data: ids }];
  if (mask.includes(0)) arrays.push({ name: MASK_NAME, dims, type: 'int32', data: mask });
  return { arrays, cut };
}
