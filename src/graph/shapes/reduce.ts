import { DataType } from '../../onnx/data-type.ts';
import type { Dim } from '../ir.ts';
import type { Content, Rule, RuleTable } from './context.ts';
import { normalAxis, unknownDims } from './context.ts';
import { addDims, extremeDim, mulDims } from './dims.ts';

/** Reductions and normalizations. */

type Fold = (a: Dim, b: Dim) => Dim;

function reduce(fold?: Fold): Rule {
  return (c) => {
    const data = c.shape(0);
    const keep = c.int('keepdims', 1) === 1;
    const axes = c.axes('axes', 1);
    if (!data)
      return c.out(
        0,
        c.elem(0),
        !axes && axes !== null && !keep && c.int('noop_with_empty_axes', 0) === 0 ? [] : undefined,
      );
    const count = c.shape(1)?.[0];
    if (axes === null) {
      const rank = keep ? data.length : typeof count === 'number' ? data.length - count : undefined;
      return c.out(0, c.elem(0), rank === undefined ? undefined : unknownDims(rank));
    }
    const none = !axes || axes.length === 0;
    if (none && c.int('noop_with_empty_axes', 0) === 1) return c.same(0);
    const drop = new Set(none ? data.map((_, i) => i) : axes.map((a) => normalAxis(a, data.length)));
    const shape: Dim[] = [];
    data.forEach((d, i) => {
      if (!drop.has(i)) shape.push(d);
      else if (keep) shape.push(1);
    });
    const content = c.content(0);
    const folded: Content | undefined =
      fold && content && content.length > 0 && data.length === 1 && drop.has(0)
        ? [content.slice(1).reduce<Dim>(fold, content[0])]
        : undefined;
    c.out(0, c.elem(0), shape, folded);
  };
}

const argReduce: Rule = (c) => {
  const data = c.shape(0);
  const axis = data && normalAxis(c.int('axis', 0), data.length);
  const keep = c.int('keepdims', 1) === 1;
  c.out(
    0,
    DataType.INT64,
    data?.flatMap((d, i) => (i === axis ? (keep ? [1] : []) : [d])),
  );
};

/** Output 0 like input 0, further outputs with one element per channel (training) or like the scale. */
const batchNorm: Rule = (c) => {
  c.same(0);
  const channels = c.shape(1);
  for (let i = 1; i < 5; i++) c.out(i, c.elem(i <= 2 ? 3 : 4) || c.elem(1), channels);
};

/** Mean and inverse deviation keep the axes in front and have 1 for those that were normalized. */
const layerNorm: Rule = (c) => {
  c.same(0);
  const data = c.shape(0);
  const axis = data && normalAxis(c.int('axis', -1), data.length);
  const stats = data?.map((d, i) => (axis !== undefined && i >= axis ? 1 : d));
  const type = c.int('stash_type', 1);
  c.out(1, type, stats);
  c.out(2, type, stats);
};

export const reduceRules: RuleTable = {
  ReduceSum: reduce(addDims),
  ReduceProd: reduce(mulDims),
  ReduceMax: reduce((a, b) => extremeDim(a, b, 'max')),
  ReduceMin: reduce((a, b) => extremeDim(a, b, 'min')),
  ReduceMean: reduce(),
  ReduceL1: reduce(),
  ReduceL2: reduce(),
  ReduceLogSum: reduce(),
  ReduceLogSumExp: reduce(),
  ReduceSumSquare: reduce(),
  'com.microsoft.QLinearReduceMean': reduce(),
  'com.microsoft.ReduceSumInteger': reduce(),
  ArgMax: argReduce,
  ArgMin: argReduce,
  BatchNormalization: batchNorm,
  InstanceNormalization: (c) => c.same(0),
  GroupNormalization: (c) => c.same(0),
  'com.microsoft.GroupNorm': (c) => c.same(0),
  'com.microsoft.SkipGroupNorm': (c) => {
    c.same(0);
    c.same(1);
  },
  LayerNormalization: layerNorm,
  'com.microsoft.LayerNormalization': layerNorm,
  SimplifiedLayerNormalization: layerNorm,
  RMSNormalization: (c) => c.same(0),
};
