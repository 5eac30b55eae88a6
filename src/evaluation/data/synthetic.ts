import type { Dim } from '../../graph/ir.ts';
import { Rng } from '../../math/random.ts';
import { allocate, convertInto, elementCount, isFloatHost, type TypedArray } from '../../runtime/host-tensor.ts';
import { batchSymbol, type ModelInput } from './model-inputs.ts';
import type { NamedArray } from './npy.ts';
import { type RawData, shapeText } from './raw.ts';
import { indexedTables } from './text/token-input.ts';

/** Synthetic samples when nothing says how many. */
export const SYNTHETIC_SAMPLES = 64;
export const SYNTHETIC_WARNING = 'No data: synthetic inputs, compares outputs only.';

const OPEN_SIZE = { image: 224, sequence: 16 };

/**
 * Seeded inputs made from the declared shapes: floats standard normal, integers uniform in a small range (below the
 * number of rows where they index a table), booleans fair coins. Inputs that have no batch axis while others have one
 * become constants: states 0, scalars 1.
 */
export function syntheticData(
  inputs: readonly ModelInput[],
  constants: Readonly<Record<string, number>>,
  samples: number,
  seed: number,
): {
  raw: RawData;
  constants: Record<string, number>;
} {
  const warnings = [SYNTHETIC_WARNING];
  const filled = { ...constants };
  const wanted = inputs.filter((i) => !Object.hasOwn(constants, i.name));
  const batch = batchSymbol(wanted);
  const open = wanted.some((i) => i.shape === undefined || isOpen(i.shape[0]));
  const isState = (i: ModelInput): boolean =>
    open && batch !== null && typeof i.shape?.[0] === 'number' && i.shape.includes(batch);
  // Inputs that do not share their first dim (and are no states with the batch elsewhere): each sample is a run.
  const firsts = new Set(
    wanted.filter((i) => i.shape?.length !== 0 && !isState(i)).map((i) => (isOpen(i.shape?.[0]) ? null : i.shape![0])),
  );
  const wholeRuns = firsts.size !== 1;
  const symbols = new Map<string, number>();
  const arrays: NamedArray[] = [];
  for (const input of wanted) {
    const shape = input.shape;
    const state = isState(input);
    if (shape?.length === 0 || state) {
      filled[input.name] = state ? 0 : 1;
      warnings.push(
        `Input ${input.name} ${shapeText(shape)} is fed with ${filled[input.name]} (give another value with --input ${input.name}=value).`,
      );
      continue;
    }
    const sizes = (shape ?? [null]).map((d, axis) => sizeOf(d, axis, input, symbols));
    const dims = wholeRuns ? [samples, ...sizes] : [samples, ...sizes.slice(1)];
    if (shape === undefined || shape.slice(wholeRuns ? 0 : 1).some(isOpen))
      warnings.push(
        `Input ${input.name} ${shapeText(shape)} leaves its size open: ${shapeText(dims.slice(1))} was taken.`,
      );
    const rng = Rng.from(seed, `synthetic ${input.name}`);
    arrays.push({ name: input.name, dims, type: input.type, data: values(input, elementCount(dims), rng) });
  }
  return { raw: { path: 'synthetic inputs', arrays, labels: null, wholeRuns, warnings }, constants: filled };
}

function isOpen(d: Dim | undefined): boolean {
  return typeof d !== 'number';
}

/** A size for an open dim; the same symbol always gets the same. */
function sizeOf(d: Dim, axis: number, input: ModelInput, symbols: Map<string, number>): number {
  if (typeof d === 'number') return d;
  if (d && symbols.has(d)) return symbols.get(d)!;
  const size = guessSize(axis, input);
  if (d) symbols.set(d, size);
  return size;
}

function guessSize(axis: number, input: ModelInput): number {
  const shape = input.shape ?? [];
  if (axis === 0) return 1;
  const conv = input.value.uses.find((u) => u.index === 0 && u.node.opType === 'Conv');
  const weight = conv?.node.inputs[1]?.initializer;
  if (weight && axis === 1) return weight.dims[1] * (conv?.node.int('group', 1) ?? 1);
  if (shape.length === 4) {
    if (axis === 1) return 3;
    return axis === 3 && isOpen(shape[2]) === false ? (shape[2] as number) : OPEN_SIZE.image;
  }
  return shape.length >= 5 ? 16 : OPEN_SIZE.sequence;
}

function values(input: ModelInput, count: number, rng: Rng): TypedArray {
  const data = allocate(input.type, count);
  const numbers = new Float64Array(count);
  if (isFloatHost(input.type)) for (let i = 0; i < count; i += 2) pair(rng, numbers, i);
  else {
    const limit = input.type === 'bool' ? 2 : integerLimit(input);
    for (let i = 0; i < count; i++) numbers[i] = rng.int(limit);
  }
  convertInto(numbers, 'float64', 0, data, input.type, 0, count);
  return data;
}

/** Two independent standard normal numbers (Box and Muller 1958). */
function pair(rng: Rng, out: Float64Array, at: number): void {
  const radius = Math.sqrt(-2 * Math.log(1 - rng.float()));
  const angle = 2 * Math.PI * rng.float();
  out[at] = radius * Math.cos(angle);
  if (at + 1 < out.length) out[at + 1] = radius * Math.sin(angle);
}

/** One more than the largest integer that is safe to feed: the rows of the table that it indexes, 2 for masks, else 10. */
function integerLimit(input: ModelInput): number {
  const tables = indexedTables(input.value).map(([rows]) => rows);
  if (tables.length > 0) return Math.max(1, Math.min(...tables));
  if (/mask/i.test(input.name)) return 2;
  return input.type === 'uint8' ? 256 : 10;
}
