import { along, broadcast, firstAxis, mixed, rank, rows, rowsOf, type Rule, type RuleContext } from './rule.ts';

/** Ops of whole numbers whose scales are constants. Ranges that are found while running mix the samples: no rule here. */

const free = (c: RuleContext, input: number) => !c.node.inputs[input] || c.state(input).kind === 'free';
const isNumber = (c: RuleContext, input: number) =>
  !c.node.inputs[input] || !!c.dims(c.node.inputs[input])?.every((d) => d === 1);

/** QLinearMatMul of rows with a constant matrix; a scale per row would have to grow with the samples. */
const product: Rule = (c) => {
  const s = rowsOf(c, 0);
  const r = rank(c, 0);
  if (!s || r === undefined || rank(c, 3) !== 2) return mixed('it is not a product with a matrix');
  if (c.node.inputs.some((_, i) => i > 0 && !free(c, i))) return mixed('a weight depends on the samples');
  if (!isNumber(c, 1) || !isNumber(c, 2)) return mixed('it has a scale per row');
  return s.axis < r - 1 ? rows(s.axis, s.inner) : mixed('it sums over the samples');
};

const qGemm: Rule = (c) => (c.node.int('transA', 0) ? mixed('transposed operands') : firstAxis(c));

/** Tensors in inputs 2, 5, 8, …: all hold the samples on the same axis, which is not the one that they are joined along. */
const concat: Rule = (c) => {
  const parts = c.node.inputs.flatMap((_, i) => (i >= 2 && i % 3 === 2 ? [i] : []));
  const states = parts.map((i) => rowsOf(c, i));
  const [first] = states;
  const r = rank(c, parts[0]);
  if (!first || r === undefined || states.some((s) => s?.axis !== first.axis || s.inner !== first.inner))
    return mixed('an operand does not hold the samples');
  const axis = c.node.int('axis', 1);
  return (axis < 0 ? axis + r : axis) === first.axis ? mixed('it joins samples') : rows(first.axis, first.inner);
};

/** Before opset 13, which it is told by an attribute, all axes from `axis` on are one. */
const softmax: Rule = (c) => (c.node.int('opset', 13) < 13 ? along(1, true)(c) : along(-1)(c));

const MS = 'com.microsoft.';

export const quantised: [string, Rule][] = [
  ['QLinearMatMul', product],
  [`${MS}QGemm`, qGemm],
  [`${MS}QLinearConv`, firstAxis],
  [`${MS}NhwcMaxPool`, firstAxis],
  [`${MS}QLinearConcat`, concat],
  [`${MS}QLinearSoftmax`, softmax],
  ...['QLinearAdd', 'QLinearMul', 'QLinearWhere', 'QLinearSigmoid', 'QLinearLeakyRelu'].map((op): [string, Rule] => [
    MS + op,
    broadcast,
  ]),
];
