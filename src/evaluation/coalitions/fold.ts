import { constantTensor } from '../../graph/edit.ts';
import type { Node, Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import type { BatchProof } from '../../units/batch-axis.ts';
import type { GatedSite } from '../../units/gating.ts';
import type { GraphBuilder } from './graph-builder.ts';

/** What a multiplication of an operand by its mask costs per element, in multiply-accumulates of a large product. */
const MASK_COST = 8;
/** What a multiply-accumulate of the masks × contributions product costs against one of the folded op itself. */
const PRODUCT_COST = 1.4;
/** Contributions of one sample may take so many bytes. */
const SAMPLE_LIMIT = 64 * 2 ** 20;

/** A consumer whose pre-activation is a sum of one contribution per unit (architecture.md, idea 4). */
export interface Fold {
  consumer: Node;
  /** What the gate stands in front of, in the graph that the plan was made for. */
  operand: Value;
  /** What the sum replaces: the consumer's output, or that of a bias or batch norm right behind it. */
  result: Value;
  /** What bias and batch norm behind the consumer do to each output channel. */
  tail: Affine;
  /** Units of the group. The sum has one more, always open: bias and positions of no unit. */
  units: number;
  /** Positions of each unit along the axis, all equally many. */
  positions: number[][];
  /** Elements of the result for one sample. */
  elements: number;
  /** Rows of axis 0 of the operand for one sample. */
  inner: number;
  /** Estimated multiply-accumulates per sample and coalition: folded, and not. */
  cost: { folded: number; plain: number };
  /** Multiply-accumulates per sample to compute the contributions. */
  setup: number;
}

/** y → scale · y + shift, per output channel. */
interface Affine {
  scale: Float64Array;
  shift: Float64Array;
}

/** Whether and how the consumer of a gated site folds; undefined when it is not linear in it or too large. */
export function planFold(
  site: Pick<GatedSite, 'axis' | 'units'> & { operand: Value },
  consumer: Node,
  input: number,
  units: number,
  proof: BatchProof,
): Fold | undefined {
  const { operand } = site;
  const own = consumer.outputs[0]!;
  const state = proof.state(operand);
  const [x, z] = [proof.dims(operand), proof.dims(own)];
  const weight = constantTensor(consumer.inputs[1]);
  if (state.kind !== 'rows' || state.axis !== 0 || proof.state(own).kind !== 'rows' || !x || !z || input !== 0)
    return undefined;
  if (!weight || weight.dataType !== DataType.FLOAT || operand.type?.elemType !== DataType.FLOAT) return undefined;
  const bias = consumer.inputs[2];
  if (bias && !constantTensor(bias)) return undefined;
  const sameAxis = x.length - 1 === site.axis;
  let weights: number;
  if (consumer.op === 'Conv') {
    if (consumer.int('group', 1) !== 1 || site.axis !== 1) return undefined;
    weights = weight.elementCount / weight.dims[0];
  } else if (consumer.op === 'MatMul' || consumer.op === 'Gemm') {
    if (!sameAxis || weight.dims.length !== 2 || (consumer.op === 'Gemm' && consumer.int('transA', 0)))
      return undefined;
    if (consumer.op === 'Gemm' && bias && ![1, z[1]].includes(constantTensor(bias)!.elementCount)) return undefined;
    weights = x[site.axis];
  } else return undefined;

  const positions: number[][] = Array.from({ length: units }, () => []);
  site.units.forEach((u, at) => {
    if (u >= 0) positions[u].push(at);
  });
  const each = positions[0].length;
  if (each === 0 || positions.some((p) => p.length !== each)) return undefined;
  const count = (dims: readonly number[]) => dims.reduce((p, d) => p * d, 1) / proof.batch;
  const elements = count(z);
  if ((units + 1) * elements * 4 > SAMPLE_LIMIT) return undefined;
  const channelAxis = consumer.op === 'Conv' ? 1 : z.length - 1;
  const { result, tail } = affineTail(own, z, channelAxis);
  return {
    consumer,
    operand,
    result,
    tail,
    units,
    positions,
    elements,
    inner: state.inner,
    cost: { folded: (units + 1) * elements * PRODUCT_COST, plain: elements * weights + MASK_COST * count(x) },
    setup: 2 * elements * weights,
  };
}

/** Follows a value through constant biases and batch norms that alone read it. */
function affineTail(value: Value, dims: readonly number[], axis: number): { result: Value; tail: Affine } {
  const channels = dims[axis];
  const tail: Affine = { scale: new Float64Array(channels).fill(1), shift: new Float64Array(channels) };
  let result = value;
  for (;;) {
    const node = result.uses.length === 1 && !result.isGraphOutput ? result.uses[0].node : undefined;
    if (!node || node.graph !== value.graph) break;
    if (node.op === 'Add') {
      const other = node.inputs[0] === result ? node.inputs[1] : node.inputs[0];
      const bias = constantTensor(other);
      // The channel axis, counted from the right, holds all of its elements.
      if (!bias || bias.elementCount !== channels || bias.dims[bias.dims.length - (dims.length - axis)] !== channels)
        break;
      bias.toFloat32().forEach((b, o) => (tail.shift[o] += b));
    } else if (
      node.op === 'BatchNormalization' &&
      axis === 1 &&
      !node.int('training_mode', 0) &&
      node.inputs[0] === result
    ) {
      const [gamma, beta, mean, variance] = [1, 2, 3, 4].map((i) => constantTensor(node.inputs[i])?.toFloat32());
      if (
        !gamma ||
        !beta ||
        !mean ||
        !variance ||
        node.outputs.filter((o) => o?.uses.length || o?.isGraphOutput).length !== 1
      )
        break;
      const epsilon = node.float('epsilon', 1e-5);
      for (let o = 0; o < channels; o++) {
        const factor = gamma[o] / Math.sqrt(variance[o] + epsilon);
        tail.scale[o] *= factor;
        tail.shift[o] = (tail.shift[o] - mean[o]) * factor + beta[o];
      }
    } else break;
    result = node.outputs[0]!;
  }
  return { result, tail };
}

/** Bias of the consumer and what follows it, per output channel. */
function totalBias({ tail: { scale, shift } }: Fold, bias: Float32Array | undefined): Float32Array {
  return Float32Array.from(shift, (b, o) => b + scale[o] * (bias ? bias[bias.length === 1 ? 0 : o] : 0));
}

/**
 * Adds the contributions of all units to a prefix graph: [samples/s, units + 1, s × elements], the last "unit" holding
 * the bias and what no unit owns. `x` is the operand in that graph, `fold.consumer`'s attributes and weights are used.
 */
export function addContributions(b: GraphBuilder, x: Value, fold: Fold, s: number): Value {
  const parts = fold.consumer.op === 'Conv' ? convolved(b, x, fold) : multiplied(b, x, fold);
  // [rows, units + 1, elements of a row] to [samples/s, units + 1, s × elements].
  const perGroup = s * (fold.elements / parts.elements);
  if (perGroup === 1) return parts.value;
  const grouped = b.reshape(parts.value, [-1, perGroup, fold.units + 1, parts.elements]);
  return b.reshape(b.transpose(grouped, [0, 2, 1, 3]), [-1, fold.units + 1, perGroup * parts.elements]);
}

interface Parts {
  /** [rows, units + 1, elements] */
  value: Value;
  elements: number;
}

function ordered(b: GraphBuilder, x: Value, fold: Fold, axis: number, size: number): Value {
  const order = fold.positions.flat();
  return order.length === size && order.every((p, i) => p === i) ? x : b.gather(x, order, axis);
}

/** One convolution group per unit; the rest by the same convolution with the units' weights at zero. */
function convolved(b: GraphBuilder, x: Value, fold: Fold): Parts {
  const { consumer, units, positions } = fold;
  const weight = constantTensor(consumer.inputs[1])!;
  const [outputs, inputs, ...kernel] = weight.dims;
  const volume = kernel.reduce((p, d) => p * d, 1);
  const w = weight.toFloat32().map((v, i) => v * fold.tail.scale[Math.floor(i / (inputs * volume))]);
  const each = positions[0].length;
  const split = new Float32Array(units * outputs * each * volume);
  const rest = Float32Array.from(w);
  positions.forEach((list, u) =>
    list.forEach((p, j) => {
      for (let o = 0; o < outputs; o++) {
        const from = (o * inputs + p) * volume;
        split.set(w.subarray(from, from + volume), ((u * outputs + o) * each + j) * volume);
        rest.fill(0, from, from + volume);
      }
    }),
  );
  const convolve = (
    from: Value,
    values: Float32Array,
    dims: readonly number[],
    bias: Value | null,
    group: number,
  ): Value => {
    const y = b.op('Conv', bias ? [from, b.floats(values, dims), bias] : [from, b.floats(values, dims)]);
    for (const [name, a] of consumer.attributes) y.producer!.attributes.set(name, a);
    y.producer!.setInt('group', group);
    return y;
  };
  const bias = b.floats(totalBias(fold, constantTensor(consumer.inputs[2])?.toFloat32()), [outputs]);
  const elements = fold.elements / fold.inner;
  const contributions = convolve(
    ordered(b, x, fold, 1, inputs),
    split,
    [units * outputs, each, ...kernel],
    null,
    units,
  );
  const constant = convolve(x, rest, weight.dims, bias, 1);
  return {
    value: b.concat([b.reshape(contributions, [-1, units, elements]), b.reshape(constant, [-1, 1, elements])], 1),
    elements,
  };
}

/** One small product per unit, batched over the units. */
function multiplied(b: GraphBuilder, x: Value, fold: Fold): Parts {
  const { consumer, units, positions } = fold;
  const weight = constantTensor(consumer.inputs[1])!;
  const gemm = consumer.op === 'Gemm';
  const transposed = gemm && consumer.int('transB', 0) !== 0;
  const [size, outputs] = transposed ? [weight.dims[1], weight.dims[0]] : weight.dims;
  const w = weight.toFloat32();
  const alpha = gemm ? consumer.float('alpha', 1) : 1;
  const at = (p: number, o: number) => alpha * fold.tail.scale[o] * (transposed ? w[o * size + p] : w[p * outputs + o]);
  const each = positions[0].length;
  const split = new Float32Array(units * each * outputs);
  const rest = new Float32Array(size * outputs);
  for (let p = 0; p < size; p++) for (let o = 0; o < outputs; o++) rest[p * outputs + o] = at(p, o);
  positions.forEach((list, u) =>
    list.forEach((p, j) => {
      for (let o = 0; o < outputs; o++) {
        split[(u * each + j) * outputs + o] = at(p, o);
        rest[p * outputs + o] = 0;
      }
    }),
  );
  const flat = b.reshape(x, [-1, size]);
  const own = b.reshape(ordered(b, flat, fold, 1, size), [-1, units, each]);
  let contributions: Value;
  if (each === 1) contributions = b.op('Mul', [own, b.floats(split, [1, units, outputs])]);
  else {
    const product = b.op('MatMul', [b.transpose(own, [1, 0, 2]), b.floats(split, [units, each, outputs])]);
    contributions = b.transpose(product, [1, 0, 2]);
  }
  const beta = consumer.float('beta', 1);
  const bias = totalBias(
    fold,
    gemm
      ? constantTensor(consumer.inputs[2])
          ?.toFloat32()
          .map((v) => beta * v)
      : undefined,
  );
  const constant = b.op('Add', [b.op('MatMul', [flat, b.floats(rest, [size, outputs])]), b.floats(bias, [1, outputs])]);
  return { value: b.concat([contributions, b.reshape(constant, [-1, 1, outputs])], 1), elements: outputs };
}
