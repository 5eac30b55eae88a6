import type { Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import type { Gate, GateContext } from './gate.ts';

/**
 * Normalisations over units (architecture.md, idea 1, rule b): the consumer gives way to its formula with
 * n = max(Σg, 1e-6), μ = Σg·x/n, σ² = Σg·(x−μ)²/n. Statistics are taken in single precision, as onnxruntime takes them
 * for half precision too.
 */

/** What every normalisation over units says of itself. */
export interface Normalisation {
  epsilon: number;
}

/** The value of `x` and what its gates say of it, in the type of the statistics. */
interface Weighted {
  x: Value;
  /** One multiplier per unit, of the rank of `x`. */
  factor: Value;
  /** Axes of x along which units lie, where they are not those of the operand. */
  units?: readonly number[];
}

interface Standardised {
  y: Value;
  mean?: Value;
  /** sqrt(σ² + ε) */
  deviation: Value;
}

/** Double precision stays, anything else is computed in single precision. */
function statisticsType(g: GateContext): number {
  return g.elemType === DataType.DOUBLE ? DataType.DOUBLE : DataType.FLOAT;
}

/** A floating-point value, in the type of the statistics. */
function wide(g: GateContext, v: Value): Value {
  return g.cast(v, v.type?.elemType || g.elemType, statisticsType(g));
}

function wideFactor(g: GateContext): Value {
  return g.cast(g.factor, g.elemType, statisticsType(g));
}

/**
 * (x − μ) / sqrt(σ² + ε) over `axes`, x / sqrt(Σg·x²/n + ε) where it is not centred.
 * @param axes non-negative
 */
function standardise(
  g: GateContext,
  { x, factor, units }: Weighted,
  axes: readonly number[],
  { epsilon }: Normalisation,
  centre = true,
): Standardised {
  const meanOf = (v: Value) => g.mean(v, axes, { units, factor, elemType: statisticsType(g) });
  const mean = centre ? meanOf(x) : undefined;
  const centred = mean ? g.add('Sub', [x, mean]) : x;
  const variance = meanOf(g.add('Mul', [centred, centred]));
  const deviation = g.add('Sqrt', [g.add('Add', [variance, g.scalar(epsilon, statisticsType(g))])]);
  return { y: g.add('Div', [centred, deviation]), mean, deviation };
}

/** y · scale + bias, where they are given, as far as `shape` says reshaped to meet y's axes. */
function affine(
  g: GateContext,
  y: Value,
  scale: Value | null | undefined,
  bias: Value | null | undefined,
  shape?: readonly number[],
): Value {
  const fit = (v: Value) => (shape ? g.add('Reshape', [wide(g, v), g.ints(shape)]) : wide(g, v));
  const scaled = scale ? g.add('Mul', [y, fit(scale)]) : y;
  return bias ? g.add('Add', [scaled, fit(bias)]) : scaled;
}

/** Lets the readers of an output read `value`, which has the type of the statistics. */
function give(g: GateContext, output: number, value: Value | undefined): void {
  if (!value) return;
  g.replaceOutput(output, (old) => {
    const type = old.type?.elemType || g.elemType;
    return g.cast(type === DataType.FLOAT16 ? finite(g, value) : value, statisticsType(g), type);
  });
}

/** Closed units may lie far from those that are open: still a number in half precision, which later gates can close. */
function finite(g: GateContext, v: Value): Value {
  const largest = 65504;
  if (g.opset < 8) return g.add('Clip', [v], { min: { float: -largest }, max: { float: largest } });
  const bound = (x: number) => g.scalar(x, statisticsType(g));
  return g.add('Max', [g.add('Min', [v, bound(largest)]), bound(-largest)]);
}

const from = (axis: number, rank: number) => Array.from({ length: rank - axis }, (_, i) => axis + i);

/** Which inputs and outputs of a layer normalisation are what. */
export interface LayerNorm extends Normalisation {
  /** First normalised axis, non-negative. */
  axis: number;
  /** False: the root mean square alone. */
  centre: boolean;
  scale?: number;
  bias?: number;
  /** Inputs that are added to the operand first. */
  addends?: readonly number[];
  /** Outputs that give μ and 1/sqrt(σ² + ε). */
  mean?: number;
  inverse?: number;
}

/** LayerNormalization, RMSNormalization and their kin. */
export function layerNorm(norm: LayerNorm): Gate {
  return (g) => {
    const input = (i: number | undefined) => (i === undefined ? undefined : g.node.inputs[i]);
    const addends = (norm.addends ?? []).flatMap((i) => input(i) ?? []);
    const x = addends.reduce((sum, v) => g.add('Add', [sum, wide(g, v)]), wide(g, g.operand));
    const parts = standardise(g, { x, factor: wideFactor(g) }, from(norm.axis, g.rank), norm, norm.centre);
    give(g, 0, affine(g, parts.y, input(norm.scale), input(norm.bias)));
    if (g.node.outputs[norm.mean ?? -1]) give(g, norm.mean!, parts.mean);
    if (g.node.outputs[norm.inverse ?? -1]) give(g, norm.inverse!, g.add('Reciprocal', [parts.deviation]));
  };
}

/** EmbedLayerNormalization, gated at its table of words: the node gives the sum, which is normalised here. */
export function embedLayerNorm(norm: Normalisation): Gate {
  return (g) => {
    const { node } = g;
    if (!node.outputs[2]) node.setOutput(2, g.graph.freshValue(`${g.operand.name}_sum`, { ...node.outputs[0]!.type! }));
    const factor = g.add('Reshape', [wideFactor(g), g.ints([-1, 1, g.operand.type!.shape![1] as number])]);
    const { y } = standardise(g, { x: wide(g, node.outputs[2]!), factor, units: [2] }, [2], norm);
    give(g, 0, affine(g, y, node.inputs[5], node.inputs[6]));
  };
}

/** InstanceNormalization whose positions carry units: each channel is normalised over those of its positions that are open. */
export function instanceNorm(norm: Normalisation): Gate {
  return (g) => {
    const { y } = standardise(g, { x: wide(g, g.operand), factor: wideFactor(g) }, from(2, g.rank), norm);
    const shape = [1, -1, ...Array<number>(g.rank - 2).fill(1)];
    give(g, 0, affine(g, y, g.node.inputs[1], g.node.inputs[2], shape));
  };
}

export interface GroupNorm extends Normalisation {
  channels: number;
  groups: number;
  /** The channels are the last axis, not axis 1. */
  last: boolean;
  /** Scale and bias are per group, not per channel. */
  perGroup: boolean;
  /** x · sigmoid(x) follows. */
  silu: boolean;
  /** Inputs that are added to the operand first: as it is, or one value per sample and channel, or per channel. */
  addends?: readonly number[];
}

/** GroupNormalization and its kin, in groups of channels: [N, G, C/G, positions], or [N, positions, G, C/G]. */
export function groupNorm(norm: GroupNorm): Gate {
  return (g) => {
    const each = norm.channels / norm.groups;
    const place = (first: number, positions: number, groups: number, channels: number) =>
      norm.last ? [first, positions, groups, channels] : [first, groups, channels, positions];
    const regroup = (v: Value, shape: readonly number[]) => g.add('Reshape', [v, g.ints(shape)]);
    const addends = (norm.addends ?? []).flatMap((i) => g.node.inputs[i] ?? []);
    const whole = addends.reduce((sum, v) => g.add('Add', [sum, addend(g, norm, v)]), wide(g, g.operand));
    const x = regroup(whole, place(0, -1, norm.groups, each));
    const factor = regroup(wideFactor(g), place(-1, 1, norm.groups, each));
    const units = [norm.last ? 3 : 2];
    const { y } = standardise(g, { x, factor, units }, norm.last ? [1, 3] : [2, 3], norm);
    const shape = place(1, 1, norm.groups, norm.perGroup ? 1 : each);
    const grouped = affine(g, y, g.node.inputs[1], g.node.inputs[2], shape);
    const out = g.add('Reshape', [grouped, g.add('Shape', [g.operand])]);
    give(g, 0, norm.silu ? g.add('Mul', [out, g.add('Sigmoid', [out])]) : out);
  };
}

/** One value per sample and channel meets the operand's channels; others do so as they are. */
function addend(g: GateContext, norm: GroupNorm, v: Value): Value {
  if (v.type?.shape?.length !== 2) return wide(g, v);
  const ones = Array<number>(g.rank - 2).fill(1);
  return g.add('Reshape', [wide(g, v), g.ints(norm.last ? [0, ...ones, norm.channels] : [0, norm.channels, ...ones])]);
}

/** MeanVarianceNormalization over `axes`: its definition adds 1e-9 to the deviation. */
export function meanVariance(axes: readonly number[]): Gate {
  return (g) => {
    const x = wide(g, g.operand);
    const factor = wideFactor(g);
    const meanOf = (v: Value) => g.mean(v, axes, { factor, elemType: statisticsType(g) });
    const centred = g.add('Sub', [x, meanOf(x)]);
    const deviation = g.add('Sqrt', [meanOf(g.add('Mul', [centred, centred]))]);
    give(g, 0, g.add('Div', [centred, g.add('Add', [deviation, g.scalar(1e-9, statisticsType(g))])]));
  };
}

/** LpNormalization: x / Σg·|x|, or x / sqrt(Σg·x²); 0 where that is 0. */
export function lpNorm(axis: number, p: number): Gate {
  return (g) => {
    const x = wide(g, g.operand);
    const power = p === 1 ? g.add('Abs', [x]) : g.add('Mul', [x, x]);
    const sum = g.reduce('ReduceSum', g.add('Mul', [power, wideFactor(g)]), [axis]);
    const positive = g.atLeast(sum, 1e-36, statisticsType(g));
    give(g, 0, g.add('Div', [x, p === 1 ? positive : g.add('Sqrt', [positive])]));
  };
}
