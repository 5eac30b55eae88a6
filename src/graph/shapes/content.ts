import { DataType } from '../../onnx/data-type.ts';
import type { Tensor } from '../../onnx/tensor.ts';
import type { Dim } from '../ir.ts';
import type { Content } from './context.ts';

/** Tensors with more elements are not looked into: they are weights, not sizes. */
const MAX_ELEMENTS = 128;
const READABLE: ReadonlySet<number> = new Set([
  DataType.FLOAT,
  DataType.DOUBLE,
  DataType.FLOAT16,
  DataType.INT64,
  DataType.INT32,
  DataType.UINT32,
  DataType.UINT64,
  DataType.INT16,
  DataType.UINT16,
  DataType.INT8,
  DataType.UINT8,
  DataType.BOOL,
]);

/** Elements of a small constant tensor; undefined when it is large, of another kind, or cannot be read. */
export function contentOfTensor(tensor: Tensor): Content | undefined {
  if (tensor.elementCount > MAX_ELEMENTS || !READABLE.has(tensor.dataType)) return undefined;
  try {
    const values = tensor.toNumbers();
    const float =
      tensor.dataType === DataType.FLOAT || tensor.dataType === DataType.DOUBLE || tensor.dataType === DataType.FLOAT16;
    return float ? values : values.map((v) => Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, v)));
  } catch {
    return undefined; // a missing external file: whoever needs the bytes will say so
  }
}

/** Contents of the slices at `positions` along an axis; undefined where the dims are not numbers. */
export function takeContent(
  content: Content | undefined,
  dims: readonly Dim[],
  axis: number,
  positions: readonly number[],
): Content | undefined {
  const size = dims[axis];
  if (!content || typeof size !== 'number') return undefined;
  const inner = count(dims.slice(axis + 1));
  const outer = count(dims.slice(0, axis));
  if (inner === undefined || outer === undefined || outer * positions.length * inner > 4 * MAX_ELEMENTS)
    return undefined;
  const out: Dim[] = [];
  for (let o = 0; o < outer; o++)
    for (const p of positions) for (let i = 0; i < inner; i++) out.push(content[(o * size + p) * inner + i] ?? null);
  return out;
}

/** Contents after a permutation of the axes. */
export function permuteContent(
  content: Content | undefined,
  dims: readonly Dim[],
  perm: readonly number[],
): Content | undefined {
  const total = count(dims);
  if (!content || total !== content.length) return undefined;
  const sizes = dims as readonly number[];
  const strides = sizes.map((_, i) => sizes.slice(i + 1).reduce((a, b) => a * b, 1));
  const shape = perm.map((p) => sizes[p]);
  return content.map((_, flat) => {
    let rest = flat;
    let from = 0;
    for (let i = shape.length - 1; i >= 0; i--) {
      from += (rest % shape[i]) * strides[perm[i]];
      rest = Math.floor(rest / shape[i]);
    }
    return content[from];
  });
}

function count(dims: readonly Dim[]): number | undefined {
  return dims.every((d) => typeof d === 'number') ? (dims as number[]).reduce((a, b) => a * b, 1) : undefined;
}
