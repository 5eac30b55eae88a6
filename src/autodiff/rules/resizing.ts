import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import type { EmitAttributes } from '../emit.ts';
import { contract, identityAlong } from '../positions.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/**
 * Ops that make axes longer or shorter. What they do along one axis is a matrix, which the op itself gives when it is run
 * on an identity: the gradient is contracted with it, axis after axis. So every mode of the runtime is met exactly.
 */

const expand: GradientRule = (c) => c.give(0, c.unbroadcast(c.grad()!, c.input(0)));

const tile: GradientRule = (c) => c.give(0, c.sumToShape(c.grad()!, c.input(0)));

/** One number of an operand, as a vector. */
const element = (c: RuleContext, operand: Value, k: number) => c.op('Gather', [operand, c.ints([k])], { axis: 0 });

/** How many are put in front of some axes and then how many behind them; an attribute before opset 11. */
function padding(c: RuleContext): { axes: number[]; pads: Value; known?: number[] } {
  const x = c.input(0);
  const all = [...Array(c.rankOf(x)).keys()];
  if (c.opset < 11) {
    const known = c.node.ints('pads', []);
    return { axes: all, pads: c.ints(known), known };
  }
  const given = c.has(3) ? c.numbersOf(c.input(3)) : all;
  if (!given) return c.fail('its axes are not constant');
  return { axes: c.axes(x, given), pads: c.input(1), known: c.numbersOf(c.input(1)) };
}

/** Cuts off what a Pad with constants has put around; what it has cut off gets zeros. */
function unpadded(c: RuleContext, g: Value): Value {
  const { axes, pads, known } = padding(c);
  if (!known) return c.op('Pad', [g, c.neg(pads), ...(c.has(3) ? [null, c.input(3)] : [])]);
  const rank = c.rankOf(g);
  const all = Array<number>(2 * rank).fill(0);
  axes.forEach((axis, k) => {
    all[axis] = 0 - known[k];
    all[rank + axis] = 0 - known[axes.length + k];
  });
  return c.pad(g, all);
}

const pad: GradientRule = (c) => {
  const g = c.grad()!;
  const mode = c.node.string('mode', 'constant');
  if (mode === 'constant') {
    const inner = unpadded(c, g);
    c.give(0, inner);
    // The constant stands in all other places.
    if (c.needs(2)) c.give(2, c.reshapeLike(c.sub(c.sumAll(g), c.sumAll(inner)), c.input(2)));
    return;
  }
  const { axes, pads, known } = padding(c);
  let inner = g;
  axes.forEach((axis, k) => {
    const [front, behind] = [k, axes.length + k];
    if (known && known[front] === 0 && known[behind] === 0) return;
    const unit = identityAlong(c, c.input(0), axis);
    const zero = c.ints([0]);
    const frame = () => c.joinInts([element(c, pads, front), zero, element(c, pads, behind), zero]);
    const matrix = known
      ? c.op('Pad', ...withPads(c, unit, [known[front], 0, known[behind], 0], mode))
      : c.op('Pad', [unit, frame()], { mode });
    inner = contract(c, inner, matrix, axis);
  });
  c.give(0, inner);
};

/** Inputs and attributes of a Pad, which takes them as attributes before opset 11. */
function withPads(c: RuleContext, v: Value, pads: readonly number[], mode: string): [Value[], EmitAttributes] {
  return c.opset >= 11 ? [[v, c.ints(pads)], { mode }] : [[v], { pads, mode }];
}

/** What Resize and Upsample are told of one axis, each as a vector; old Upsamples know their scale. */
interface AxisResizing {
  axis: number;
  scale?: Value | number;
  size?: Value;
  /** Start and end of what is shown, where the op crops. */
  shown?: { start: Value; end: Value };
}

/** The axes that a Resize or Upsample changes, with what it does to them. */
function resizedAxes(c: RuleContext): AxisResizing[] {
  const { node } = c;
  const x = c.input(0);
  const axes = c.axes(x, node.ints('axes') ?? [...Array(c.rankOf(x)).keys()]);
  const changed = (is: (axis: number, k: number) => boolean) =>
    axes.map((axis, k) => ({ axis, k })).filter(({ axis, k }) => is(axis, k));
  if (c.opset < 9) {
    const scales = node.attributes.get('scales');
    if (scales?.kind !== 'floats') return c.fail('it has no scales');
    return changed((_, k) => scales.value[k] !== 1).map(({ axis, k }) => ({ axis, scale: scales.value[k] }));
  }
  const crops = node.string('coordinate_transformation_mode', 'half_pixel') === 'tf_crop_and_resize';
  const shown = (k: number) =>
    crops ? { start: element(c, c.input(1), k), end: element(c, c.input(1), axes.length + k) } : undefined;
  const sizes = c.opset < 11 ? null : node.inputs[3];
  if (sizes) {
    if (node.string('keep_aspect_ratio_policy', 'stretch') !== 'stretch')
      return c.fail('sizes that keep the ratio of the axes are not supported');
    const kept = changed((axis) => crops || !sameSize(c, axis));
    return kept.map(({ axis, k }) => ({ axis, size: element(c, sizes, k), shown: shown(k) }));
  }
  const scales = c.input(c.opset < 11 ? 1 : 2);
  const known = c.numbersOf(scales);
  const kept = changed((_, k) => crops || known?.[k] !== 1);
  return kept.map(({ axis, k }) => ({ axis, scale: element(c, scales, k), shown: shown(k) }));
}

/** Whether an axis of the result is certainly as long as that of the input. */
function sameSize(c: RuleContext, axis: number): boolean {
  const size = c.dimOf(c.input(0), axis);
  return size !== null && size === c.dimOf(c.output(), axis);
}

/** The matrix of a resizing along one axis of the input: [size, size before]. */
function resizingMatrix(c: RuleContext, { axis, scale, size, shown }: AxisResizing): Value {
  const { node } = c;
  const one = identityAlong(c, c.input(0), axis);
  // Four axes, of which the third is resized: the runtime knows those in every mode.
  const unit = c.unsqueeze(one, [0, 1]);
  const floats = (values: number[]) => c.numbers(values, [values.length], DataType.FLOAT);
  const matrix = (inputs: (Value | null)[], attributes: EmitAttributes = {}) => {
    const made = c.op(node.opType, inputs, attributes);
    for (const [name, a] of node.attributes)
      if (!['axes', 'scales', 'extrapolation_value'].includes(name)) made.producer!.attributes.set(name, a);
    return c.squeeze(made, [0, 1]);
  };
  if (typeof scale === 'number') return matrix([unit], { scales: { floats: [1, 1, scale, 1] } });
  const scales = scale && c.concat([floats([1, 1]), scale, floats([1])], 0);
  if (c.opset < 11) return matrix([unit, scales!]);
  // Operands that are not used may be left out since opset 13.
  const none = c.opset < 13 ? floats([]) : null;
  const sizes = size && c.joinInts([c.ints([1, 1]), size, c.dims(one, [0])]);
  const roi = shown && [floats([0, 0]), shown.start, floats([0, 1, 1]), shown.end, floats([1])];
  return matrix([unit, roi ? c.concat(roi, 0) : none, scales ?? none, ...(sizes ? [sizes] : [])]);
}

const resize: GradientRule = (c) => {
  let g = c.grad()!;
  for (const how of resizedAxes(c)) g = contract(c, g, resizingMatrix(c, how), how.axis);
  c.give(0, g);
};

/** What it cuts off in front and behind is what it adds the other way round. */
const centre: GradientRule = (c) => {
  const x = c.input(0);
  const axes = c.node.ints('axes') ?? [...Array(c.rankOf(x)).keys()];
  c.give(0, c.op('CenterCropPad', [c.grad()!, c.dims(x, axes)], { axes }));
};

export const resizingRules: RuleTable = {
  Expand: expand,
  Tile: tile,
  Pad: pad,
  Resize: resize,
  Upsample: resize,
  CenterCropPad: centre,
};
