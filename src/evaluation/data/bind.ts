import { SecateurError } from '../../errors.ts';
import type { Dim } from '../../graph/ir.ts';
import { allocate, convertInto, isFloatHost, type TypedArray } from '../../runtime/host-tensor.ts';
import { checkConvertible } from './convert.ts';
import type { BoundInput } from './dataset.ts';
import { fitArray, joinColumns, misfit } from './fit.ts';
import { batchSymbol, type ModelInput, plainName } from './model-inputs.ts';
import type { NamedArray } from './npy.ts';
import { LABEL_NAMES, type RawData, shapeText } from './raw.ts';

/** Arrays matched with the inputs of a model. */
export interface Binding {
  inputs: BoundInput[];
  samples: number;
  batchSize: number | null;
  /** The array that holds labels, if any. */
  labels: NamedArray | null;
  warnings: string[];
}

/** Names that stand for the input of a model with a single one. */
const SINGLE_NAMES = ['x', 'input', 'inputs', 'image', 'images', 'data', 'features', 'input_ids'];

/**
 * Matches arrays with the inputs of a model: by name, or for a model with one input the array `x` or the only one that
 * fits. Inputs in `constants` need none, nor those in `given`, which are bound already.
 * @throws SecateurError 'bad-data' naming the inputs that nothing feeds, or both shapes where an array does not fit;
 * 'usage' when a constant names no input
 */
export function bindArrays(
  inputs: readonly ModelInput[],
  raw: RawData,
  constants: Readonly<Record<string, number>>,
  given: readonly BoundInput[] = [],
): Binding {
  for (const name of Object.keys(constants))
    if (!inputs.some((i) => i.name === name))
      throw new SecateurError(
        'usage',
        `The model has no input named ${name}.`,
        `Its inputs: ${inputs.map((i) => i.name).join(', ')}.`,
      );
  const wanted = inputs.filter((i) => !Object.hasOwn(constants, i.name) && !given.some((g) => g.name === i.name));
  const warnings: string[] = [];
  const arrays = raw.table ? tableArrays(raw, wanted) : raw.arrays;
  const found = matchNames(wanted, arrays, raw);
  const used = new Set(found.values());
  const labels = raw.labels ?? findLabels(raw.arrays.filter((a) => !used.has(a)));
  const bound: BoundInput[] = [...given];
  let samples: number | undefined;
  let batchSize: number | null = null;
  let counted = '';
  for (const input of wanted) {
    const array = found.get(input)!;
    if (array.dims.length === 0 && array.type !== 'string') {
      checkConvertible(array, input.type, raw.path);
      bound.push(constantInput(input, array.data as TypedArray, array.type, null, wanted, found));
      continue;
    }
    const fit = fitArray(array, input, raw.wholeRuns ?? false);
    if (!fit) throw misfit(array, input, raw.path);
    if (samples !== undefined && fit.samples !== samples)
      throw new SecateurError(
        'bad-data',
        `${raw.path}: array ${array.name} has ${fit.samples} samples, but ${counted} has ${samples}.`,
      );
    samples = fit.samples;
    counted = array.name;
    if (samples === 0)
      throw new SecateurError(
        'bad-data',
        `${raw.path}: array ${array.name} has no samples (shape ${shapeText(array.dims)}).`,
      );
    if (fit.batch !== null) {
      if (batchSize !== null && batchSize !== fit.batch)
        throw new SecateurError(
          'unsupported',
          `The model's inputs want batches of different sizes (${batchSize} and ${fit.batch}).`,
        );
      batchSize = fit.batch;
    }
    checkConvertible(array, input.type, raw.path);
    if (fit.warning) warnings.push(fit.warning);
    if (isFloatHost(input.type) && array.type === 'uint8')
      warnings.push(`Array ${array.name} holds 8-bit integers; they are fed as the numbers 0…255, without scaling.`);
    const dataType = array.type as Exclude<NamedArray['type'], 'string'>;
    bound.push({
      name: input.name,
      type: input.type,
      kind: fit.kind,
      sampleShape: fit.sampleShape,
      data: fit.data,
      dataType,
      ...(array.columns ? { columns: array.columns } : {}),
    });
  }
  if (samples === undefined)
    throw new SecateurError(
      'bad-data',
      `${raw.path} feeds none of the model's inputs: at least one must come from the data.`,
    );
  for (const input of inputs) {
    if (!Object.hasOwn(constants, input.name)) continue;
    bound.push(constantInput(input, Float64Array.of(constants[input.name]), 'float64', batchSize, wanted, found));
  }
  return { inputs: inputs.map((i) => bound.find((b) => b.name === i.name)!), samples, batchSize, labels, warnings };
}

/** Columns under their own names when they are the inputs' names, else all columns as one matrix. */
function tableArrays(raw: RawData, wanted: readonly ModelInput[]): NamedArray[] {
  const names = new Set(raw.arrays.map((a) => plainName(a.name)));
  if (wanted.every((i) => names.has(plainName(i.name)))) return raw.arrays;
  if (wanted.length === 1 && raw.arrays.length > 0) return [joinColumns(raw.arrays, 'x')];
  return raw.arrays;
}

function findLabels(arrays: readonly NamedArray[]): NamedArray | null {
  for (const name of LABEL_NAMES) {
    const array = arrays.find((a) => a.name.toLowerCase() === name);
    if (array) return array;
  }
  return null;
}

function matchNames(
  wanted: readonly ModelInput[],
  arrays: readonly NamedArray[],
  raw: RawData,
): Map<ModelInput, NamedArray> {
  const found = new Map<ModelInput, NamedArray>();
  for (const input of wanted) {
    const array =
      arrays.find((a) => a.name === input.name) ?? arrays.find((a) => plainName(a.name) === plainName(input.name));
    if (array) found.set(input, array);
  }
  if (wanted.length === 1 && found.size === 0) {
    const [input] = wanted;
    const array = single(input, arrays, raw.wholeRuns ?? false);
    if (array) found.set(input, array);
  }
  const missing = wanted.filter((i) => !found.has(i));
  if (missing.length > 0) {
    const names = missing.map((i) => `${i.name} ${shapeText(i.shape)}`).join(', ');
    throw new SecateurError(
      'bad-data',
      `${raw.path} has no array for the model's input${missing.length > 1 ? 's' : ''} ${names}.`,
      `It holds ${
        arrays
          .map((a) => `${a.name} ${shapeText(a.dims)}`)
          .slice(0, 12)
          .join(', ') || 'nothing'
      }. Name an array so, or give a constant: --input ${missing[0].name}=value.`,
    );
  }
  return found;
}

/** The array for a model with one input: by a usual name, else the only one that fits. */
function single(input: ModelInput, arrays: readonly NamedArray[], wholeRuns: boolean): NamedArray | undefined {
  for (const name of SINGLE_NAMES) {
    const array = arrays.find((a) => plainName(a.name) === name);
    if (array) return array;
  }
  const candidates = arrays.filter((a) => a.type !== 'string' && !LABEL_NAMES.includes(a.name.toLowerCase()));
  const fitting = candidates.filter((a) => fitArray(a, input, wholeRuns));
  if (fitting.length === 1) return fitting[0];
  return fitting.length === 0 && candidates.length === 1 ? candidates[0] : undefined;
}

/**
 * An input with the same values in every run. Symbolic dims take the numbers that the data give them; the batch
 * dimension follows the batch.
 */
function constantInput(
  input: ModelInput,
  data: TypedArray,
  dataType: BoundInput['dataType'],
  batchSize: number | null,
  wanted: readonly ModelInput[],
  found: ReadonlyMap<ModelInput, NamedArray>,
): BoundInput {
  const value = allocate(input.type, 1);
  convertInto(data, dataType, 0, value, input.type, 0, 1);
  const back = new Float64Array(2);
  convertInto(data, dataType, 0, back, 'float64', 0, 1);
  convertInto(value, input.type, 0, back, 'float64', 1, 1);
  if (!isFloatHost(input.type) && back[0] !== back[1])
    throw new SecateurError(
      'usage',
      `The value ${back[0]} does not fit the model's input ${input.name} of type ${input.type}.`,
    );
  const batch = batchSymbol(wanted);
  const symbols = knownSymbols(wanted, found);
  const size = (d: Dim, axis: number, n: number): number => {
    if (typeof d === 'number') return d;
    if (d !== null && d !== '') return d === batch ? n : (symbols.get(d) ?? (axis === 0 && batch === null ? n : 1));
    return axis === 0 ? n : 1;
  };
  const shape = input.shape ?? [];
  const dims = (n: number): number[] => shape.map((d, axis) => size(d, axis, n));
  return {
    name: input.name,
    type: input.type,
    kind: 'constant',
    sampleShape: dims(batchSize ?? 1),
    data: value,
    dataType: input.type,
    dims,
  };
}

/** Numbers that the arrays give to symbolic dims (not the batch's). */
function knownSymbols(wanted: readonly ModelInput[], found: ReadonlyMap<ModelInput, NamedArray>): Map<string, number> {
  const symbols = new Map<string, number>();
  for (const input of wanted) {
    const dims = found.get(input)?.dims;
    if (!input.shape || dims?.length !== input.shape.length) continue;
    input.shape.forEach((d, axis) => {
      if (axis > 0 && typeof d === 'string' && d !== '' && !symbols.has(d)) symbols.set(d, dims[axis]);
    });
  }
  return symbols;
}
