import { constantTensor } from '../../graph/edit.ts';
import type { Node } from '../../graph/ir.ts';
import { Tensor } from '../../onnx/tensor.ts';
import { describe, type Axis, type Flow } from '../flow.ts';
import type { Labels } from '../atoms.ts';
import { followSizes } from '../shape-operand.ts';
import { isWeight } from './contracting.ts';
import { axisIndex, same, type Rule, type Rules } from './rule.ts';

/** Ops that pick positions by number, put them elsewhere, or make them up. */

const unknownShape = (node: Node) => `feeds ${describe(node)}, whose shape is not known`;
const comesFrom = (node: Node) => `comes from ${describe(node)}`;

/** Integers of a constant operand of any size. */
function constantIndices(node: Node, flow: Flow, input: number): readonly number[] | undefined {
  return flow.constantInts(node, input) ?? constantTensor(node.inputs[input], false)?.toInts();
}

function freezeAll(node: Node, flow: Flow, inputs: readonly number[], reason: string): void {
  for (const i of inputs) flow.axes(node, i)?.forEach((a) => flow.freeze(a, reason));
}

/** Output of which nothing but the size is known. */
function opaque(node: Node, flow: Flow, outputs = node.outputs.map((_, i) => i)): void {
  for (const i of outputs) {
    const shape = flow.shape(node.outputs[i]);
    if (shape)
      flow.setAxes(
        node,
        i,
        shape.map(() => comesFrom(node)),
      );
  }
}

/**
 * Gather. Constant indices in a row select units; one that takes its axis away, or several in rows, need the units that
 * they name, and the others may go; their numbers follow what stays. Computed indices need all. A table that is looked up
 * produces its other axes.
 */
const gather: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  const indexAxes = flow.axes(node, 1);
  if (!x || !indexAxes) return flow.barrier(node, unknownShape(node));
  const axis = axisIndex(node.int('axis', 0), x.length);
  const labels = x[axis];
  const table = isWeight(node, 0, flow);
  const indices = table ? undefined : constantIndices(node, flow, 1);
  let selected: Axis[] = indexAxes.map((a) => (typeof a === 'string' ? comesFrom(node) : a));
  if (indices && labels instanceof Int32Array) {
    const at = indices.map((i) => axisIndex(i, labels.length));
    if (indexAxes.length === 1) selected = [Int32Array.from(at, (i) => labels[i])];
    else {
      flow.freeze(
        Int32Array.from(new Set(at), (i) => labels[i]),
        `is picked out by ${describe(node)}`,
      );
      selected = indexAxes.map(() => comesFrom(node));
    }
    renumber(node, flow, labels, at, indexAxes.length === 1);
  } else {
    flow.freeze(labels, `is looked up by ${describe(node)}`);
    // Numbers that are computed along units select for each unit.
    if (isWeight(node, 1, flow)) {
      indexAxes.forEach((a) => flow.freeze(a, `are indices of ${describe(node)}`));
      selected = indexAxes.map(() => comesFrom(node));
    }
  }
  if (table) x.forEach((_, i) => i !== axis && flow.produce(node, 0, i));
  flow.setAxes(node, 0, [...x.slice(0, axis), ...selected, ...x.slice(axis + 1)]);
};

/** Lets constant indices follow the positions that stay; those of positions that go are left out, where `row` allows. */
function renumber(node: Node, flow: Flow, labels: Labels, at: readonly number[], row: boolean): void {
  const dims = flow.shape(node.inputs[1]) as number[];
  flow.rewrite(node, (copy, kept) => {
    const positions = kept.positions(labels);
    if (positions.length === labels.length) return;
    const place = new Map([...positions].map((p, i) => [p, i]));
    const next = at.flatMap((i) => place.get(i) ?? []);
    const tensor = Tensor.fromInt64('', row ? [next.length] : dims, next);
    copy.setInput(1, copy.graph.addInitializer(`${copy.outputs[0]!.name}_indices`, tensor));
  });
}

/**
 * GatherElements and ScatterElements: along `axis` positions are named by number; along the others position i of one
 * operand meets position i of the other, where both are as long.
 */
function elements(update?: number): Rule {
  return (node, flow) => {
    const x = flow.axes(node, 0);
    const others = [1, ...(update === undefined ? [] : [update])];
    if (!x || others.some((i) => flow.axes(node, i)?.length !== x.length)) {
      return flow.barrier(node, unknownShape(node));
    }
    const axis = axisIndex(node.int('axis', 0), x.length);
    const sizes = flow.shape(node.inputs[0])!;
    flow.freeze(x[axis], `is looked up by ${describe(node)}`);
    const out = x.map((a, i): Axis => {
      const met = others.map((o) => flow.axes(node, o)![i]);
      if (i === axis) {
        const along = met.reduce((p, q) => flow.unite(p, q));
        return update === undefined ? along : a;
      }
      if (others.every((o) => flow.shape(node.inputs[o])![i] === sizes[i])) {
        return met.reduce((p, q) => flow.unite(p, q), a);
      }
      [a, ...met].forEach((k) => flow.freeze(k, `is taken in part by ${describe(node)}`));
      return update === undefined ? comesFrom(node) : a;
    });
    flow.setAxes(node, 0, out);
  };
}

/** How many axes an index of GatherND or ScatterND names. */
function indexDepth(node: Node, flow: Flow): number | undefined {
  const shape = flow.shape(node.inputs[1]);
  const depth = shape?.[shape.length - 1];
  return typeof depth === 'number' ? depth : undefined;
}

/** GatherND: axes that the indices name stay; those in front go with the indices' own, those behind are carried. */
const gatherND: Rule = (node, flow) => {
  const [x, at, depth] = [flow.axes(node, 0), flow.axes(node, 1), indexDepth(node, flow)];
  if (!x || !at || depth === undefined) return flow.barrier(node, unknownShape(node));
  const batch = node.int('batch_dims', 0);
  x.slice(batch, batch + depth).forEach((a) => flow.freeze(a, `is looked up by ${describe(node)}`));
  flow.freeze(at[at.length - 1], `are indices of ${describe(node)}`);
  const lead = at.slice(0, -1).map((a, i) => (i < batch ? flow.unite(x[i], a) : a));
  flow.setAxes(node, 0, [...lead, ...x.slice(batch + depth)]);
};

/** ScatterND: axes that the indices name stay; the others go with the updates'. */
const scatterND: Rule = (node, flow) => {
  const [x, at, updates] = [flow.axes(node, 0), flow.axes(node, 1), flow.axes(node, 2)];
  const depth = indexDepth(node, flow);
  if (!x || !at || !updates || depth === undefined) return flow.barrier(node, unknownShape(node));
  x.slice(0, depth).forEach((a) => flow.freeze(a, `is written to by ${describe(node)}`));
  flow.freeze(at[at.length - 1], `are indices of ${describe(node)}`);
  const lead = at.length - 1;
  for (let i = 0; i < lead; i++) flow.unite(at[i], updates[i]);
  flow.setAxes(node, 0, [...x.slice(0, depth), ...x.slice(depth).map((a, i) => flow.unite(a, updates[lead + i]))]);
};

/** OneHot: a new axis for the classes; the numbers keep their axes. */
const oneHot: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  if (!x) return flow.barrier(node, unknownShape(node));
  const axis = axisIndex(node.int('axis', -1), x.length + 1);
  freezeAll(node, flow, [1, 2], `is a parameter of ${describe(node)}`);
  flow.setAxes(node, 0, [...x.slice(0, axis), `counts the classes of ${describe(node)}`, ...x.slice(axis)]);
};

/** The named axes stay, for a reason; the others are carried from input 0 to every output of its rank. */
function fixed(axes: (node: Node, rank: number, flow: Flow) => readonly number[], verb: string): Rule {
  return (node, flow) => {
    const x = flow.axes(node, 0);
    if (!x) return flow.barrier(node, unknownShape(node));
    const named = new Set(axes(node, x.length, flow).map((a) => axisIndex(a, x.length)));
    const reason = `${verb} ${describe(node)}`;
    named.forEach((i) => flow.freeze(x[i], reason));
    for (let i = 1; i < node.inputs.length; i++) freezeAll(node, flow, [i], `is a parameter of ${describe(node)}`);
    flow.setAxes(
      node,
      0,
      x.map((a, i): Axis => (named.has(i) ? reason : a)),
    );
  };
}

/** Compress: a constant condition selects units and is cut with them; another needs them all. */
const compress: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  const given = node.int('axis');
  const picks = constantTensor(node.inputs[1], false)?.toNumbers();
  if (!x || given === undefined) return flow.barrier(node, `is flattened by ${describe(node)}`);
  const axis = axisIndex(given, x.length);
  const labels = x[axis];
  const condition = flow.axes(node, 1)?.[0] ?? 'is not tracked';
  let out: Axis = `is selected by ${describe(node)}`;
  if (labels instanceof Int32Array && picks?.length === labels.length && labels.length > 1) {
    flow.unite(labels, condition);
    out = labels.filter((_, i) => picks[i] !== 0);
  } else {
    [labels, condition].forEach((a) => flow.freeze(a, out as string));
  }
  flow.setAxes(
    node,
    0,
    x.map((a, i) => (i === axis ? out : a)),
  );
};

/** SpaceToDepth: every position of a block gets a run of all channels. */
const spaceToDepth: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  if (x?.length !== 4) return flow.barrier(node, unknownShape(node));
  const labels = x[1];
  let channels: Axis = labels;
  if (labels instanceof Int32Array) {
    const size = labels.length * node.int('blocksize', 1) ** 2;
    channels = Int32Array.from({ length: size }, (_, i) => labels[i % labels.length]);
  }
  x.slice(2).forEach((a) => flow.freeze(a, `is rearranged by ${describe(node)}`));
  flow.setAxes(node, 0, [x[0], channels, 'is a spatial axis', 'is a spatial axis']);
};

/** Regions of an image: the channels are carried; a new first axis counts the regions. */
function regions(channel: number): Rule {
  return (node, flow) => {
    const x = flow.axes(node, 0);
    if (x?.length !== 4) return flow.barrier(node, unknownShape(node));
    const reason = `is cut into regions by ${describe(node)}`;
    x.forEach((a, i) => i !== channel && flow.freeze(a, reason));
    for (let i = 1; i < node.inputs.length; i++) freezeAll(node, flow, [i], `is a parameter of ${describe(node)}`);
    flow.setAxes(
      node,
      0,
      x.map((a, i) => (i === channel ? a : comesFrom(node))),
    );
  };
}

/** GridSample: batch and channels are carried, places are sampled. */
const gridSample: Rule = (node, flow) => {
  const [x, grid] = [flow.axes(node, 0), flow.axes(node, 1)];
  if (!x || !grid) return flow.barrier(node, unknownShape(node));
  [...x.slice(2), ...grid.slice(1)].forEach((a) => flow.freeze(a, `is sampled by ${describe(node)}`));
  flow.setAxes(node, 0, [flow.unite(x[0], grid[0]), x[1], ...x.slice(2).map(() => comesFrom(node))]);
};

/** CenterCropPad: axes whose size stays are carried, and the target follows them; the others are cropped or padded. */
const centerCropPad: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  const [before, after] = [flow.shape(node.inputs[0]), flow.shape(node.outputs[0])];
  if (!x || !before || !after) return flow.barrier(node, unknownShape(node));
  const named = (node.ints('axes') ?? x.map((_, i) => i)).map((a) => axisIndex(a, x.length));
  const out = x.map((a, i): Axis => {
    if (!named.includes(i) || (typeof before[i] === 'number' && before[i] === after[i])) return a;
    flow.freeze(a, `is cropped or padded by ${describe(node)}`);
    return `is cropped or padded by ${describe(node)}`;
  });
  flow.setAxes(node, 0, out);
  followSizes(
    node,
    flow,
    1,
    named.map((i) => out[i]),
    (labels, kept) => kept.count(labels),
  );
};

/** Ops whose results depend on all of their operands: nothing that they read may change. */
const wall =
  (verb: string): Rule =>
  (node, flow) =>
    flow.barrier(node, `${verb} ${describe(node)}`);

/** Numbers that are made up from scalars. */
const made: Rule = (node, flow) => {
  freezeAll(
    node,
    flow,
    node.inputs.map((_, i) => i),
    `is a parameter of ${describe(node)}`,
  );
  opaque(node, flow);
};

const MS = 'com.microsoft.';

export const indexing: Rules = {
  Gather: gather,
  GatherElements: elements(),
  ...same(elements(2), 'ScatterElements Scatter'),
  ...same(gatherND, `GatherND ${MS}GatherND`),
  ScatterND: scatterND,
  OneHot: oneHot,
  ...same(
    fixed((_, rank) => [rank - 2, rank - 1], 'is one side of the triangle of'),
    `Trilu ${MS}Trilu`,
  ),
  ReverseSequence: fixed((node) => [node.int('time_axis', 0), node.int('batch_axis', 1)], 'is reversed in part by'),
  Compress: compress,
  SpaceToDepth: spaceToDepth,
  ...same(regions(1), 'RoiAlign MaxRoiPool'),
  [`${MS}CropAndResize`]: regions(1),
  ...same(gridSample, `GridSample ${MS}GridSample`),
  CenterCropPad: centerCropPad,
  ...same(made, `Range ${MS}Range RandomNormal RandomUniform HannWindow HammingWindow BlackmanWindow MelWeightMatrix`),
  ...same(
    wall('shapes what is made up by'),
    'EyeLike RandomNormalLike RandomUniformLike Bernoulli Multinomial AffineGrid',
  ),
  ...same(wall('is searched by'), `NonZero Unique ${MS}Unique NonMaxSuppression`),
  MaxUnpool: wall('is numbered across channels for'),
};
