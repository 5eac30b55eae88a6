import { codeScale } from '../../graph/code-scale.ts';
import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import type { EmitAttributes, Emitter } from '../emit.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';
import { windowAttributes } from './window.ts';

/**
 * Ops on codes with their scales and zero points as operands: the plain op between a DequantizeLinear and a
 * QuantizeLinear, through which gradients pass as they are (straight-through estimator, quantised.ts).
 */

/** The numbers that the codes in operands `at`, `at + 1` (scale) and `at + 2` (zero point) stand for. */
function numbersOf(c: RuleContext, e: Emitter, at: number): Value {
  for (const i of [at + 1, at + 2]) if (c.needs(i)) c.fail('gradients of scales are not supported');
  const zero = c.node.inputs[at + 2];
  return e.op('DequantizeLinear', [c.input(at), c.input(at + 1), ...(zero ? [zero] : [])]);
}

/** Codes of numbers, with the scale in operand `at` and the zero point behind it. */
function codesOf(c: RuleContext, e: Emitter, v: Value, at: number): Value {
  const zero = c.node.inputs[at + 1];
  return e.op('QuantizeLinear', [v, c.input(at), ...(zero ? [zero] : [])]);
}

function channelsFirst(c: RuleContext): void {
  if (c.node.int('channels_last', 0) !== 0) c.fail('channels as the last axis are not supported');
}

/** Weights may have a scale and a zero point for each channel out, the first axis. */
function weightsOf(c: RuleContext, e: Emitter): Value {
  if (c.needs(3)) c.fail('gradients of its weights are not supported');
  const [codes, scale] = [c.input(3), c.input(4)];
  const perChannel = (v: Value) => e.reshape(v, [-1, ...Array<number>(e.rankOf(codes) - 1).fill(1)]);
  const float = (v: Value) => e.cast(v, e.elemTypeOf(scale));
  const zero = c.node.inputs[5];
  const shifted = zero ? e.sub(float(codes), perChannel(float(zero))) : float(codes);
  return e.mul(shifted, perChannel(scale));
}

/** Y = codes of the convolution of the numbers; a bias has the scale of X times that of W. */
const qLinearConv: GradientRule = (c) =>
  c.instead((e) => {
    channelsFirst(c);
    const [xScale, wScale] = [c.input(1), c.input(4)];
    const operands = [numbersOf(c, e, 0), weightsOf(c, e)];
    if (c.has(8)) operands.push(e.mul(e.cast(c.input(8), e.elemTypeOf(xScale)), e.mul(e.reshape(xScale, [1]), wScale)));
    return [codesOf(c, e, e.op('Conv', operands, windowAttributes(c)), 6)];
  });

/** A pool of codes: operands are X and Y, each with scale and zero point. */
function pool(op: 'AveragePool' | 'GlobalAveragePool'): GradientRule {
  return (c) =>
    c.instead((e) => {
      channelsFirst(c);
      const made = e.op(op, [numbersOf(c, e, 0)], op === 'AveragePool' ? windowAttributes(c) : {});
      return [codesOf(c, e, made, 3)];
    });
}

/** An op of two operands of codes: A and B, each with scale and zero point, then the scale and zero point of Y. */
function binary(op: 'Add' | 'Mul' | 'MatMul'): GradientRule {
  return (c) => c.instead((e) => [codesOf(c, e, e.op(op, [numbersOf(c, e, 0), numbersOf(c, e, 3)]), 6)]);
}

/** An activation function of codes. */
function activation(op: 'LeakyRelu' | 'Sigmoid'): GradientRule {
  return (c) =>
    c.instead((e) => {
      const attributes: EmitAttributes = op === 'LeakyRelu' ? { alpha: { float: c.node.float('alpha', 0.01) } } : {};
      return [codesOf(c, e, e.op(op, [numbersOf(c, e, 0)], attributes), 3)];
    });
}

// Sums of products of codes, whose scales are multiplied later

/**
 * Codes in operand `at` less their zero point in operand `at + 2`, as floats. Where gradients are asked for, they are those
 * of the numbers that the codes stand for.
 */
function wholeNumbers(c: RuleContext, e: Emitter, at: 0 | 1, spread: (zero: Value) => Value): Value {
  const [codes, zero] = [c.input(at), c.node.inputs[at + 2]];
  if (c.needs(at)) {
    const scale = codeScale(codes) ?? c.fail(`the scale of the codes "${codes.name}" is not known`);
    if (e.rankOf(scale) > 0 && e.dimOf(scale, 0) !== 1) c.fail('scales of channels are not supported');
    return e.div(e.op('DequantizeLinear', [codes, scale, ...(zero ? [zero] : [])]), scale);
  }
  const float = e.cast(codes, DataType.FLOAT);
  return zero ? e.sub(float, spread(e.cast(zero, DataType.FLOAT))) : float;
}

/** Zero points of rows of A stand in a column, those of columns of B in a row. */
const matMulInteger: GradientRule = (c) =>
  c.instead((e) => {
    const column = (zero: Value) => (e.rankOf(zero) === 1 ? e.unsqueeze(zero, [1]) : zero);
    return [e.op('MatMul', [wholeNumbers(c, e, 0, column), wholeNumbers(c, e, 1, (zero) => zero)])];
  });

const convInteger: GradientRule = (c) =>
  c.instead((e) => {
    const axes = Array.from({ length: e.rankOf(c.input(1)) - 1 }, (_, i) => i + 1);
    const perChannel = (zero: Value) => (e.rankOf(zero) === 1 ? e.unsqueeze(zero, axes) : zero);
    const operands = [wholeNumbers(c, e, 0, (zero) => zero), wholeNumbers(c, e, 1, perChannel)];
    return [e.op('Conv', operands, windowAttributes(c))];
  });

export const qLinearRules: RuleTable = {
  MatMulInteger: matMulInteger,
  ConvInteger: convInteger,
  QLinearConv: qLinearConv,
  'com.microsoft.QLinearConv': qLinearConv,
  QLinearMatMul: binary('MatMul'),
  'com.microsoft.QLinearAdd': binary('Add'),
  'com.microsoft.QLinearMul': binary('Mul'),
  'com.microsoft.QLinearAveragePool': pool('AveragePool'),
  'com.microsoft.QLinearGlobalAveragePool': pool('GlobalAveragePool'),
  'com.microsoft.QLinearLeakyRelu': activation('LeakyRelu'),
  'com.microsoft.QLinearSigmoid': activation('Sigmoid'),
};
