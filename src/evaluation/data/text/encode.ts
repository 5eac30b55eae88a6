import { setImmediate } from 'node:timers/promises';
import { checkSignal, SecateurError } from '../../../errors.ts';
import type { TextTokenizer } from './tokenizer.ts';

/** Characters that are encoded at once: a tokenizer's time and stack grow with its text. */
const PIECE = 16_384;
/** Characters on both sides of a cut by which it is tried. */
const CONTEXT = 64;
const TRIES = 64;

/**
 * Tokens of a text of any length. Long texts are cut where that changes nothing: at white space where the tokens around it
 * are the same with and without the cut.
 * @throws SecateurError 'cancelled' between two pieces
 */
export async function encodeText(
  { encode }: Pick<TextTokenizer, 'encode'>,
  text: string,
  signal?: AbortSignal,
): Promise<number[]> {
  const ids: number[] = [];
  for (let at = 0; at < text.length;) {
    checkSignal(signal);
    const { end, next } = cutAfter(encode, text, at + PIECE);
    for (const id of encodePiece(encode, text.slice(at, end))) ids.push(id);
    at = next;
    if (at < text.length) await setImmediate();
  }
  return ids;
}

function encodePiece(encode: (text: string) => number[], piece: string): number[] {
  try {
    return encode(piece);
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown;
    throw new SecateurError(
      'bad-data',
      `The text has ${piece.length} characters that the tokenizer takes as one piece: that is too long.`,
      'Break it into lines.',
      { cause: thrown },
    );
  }
}

/** Where the piece ends, and where the next one starts: behind a space where the tokenizer puts one before every piece. */
interface Cut {
  end: number;
  next: number;
}

function cutAfter(encode: (text: string) => number[], text: string, from: number): Cut {
  const spaces = /\s/g;
  spaces.lastIndex = from;
  let tries = 0;
  for (let found = spaces.exec(text); found; found = spaces.exec(text)) {
    const { index } = found;
    // Where many cuts in a row change something, the next are likely to do so too.
    if (++tries % TRIES === 0) spaces.lastIndex = index + PIECE;
    const cuts: Cut[] = [
      { end: index, next: index },
      { end: index + 1, next: index + 1 },
      { end: index, next: index + 1 },
    ];
    const cut = cuts.find((c) => c.next < text.length && changesNothing(encode, text, c));
    if (cut) return cut;
  }
  return { end: text.length, next: text.length };
}

function changesNothing(encode: (text: string) => number[], text: string, { end, next }: Cut): boolean {
  const [from, to] = [codePointStart(text, end - CONTEXT), next + CONTEXT];
  const whole = encode(text.slice(from, to));
  const parts = [...encode(text.slice(from, end)), ...encode(text.slice(next, to))];
  return whole.length === parts.length && whole.every((id, i) => id === parts[i]);
}

/** The first character of a code point at or after a position. */
function codePointStart(text: string, at: number): number {
  const from = Math.max(0, at);
  const low = text.charCodeAt(from);
  return low >= 0xdc00 && low < 0xe000 ? from + 1 : from;
}
