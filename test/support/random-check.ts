import ort from 'onnxruntime-node';
import { cloneModel } from '../../src/graph/clone.ts';
import { modelCost } from '../../src/graph/cost.ts';
import { removeDeadNodes } from '../../src/graph/edit.ts';
import type { Model, Node, Value } from '../../src/graph/ir.ts';
import { parseModel } from '../../src/graph/load.ts';
import { serializeModel } from '../../src/graph/save.ts';
import { inferShapes } from '../../src/graph/shapes/index.ts';
import { pruneModel } from '../../src/pruning/surgery.ts';
import { analyseStructure } from '../../src/units/analyse.ts';
import { costTerms } from '../../src/units/cost-terms.ts';
import { gateModel, gateRow } from '../../src/units/gating.ts';
import type { KeepSets, Structure } from '../../src/units/types.ts';
import { checkInvariant, maxRelDiff, moved, openSession, randomFeeds, randomKeep, seeded } from './invariant.ts';

/** What became of a random graph. */
export interface Verdict {
  /** What is wrong; undefined: all holds. */
  problem?: string;
  /** The graph is of no use: the runtime refuses it, or its numbers are not finite. */
  useless?: string;
  /** Groups found, those of the model's outputs aside. */
  groups: number;
  prunable: number;
  nodes: number;
}

/**
 * Holds a graph to all that must be true of any graph: the analysis does not throw or warn; open gates change nothing;
 * every prunable group alone, and all together, are pruned to what the gated model gives; the cost terms predict the cost
 * of the pruned model; the pruned model can be analysed again.
 */
export async function examine(model: Model, seed: number): Promise<Verdict> {
  const verdict: Verdict = { groups: 0, prunable: 0, nodes: model.graph.nodes.length };
  const feeds = randomFeeds(model, seeded(seed));
  let original: ort.InferenceSession.ReturnType;
  // Runtimes compute with weights that are dequantised less exactly where a gate does not stand in between.
  const optimise = !model.graph.nodes.some((n) => n.op === 'DequantizeLinear');
  try {
    const session = await openSession(model, optimise);
    original = await session.run(feeds);
    await session.release();
  } catch (error) {
    return { ...verdict, useless: text(error) };
  }
  const finite = Object.values(original).every((t) => [...(t.data as Float32Array)].every((x) => Number.isFinite(x)));
  if (!finite) return { ...verdict, useless: 'not finite' };
  try {
    const structure = analyseStructure(model);
    // What a model gives is fixed in any case.
    verdict.groups = structure.groups.filter((g) => !g.reason?.startsWith('is the model output')).length;
    verdict.prunable = structure.groups.filter((g) => g.prunable).length;
    const problem =
      structure.warnings[0] ??
      (await openGates(structure, feeds, original, optimise)) ??
      (await twice((again) => invariant(structure, randomFeeds(model, seeded(seed + again)), seed, optimise)));
    return { ...verdict, problem: problem ?? joint(structure, seed) };
  } catch (error) {
    return { ...verdict, problem: text(error) };
  }
}

const text = (error: unknown) => (error instanceof Error ? error.message : String(error)).split('\n')[0];

/** Differences and quotients of random numbers blow rounding up a little; what is wrong is wrong by far more. */
const NOISE = 1e-4;

/** Gates of 1 leave the model as it is. */
async function openGates(
  structure: Structure,
  feeds: Record<string, ort.Tensor>,
  original: ort.InferenceSession.ReturnType,
  optimise: boolean,
): Promise<string | undefined> {
  const prunable = structure.groups.filter((g) => g.prunable);
  if (prunable.length === 0) return undefined;
  const gated = gateModel(
    structure,
    prunable.map((g) => g.id),
  );
  const session = await openSession(gated.model, optimise);
  const ones = gated.gates.map((g): [string, ort.Tensor] => [
    g.input.name,
    new ort.Tensor('float32', gateRow(g.size, undefined), [1, g.size]),
  ]);
  const result = await session.run({ ...feeds, ...Object.fromEntries(ones) });
  const other = await session.run({ ...moved(feeds, seeded(1)), ...Object.fromEntries(ones) });
  await session.release();
  const diff = maxRelDiff(result, original);
  return diff <= Math.max(NOISE, 10 * maxRelDiff(other, result)) ? undefined : `open gates change the outputs: ${diff}`;
}

/** Another input tells rounding, which one input blows up by chance, from what is wrong. */
async function twice(check: (again: number) => Promise<string | undefined>): Promise<string | undefined> {
  return (await check(0)) && (await check(1));
}

async function invariant(
  structure: Structure,
  feeds: Record<string, ort.Tensor>,
  seed: number,
  optimise: boolean,
): Promise<string | undefined> {
  for (let i = 0; ; i++) {
    try {
      const options = { feeds, seed: seed + i, shares: [0.5, 0], together: i < 3 ? 2 : 0, sensitivity: true, optimise };
      const { results, tolerance } = await checkInvariant(structure, options);
      const bad = results.filter((r) => !(r.diff <= Math.max(tolerance, NOISE, 10 * (r.sensitivity ?? 0))));
      if (bad.length === 0) return undefined;
      return `pruned ≠ gated: ${bad.map((r) => `${r.group} keeping ${r.kept} of ${r.size} (sensitivity ${r.sensitivity}): ${r.diff}`).join(', ')}`;
    } catch (error) {
      // Keep-sets of several groups may leave nothing of an axis that they share; surgery says so. Else each goes alone.
      if (i === 3 || !text(error).startsWith('Nothing would be left')) throw error;
    }
  }
}

/** Costs, shapes and a second analysis, for keep-sets of all groups. */
function joint(structure: Structure, seed: number): string | undefined {
  const random = seeded(seed + 7);
  const terms = costTerms(structure);
  const sizes = new Map(structure.groups.map((g) => [g.id, g.size]));
  const blocks = structure.groups.find((g) => g.residuals && g.prunable);
  const predict = (keep: KeepSets) => {
    const sum = { macs: 0, parameters: 0 };
    for (const t of terms) {
      const gone = t.needs?.some((n) => {
        const kept = keep.get(n.id);
        return kept && !n.units.some((u) => kept.includes(u));
      });
      if (gone) continue;
      const size = t.factors.reduce(
        (n, f) =>
          n *
          (f.fixed + f.groups.reduce((m, g) => m + g.multiplicity * (keep.get(g.id)?.length ?? sizes.get(g.id)!), 0)),
        1,
      );
      sum.macs += t.macs * size;
      sum.parameters += t.parameters * size;
    }
    return sum;
  };
  const differs = (a: { macs: number; parameters: number }, b: { macs: number; parameters: number }) =>
    Math.abs(a.macs - b.macs) > 1e-6 * b.macs || Math.abs(a.parameters - b.parameters) > 1e-6 * b.parameters;
  const say = (c: { macs: number; parameters: number }) => `${c.macs} MACs, ${c.parameters} parameters`;
  const whole = modelCost(structure.model);
  if (differs(predict(new Map()), whole)) return `cost terms: ${say(predict(new Map()))} for ${say(whole)}`;
  const keep = new Map(
    structure.groups.filter((g) => g.prunable && g !== blocks).map((g) => [g.id, randomKeep(g, 0.6, random)]),
  );
  let pruned: Model;
  try {
    pruned = pruneModel(structure, keep).model;
  } catch (error) {
    if (text(error).startsWith('Nothing would be left')) return undefined;
    throw error;
  }
  if (exact(structure) && differs(predict(keep), modelCost(pruned)))
    return `cost terms of the pruned model: ${say(predict(keep))} for ${say(modelCost(pruned))}`;
  const again = analyseStructure(parseModel(serializeModel(pruned)));
  return again.warnings[0] && `second analysis: ${again.warnings[0]}`;
}

/** True when the cost terms say that they are exact: no shared weight, and every axis holds all units of a group alike. */
function exact(structure: Structure): boolean {
  const { flow, groups, model } = structure;
  const storages = new Set<unknown>();
  for (const node of model.graph.nodes) {
    for (const value of node.inputs) {
      if (!value?.initializer || value.initializer.dims.length === 0) continue;
      if (storages.has(value.initializer.storage)) return false;
      storages.add(value.initializer.storage);
    }
  }
  const owner = new Map<number, { group: number; unit: number }>();
  groups.forEach((g, group) => g.atoms.forEach((atom, unit) => owner.set(flow.atoms.find(atom), { group, unit })));
  const even = (labels: Int32Array) => {
    const counts = new Map<number, number[]>();
    for (const atom of labels) {
      const mine = flow.atoms.causes(atom).flatMap((c) => owner.get(c) ?? []);
      // Several groups on one axis make a product only where each unit of one meets each of the other.
      for (const { group, unit } of mine) {
        const row = counts.get(group) ?? Array<number>(groups[group].size).fill(0);
        row[unit]++;
        counts.set(group, row);
      }
    }
    return [...counts.values()].every((row) => row.every((n) => n === row[0]));
  };
  const axes = [...flow.macTerms.values()].flatMap((terms) => terms.flatMap((t) => t.axes));
  for (const [value, all] of flow.tracked)
    if (value.initializer) for (const a of all) if (a instanceof Int32Array) axes.push(a);
  return axes.every(even);
}

/** The graph as a list of its nodes, for messages. */
export function listNodes(given: Model): string {
  const { model } = cloneModel(given);
  inferShapes(model);
  const shape = (v: Value) => `[${(v.type?.shape ?? ['?']).join()}]`;
  const operand = (v: Value | null) => {
    if (!v) return '–';
    if (!v.initializer) return v.name;
    const integers = v.initializer.dataType === 7 && v.initializer.elementCount < 12;
    return integers ? `{${v.initializer.toNumbers().join()}}` : `${v.name}${shape(v)}`;
  };
  const attributes = (n: Node) =>
    [...n.attributes].map(([k, a]) => `${k}=${a.kind === 'string' ? n.string(k, '') : String(a.value)}`).join(' ');
  const lines = model.graph.nodes.map((n) => {
    const outs = n.outputs.map((v) => (v ? `${v.name}${shape(v)}` : '–')).join(', ');
    return `${outs} = ${n.op}(${n.inputs.map(operand).join(', ')}) ${attributes(n)}`;
  });
  const inputs = model.graph.inputs.map((v) => `${v.name}${shape(v)}`);
  const outputs = model.graph.outputs.map((v) => v.name);
  return [`opset ${model.opsets.get('')}; ${inputs.join(', ')} → ${outputs.join(', ')}`, ...lines].join('\n');
}

/** Drops nodes as long as the graph still fails: for developers, slow. */
export async function shrink(model: Model, seed: number): Promise<Model> {
  const kind = async (candidate: Model) => (await examine(candidate, seed)).problem?.split(':')[0];
  const first = await kind(model);
  const fails = async (candidate: Model) => (await kind(candidate)) === first;
  let best = model;
  for (let changed = true; changed;) {
    changed = false;
    for (let n = best.graph.nodes.length - 1; n >= 0; n--) {
      for (const edit of EDITS) {
        const candidate = edited(best, n, edit);
        if (!candidate || !(await fails(candidate))) continue;
        best = candidate;
        changed = true;
        break;
      }
      n = Math.min(n, best.graph.nodes.length);
    }
  }
  return best;
}

type Edit = (model: Model, node: Node) => boolean;

const EDITS: Edit[] = [
  // Another output goes.
  (model, node) => {
    const at = model.graph.outputs.indexOf(node.outputs[0]!);
    if (at < 0 || model.graph.outputs.length < 2) return false;
    model.graph.outputs.splice(at, 1);
    return true;
  },
  // The value becomes an input.
  (model, node) => {
    const out = node.outputs[0]!;
    const shape = out.type?.shape;
    if (!shape || shape.some((d) => d === null) || out.type!.elemType !== 1 || out.isGraphOutput) return false;
    out.replaceUsesWith(model.graph.addInput(`${out.name}_in`, { kind: 'tensor', elemType: 1, shape: [...shape] }));
    return true;
  },
  // An operand takes the place of the result.
  (_, node) => {
    const [out] = node.outputs;
    const same = node.inputs.find((v) => v && !v.initializer && v.type?.shape?.join() === out?.type?.shape?.join());
    if (!out || !same) return false;
    out.replaceUsesWith(same);
    return true;
  },
  // The value becomes the only output.
  (model, node) => {
    const out = node.outputs[0]!;
    if (model.graph.outputs.length === 1 && model.graph.outputs[0] === out) return false;
    model.graph.outputs.splice(0, model.graph.outputs.length, out);
    return true;
  },
];

function edited(model: Model, n: number, edit: Edit): Model | undefined {
  const clone = cloneModel(model).model;
  inferShapes(clone);
  const node = clone.graph.nodes[n];
  if (!node || !edit(clone, node)) return undefined;
  removeDeadNodes(clone);
  const unread = clone.graph.inputs.filter((v) => v.uses.length === 0);
  for (const v of unread) clone.graph.inputs.splice(clone.graph.inputs.indexOf(v), 1);
  inferShapes(clone);
  return parseModel(serializeModel(clone));
}
