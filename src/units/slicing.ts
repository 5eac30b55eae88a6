import { Tensor } from '../onnx/tensor.ts';
import { bitsPerElement } from '../onnx/data-type.ts';
import type { Node } from '../graph/ir.ts';
import { SecateurError } from '../errors.ts';

/** The positions `keep` of one axis of a tensor, other axes whole. Bytes are copied run by run, whatever the type. */
export function takePositions(tensor: Tensor, axis: number, keep: Int32Array): Tensor {
  const bits = bitsPerElement(tensor.dataType);
  if (bits === 0 || bits % 8 !== 0) {
    throw new SecateurError('unsupported', `Tensor ${tensor.name} has packed or string elements, which cannot be cut.`);
  }
  const dims = tensor.dims;
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1) * (bits / 8);
  const outer = dims.slice(0, axis).reduce((a, b) => a * b, 1);
  const source = tensor.bytes();
  const target = new Uint8Array(outer * keep.length * inner);
  const row = dims[axis] * inner;
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (const p of keep) {
      const from = o * row + p * inner;
      target.set(source.subarray(from, from + inner), at);
      at += inner;
    }
  }
  return Tensor.fromBytes(
    tensor.name,
    tensor.dataType,
    [...dims.slice(0, axis), keep.length, ...dims.slice(axis + 1)],
    target,
  );
}

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
    const block = takePositions(
      weight,
      0,
      Int32Array.from({ length: rows }, (_, i) => b * rows + i),
    );
    parts.push(takePositions(block, 1, columns).bytes());
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
