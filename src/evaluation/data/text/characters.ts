import { SecateurError } from '../../../errors.ts';
import type { TextTokenizer } from './tokenizer.ts';

const UNKNOWN = ['<unk>', '[UNK]', '<UNK>'];
const PADS = ['<pad>', '[PAD]', '<PAD>'];

/**
 * A tokenizer whose tokens are characters (Unicode code points), from a list of them in the order of their numbers or an
 * object of numbers by character. Special tokens such as `<pad>` and `<unk>` may be among them.
 * @throws SecateurError 'bad-data' when most entries are no characters; from `encode` for a character that it lacks
 */
export function characterTokenizer(json: unknown, path: string): TextTokenizer {
  const ids = idsByText(json);
  const texts = [...ids.keys()];
  const characters = texts.filter((text) => [...text].length === 1);
  if (characters.length === 0 || texts.length - characters.length > 16)
    throw new SecateurError(
      'bad-data',
      `${path} is not a vocabulary of characters.`,
      'Tokens that are longer need the tokenizer.json of the model.',
    );
  const unknown = UNKNOWN.map((name) => ids.get(name)).find((id) => id !== undefined);
  const encode = (text: string): number[] =>
    Array.from(text, (character) => {
      const id = ids.get(character) ?? unknown;
      if (id === undefined)
        throw new SecateurError(
          'bad-data',
          `The text has the character ${JSON.stringify(character)}, which ${path} does not list.`,
        );
      return id;
    });
  const pad = PADS.map((name) => ids.get(name)).find((id) => id !== undefined);
  return { path, encode, prefix: [], suffix: [], pad: pad ?? 0, masks: false };
}

function idsByText(json: unknown): Map<string, number> {
  if (Array.isArray(json)) return new Map(json.map((text: unknown, id) => [String(text), id]));
  if (typeof json !== 'object' || json === null) return new Map();
  return new Map(Object.entries(json).filter((entry): entry is [string, number] => Number.isInteger(entry[1])));
}
