import { constantTensor, isConstantOnly } from '../../graph/edit.ts';
import type { Node, Value } from '../../graph/ir.ts';
import { isParameter, parameterCount } from '../../graph/parameters.ts';
import type { ShapeInfo } from '../../graph/shapes/index.ts';
import type { ExpertWeight } from './types.ts';

/** Products that a weight matrix stands in: each element of the weight is one multiply-accumulate per token. */
const LINEAR =
  /^(MatMul|Gemm|Einsum|Conv|MatMulInteger|QLinearMatMul|MatMulNBits|MatMulBnb4|QGemm|DynamicQuantizeMatMul|MatMulIntegerToFloat|FusedMatMul|FusedGemm)$/;

export function isLinear(node: Node): boolean {
  return LINEAR.test(node.opType);
}

/** What is known of constants of one model, kept between questions. */
export class Constants {
  private readonly known = new Map<Value, boolean>();
  private readonly shapes: ShapeInfo;

  constructor(shapes: ShapeInfo) {
    this.shapes = shapes;
  }

  isConstant(value: Value): boolean {
    return isConstantOnly(value, this.known);
  }

  /** Whole numbers of a small constant, in order; undefined when it is none, or not known. */
  ints(value: Value | null | undefined): number[] | undefined {
    if (!value) return undefined;
    const tensor = constantTensor(value);
    if (tensor && tensor.elementCount <= 65536 && !tensor.isExternal) {
      try {
        return tensor.toInts();
      } catch {
        return undefined;
      }
    }
    const content = this.shapes.constant(value);
    return content?.every((d) => typeof d === 'number') ? content.map(Number) : undefined;
  }

  /**
   * The tensors that a constant is made of, each as a whole or as the position that was taken of it (Gather, Slice or
   * Split of weights that experts share).
   */
  weights(value: Value): ExpertWeight[] {
    const found: ExpertWeight[] = [];
    this.collect(value, null, found, new Set());
    return found;
  }

  private collect(
    value: Value,
    taken: { axis: number; index: number } | null,
    found: ExpertWeight[],
    seen: Set<Value>,
  ): void {
    // Exporters compute masks by long chains of nodes that are read twice.
    if (seen.has(value)) return;
    seen.add(value);
    if (constantTensor(value)) {
      if (isParameter(value)) found.push({ value, axis: taken?.axis ?? null, index: taken?.index ?? 0 });
      return;
    }
    const node = value.producer;
    const source = node?.inputs[0];
    if (!node || !source) return;
    const here = taken ? { ...taken, axis: axisBefore(node, taken.axis) } : this.taken(node, value);
    node.inputs.forEach((input, i) => {
      if (input && (i === 0 || !SIDE_INPUTS.test(node.opType))) this.collect(input, here, found, seen);
    });
  }

  /** The single position of a constant that a node takes, if that is what it does. */
  private taken(node: Node, output: Value): { axis: number; index: number } | null {
    const rank = rankOf(node.inputs[0]);
    if (node.opType === 'Gather') {
      const at = this.ints(node.inputs[1]);
      return at?.length === 1 ? { axis: normal(node.int('axis', 0), rank), index: at[0] } : null;
    }
    if (node.opType === 'Slice') return this.slice(node);
    if (node.opType === 'Split') {
      const axis = normal(node.int('axis', 0), rank);
      const dim = output.type?.shape?.[axis];
      return dim === 1 ? { axis, index: node.outputs.indexOf(output) } : null;
    }
    return null;
  }

  /** Axis and place of a Slice that takes one position of one axis. */
  slice(node: Node): { axis: number; index: number } | null {
    const starts = node.ints('starts') ?? this.ints(node.inputs[1]);
    const ends = node.ints('ends') ?? this.ints(node.inputs[2]);
    const axes = node.ints('axes') ?? this.ints(node.inputs[3]) ?? starts?.map((_, i) => i);
    const shape = node.inputs[0]?.type?.shape;
    if (!starts || !ends || !axes || !shape) return null;
    for (let i = 0; i < axes.length; i++) {
      const axis = normal(axes[i], shape.length);
      const dim = shape[axis];
      if (typeof dim !== 'number' || dim < 2) continue;
      const start = starts[i] < 0 ? starts[i] + dim : starts[i];
      const end = Math.min(ends[i] < 0 ? ends[i] + dim : ends[i], dim);
      if (end - start === 1) return { axis, index: start };
    }
    return null;
  }
}

/** Operands that say where or how much, not what. */
const SIDE_INPUTS = /^(Gather|GatherND|GatherElements|Slice|Split|Reshape|Squeeze|Unsqueeze|Expand|Tile)$/;

/** Where an axis of a node's output lies in its input, for ops that experts' weights pass. */
function axisBefore(node: Node, axis: number): number {
  const perm = node.opType === 'Transpose' ? node.ints('perm') : undefined;
  if (perm) return perm[axis] ?? axis;
  return node.opType === 'Transpose' ? (rankOf(node.inputs[0]) ?? 1) - 1 - axis : axis;
}

/** Elements of a weight that belong to its expert. */
export function weightParameters({ value, axis }: ExpertWeight): number {
  const tensor = constantTensor(value);
  const count = parameterCount(value);
  return axis === null || !tensor ? count : count / Math.max(1, tensor.dims[axis]);
}

export function rankOf(value: Value | null | undefined): number | undefined {
  return value?.type?.shape?.length ?? constantTensor(value)?.dims.length;
}

/** A non-negative axis. */
export function normal(axis: number, rank: number | undefined): number {
  return axis < 0 && rank !== undefined ? axis + rank : axis;
}
