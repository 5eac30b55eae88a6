import { readBy } from '../../graph/edit.ts';
import type { Graph, Node, Value } from '../../graph/ir.ts';
import type { Constants } from './constants.ts';
import { isLinear, normal, rankOf } from './constants.ts';
import { propagate } from './propagate.ts';
import type { Tracking } from './rule.ts';
import { branchesOf, stacksBehind } from './results.ts';
import { combine, EACH, MIXED, type Tag } from './tags.ts';

/** Node positions and last readers of the values of a graph, found once. */
export class Order {
  readonly position = new Map<Node, number>();
  /** Position of the last node that reads a value, subgraphs counting as their owner. */
  private readonly lastUse = new Map<Value, number>();
  readonly nodes: readonly Node[];

  constructor(graph: Graph) {
    this.nodes = graph.nodes;
    graph.nodes.forEach((node, i) => {
      this.position.set(node, i);
      for (const value of readBy(node)) this.lastUse.set(value, i);
    });
  }

  last(value: Value): number {
    return this.lastUse.get(value) ?? -1;
  }
}

export interface Stack {
  node: Node;
  weight: Value;
  lookup: boolean;
}

/**
 * Follows the scores of one router through the graph, from the logits to where the results of its experts have met.
 * Afterwards its fields say what was on the way.
 */
export class Walk implements Tracking {
  readonly width: number;
  readonly constants: Constants;
  readonly tags = new Map<Value, Tag>();
  /** Nodes that belong to one expert, in graph order; key {@link EACH}: those of a loop over experts. */
  readonly own = new Map<number, Node[]>();
  /** Values that stand for one expert each, though no tag reaches them: operands of a Concat of all results. */
  readonly branches = new Map<number, Value[]>();
  readonly stacks: Stack[] = [];
  /** Nodes with tags that are no single expert's, in graph order. */
  readonly common: Node[] = [];
  chooser: Node | null = null;
  indices: Value | null = null;
  k: number | undefined;
  places = false;
  loops = false;
  ifs = false;
  /** Sums of what experts gave and something that is not theirs. */
  readonly joins: Node[] = [];
  /** Node at which the last results met. */
  end: Node | null = null;
  private readonly order: Order;
  private until = -1;

  constructor(width: number, constants: Constants, order: Order) {
    this.width = width;
    this.constants = constants;
    this.order = order;
  }

  /** Follows from `logits`, whose last axis has one position per expert. */
  run(logits: Value, axis: number): void {
    const start = logits.producer ? this.order.position.get(logits.producer)! : -1;
    this.mark(logits, { kind: 'axis', axis, chosen: false });
    for (let i = start + 1; i <= this.until; i++) this.visit(this.order.nodes[i]);
  }

  tag(value: Value | null | undefined): Tag | undefined {
    return value ? this.tags.get(value) : undefined;
  }
  chose(node: Node, indices: Value | null, k: number | undefined): void {
    // Once experts work, a choice is another's (the capacity of an expert, say).
    if (this.chooser && (this.own.size > 0 || this.stacks.length > 0)) return;
    this.chooser = node;
    this.indices = indices;
    this.k = k;
  }
  stacked(node: Node, weight: Value, lookup: boolean): void {
    if (!this.stacks.some((s) => s.node === node && s.weight === weight)) this.stacks.push({ node, weight, lookup });
  }
  results(value: Value, axis: number): boolean {
    const branches = branchesOf(value, axis, this.width);
    if (branches) {
      branches.forEach((branch, e) => this.branches.set(e, [...(this.branches.get(e) ?? []), branch]));
      return true;
    }
    const stacks = stacksBehind(value, this.width, this.constants);
    for (const { node, weight } of stacks) this.stacked(node, weight, false);
    return stacks.length > 0;
  }
  byPlace(): void {
    this.places = true;
  }

  private mark(value: Value, tag: Tag): void {
    this.tags.set(value, tag);
    if (tag.kind !== 'mixed') this.until = Math.max(this.until, this.order.last(value));
  }

  private visit(node: Node, context?: Tag): void {
    const read = readBy(node).map((v) => this.tags.get(v));
    if (!context && !read.some((t) => t)) return;
    const tags = node.subgraphs.length > 0 ? this.enter(node, context) : propagate(node, this);
    node.outputs.forEach((value, i) => {
      const tag = tags[i] ?? (context && value ? context : undefined);
      if (value && tag) this.mark(value, tag);
    });
    const found = node.outputs.flatMap((v) => this.tag(v) ?? []);
    if (found.length > 0) this.note(node, found[0]);
    if (read.some((t) => t && t.kind !== 'mixed') && !context) this.end = node;
  }

  private note(node: Node, tag: Tag): void {
    if (tag.kind === 'expert') {
      if (node.subgraphs.length === 0) this.push(tag.expert, node);
    } else if (tag.kind !== 'mixed') this.common.push(node);
    if (tag.kind === 'product') this.stackedOperands(node);
    if (/^(Add|Sum)$/.test(node.opType) && node.inputs.some((v) => v && !this.tag(v) && !this.constants.isConstant(v)))
      this.joins.push(node);
  }

  private push(expert: number, node: Node): void {
    const nodes = this.own.get(expert);
    if (nodes) nodes.push(node);
    else this.own.set(expert, [node]);
  }

  /** Weights and biases `[experts, …]` that results of all experts meet on their way. */
  private stackedOperands(node: Node): void {
    for (const value of node.inputs) {
      const shape = value?.type?.shape;
      if (!value || !shape || shape.length < 2 || this.tag(value) || !this.constants.isConstant(value)) continue;
      if (shape.slice(0, -1).includes(this.width)) this.stacked(node, value, false);
    }
  }

  /** Follows into the bodies of If, Loop and Scan. @returns the tags of the node's outputs. */
  private enter(node: Node, context?: Tag): (Tag | undefined)[] {
    if (node.opType === 'If') return this.enterIf(node, context);
    return this.enterLoop(node, context);
  }

  private enterIf(node: Node, context?: Tag): (Tag | undefined)[] {
    const condition = this.tag(node.inputs[0]);
    const [yes, no] = [branch(node, 'then_branch'), branch(node, 'else_branch')];
    const decided = condition?.kind === 'expert' ? condition : undefined;
    if (decided) this.ifs = true;
    const works = (graph: Graph | undefined) => !!graph?.nodes.some((n) => isLinear(n));
    const outer = decided ? undefined : context;
    if (yes) this.body(yes, decided ?? outer);
    // Where the branch that is taken does nothing, the condition is that the expert is not asked.
    if (no) this.body(no, decided && !works(yes) ? decided : outer);
    if (decided && works(yes) && works(no)) this.rest(no!);
    return node.outputs.map((_, i) => {
      const results = [yes, no].flatMap((g) => {
        const value = g?.outputs[i];
        const tag = this.tag(value);
        return value && tag ? [{ tag, rank: rankOf(value) }] : [];
      });
      const both = decided && works(yes) && works(no);
      return both
        ? MIXED
        : combine(decided ? [...results, { tag: decided, rank: undefined }] : results, rankOf(node.outputs[i]));
    });
  }

  /** The last of a chain of branches is the expert that none of the conditions named. */
  private rest(graph: Graph): void {
    const missing = Array.from({ length: this.width }, (_, e) => e).filter((e) => !this.own.has(e));
    if (missing.length !== 1) return;
    for (const node of graph.nodes) this.push(missing[0], node);
  }

  private enterLoop(node: Node, context?: Tag): (Tag | undefined)[] {
    const body = node.subgraphs.at(0);
    if (!body) return [];
    const scan = node.opType === 'Scan';
    const carried = scan ? node.inputs.length - node.int('num_scan_inputs', 0) : node.inputs.length - 2;
    body.inputs.forEach((parameter, i) => {
      const source = node.inputs[i];
      const tag = this.tag(source);
      if (scan && i >= carried) this.scanned(node, parameter, source, i - carried);
      else if (!scan && i === 0) {
        if (this.constants.ints(node.inputs[0])?.[0] === this.width)
          this.tags.set(parameter, { kind: 'expert', expert: EACH });
      } else if (tag) this.tags.set(parameter, tag);
    });
    this.body(body, context);
    if (this.own.has(EACH)) this.loops = true;
    const results = body.outputs.flatMap((v) => this.tag(v) ?? []);
    const experts = results.some((t) => t.kind === 'expert' || t.kind === 'mixed' || t.kind === 'product');
    return node.outputs.map((_, i) => {
      const tag = this.tag(body.outputs[scan ? i : i + 1]);
      if (tag?.kind === 'expert' && tag.expert === EACH) return MIXED;
      return tag ?? (experts ? MIXED : undefined);
    });
  }

  /** What a Scan takes apart: along the axis of experts, every turn has one expert's part. */
  private scanned(node: Node, parameter: Value, source: Value | null, i: number): void {
    const tag = this.tag(source);
    const axis = normal(node.ints('scan_input_axes')?.[i] ?? 0, rankOf(source));
    if (tag?.kind === 'axis') {
      if (tag.axis === axis) this.tags.set(parameter, { kind: 'expert', expert: EACH });
      else this.tags.set(parameter, { ...tag, axis: tag.axis > axis ? tag.axis - 1 : tag.axis });
    } else if (tag) this.tags.set(parameter, tag);
    else if (source && this.constants.isConstant(source) && source.type?.shape?.[axis] === this.width) {
      this.tags.set(parameter, { kind: 'expert', expert: EACH });
      this.stacked(node, source, false);
    }
  }

  private body(graph: Graph, context?: Tag): void {
    for (const node of graph.nodes) this.visit(node, context);
  }
}

function branch(node: Node, name: string): Graph | undefined {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'graph' ? attribute.value : undefined;
}
