import { byteLength } from '../onnx/data-type.ts';
import { Tensor } from '../onnx/tensor.ts';
import type { Node } from '../graph/ir.ts';
import { SecateurError } from '../errors.ts';

/**
 * Cuts axis 1 of a grouped convolution's weight [O, I/groups, k…], whose rows of block b see the input channels of
 * block b: each block takes its own columns. Every block must keep equally many. Runs before axis 0 is cut.
 * @param keep input channels that stay, ascending
 */
export function sliceBlocks(node: Node, input: number, groups: number, keep: Int32Array, inputs: number): void {
  const value = node.inputs[input]!;
  const weight = value.initializer!;
  if (keep.length === inputs) return;
  const perBlock = inputs / groups;
  const rows = weight.dims[0] / groups;
  const columns = Array.from({ length: groups }, (_, b) =>
    keep.filter((p) => Math.floor(p / perBlock) === b).map((p) => p - b * perBlock),
  );
  const width = columns[0].length;
  if (columns.some((c) => c.length !== width)) {
    throw new SecateurError(
      'usage',
      `${node.op} "${node.name}" has ${groups} blocks of channels, which must keep equally many.`,
    );
  }
  const dims = [weight.dims[0], width, ...weight.dims.slice(2)];
  const bytes = new Uint8Array(
    byteLength(
      weight.dataType,
      dims.reduce((a, b) => a * b, 1),
    ),
  );
  columns.forEach((own, b) => {
    const block = Array.from({ length: rows }, (_, i) => b * rows + i);
    bytes.set(weight.take(0, block).take(1, own).bytes(), (b * bytes.length) / groups);
  });
  value.initializer = Tensor.fromBytes(weight.name, weight.dataType, dims, bytes);
}
