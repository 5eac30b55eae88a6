import { DataType } from '../../onnx/data-type.ts';
import type { Rule, RuleTable } from './context.ts';
import { broadcast } from './dims.ts';

/** Quantisation. */

const quantize: Rule = (c) => {
  const type = c.has(2) ? c.elem(2) : c.int('output_dtype', 0) || DataType.UINT8;
  c.out(0, type, c.shape(0));
};

const dequantize: Rule = (c) => c.out(0, c.int('output_dtype', 0) || c.elem(1) || DataType.FLOAT, c.shape(0));

const dynamicQuantize: Rule = (c) => {
  c.out(0, DataType.UINT8, c.shape(0));
  c.out(1, DataType.FLOAT, []);
  c.out(2, DataType.UINT8, []);
};

/** Two operands with a scale and a zero point each. */
const qLinearBinary: Rule = (c) => c.out(0, c.elem(0), broadcast([c.shape(0), c.shape(3)]));
const first: Rule = (c) => c.same(0);

export const quantizeRules: RuleTable = {
  QuantizeLinear: quantize,
  'com.microsoft.QuantizeLinear': quantize,
  DequantizeLinear: dequantize,
  'com.microsoft.DequantizeLinear': dequantize,
  DynamicQuantizeLinear: dynamicQuantize,
  'com.microsoft.DynamicQuantizeLinear': dynamicQuantize,
  'com.microsoft.QLinearAdd': qLinearBinary,
  'com.microsoft.QLinearMul': qLinearBinary,
  'com.microsoft.QLinearSigmoid': first,
  'com.microsoft.QLinearLeakyRelu': first,
  'com.microsoft.QLinearSoftmax': first,
};
