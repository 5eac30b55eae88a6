import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Larger files are no vocabulary that is worth the time. */
const MOST_BYTES = 64 * 2 ** 20;
const FILES = ['tokenizer.json', 'vocab.json'];

/**
 * Texts of tokens from a vocabulary beside the model: `tokenizer.json` (its `model.vocab`), or `vocab.json` (texts in the
 * order of their numbers, or numbers by text). Without one, or where it does not name all of them, the numbers themselves.
 * @param ids numbers of the tokens
 */
export function tokenTexts(modelPath: string, ids: readonly number[]): string[] {
  for (const name of FILES) {
    const texts = readVocabulary(join(dirname(modelPath), name));
    if (texts && ids.every((id) => texts.has(id))) return ids.map((id) => readable(texts.get(id)!));
  }
  return ids.map(String);
}

function readVocabulary(path: string): Map<number, string> | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat?.isFile() || stat.size > MOST_BYTES) return undefined;
  try {
    const json = JSON.parse(readFileSync(path, 'utf8')) as { model?: { vocab?: unknown } };
    return textsById(json.model?.vocab ?? json);
  } catch {
    // Not JSON, or not readable: it only would have made a nicer table.
    return undefined;
  }
}

/** From ["a", "b"], [["a", score], …] (unigram) or {"a": 0, …}. */
function textsById(vocabulary: unknown): Map<number, string> | undefined {
  if (Array.isArray(vocabulary))
    return new Map(vocabulary.map((entry: unknown, id) => [id, String(Array.isArray(entry) ? entry[0] : entry)]));
  if (typeof vocabulary !== 'object' || vocabulary === null) return undefined;
  const found = new Map<number, string>();
  for (const [text, id] of Object.entries(vocabulary)) if (typeof id === 'number') found.set(id, text);
  return found;
}

/** Byte-level vocabularies write a space as Ġ and a line break as Ċ, sentencepiece a space as ▁. */
function readable(text: string): string {
  return text.replace(/[Ġ▁]/g, ' ').replace(/Ċ/g, '\n').replace(/\n/g, '⏎');
}
