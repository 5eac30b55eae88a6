import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { Tensor } from '../../onnx/tensor.ts';
import type { Gate, GateContext } from './gate.ts';

/**
 * Fused attention contracts the dimensions of queries with those of keys inside the op. One of the two is gated
 * (architecture.md, idea 1, rules a and d): the queries, as the op sees them, after its own bias.
 */

/**
 * The operand is all queries, and input `bias`, where there is one, begins with theirs: they are added before the gate, and
 * the op adds zeros.
 */
export function biasedQueries(bias: number): Gate {
  return (g) => {
    const given = g.node.inputs[bias];
    if (!given) return g.multiply();
    const own = g.operand.type!.shape![g.rank - 1] as number;
    const whole = given.type!.shape![0] as number;
    const shares = (first: number, rest: number) => mask(g, [whole], (i) => (i < own ? first : rest));
    const padded = g.add('Mul', [given, shares(1, 0)]);
    const queries = g.add('Add', [
      g.operand,
      g.add('Gather', [padded, g.ints(Array.from({ length: own }, (_, i) => i))]),
    ]);
    g.node.setInput(g.input, g.add('Mul', [queries, g.factor]));
    g.node.setInput(bias, g.add('Mul', [given, shares(0, 1)]));
  };
}

/** The operand is a weight whose columns make queries, keys and values; the bias of a column is gated with it. */
export function projectedQueries(bias: number): Gate {
  return (g) => {
    g.multiply();
    const given = g.node.inputs[bias];
    if (given) g.node.setInput(bias, g.add('Mul', [given, g.add('Reshape', [g.factor, g.ints([-1])])]));
  };
}

/** The operand holds queries, keys and values one after the other along `axis`: only what is at index 0 is gated. */
export function packedQueries(axis: number): Gate {
  return (g) => {
    const count = g.operand.type!.shape![axis] as number;
    const shape = Array.from({ length: g.rank }, (_, i) => (i === axis ? count : 1));
    const ours = g.add('Mul', [g.factor, mask(g, shape, (i) => (i === 0 ? 1 : 0))]);
    const factor = g.add('Add', [ours, mask(g, shape, (i) => (i === 0 ? 0 : 1))]);
    g.node.setInput(g.input, g.add('Mul', [g.operand, factor]));
  };
}

/** A constant of the operand's type. */
function mask(g: GateContext, shape: readonly number[], at: (i: number) => number): Value {
  const size = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: size }, (_, i) => at(i));
  return g.cast(g.constant(Tensor.fromFloat32('', [...shape], values)), DataType.FLOAT, g.elemType);
}
