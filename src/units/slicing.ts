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
  const parts: Uint8Array[] = [];
  let width = -1;
  for (let b = 0; b < groups; b++) {
    const columns = keep.filter((p) => Math.floor(p / perBlock) === b).map((p) => p - b * perBlock);
    if (width >= 0 && columns.length !== width) {
      throw new SecateurError(
        'usage',
        `${node.op} "${node.name}" has ${groups} blocks of channels, which must keep equally many.`,
      );
    }
    width = columns.length;
    const block = weight.take(
      0,
      Array.from({ length: rows }, (_, i) => b * rows + i),
    );
    parts.push(block.take(1, columns).bytes());
  }
  const bytes = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  value.initializer = Tensor.fromBytes(
    weight.name,
    weight.dataType,
    [weight.dims[0], width, ...weight.dims.slice(2)],
    bytes,
  );
}
