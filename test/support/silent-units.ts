import { Tensor } from '../../src/onnx/tensor.ts';
import type { Structure } from '../../src/units/types.ts';

/**
 * Sets the weights to 0 by which the consumers of a group read some of its units, in place: the units are there, but
 * change nothing. For groups that Conv, Gemm and MatMul nodes read along their input channels.
 */
export function silenceUnits(structure: Structure, id: string, units: readonly number[]): void {
  const group = structure.groups.find((g) => g.id === id)!;
  for (const { node, units: unitAt } of group.sites) {
    const weight = node.inputs[1]!;
    const { name, dims } = weight.initializer!;
    const axis = node.op === 'Conv' || (node.op === 'Gemm' && node.int('transB', 0) !== 0) ? 1 : 0;
    const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
    const values = weight
      .initializer!.toFloat32()
      .map((w, i) => (units.includes(unitAt[Math.floor(i / inner) % dims[axis]]) ? 0 : w));
    weight.initializer = Tensor.fromFloat32(name, dims, values);
  }
}
