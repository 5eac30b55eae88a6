import type { Dim, Node, Value } from '../graph/ir.ts';
import type { ShapeInfo } from '../graph/shapes/index.ts';
import { bitsPerElement, DataType, dataTypeName, isFloatType } from '../onnx/data-type.ts';
import { Atoms, type Labels } from './atoms.ts';
import type { Gate } from './gates/gate.ts';

/**
 * An axis of (rows of unknown number) × units, as exporters merge batch and heads: position p is that of unit p modulo the
 * number of units. Rules that ask for wide axes carry it on, to all others the units are fixed.
 */
export class Tiled {
  readonly labels: Labels;
  constructor(labels: Labels) {
    this.labels = labels;
  }
}

/** What is known of one axis: its atoms, or in words why it is fixed. */
export type Axis = Labels | string;
export type WideAxis = Axis | Tiled;

/** Where atoms are summed or mixed away: the places for gates. */
export interface Contraction {
  node: Node;
  input: number;
  axis: number;
  labels: Labels;
  /** How the consumer is gated; undefined: its operand is multiplied. */
  gate?: Gate;
}

/** An axis of a weight that creates units. */
export interface Production {
  node: Node;
  input: number;
  axis: number;
  labels: Labels;
}

/** An axis that is cut into `blocks` equal runs, of which each must keep equally many positions. */
export interface BlockConstraint {
  node: Node;
  labels: Labels;
  blocks: number;
}

/** A part of a node's MACs that grows with the product of the sizes of these axes. */
export interface MacTerm {
  axes: Labels[];
  share: number;
}

/** What surgery tells a rewrite about axes. */
export interface Kept {
  /** Positions that stay, ascending. */
  positions(labels: Labels): Int32Array;
  count(labels: Labels): number;
}

/** Adjusts attributes and constants of `node`, the copy in the pruned graph, whose axes have shrunk. */
export type Rewrite = (node: Node, kept: Kept) => void;

/**
 * The state of a dimension-flow analysis. Rules read the axes of a node's inputs and set those of its outputs,
 * unite what must go together, and tell where units are produced and contracted.
 */
export class Flow {
  readonly atoms = new Atoms();
  readonly contractions: Contraction[] = [];
  readonly productions: Production[] = [];
  readonly blocks: BlockConstraint[] = [];
  /** Axes that are the heads of an attention, or the dimensions of each head. */
  readonly roles: { labels: Labels; role: 'head' | 'head-dim' }[] = [];
  readonly rewrites = new Map<Node, Rewrite[]>();
  /** The MACs of a node as a sum of products of axes. */
  readonly macTerms = new Map<Node, MacTerm[]>();
  /** Axes that the size of a weight is a product of, where they are not its own (blocks of a grouped Conv). */
  readonly weightAxes = new Map<Value, Labels[]>();
  private readonly layouts = new Map<Value, WideAxis[]>();
  private readonly adopted = new Map<Value, (Labels | undefined)[]>();
  readonly shapes: ShapeInfo;
  /** Version of ai.onnx. */
  readonly opset: number;

  constructor(shapes: ShapeInfo, opset: number) {
    this.shapes = shapes;
    this.opset = opset;
  }

  /** Axes of a value; undefined when its rank is unknown. Weights get free atoms at the first look. */
  axesOf(value: Value): WideAxis[] | undefined {
    const known = this.layouts.get(value);
    if (known) return known;
    const shape = value.type?.shape;
    if (!shape) return undefined;
    let axes: WideAxis[];
    if (value.initializer && !value.isGraphInput) {
      const type = value.initializer.dataType;
      const whole = bitsPerElement(type) % 8 === 0 && bitsPerElement(type) > 0;
      const adopted = this.adopted.get(value);
      axes = value.initializer.dims.map((d, i) => {
        if (!whole) return `is stored as packed ${dataTypeName(type)}`;
        return d > 1 ? (adopted?.[i] ?? this.atoms.fresh(d)) : 'has one position';
      });
    } else {
      axes = shape.map(() => (value.isGraphInput ? `comes from the model input ${value.name}` : 'is not tracked'));
    }
    this.layouts.set(value, axes);
    return axes;
  }

  /**
   * Gives an axis of a weight that nothing has looked at yet the labels that a rule is about to unite it with: most weights
   * are united with what they meet at once, and half of all atoms need not be made.
   */
  adopt(node: Node, input: number, axis: number, labels: WideAxis | undefined): void {
    const value = node.inputs[input];
    if (!value?.initializer || value.isGraphInput || this.layouts.has(value)) return;
    if (!(labels instanceof Int32Array) || value.initializer.dims[axis] !== labels.length) return;
    let axes = this.adopted.get(value);
    if (!axes) this.adopted.set(value, (axes = []));
    axes[axis] = labels;
  }

  /** Axes of input `index` of a node; undefined when absent or of unknown rank. Rows × units are fixed. */
  axes(node: Node, index: number): Axis[] | undefined {
    return this.wideAxes(node, index)?.map((axis): Axis => {
      if (!(axis instanceof Tiled)) return axis;
      const reason = `is merged with rows of unknown number when it reaches ${describe(node)}`;
      this.freeze(axis, reason);
      return reason;
    });
  }

  /** The same, for rules that carry axes of rows × units. */
  wideAxes(node: Node, index: number): WideAxis[] | undefined {
    const value = node.inputs[index];
    return value ? this.axesOf(value) : undefined;
  }

  shape(value: Value | null | undefined): Dim[] | undefined {
    return value?.type?.shape;
  }

  /** All values with tracked axes. */
  get tracked(): ReadonlyMap<Value, WideAxis[]> {
    return this.layouts;
  }

  /**
   * Sets the axes of an output. A rank that does not agree with the inferred shape is a bug of a rule: freezes.
   * A unit that is alone on an axis stays: without it the axis would be empty, and broadcast no longer.
   */
  setAxes(node: Node, output: number, axes: WideAxis[]): void {
    const value = node.outputs[output];
    if (!value) return;
    const shape = value.type?.shape;
    if (shape && shape.length !== axes.length) {
      for (const axis of axes) this.freeze(axis, `${describe(node)} gives a shape that does not add up`);
      axes = shape.map(() => `comes from ${describe(node)}`);
    }
    if (shape) {
      axes = axes.map((axis, i) => {
        if (typeof axis === 'string' || typeof shape[i] !== 'number') return axis;
        if (axis instanceof Int32Array && shape[i] === axis.length) return axis;
        this.freeze(axis, `${describe(node)} gives a shape that does not add up`);
        return `comes from ${describe(node)}`;
      });
    }
    axes = axes.map((axis) => {
      if (typeof axis === 'string' || axis instanceof Tiled || axis.length > 1) return axis;
      this.freeze(axis, `is alone on an axis of ${describe(node)}`);
      return 'has one position';
    });
    this.layouts.set(value, axes);
  }

  freeze(axis: WideAxis | undefined, reason: string): void {
    if (axis === undefined || typeof axis === 'string') return;
    this.atoms.freeze(axis instanceof Tiled ? axis.labels : axis, reason);
  }

  /** Makes two axes lose the same positions, and gives the axis that stands for both. */
  unite(a: Axis, b: Axis): Axis;
  unite(a: WideAxis, b: WideAxis): WideAxis;
  unite(a: WideAxis, b: WideAxis): WideAxis {
    if (typeof a === 'string') {
      this.freeze(b, a);
      return typeof b === 'string' ? a : b;
    }
    if (typeof b === 'string') {
      this.freeze(a, b);
      return a;
    }
    if (a instanceof Tiled && b instanceof Tiled) {
      this.unite(a.labels, b.labels);
      return a;
    }
    if (a instanceof Tiled || b instanceof Tiled || a.length !== b.length) {
      this.freeze(a, 'is combined with an axis of another size');
      this.freeze(b, 'is combined with an axis of another size');
      return a;
    }
    if (a !== b) this.atoms.uniteAll(a, b);
    return a;
  }

  /** Labels for an axis of `size` positions: a fixed one becomes frozen atoms. */
  labels(axis: Axis, size: number): Labels {
    if (axis instanceof Int32Array) return axis;
    const labels = this.atoms.fresh(size);
    this.atoms.freeze(labels, axis);
    return labels;
  }

  /**
   * The node contracts or mixes that axis of that operand: a gate belongs in front of it.
   * @param gate how the node is gated where multiplying the operand is not the same as removing units
   */
  contract(node: Node, input: number, axis: number, gate?: Gate): void {
    const labels = this.wideAxes(node, input)?.[axis];
    if (labels instanceof Tiled) this.freeze(labels, `is summed by ${describe(node)} over rows and units at once`);
    if (!(labels instanceof Int32Array)) return;
    const type = node.inputs[input]!.type!.elemType;
    if (type !== DataType.UNDEFINED && !isFloatType(type) && !gate?.integers)
      this.freeze(labels, `${describe(node)} works on integers`);
    else this.contractions.push({ node, input, axis, labels, ...(gate && { gate }) });
  }

  /** That axis of that weight creates the units of the node's output. */
  produce(node: Node, input: number, axis: number): void {
    const labels = this.wideAxes(node, input)?.[axis];
    if (labels instanceof Int32Array) this.productions.push({ node, input, axis, labels });
  }

  /** The axis is the heads of an attention, or the dimensions of each head. */
  role(axis: WideAxis | undefined, role: 'head' | 'head-dim'): void {
    if (axis === undefined || typeof axis === 'string') return;
    this.roles.push({ labels: axis instanceof Tiled ? axis.labels : axis, role });
  }

  rewrite(node: Node, rewrite: Rewrite): void {
    const list = this.rewrites.get(node);
    if (list) list.push(rewrite);
    else this.rewrites.set(node, [rewrite]);
  }

  /**
   * The MACs of the node are a product of the sizes of these axes; where they are a sum of products, one call for each.
   * @param share the part of the node's MACs that the product makes up; all calls together 1
   */
  macs(node: Node, axes: (WideAxis | undefined)[], share = 1): void {
    const labels = axes.map((a) => (a instanceof Tiled ? a.labels : a));
    const term = { axes: labels.filter((a): a is Labels => a instanceof Int32Array), share };
    const terms = this.macTerms.get(node);
    if (terms) terms.push(term);
    else this.macTerms.set(node, [term]);
  }

  /** The op is a wall: what reaches it stays as it is. */
  barrier(node: Node, reason: string): void {
    node.inputs.forEach((_, i) => this.wideAxes(node, i)?.forEach((axis) => this.freeze(axis, reason)));
    node.outputs.forEach((value, i) => {
      const shape = value?.type?.shape;
      if (shape)
        this.setAxes(
          node,
          i,
          shape.map(() => `comes from ${describe(node)}`),
        );
    });
  }

  /** Integers of a constant operand, or undefined when it is not fully known. */
  constantInts(node: Node, input: number): readonly number[] | undefined {
    const value = node.inputs[input];
    if (!value) return undefined;
    const known = this.shapes.constant(value);
    return known?.every((d) => typeof d === 'number') ? known : undefined;
  }
}

/** `Conv layer1/conv` for messages. */
export function describe(node: Node): string {
  return node.name ? `${node.op} "${node.name}"` : node.op;
}
