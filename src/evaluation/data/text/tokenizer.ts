import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { SecateurError } from '../../../errors.ts';
import { characterTokenizer } from './characters.ts';

/** What turns text into the numbers of tokens. */
export interface TextTokenizer {
  /** The file that it was read from. */
  path: string;
  /** Numbers of the tokens, without the special tokens around a text. */
  encode(text: string): number[];
  /** Special tokens in front of and behind every text. */
  prefix: number[];
  suffix: number[];
  /** What fills up short texts. */
  pad: number;
  /** True when it has a token for masked words: it belongs to a model that looks both ways. */
  masks: boolean;
}

const FILES = ['tokenizer.json', 'vocab.json'];
/** The vocabularies of the largest models take some 35 MB. */
const MOST_BYTES = 256 * 2 ** 20;
const PADS = ['[PAD]', '<pad>', '<|pad|>', '<|padding|>', '<|endoftext|>', '<|end_of_text|>', '</s>'];
const MASKS = ['[MASK]', '<mask>', '<|mask|>'];

/** Folders in which a tokenizer may lie: the model's (and the one above, where exporters put models into `onnx`), the data's. */
export function tokenizerFolders(modelPath: string | undefined, dataPath: string | null): string[] {
  const folders: string[] = [];
  if (modelPath) {
    const home = dirname(modelPath);
    folders.push(home);
    if (basename(home).toLowerCase() === 'onnx') folders.push(dirname(home));
  }
  if (dataPath) folders.push(dirname(dataPath));
  return [...new Set(folders)];
}

/** Files in those folders that may describe tokens, the likeliest first. */
export function vocabularyFiles(modelPath: string | undefined, dataPath: string | null): string[] {
  return tokenizerFolders(modelPath, dataPath)
    .flatMap((folder) => FILES.map((name) => join(folder, name)))
    .filter((path) => existsSync(path));
}

/**
 * The tokenizer of a model: `tokenizer.json` as Hugging Face writes it, or `vocab.json` that lists characters.
 * @throws SecateurError 'bad-data' that says where it was looked for, or why a file is none
 */
export function findTokenizer(modelPath: string | undefined, dataPath: string): TextTokenizer {
  const [path] = vocabularyFiles(modelPath, dataPath);
  if (path === undefined)
    throw new SecateurError(
      'bad-data',
      `Text needs a tokenizer, but there is no tokenizer.json or vocab.json in ${tokenizerFolders(modelPath, dataPath).join(' or ')}.`,
      'Put the tokenizer.json of the model beside it, or give token numbers as .npz.',
    );
  const json = readJson(path);
  return basename(path) === 'vocab.json' ? characterTokenizer(json, path) : libraryTokenizer(json, path);
}

function readJson(path: string): unknown {
  if (statSync(path).size > MOST_BYTES) throw new SecateurError('bad-data', `${path} is too large for a tokenizer.`);
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (thrown) {
    throw new SecateurError('bad-data', `${path} cannot be read: ${(thrown as Error).message}.`, '', { cause: thrown });
  }
}

function libraryTokenizer(json: unknown, path: string): TextTokenizer {
  let tokenizer: Tokenizer;
  try {
    tokenizer = new Tokenizer(json as object, {});
    tokenizer.encode('a');
  } catch (thrown) {
    throw new SecateurError(
      'bad-data',
      `${path} is no tokenizer that Secateur reads: ${(thrown as Error).message}.`,
      '',
      {
        cause: thrown,
      },
    );
  }
  const encode = (text: string): number[] => tokenizer.encode(text, { add_special_tokens: false }).ids;
  const idOf = (names: readonly string[]): number | undefined =>
    names.map((name) => tokenizer.token_to_id(name)).find((id) => id !== undefined);
  const padding = (json as { padding?: { pad_id?: unknown } | null }).padding?.pad_id;
  return {
    path,
    encode,
    ...surroundings(encode('a'), tokenizer.encode('a').ids),
    pad: typeof padding === 'number' ? padding : (idOf(PADS) ?? 0),
    masks: idOf(MASKS) !== undefined,
  };
}

/** The special tokens before and after the tokens of a text. */
function surroundings(plain: readonly number[], whole: readonly number[]): { prefix: number[]; suffix: number[] } {
  const at = whole.findIndex((_, i) => plain.every((id, k) => whole[i + k] === id));
  if (at < 0 || plain.length === 0) return { prefix: [], suffix: [] };
  return { prefix: whole.slice(0, at), suffix: whole.slice(at + plain.length) };
}
