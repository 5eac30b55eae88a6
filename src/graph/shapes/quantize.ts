import { DataType } from '../../onnx/data-type.ts';
import type { Dim } from '../ir.ts';
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

const qLinearReduceMean: Rule = (c) => {
  const data = c.shape(0);
  const axes = c.ints('axes')?.map((a) => (data && a < 0 ? a + data.length : a));
  const keep = c.int('keepdims', 1) !== 0;
  const shape = data?.flatMap((d, i): Dim[] => (axes && !axes.includes(i) ? [d] : keep ? [1] : []));
  c.out(0, c.elem(0), shape);
};

export const quantizeRules: RuleTable = {
  QuantizeLinear: quantize,
  'com.microsoft.QuantizeLinear': quantize,
  DequantizeLinear: dequantize,
  'com.microsoft.DequantizeLinear': dequantize,
  DynamicQuantizeLinear: dynamicQuantize,
  'com.microsoft.DynamicQuantizeLinear': dynamicQuantize,
  'com.microsoft.QLinearAdd': qLinearBinary,
  'com.microsoft.QLinearMul': qLinearBinary,
  'com.microsoft.QLinearWhere': (c) => c.out(0, c.elem(1), broadcast([c.shape(0), c.shape(1), c.shape(4)])),
  'com.microsoft.QLinearReduceMean': qLinearReduceMean,
  'com.microsoft.QLinearSigmoid': first,
  'com.microsoft.QLinearLeakyRelu': first,
  'com.microsoft.QLinearSoftmax': first,
};
