import { readFileSync, statSync } from 'node:fs';
import { vocabularyFiles } from '../../evaluation/data/index.ts';

/** Larger files are no vocabulary that is worth the time. */
const MOST_BYTES = 64 * 2 ** 20;

/**
 * Texts of tokens from a vocabulary beside the model or the data: `tokenizer.json` (its `model.vocab` and added tokens), or
 * `vocab.json` (texts in the order of their numbers, or numbers by text). Without one, or where it does not name all of them, the numbers themselves.
 * @param ids numbers of the tokens
 */
export function tokenTexts(modelPath: string, dataPath: string | null, ids: readonly number[]): string[] {
  for (const path of vocabularyFiles(modelPath, dataPath)) {
    const texts = readVocabulary(path);
    if (texts && ids.every((id) => texts.has(id))) return ids.map((id) => readable(texts.get(id)!));
  }
  return ids.map(String);
}

function readVocabulary(path: string): Map<number, string> | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat?.isFile() || stat.size > MOST_BYTES) return undefined;
  try {
    const json = JSON.parse(readFileSync(path, 'utf8')) as {
      model?: { vocab?: unknown };
      added_tokens?: { id: number; content: string }[];
    };
    const texts = textsById(json.model?.vocab ?? json);
    for (const { id, content } of json.added_tokens ?? []) texts?.set(id, content);
    return texts;
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
