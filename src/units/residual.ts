import { readBy } from '../graph/edit.ts';
import { nodeMacs } from '../graph/macs.ts';
import type { Graph, Node, Value } from '../graph/ir.ts';
import { isFloatType } from '../onnx/data-type.ts';
import type { Flow } from './flow.ts';
import type { GateSite, Group } from './types.ts';

/** A residual block: a node that adds a branch to what the branch was computed from, the skip. */
export interface ResidualBlock {
  /** The Add, Sum or SkipLayerNormalization. */
  node: Node;
  /** Input number of the skip, and of the branch. */
  skip: number;
  branch: number;
  /** What is computed from the skip for the branch, in graph order. */
  nodes: Node[];
}

/** Ends the id of a group of residual blocks, which is named after the node that adds the first. */
export const BLOCKS = '#blocks';

/** Ops that add two operands, with what they give besides the sum that a model without the branch could not give. */
const ADDING: Record<string, readonly number[]> = {
  Add: [],
  Sum: [],
  'com.microsoft.SkipLayerNormalization': [1, 2],
  'com.microsoft.SkipSimplifiedLayerNormalization': [1, 2],
};

/** Ops that normalise the sum: what normalises the skip alone, which inputs are its parameters, and which is added, too. */
export const NORMALISING: Record<string, { alone: string; parameters: readonly number[]; bias: number }> = {
  'com.microsoft.SkipLayerNormalization': { alone: 'LayerNormalization', parameters: [2, 3], bias: 4 },
  'com.microsoft.SkipSimplifiedLayerNormalization': { alone: 'SimplifiedLayerNormalization', parameters: [2], bias: 3 },
};

/** Ops that read no more than the shape of their operand. */
const MEASURING = new Set(['Shape', 'Size']);

/**
 * The residual blocks of a graph, in graph order, by its data flow alone. Removing a block means that the readers of the
 * sum read the skip. That makes a block of an addition of two operands a and b of one shape if
 * - b is computed from a (not from its shape alone) by something that multiplies and accumulates: x + 0.04·x³ of a GELU is
 *   arithmetic, no block;
 * - all that is computed from a for b is used for nothing else: it would go with the branch.
 * What b is computed from besides may be used elsewhere (masks, positions, what an encoder gave): it does not depend on a.
 * Blocks may lie within the branches of others.
 */
export function findResidualBlocks(graph: Graph): ResidualBlock[] {
  const position = new Map(graph.nodes.map((n, i) => [n, i]));
  const readers = readersOf(graph);
  const found: ResidualBlock[] = [];
  for (const node of graph.nodes) {
    const extra = ADDING[node.op];
    if (!extra || (node.op === 'Sum' && node.inputs.length !== 2)) continue;
    if (extra.some((i) => node.outputs[i] && isRead(node.outputs[i], readers))) continue;
    const [a, b] = node.inputs;
    if (!a || !b || a === b || !node.outputs[0] || !addsPlainly(a, b)) continue;
    for (const [skip, branch] of [
      [0, 1],
      [1, 0],
    ]) {
      const nodes = branchNodes(node.inputs[skip]!, node.inputs[branch]!, position, readers);
      if (nodes) found.push({ node, skip, branch, nodes });
    }
  }
  return found;
}

/** Two float operands of one known shape: nothing is broadcast, and the sum has the shape of either. */
function addsPlainly(a: Value, b: Value): boolean {
  const [x, y] = [a.type, b.type];
  if (!x?.shape?.length || !y?.shape || x.elemType !== y.elemType || !isFloatType(x.elemType)) return false;
  return x.shape.length === y.shape.length && x.shape.every((d, i) => d !== null && d === y.shape![i]);
}

/** Nodes of a graph that read a value, directly or inside of their subgraphs. */
type Readers = ReadonlyMap<Value, readonly Node[]>;

function readersOf(graph: Graph): Readers {
  const readers = new Map<Value, Node[]>();
  for (const node of graph.nodes) {
    for (const value of readBy(node)) {
      const list = readers.get(value);
      if (list) list.push(node);
      else readers.set(value, [node]);
    }
  }
  return readers;
}

function isRead(value: Value, readers: Readers): boolean {
  return value.isGraphOutput || readers.has(value);
}

/** Nodes behind `branch` that nothing needs once it is not read. */
function onlyFor(branch: Value, after: (v: Value) => boolean, readers: Readers): Set<Node> {
  const open = new Map<Node, number>();
  const dead = new Set<Node>();
  const queue = [branch];
  for (const v of queue) {
    const node = v.producer!;
    const reads = node.outputs.reduce(
      (n, o) => n + (o ? (o.isGraphOutput ? Infinity : (readers.get(o)?.length ?? 0)) : 0),
      0,
    );
    const rest = (open.get(node) ?? reads) - 1;
    open.set(node, rest);
    if (rest > 0) continue;
    dead.add(node);
    for (const read of readBy(node)) if (after(read)) queue.push(read);
  }
  return dead;
}

/** The skip, and what the node that gives it gives beside it, computed of it: the normalised sum of a SkipLayerNormalization. */
function sameContents(skip: Value): ReadonlySet<Value> {
  const { producer, producerIndex } = skip;
  const beside = producer && producerIndex === 3 && ADDING[producer.op] ? producer.outputs[0] : null;
  return new Set(beside ? [skip, beside] : [skip]);
}

/** What is computed from `skip` for `branch`; undefined when that makes no block. */
function branchNodes(
  skip: Value,
  branch: Value,
  position: ReadonlyMap<Node, number>,
  readers: Readers,
): Node[] | undefined {
  const start = skip.producer ? position.get(skip.producer)! : -1;
  const after = (v: Value) => v.producer !== null && position.get(v.producer)! > start;
  if (skip.initializer || !after(branch) || branch.isGraphOutput || readers.get(branch)!.length > 1) return undefined;
  const from = sameContents(skip);
  const dead = onlyFor(branch, after, readers);
  // What the branch reads and leaves behind must not depend on the skip.
  const left = new Set<Value>();
  for (const node of dead) {
    if (MEASURING.has(node.op)) continue;
    for (const v of readBy(node)) if (!from.has(v) && after(v) && !dead.has(v.producer!)) left.add(v);
  }
  for (const v of left) {
    if (MEASURING.has(v.producer!.op)) continue;
    for (const read of readBy(v.producer!)) {
      if (from.has(read)) return undefined;
      if (after(read)) left.add(read);
    }
  }
  const inside = new Set<Node>();
  for (const node of [...dead].sort((m, n) => position.get(m)! - position.get(n)!)) {
    if (MEASURING.has(node.op)) continue;
    if (readBy(node).some((v) => from.has(v) || (v.producer && inside.has(v.producer)))) inside.add(node);
  }
  if (!inside.has(branch.producer!)) return undefined;
  const nodes = [...inside];
  return nodes.some((n) => nodeMacs(n) > 0) ? nodes : undefined;
}

/**
 * The blocks of a model as one group, whose units are blocks. All streams of a model (the stages of a ResNet, encoder and
 * decoder, blocks within blocks) are one group: which blocks matter is asked of the whole network, and a stage with one
 * block would not be a group of its own. Undefined when there are none.
 * @param taken ids of other groups
 */
export function residualGroup(
  graph: Graph,
  flow: Flow,
  layerName: (n: Node) => string,
  taken: ReadonlySet<string>,
): Group | undefined {
  const residuals = findResidualBlocks(graph);
  if (residuals.length === 0) return undefined;
  const stem = `${layerName(residuals[0].node)}${BLOCKS}`;
  let id = stem;
  for (let i = 2; taken.has(id); i++) id = `${stem}#${i}`;
  const layers = new Set(residuals.flatMap(({ nodes }) => nodes.filter((n) => nodeMacs(n) > 0)));
  const alone = residuals.length < 2;
  return {
    id,
    kind: 'block',
    size: residuals.length,
    layers: graph.nodes.filter((n) => layers.has(n)),
    consumers: residuals.map(({ node }) => node),
    sites: residuals.map(({ node, branch }, unit): GateSite => ({
      node,
      input: branch,
      axis: -1,
      units: Int32Array.of(unit),
    })),
    prunable: !alone,
    ...(alone ? { reason: 'has a single unit' } : {}),
    // Atoms of no axis: no position goes with a block.
    atoms: flow.atoms.fresh(residuals.length),
    weights: [],
    residuals,
  };
}

/**
 * When a node is there: while of each of these sets of blocks at least one stays. Without sets it is always there.
 */
export type Needs = readonly (readonly number[])[];

/** So many sets at most; with more a node is taken to be there more often than it is. */
const MOST_SETS = 32;

/** Which blocks the nodes and weights of a graph are there for. */
export class BlockNeeds {
  private readonly nodes = new Map<Node, Needs>();
  /** Of what a block's sum gives first. */
  private readonly firsts = new Map<Node, Needs>();
  private readonly weights = new Map<unknown, Needs>();

  constructor(graph: Graph, blocks: readonly ResidualBlock[]) {
    if (blocks.length === 0) return;
    const sums = new Map(blocks.map((block, unit) => [block.node, { branch: block.branch, unit }]));
    const readers = readersOf(graph);
    const outputs = new Set(graph.outputs);
    for (const node of [...graph.nodes].reverse()) {
      let needs: Needs | undefined;
      node.outputs.forEach((v, i) => {
        if (v && outputs.has(v)) needs = ALWAYS;
        for (const reader of (v && readers.get(v)) || []) needs = either(needs, this.ofReader(reader, v!, sums));
        if (i === 0 && sums.has(node) && needs) this.firsts.set(node, needs);
      });
      this.nodes.set(node, needs ?? ALWAYS);
    }
    for (const [value, list] of readers) {
      const { initializer } = value;
      if (!initializer) continue;
      for (const reader of list) {
        const known = this.weights.get(initializer.storage);
        this.weights.set(initializer.storage, either(known, this.ofReader(reader, value, sums)));
      }
    }
  }

  private ofReader(reader: Node, v: Value, sums: ReadonlyMap<Node, { branch: number; unit: number }>): Needs {
    const needs = this.nodes.get(reader) ?? ALWAYS;
    const sum = sums.get(reader);
    if (!sum) return needs;
    const withBlock = smallest([...needs, [sum.unit]]);
    if (reader.inputs[sum.branch] === v) return withBlock;
    // Without the block, sum and normalisation are nodes of their own.
    const parameter = NORMALISING[reader.op]?.parameters.some((i) => reader.inputs[i] === v);
    return parameter ? (this.firsts.has(reader) ? either(withBlock, this.firsts.get(reader)!) : withBlock) : needs;
  }

  node(node: Node): Needs {
    return this.nodes.get(node) ?? ALWAYS;
  }

  /** Of a weight: all that reads its elements, under whatever names. */
  weight(value: Value): Needs {
    return this.weights.get(value.initializer?.storage) ?? ALWAYS;
  }
}

const ALWAYS: Needs = [];

/** There for one reader, or for another. */
function either(a: Needs | undefined, b: Needs): Needs {
  if (!a || a === b) return b;
  if (a.length === 0 || b.length === 0) return ALWAYS;
  return smallest(a.flatMap((x) => b.map((y) => [...new Set([...x, ...y])].sort((m, n) => m - n))));
}

/** The sets without those that hold another. */
function smallest(sets: Needs): Needs {
  const chosen: (readonly number[])[] = [];
  for (const set of [...sets].sort((a, b) => a.length - b.length)) {
    if (!chosen.some((c) => c.every((unit) => set.includes(unit)))) chosen.push(set);
  }
  return chosen.slice(0, MOST_SETS);
}
