import { codeScale } from '../../graph/code-scale.ts';
import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import type { Gate, GateContext } from './gate.ts';

/**
 * Whole numbers that stand for scale × (q − zero point): a closed unit is set to its zero point, which stands for 0; a
 * gate between 0 and 1 scales the distance from it, rounded. Where the scale is known the numbers themselves are gated,
 * so that gradients find their way.
 * @param zeroPoint input of the consumer that holds the operand's zero point (one number); absent: 0
 */
export function quantised(zeroPoint: number): Gate {
  const gate: Gate = (g) => {
    const zero = g.node.inputs[zeroPoint];
    const scale = codeScale(g.operand);
    g.node.setInput(g.input, zero && scale && isSingle(scale) ? asNumbers(g, scale, zero) : asCodes(g, zero));
  };
  gate.integers = true;
  return gate;
}

function isSingle(v: Value): boolean {
  return (v.initializer?.dims ?? v.type?.shape)?.every((d) => d === 1) ?? false;
}

function asNumbers(g: GateContext, scale: Value, zero: Value): Value {
  const numbers = g.add('DequantizeLinear', [g.operand, scale, zero]);
  return g.add('QuantizeLinear', [g.add('Mul', [numbers, g.factor]), scale, zero]);
}

function asCodes(g: GateContext, zero: Value | null | undefined): Value {
  const float = (v: Value) => g.add('Cast', [v], { to: DataType.FLOAT });
  let q = float(g.operand);
  if (zero) {
    const z = float(zero);
    q = g.add('Add', [g.add('Mul', [g.add('Sub', [q, z]), g.factor]), z]);
  } else {
    q = g.add('Mul', [q, g.factor]);
  }
  const rounded = g.add('Floor', [g.add('Add', [q, g.scalar(0.5, DataType.FLOAT)])]);
  return g.add('Cast', [rounded], { to: g.elemType });
}
