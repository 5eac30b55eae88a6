import { SecateurError } from '../../errors.ts';
import type { Dim } from '../../graph/ir.ts';
import { allocate, elementCount, type TypedArray } from '../../runtime/host-tensor.ts';
import type { ModelInput } from './model-inputs.ts';
import type { NamedArray } from './npy.ts';
import { shapeText } from './raw.ts';

/** How an array of a data file feeds an input. */
export interface Fit {
  kind: 'rows' | 'whole';
  samples: number;
  sampleShape: number[];
  data: TypedArray;
  /** Rows that the input demands; null: any. */
  batch: number | null;
  warning?: string;
}

/**
 * Fits an array to an input. Understood, in this order: samples along axis 0 as declared; one sample without the batch
 * axis; samples in front of an input that has no batch axis; flat rows, or missing axes of size 1; images with channels
 * last for an input with channels first (and the other way round).
 * @returns undefined when it does not fit
 */
export function fitArray(array: NamedArray, input: ModelInput, wholeRuns: boolean): Fit | undefined {
  if (array.type === 'string') return undefined;
  const data = array.data as TypedArray;
  const shape = input.shape;
  const dims = array.dims;
  const rest = dims.slice(1);
  if (wholeRuns) {
    if (shape && !agrees(shape, rest)) return undefined;
    return { kind: 'whole', samples: dims[0], sampleShape: rest, data, batch: 1 };
  }
  if (dims.length === 0) return undefined;
  if (!shape) return { kind: 'rows', samples: dims[0], sampleShape: rest, data, batch: null };
  if (shape.length > 0) {
    const batch = typeof shape[0] === 'number' ? shape[0] : null;
    const want = shape.slice(1);
    const rows = { kind: 'rows' as const, data, batch };
    if (shape.length === dims.length && agrees(want, rest)) return { ...rows, samples: dims[0], sampleShape: rest };
    if (shape.length === dims.length + 1 && agrees(want, dims) && (batch === null || batch === 1))
      return { ...rows, samples: 1, sampleShape: [...dims] };
    if (dims.length === shape.length + 1 && agrees(shape, rest))
      return { kind: 'whole', samples: dims[0], sampleShape: rest, data, batch: 1 };
    const size = want.every((d) => typeof d === 'number') ? (want as number[]) : undefined;
    if (size && elementCount(size) === elementCount(rest)) {
      const core = (d: number[]): string => d.filter((n) => n !== 1).join();
      if (rest.length === 1 || size.length === 1 || core(rest) === core(size))
        return {
          ...rows,
          samples: dims[0],
          sampleShape: size,
          warning: `Array ${array.name} of shape ${shapeText(dims)} is fed as ${shapeText([dims[0], ...size])}.`,
        };
      const moved = moveChannels(rest, size, data, dims[0]);
      if (moved)
        return {
          ...rows,
          samples: dims[0],
          sampleShape: size,
          data: moved,
          warning: `Array ${array.name} of shape ${shapeText(dims)} has its channels on another axis than the model's ${shapeText(shape)}: they were moved.`,
        };
    }
    return undefined;
  }
  // A scalar input: one run per sample.
  return rest.length === 0 ? { kind: 'whole', samples: dims[0], sampleShape: [], data, batch: 1 } : undefined;
}

/** @throws SecateurError 'bad-data' with both shapes */
export function misfit(array: NamedArray, input: ModelInput, path: string): SecateurError {
  return new SecateurError(
    'bad-data',
    `${path}: array ${array.name} has the shape ${shapeText(array.dims)}, which does not fit the model's input ${input.name} of shape ${shapeText(input.shape)}.`,
    'The first axis of the array counts the samples; the others must be those of the model.',
  );
}

/** True when every declared number is the actual one. */
function agrees(declared: readonly Dim[], actual: readonly number[]): boolean {
  return declared.length === actual.length && declared.every((d, i) => typeof d !== 'number' || d === actual[i]);
}

/** Images [H, W, C] for an input [C, H, W], or the other way round. */
function moveChannels(from: number[], to: number[], data: TypedArray, samples: number): TypedArray | undefined {
  if (from.length !== 3 || to.length !== 3) return undefined;
  const toFirst = from[0] === to[1] && from[1] === to[2] && from[2] === to[0];
  const toLast = from[1] === to[0] && from[2] === to[1] && from[0] === to[2];
  if (!toFirst && !toLast) return undefined;
  const channels = toFirst ? to[0] : to[2];
  const pixels = elementCount(to) / channels;
  const out = data.slice() as TypedArray;
  for (let s = 0; s < samples; s++)
    for (let p = 0; p < pixels; p++)
      for (let c = 0; c < channels; c++) {
        const last = (s * pixels + p) * channels + c;
        const first = (s * channels + c) * pixels + p;
        if (toFirst) out[first] = data[last];
        else out[last] = data[first];
      }
  return out;
}

/** Joins the columns of a table into one matrix [rows, columns]. */
export function joinColumns(columns: readonly NamedArray[], name: string): NamedArray {
  const rows = columns[0]?.dims[0] ?? 0;
  const data = allocate('float64', rows * columns.length);
  columns.forEach((column, c) => {
    for (let r = 0; r < rows; r++) data[r * columns.length + c] = (column.data as Float64Array)[r];
  });
  return { name, dims: [rows, columns.length], type: 'float64', data, columns: columns.map((c) => c.name) };
}
