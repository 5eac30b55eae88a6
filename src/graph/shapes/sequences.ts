import { DataType } from '../../onnx/data-type.ts';
import type { Rule, RuleTable } from './context.ts';

/** Sequences, optionals and strings: element types are followed, shapes of elements are not. */

const sameSequence: Rule = (c) => c.sequence(0, c.elem(0));

export const sequenceRules: RuleTable = {
  SequenceConstruct: (c) => c.sequence(0, c.elem(0)),
  SequenceEmpty: (c) => c.sequence(0, c.int('dtype', DataType.FLOAT)),
  SequenceInsert: (c) => c.sequence(0, c.elem(0) || c.elem(1)),
  SequenceErase: sameSequence,
  SplitToSequence: sameSequence,
  SequenceAt: (c) => c.out(0, c.elem(0), undefined),
  SequenceLength: (c) => c.out(0, DataType.INT64, []),
  ConcatFromSequence: (c) => c.out(0, c.elem(0), undefined),
  OptionalHasElement: (c) => c.out(0, DataType.BOOL, []),
  StringNormalizer: (c) => {
    const removes = c.attribute('stopwords') !== undefined;
    c.out(0, DataType.STRING, removes ? c.shape(0)?.map((d, i, all) => (i === all.length - 1 ? null : d)) : c.shape(0));
  },
  StringConcat: (c) => c.out(0, DataType.STRING, c.shape(0)),
  RegexFullMatch: (c) => c.out(0, DataType.BOOL, c.shape(0)),
};
