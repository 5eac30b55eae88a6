import type { Dim, Model } from '../../../graph/ir.ts';
import { allocate, convertInto, elementCount, type TypedArray } from '../../../runtime/host-tensor.ts';
import type { BoundInput } from '../dataset.ts';
import { IGNORED_LABEL } from '../labels.ts';
import { type ModelInput, plainName } from '../model-inputs.ts';
import type { NamedArray } from '../npy.ts';
import { LABEL_NAMES, type RawData } from '../raw.ts';
import { conventionOf, predictsNextToken, tokenBatch, tokenInput } from './token-input.ts';

/** What follows from the tokens of the data. */
export interface Completion {
  /** Inputs that the data do not name. */
  inputs: BoundInput[];
  /** The next token at every position, where the model predicts it and the data have no labels of their own. */
  labels: NamedArray | null;
  warnings: string[];
}

export const NOTHING_ADDED: Completion = { inputs: [], labels: null, warnings: [] };

/** Names that stand for the tokens where one input takes them. */
const TOKEN_ARRAYS = ['x', 'input_ids', 'tokens', 'ids'];

/**
 * Completes data of tokens by convention. Masks are 1 where there is a text; positions count what is masked in; token types
 * are 0; a cache of earlier tokens is empty; labels are the tokens one further on, the last of a text has none.
 */
export function completeTokens(
  model: Model,
  inputs: readonly ModelInput[],
  raw: RawData,
  constants: Readonly<Record<string, number>>,
): Completion {
  if (raw.wholeRuns || raw.table) return NOTHING_ADDED;
  const wanted = inputs.filter((i) => !Object.hasOwn(constants, i.name));
  const tokens = tokenInput(wanted);
  const ids = tokens && tokenArray(tokens, raw.arrays);
  if (!tokens || !ids) return NOTHING_ADDED;
  const named = new Set(raw.arrays.map((a) => plainName(a.name)));
  const mask = maskArray(raw.arrays, ids);
  const filled = wanted
    .filter((i) => i !== tokens && !named.has(plainName(i.name)))
    .flatMap((i) => completed(i, tokens, ids, mask) ?? []);
  return { inputs: filled, ...nextTokens(model, inputs, tokens, ids, mask, raw) };
}

function tokenArray(tokens: ModelInput, arrays: readonly NamedArray[]): NamedArray | undefined {
  const fits = (a: NamedArray | undefined): a is NamedArray =>
    a !== undefined && a.type !== 'string' && a.dims.length === 2 && a.data.length > 0;
  const names = [plainName(tokens.name), ...TOKEN_ARRAYS];
  return names.map((name) => arrays.find((a) => plainName(a.name) === name)).find(fits);
}

/** The array of the data that tells texts from padding. */
function maskArray(arrays: readonly NamedArray[], ids: NamedArray): Uint8Array | null {
  const found = arrays.find((a) => conventionOf(a.name) === 'mask' && a.dims.join() === ids.dims.join());
  if (!found || found.type === 'string') return null;
  const numbers = numbersOf(found);
  return numbers.includes(0) ? Uint8Array.from(numbers, (v) => (v === 0 ? 0 : 1)) : null;
}

function numbersOf(array: NamedArray): Float64Array {
  const numbers = new Float64Array(array.data.length);
  if (array.type !== 'string')
    convertInto(array.data as TypedArray, array.type, 0, numbers, 'float64', 0, numbers.length);
  return numbers;
}

/** An input by its convention; undefined where it has none or another shape than usual. */
function completed(
  input: ModelInput,
  tokens: ModelInput,
  ids: NamedArray,
  mask: Uint8Array | null,
): BoundInput | undefined {
  const length = ids.dims[1];
  const rank = input.shape?.length ?? 2;
  const perToken = rank === 2 && fits(input.shape?.[1], length);
  switch (conventionOf(input.name)) {
    case 'mask':
      if (!perToken) return undefined;
      return mask ? rows(input, length, Int32Array.from(mask)) : same(input, [1], (n) => [n, length]);
    case 'types':
      return perToken ? same(input, [0], (n) => [n, length]) : undefined;
    case 'positions':
      if (!perToken && !(rank === 1 && fits(input.shape?.[0], length))) return undefined;
      if (mask && rank === 2) return rows(input, length, positionsOf(mask, length));
      return same(input, counting(length), (n) => (rank === 1 ? [length] : [n, length]));
    case 'cache-positions':
      return rank === 1 ? same(input, counting(length), () => [length]) : undefined;
    case 'use-cache':
      return same(input, [0], () => (rank === 0 ? [] : [1]));
    case 'past':
      return emptyCache(input, tokens);
    default:
      return undefined;
  }
}

const fits = (declared: Dim | undefined, size: number): boolean => typeof declared !== 'number' || declared === size;
const counting = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** An input that has its own numbers for every sample. */
function rows(input: ModelInput, length: number, data: Int32Array): BoundInput {
  return { name: input.name, type: input.type, kind: 'rows', sampleShape: [length], data, dataType: 'int32' };
}

/** An input that is the same for all samples: `numbers`, repeated to fill the shape. */
function same(input: ModelInput, numbers: readonly number[], dims: (n: number) => number[]): BoundInput {
  const data = allocate(input.type, numbers.length);
  convertInto(Float64Array.from(numbers), 'float64', 0, data, input.type, 0, numbers.length);
  return {
    name: input.name,
    type: input.type,
    kind: 'constant',
    sampleShape: dims(1),
    data,
    dataType: input.type,
    dims,
  };
}

/** Positions count the tokens of the text; those of the padding are 1, as in Hugging Face's generation. */
function positionsOf(mask: Uint8Array, length: number): Int32Array {
  const positions = new Int32Array(mask.length);
  let seen = 0;
  mask.forEach((kept, i) => {
    if (i % length === 0) seen = 0;
    seen += kept;
    positions[i] = kept ? seen - 1 : 1;
  });
  return positions;
}

/** Keys and values of no earlier tokens: the open axis that is not the batch has the size 0. */
function emptyCache(input: ModelInput, tokens: ModelInput): BoundInput | undefined {
  const shape = input.shape;
  if (!shape || shape.length < 3) return undefined;
  const batch = tokenBatch(tokens);
  const batchAxis = batch === null ? (shape.length === 5 ? 1 : 0) : shape.indexOf(batch);
  const open = shape.flatMap((d, axis) => (axis !== batchAxis && typeof d !== 'number' ? [axis] : []));
  if (open.length !== 1) return undefined;
  const dims = (n: number): number[] =>
    shape.map((d, axis) => (axis === open[0] ? 0 : axis === batchAxis && typeof d !== 'number' ? n : Number(d)));
  return {
    name: input.name,
    type: input.type,
    kind: 'constant',
    sampleShape: dims(1),
    data: allocate(input.type, elementCount(dims(1))),
    dataType: input.type,
    dims,
  };
}

function nextTokens(
  model: Model,
  inputs: readonly ModelInput[],
  tokens: ModelInput,
  ids: NamedArray,
  mask: Uint8Array | null,
  raw: RawData,
): Pick<Completion, 'labels' | 'warnings'> {
  const none = { labels: null, warnings: [] };
  if (raw.labels || !predictsNextToken(model, inputs, tokens, raw.masks ?? false)) return none;
  const own = raw.arrays.find((a) => a !== ids && LABEL_NAMES.includes(a.name.toLowerCase()));
  const numbers = numbersOf(ids);
  if (own && !repeats(own, ids, numbers)) return none;
  const length = ids.dims[1];
  const labels = Int32Array.from(numbers, (_, i) => {
    const last = i % length === length - 1;
    return last || (mask && !(mask[i] && mask[i + 1])) ? IGNORED_LABEL : numbers[i + 1];
  });
  if (labels.every((label) => label === IGNORED_LABEL)) return none;
  if (own) {
    const kept = numbersOf(own);
    for (let i = 0; i < labels.length; i++)
      if (labels[i] !== IGNORED_LABEL && kept[i + 1] === IGNORED_LABEL) labels[i] = IGNORED_LABEL;
  }
  return {
    labels: { name: own?.name ?? 'next tokens', dims: [...ids.dims], type: 'int32', data: labels },
    warnings: own
      ? [`The labels ${own.name} are the tokens themselves: each token is taken as the label of the one before.`]
      : [],
  };
}

/** Whether labels are the tokens themselves, as trainers that shift them take them. */
function repeats(labels: NamedArray, ids: NamedArray, numbers: Float64Array): boolean {
  if (labels.type === 'string' || labels.dims.join() !== ids.dims.join()) return false;
  return numbersOf(labels).every((label, i) => label === IGNORED_LABEL || label === numbers[i]);
}
