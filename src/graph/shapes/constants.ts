import { DataType } from '../../onnx/data-type.ts';
import type { SparseTensorProto } from '../../onnx/onnx_pb.ts';
import type { Dim } from '../ir.ts';
import type { Rule, RuleContext, RuleTable } from './context.ts';
import { unknownDims } from './context.ts';
import { contentOfTensor } from './content.ts';
import { productOf, subDims } from './dims.ts';

/** Ops that make tensors: constants, shapes as tensors, ranges, random numbers. */

const constant: Rule = (c) => {
  const tensor = c.attribute('value');
  if (tensor?.kind === 'tensor')
    return c.out(0, tensor.value.dataType, tensor.value.dims, contentOfTensor(tensor.value));
  const scalar = c.attribute('value_int') ?? c.attribute('value_float');
  if (scalar?.kind === 'int') return c.out(0, DataType.INT64, [], [Number(scalar.value)]);
  if (scalar?.kind === 'float') return c.out(0, DataType.FLOAT, [], [scalar.value]);
  const list = c.ints('value_ints');
  if (list) return c.out(0, DataType.INT64, [list.length], list);
  const floats = c.floats('value_floats');
  if (floats) return c.out(0, DataType.FLOAT, [floats.length], floats);
  if (c.attribute('value_string')) return c.out(0, DataType.STRING, []);
  const strings = c.attribute('value_strings');
  if (strings?.kind === 'strings') return c.out(0, DataType.STRING, [strings.value.length]);
  const sparse = (c.attribute('sparse_value')?.proto as { sparseTensor?: SparseTensorProto } | undefined)?.sparseTensor;
  if (sparse) c.out(0, sparse.values?.dataType ?? 0, sparse.dims.map(Number));
};

const shape: Rule = (c) => {
  const data = c.shape(0);
  if (!data) return c.out(0, DataType.INT64, [null]);
  const at = (i: number) => Math.max(0, Math.min(data.length, i < 0 ? i + data.length : i));
  const dims = data.slice(at(c.int('start', 0)), at(c.int('end', data.length)));
  c.out(0, DataType.INT64, [dims.length], dims);
};

const size: Rule = (c) => {
  const data = c.shape(0);
  c.out(0, DataType.INT64, [], [data ? productOf(data) : null]);
};

const constantOfShape: Rule = (c) => {
  const dims = c.content(0);
  const value = c.attribute('value');
  const tensor = value?.kind === 'tensor' ? value.value : undefined;
  const elem = tensor?.dataType ?? DataType.FLOAT;
  if (!dims) {
    const rank = c.shape(0)?.[0];
    return c.out(0, elem, typeof rank === 'number' && rank <= 64 ? unknownDims(rank) : undefined);
  }
  const fill = tensor ? (contentOfTensor(tensor)?.[0] ?? null) : 0;
  const count = productOf(dims);
  const content = typeof count === 'number' && count >= 0 && count <= 1024 ? Array<Dim>(count).fill(fill) : undefined;
  c.out(0, elem, dims, content);
};

const range: Rule = (c) => {
  const [start, limit, delta] = [0, 1, 2].map((i) => c.content(i)?.[0] ?? null);
  if (typeof start === 'number' && typeof limit === 'number' && typeof delta === 'number' && delta !== 0) {
    const n = Math.max(0, Math.ceil((limit - start) / delta));
    const content = n <= 1024 ? Array.from({ length: n }, (_, i) => start + i * delta) : undefined;
    return c.out(0, c.elem(0), [n], content);
  }
  c.out(0, c.elem(0), [delta === 1 ? subDims(limit, start) : null]);
};

const random: Rule = (c) => c.out(0, c.int('dtype', DataType.FLOAT), c.ints('shape'));
const like: Rule = (c) => c.out(0, c.int('dtype', c.elem(0)), c.shape(0));

const windowFunction: Rule = (c) => c.out(0, c.int('output_datatype', DataType.FLOAT), [c.content(0)?.[0] ?? null]);

const multinomial: Rule = (c: RuleContext) =>
  c.out(0, c.int('dtype', DataType.INT32), [c.shape(0)?.[0] ?? null, c.int('sample_size', 1)]);

export const constantRules: RuleTable = {
  Constant: constant,
  Shape: shape,
  Size: size,
  ConstantOfShape: constantOfShape,
  ConstantFill: (c) => c.out(0, c.int('dtype', DataType.FLOAT), c.ints('shape')),
  Range: range,
  'com.microsoft.Range': range,
  EyeLike: like,
  RandomNormal: random,
  RandomUniform: random,
  RandomNormalLike: like,
  RandomUniformLike: like,
  Bernoulli: like,
  Multinomial: multinomial,
  BlackmanWindow: windowFunction,
  HannWindow: windowFunction,
  HammingWindow: windowFunction,
};
