import { DataType } from '../../onnx/data-type.ts';
import type { Tensor } from '../../onnx/tensor.ts';
import type { Content } from './context.ts';

/** Tensors with more elements are not looked into: they are weights, not sizes. */
const MAX_ELEMENTS = 128;
const READABLE: ReadonlySet<number> = new Set([
  DataType.FLOAT, DataType.DOUBLE, DataType.FLOAT16, DataType.INT64, DataType.INT32, DataType.UINT32, DataType.UINT64,
  DataType.INT16, DataType.UINT16, DataType.INT8, DataType.UINT8, DataType.BOOL,
]);

/** Elements of a small constant tensor; undefined when it is large, of another kind, or cannot be read. */
export function contentOfTensor(tensor: Tensor): Content | undefined {
  if (tensor.elementCount > MAX_ELEMENTS || !READABLE.has(tensor.dataType)) return undefined;
  try {
    const values = tensor.toNumbers();
    const float = tensor.dataType === DataType.FLOAT || tensor.dataType === DataType.DOUBLE || tensor.dataType === DataType.FLOAT16;
    return float ? values : values.map((v) => Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, v)));
  } catch {
    return undefined; // a missing external file: whoever needs the bytes will say so
  }
}
