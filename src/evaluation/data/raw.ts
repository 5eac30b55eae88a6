import type { NamedArray } from './npy.ts';

/** What a reader found in a file or folder, before it is matched with a model. */
export interface RawData {
  /** Path as given, for messages. */
  path: string;
  arrays: NamedArray[];
  /** Labels, where the format itself says which they are (a CSV column, folder names); else found among `arrays`. */
  labels: NamedArray | null;
  /** Names of the classes 0, 1, … where they have names. */
  classNames?: string[];
  /** A reader that already chose samples (images are only decoded when chosen): their numbers in the whole data. */
  chosen?: Int32Array;
  /** The first axis counts whole runs of the model, not rows of its batch. */
  wholeRuns?: boolean;
  /** Text of a tokenizer that has a token for masked words. */
  masks?: boolean;
  /** Each array but labels is one column of numbers of a table (its names are the header). */
  table?: boolean;
  warnings: string[];
}

/** Names that mark an array or a column as labels, in order of preference. */
export const LABEL_NAMES = ['labels', 'label', 'y', 'target', 'targets', 'class'];

/** `[8, 3, 32, 32]`, symbols by name, ? for the unknown. */
export function shapeText(shape: readonly (number | string | null)[] | undefined): string {
  return shape ? `[${shape.map((d) => (d === null || d === '' ? '?' : String(d))).join(', ')}]` : 'of unknown rank';
}

/** Position of element `flat` in an array, as `[i, j, …]`. */
export function positionText(flat: number, dims: readonly number[]): string {
  const at: number[] = [];
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    at.unshift(flat % dims[axis]);
    flat = Math.floor(flat / dims[axis]);
  }
  return `[${at.join(', ')}]`;
}
