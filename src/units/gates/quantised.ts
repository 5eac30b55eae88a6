import { DataType } from '../../onnx/data-type.ts';
import type { Gate } from './gate.ts';

/**
 * Whole numbers that stand for scale × (q − zero point): a closed unit is set to its zero point, which stands for 0; a
 * gate between 0 and 1 scales the distance from it, rounded.
 * @param zeroPoint input of the consumer that holds the operand's zero point (one number); absent: 0
 */
export function quantised(zeroPoint: number): Gate {
  const gate: Gate = (g) => {
    const float = (v: typeof g.operand) => g.add('Cast', [v], { to: DataType.FLOAT });
    const zero = g.node.inputs[zeroPoint];
    let q = float(g.operand);
    if (zero) {
      const z = float(zero);
      q = g.add('Add', [g.add('Mul', [g.add('Sub', [q, z]), g.factor]), z]);
    } else {
      q = g.add('Mul', [q, g.factor]);
    }
    const rounded = g.add('Floor', [g.add('Add', [q, g.scalar(0.5, DataType.FLOAT)])]);
    g.node.setInput(g.input, g.add('Cast', [rounded], { to: g.elemType }));
  };
  gate.integers = true;
  return gate;
}
