import type { Node, Value } from '../../graph/ir.ts';
import { normal, rankOf } from './constants.ts';
import { MOVES } from './moves.ts';
import { all, axesOf, taggedInputs, type Rule, type Tracking } from './rule.ts';
import { combine, EACH, INDEX, MIXED, PRODUCT, SLOTS, type Tag } from './tags.ts';

/** Tags of a node's outputs, given those of its inputs. */
export function propagate(node: Node, t: Tracking): (Tag | undefined)[] {
  if (node.domain === '' || node.domain === 'ai.onnx') {
    const rule = RULES.get(node.opType);
    if (rule) return rule(node, t);
  }
  return node.outputs.map(() => all(node, t));
}

const topK: Rule = (node, t) => {
  const tag = t.tag(node.inputs[0]);
  if (tag?.kind !== 'axis') return node.outputs.map(() => tag && SLOTS);
  const rank = rankOf(node.inputs[0]);
  const axis = normal(node.int('axis', -1), rank);
  if (tag.axis !== axis || node.inputs[0]?.type?.shape?.[axis] !== t.width)
    return node.outputs.map(() => (tag.axis < 0 || tag.axis === axis ? SLOTS : tag));
  const k = node.int('k') ?? t.constants.ints(node.inputs[1])?.[0];
  t.chose(node, node.outputs[1] ?? null, k);
  return [SLOTS, INDEX];
};

const argMax: Rule = (node, t) => {
  const tag = t.tag(node.inputs[0]);
  if (tag?.kind !== 'axis') return [tag && SLOTS];
  if (tag.axis !== normal(node.int('axis', 0), rankOf(node.inputs[0]))) return [SLOTS];
  t.chose(node, node.outputs[0], 1);
  return [INDEX];
};

const hardmax: Rule = (node, t) => {
  const tag = t.tag(node.inputs[0]);
  if (tag?.kind !== 'axis') return [tag];
  t.chose(node, null, 1);
  return [{ ...tag, chosen: true }];
};

const oneHot: Rule = (node, t) => {
  const tag = t.tag(node.inputs[0]);
  if (tag?.kind !== 'index') return [tag];
  return [{ kind: 'axis', axis: normal(node.int('axis', -1), rankOf(node.outputs[0])), chosen: true }];
};

/** Numbers of experts compared with one number, with all of them, or with the one whose turn it is. */
const equal: Rule = (node, t) => {
  const rank = rankOf(node.outputs[0]);
  for (const [i, other] of [
    [0, 1],
    [1, 0],
  ]) {
    const [tag, against] = [t.tag(node.inputs[i]), node.inputs[other]];
    if (!against || !tag) continue;
    if (tag.kind === 'index') {
      const numbers = t.tag(against) ? undefined : t.constants.ints(against);
      if (numbers?.length === 1) return [{ kind: 'expert', expert: numbers[0] }];
      const shape = against.type?.shape;
      const axis = shape?.lastIndexOf(t.width) ?? -1;
      const table = numbers?.length === t.width || (!t.tag(against) && t.constants.isConstant(against));
      if (table && shape && axis >= 0 && rank !== undefined)
        return [{ kind: 'axis', axis: axis + rank - shape.length, chosen: true }];
    }
    // The score that equals the largest one is the chosen one's.
    if (tag.kind === 'axis' && t.tag(against)?.kind === 'slots' && isLargest(against)) {
      t.chose(node, null, 1);
      return [{ ...tag, chosen: true }];
    }
  }
  return [all(node, t)];
};

function isLargest(value: Value): boolean {
  return value.producer?.opType === 'ReduceMax';
}

const scatterElements: Rule = (node, t) => {
  if (t.tag(node.inputs[1])?.kind === 'index' && node.inputs[0]?.type) {
    const axis = normal(node.int('axis', 0), rankOf(node.outputs[0]));
    if (
      node.inputs[0].type.shape?.[axis] === t.width ||
      t.tag(node.inputs[2])?.kind === 'slots' ||
      !t.tag(node.inputs[2])
    )
      return [{ kind: 'axis', axis, chosen: true }];
  }
  return [all(node, t)];
};

/** Places made of numbers of experts, into a tensor with one place per expert. */
const scatterND: Rule = (node, t) => {
  const shape = node.inputs[0]?.type?.shape;
  const kind = t.tag(node.inputs[1])?.kind;
  if (shape && (kind === 'index' || kind === 'slots') && shape[shape.length - 1] === t.width)
    return [{ kind: 'axis', axis: shape.length - 1, chosen: true }];
  return [all(node, t)];
};

const gatherElements: Rule = (node, t) => {
  const [data, places] = node.inputs;
  const [tag, kind] = [t.tag(data), t.tag(places)?.kind];
  const axis = normal(node.int('axis', 0), rankOf(data));
  if (kind === 'index' && tag?.kind === 'axis') return [SLOTS];
  if ((kind === 'index' || kind === 'slots') && data && !tag && t.results(data, axis)) return [PRODUCT];
  return [all(node, t)];
};

const gather: Rule = (node, t) => {
  const [data, places] = node.inputs;
  const [tag, at] = [t.tag(data), t.tag(places)];
  const axis = normal(node.int('axis', 0), rankOf(data));
  if (data && !tag && at) return [lookUp(node, data, axis, at, t)];
  if (tag?.kind === 'hits' && axis === tag.axis && !at) {
    const numbers = t.constants.ints(places);
    return [numbers?.length === 1 ? taken(numbers[0], t) : turn(places, tag)];
  }
  if (tag?.kind !== 'axis') return [at || tag ? all(node, t) : undefined];
  if (axis !== tag.axis) {
    const rank = rankOf(places);
    return [
      at?.kind === 'expert'
        ? at
        : { ...tag, axis: rank === undefined || tag.axis < 0 ? -1 : tag.axis > axis ? tag.axis + rank - 1 : tag.axis },
    ];
  }
  if (at) return [at.kind === 'expert' ? at : SLOTS];
  const numbers = t.constants.ints(places);
  if (numbers?.length === 1) return [{ kind: 'expert', expert: numbers[0] < 0 ? numbers[0] + t.width : numbers[0] }];
  return [numbers ? tag : SLOTS];
};

function taken(place: number, t: Tracking): Tag {
  t.byPlace();
  return { kind: 'expert', expert: place };
}

/** An element of the list of experts that a loop takes turn by turn. */
function turn(places: Value | null, tag: Tag): Tag {
  return places && !places.producer && !places.initializer ? { kind: 'expert', expert: EACH } : tag;
}

/** Something that experts have a place each in, by the number of one of them or by the numbers of the chosen. */
function lookUp(node: Node, data: Value, axis: number, at: Tag, t: Tracking): Tag {
  const perExpert = data.type?.shape?.[axis] === t.width;
  if (t.constants.isConstant(data) && perExpert) {
    if (at.kind === 'expert' && at.expert !== EACH) return at;
    if (at.kind === 'expert' || at.kind === 'index' || at.kind === 'slots') {
      t.stacked(node, data, at.kind !== 'expert');
      return at.kind === 'expert' ? at : PRODUCT;
    }
  }
  if ((at.kind === 'index' || at.kind === 'slots') && perExpert && t.results(data, axis)) return PRODUCT;
  return at;
}

const gatherND: Rule = (node, t) => {
  const [data, places] = node.inputs;
  const at = t.tag(places);
  if (data && at && !t.tag(data)) return [lookUp(node, data, node.int('batch_dims', 0), at, t)];
  if (at?.kind === 'index' && t.tag(data)?.kind === 'axis') return [SLOTS];
  return [all(node, t)];
};

const slice: Rule = (node, t) => {
  const tag = t.tag(node.inputs[0]);
  const one = t.constants.slice(node);
  if (tag?.kind === 'axis' && one?.axis === tag.axis) return [{ kind: 'expert', expert: one.index }];
  if (tag?.kind === 'hits' && one?.axis === tag.axis) return [taken(one.index, t)];
  // A stretch of what experts made, or a place that a loop counts.
  return [tag ?? all(node, t)];
};

const split: Rule = (node, t) => {
  const tag = t.tag(node.inputs[0]);
  const axis = normal(node.int('axis', 0), rankOf(node.inputs[0]));
  if ((tag?.kind === 'axis' || tag?.kind === 'hits') && tag.axis === axis) {
    const single = tag.kind === 'hits' || node.outputs.length === t.width;
    return node.outputs.map((_, i) =>
      single ? (tag.kind === 'hits' ? taken(i, t) : { kind: 'expert', expert: i }) : SLOTS,
    );
  }
  return node.outputs.map(() => tag);
};

const reduce: Rule = (node, t) => {
  const tag = t.tag(node.inputs[0]);
  if (tag?.kind !== 'axis') return [tag];
  const rank = rankOf(node.inputs[0]);
  const axes = axesOf(node, t)?.map((a) => normal(a, rank));
  if (tag.axis < 0) return [tag];
  if (!axes || axes.length === 0 || axes.includes(tag.axis)) return [SLOTS];
  const axis = node.int('keepdims', 1) ? tag.axis : tag.axis - axes.filter((a) => a < tag.axis).length;
  return [{ ...tag, axis }];
};

const nonZero: Rule = (node, t) => {
  const tag = t.tag(node.inputs[0]);
  if (tag?.kind !== 'axis') return [tag];
  return [rankOf(node.inputs[0]) === 1 ? { kind: 'hits', axis: 1 } : SLOTS];
};

const expanded: Rule = (node, t) => {
  const tag = t.tag(node.inputs[0]);
  if (!tag) return [undefined];
  return [combine([{ tag, rank: rankOf(node.inputs[0]) }], rankOf(node.outputs[0]))];
};

/** A product of gates and results of all experts, or of a mask and tokens. */
const mul: Rule = (node, t) => {
  const kinds = taggedInputs(node, t).map((i) => i.tag.kind);
  if (kinds.includes('product') && (kinds.includes('slots') || kinds.includes('axis'))) return [MIXED];
  const rank = rankOf(node.outputs[0]);
  for (const [i, other] of operandPairs(node)) {
    const [tag, value] = [t.tag(node.inputs[i]), node.inputs[other]];
    if (tag?.kind !== 'axis' || tag.axis < 0 || !value || t.tag(value) || rank === undefined) continue;
    const own = tag.axis - (rankOf(node.inputs[i]) ?? 0) + (rankOf(value) ?? 0);
    const dim = value.type?.shape?.[own];
    if (dim === t.width && !t.constants.isConstant(value) && t.results(value, own)) return [MIXED];
  }
  return [all(node, t)];
};

function operandPairs(node: Node): [number, number][] {
  const inputs = node.opType === 'Where' ? [0, 1, 2] : [0, 1];
  return inputs.flatMap((i) => inputs.filter((j) => j !== i).map((j): [number, number] => [i, j]));
}

/** Results of stacked experts that meet something else are put together with it. */
const add: Rule = (node, t) => {
  const inputs = taggedInputs(node, t);
  const free = node.inputs.some((v) => v && !t.tag(v) && !t.constants.isConstant(v));
  return [inputs.some((i) => i.tag.kind === 'product') && free ? MIXED : all(node, t)];
};

const matMul: Rule = (node, t) => {
  const [a, b] = node.inputs;
  const kinds = taggedInputs(node, t).map((i) => i.tag.kind);
  if (kinds.includes('product') && kinds.some((k) => k === 'slots' || k === 'axis')) return [MIXED];
  const out = rankOf(node.outputs[0]);
  for (const [value, other, contracted] of [
    [a, b, (rankOf(a) ?? 0) - 1],
    [b, a, Math.max(0, (rankOf(b) ?? 0) - 2)],
  ] as const) {
    const tag = t.tag(value);
    if (!value || !other || tag?.kind !== 'axis') continue;
    if (t.constants.isConstant(other)) {
      if (isStack(other, t.width) && tag.axis !== contracted) {
        t.stacked(node, other, false);
        return [PRODUCT];
      }
      return [tag.axis === contracted ? SLOTS : all(node, t)];
    }
    if (t.tag(other)) continue;
    const along = other === b ? Math.max(0, (rankOf(b) ?? 0) - 2) : (rankOf(a) ?? 0) - 1;
    if (tag.axis === contracted) return [t.results(other, along) ? MIXED : SLOTS];
    if (tag.axis >= 0) return [combine([{ tag, rank: rankOf(value) }], out)];
  }
  return [all(node, t)];
};

/** Whether a weight has a matrix for each expert. */
export function isStack(weight: Value, width: number): boolean {
  const shape = weight.type?.shape;
  return !!shape && shape.length >= 3 && shape.slice(0, -2).includes(width);
}

const einsum: Rule = (node, t) => {
  const [left, output] = node.string('equation', '').replaceAll(' ', '').split('->');
  const terms = left.split(',');
  const kinds = taggedInputs(node, t).map((i) => i.tag.kind);
  if (kinds.includes('product') && kinds.some((k) => k === 'slots' || k === 'axis')) return [MIXED];
  const at = node.inputs.findIndex((v) => t.tag(v)?.kind === 'axis');
  const tag = t.tag(node.inputs[at]);
  const letter = tag?.kind === 'axis' ? terms[at]?.[tag.axis] : undefined;
  if (tag?.kind !== 'axis' || !letter || output === undefined || /\./.test(left)) return [all(node, t)];
  for (const [i, value] of node.inputs.entries()) {
    if (i === at || !value || t.tag(value)) continue;
    const place = terms[i]?.indexOf(letter) ?? -1;
    if (place < 0) continue;
    if (t.constants.isConstant(value)) {
      t.stacked(node, value, false);
      return [PRODUCT];
    }
    if (t.results(value, place)) return [MIXED];
  }
  return [output.includes(letter) ? { ...tag, axis: output.indexOf(letter) } : SLOTS];
};

const concat: Rule = (node, t) => {
  const tag = all(node, t);
  const axis = normal(node.int('axis', 0), rankOf(node.outputs[0]));
  return [tag?.kind === 'axis' && tag.axis === axis ? SLOTS : tag];
};

const nothing: Rule = (node) => node.outputs.map(() => undefined);

function table(entries: Record<string, Rule>): ReadonlyMap<string, Rule> {
  return new Map(Object.entries(entries).flatMap(([ops, rule]) => ops.split(' ').map((op) => [op, rule] as const)));
}

const RULES = table({
  'Shape Size ConstantOfShape': nothing,
  ...MOVES,
  TopK: topK,
  ArgMax: argMax,
  Hardmax: hardmax,
  OneHot: oneHot,
  Equal: equal,
  ScatterElements: scatterElements,
  ScatterND: scatterND,
  GatherElements: gatherElements,
  Gather: gather,
  GatherND: gatherND,
  Slice: slice,
  Split: split,
  'ReduceSum ReduceMax ReduceMin ReduceMean ReduceL1 ReduceL2 ReduceProd ReduceLogSumExp': reduce,
  NonZero: nonZero,
  'Expand Tile': expanded,
  'Mul Where': mul,
  'Add Sum': add,
  'MatMul Gemm': matMul,
  Einsum: einsum,
  Concat: concat,
});
