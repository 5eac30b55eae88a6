import { SecateurError } from '../../errors.ts';
import { convertInto, isFloatHost, type TypedArray } from '../../runtime/host-tensor.ts';
import type { NamedArray } from './npy.ts';
import { positionText, shapeText } from './raw.ts';

/**
 * Label of a position that does not count: padding, or the end of a text, whose next token nobody knows. The number that
 * torch ignores. It means this only where a sample has a label for each of several positions.
 */
export const IGNORED_LABEL = -100;

/** How many positions of each sample have a label that counts; null: all of them. */
export function countedPositions(labels: ArrayLike<number> | null, perSample: number): Int32Array | null {
  if (!labels || perSample < 2) return null;
  const counts = new Int32Array(labels.length / perSample);
  let all = true;
  for (let i = 0; i < labels.length; i++)
    if (labels[i] === IGNORED_LABEL) all = false;
    else counts[Math.floor(i / perSample)]++;
  return all ? null : counts;
}

/**
 * What means over a sample's positions, those that do not count taken as 0, are multiplied with so that the mean over
 * samples is the mean over all positions that count.
 */
export function countedScale(counts: Int32Array | null, perSample: number): number {
  if (!counts) return 1;
  const counted = counts.reduce((sum, n) => sum + n, 0);
  return counted === 0 ? 0 : (counts.length * perSample) / counted;
}

/** Whether a label is a class of the output, or says that its position does not count. */
export function isClass(label: number, classes: number, labelsPerSample: number): boolean {
  if (label === IGNORED_LABEL && labelsPerSample > 1) return true;
  return Number.isInteger(label) && label >= 0 && label < classes;
}

/** Labels in one of two forms: class numbers, or real targets. */
export interface Labels {
  /** Sample by sample, `perSample` each. Int32Array when every label is an integer. */
  values: Int32Array | Float32Array;
  perSample: number;
  /** Largest class number + 1 for integer labels; null for real targets. */
  classes: number | null;
  classNames?: string[];
}

/**
 * Labels from an array whose axis 0 is the sample: [N], [N, 1], one per token [N, L], one per pixel [N, H, W], one-hot
 * [N, C] where `oneHot` says that C is the number of classes. Text becomes classes in sorted order.
 * @throws SecateurError 'bad-data' for a wrong count or NaN
 */
export function readLabels(
  array: NamedArray,
  samples: number,
  path: string,
  oneHot: (classes: number) => boolean,
): Labels {
  const [count = 1, ...rest] = array.dims;
  if (array.dims.length === 0 || count !== samples)
    throw new SecateurError(
      'bad-data',
      `${path}: ${array.name} has ${array.dims.length ? count : 'one'} label${count === 1 ? '' : 's'} (shape ${shapeText(array.dims)}) for ${samples} samples.`,
    );
  const perSample = rest.reduce((a, b) => a * b, 1);
  if (perSample === 0) throw new SecateurError('bad-data', `${path}: ${array.name} is empty.`);
  if (array.type === 'string') return fromText(array.data as string[], perSample);
  const numbers = new Float64Array(array.data.length);
  convertInto(array.data as TypedArray, array.type, 0, numbers, 'float64', 0, numbers.length);
  if (isFloatHost(array.type)) {
    const bad = numbers.findIndex((v) => !Number.isFinite(v));
    if (bad >= 0)
      throw new SecateurError(
        'bad-data',
        `${path}: ${array.name} is ${numbers[bad]} at ${positionText(bad, array.dims)}.`,
      );
  }
  if (!numbers.every((v) => Number.isInteger(v) && Math.abs(v) < 2 ** 31))
    return { values: Float32Array.from(numbers), perSample, classes: null };
  if (rest.length === 1 && rest[0] > 1 && oneHot(rest[0])) {
    const classes = decodeOneHot(numbers, rest[0]);
    if (classes) return { values: classes, perSample: 1, classes: rest[0] };
  }
  return { values: Int32Array.from(numbers), perSample, classes: numbers.reduce((a, b) => Math.max(a, b), 0) + 1 };
}

function fromText(texts: string[], perSample: number): Labels {
  const classNames = [...new Set(texts)].sort();
  const index = new Map(classNames.map((name, i) => [name, i]));
  return { values: Int32Array.from(texts, (t) => index.get(t)!), perSample, classes: classNames.length, classNames };
}

function decodeOneHot(numbers: Float64Array, classes: number): Int32Array | null {
  const out = new Int32Array(numbers.length / classes);
  for (let s = 0; s < out.length; s++) {
    let hot = -1;
    for (let c = 0; c < classes; c++) {
      const v = numbers[s * classes + c];
      if (v === 1 && hot < 0) hot = c;
      else if (v !== 0) return null;
    }
    if (hot < 0) return null;
    out[s] = hot;
  }
  return out;
}
