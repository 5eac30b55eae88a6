import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import type { Gate, GateContext } from './gate.ts';

/** A finite number that stands for infinity: maxima and softmax treat it as one. */
function largest(elemType: number): number {
  return elemType === DataType.FLOAT16 ? 65504 : 3e38;
}

/** True where a gate is closed. */
function closed(g: GateContext): Value {
  return g.add('Not', [g.add('Cast', [g.factor], { to: DataType.BOOL })]);
}

function replaceClosed(g: GateContext, by: number): void {
  g.node.setInput(g.input, choose(g, closed(g), by, g.operand));
}

/** `by` where `shut`, else x. */
function choose(g: GateContext, shut: Value, by: number, x: Value): Value {
  if (g.opset >= 9) return g.add('Where', [shut, g.scalar(by), x]);
  const weight = g.add('Cast', [shut], { to: g.elemType });
  const open = g.add('Mul', [x, g.add('Sub', [g.scalar(1), weight])]);
  return g.add('Add', [open, g.add('Mul', [weight, g.scalar(by)])]);
}

/** Maxima: closed units are lower than all others. */
export const lowest: Gate = (g) => replaceClosed(g, -largest(g.elemType));

/** Minima: closed units are higher than all others. */
export const highest: Gate = (g) => replaceClosed(g, largest(g.elemType));

/** Products: closed units count 1. */
export const one: Gate = (g) => replaceClosed(g, 1);

/** Softmax and log-sum-exp: closed units have no weight; a gate between 0 and 1 scales the unit's weight. */
export const weightless: Gate = (g) => {
  const shut = closed(g);
  const open = g.add('Add', [g.operand, g.add('Log', [choose(g, shut, 1, g.factor)])]);
  g.node.setInput(g.input, choose(g, shut, -largest(g.elemType), open));
};

/** LogSoftmax: the same, and a closed unit gives 0, which sums and gates that follow can bear. */
export const weightlessLog: Gate = (g) => {
  weightless(g);
  g.replaceOutput(0, (out) => choose(g, closed(g), 0, out));
};
