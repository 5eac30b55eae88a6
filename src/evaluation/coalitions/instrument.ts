import { cloneModel } from '../../graph/clone.ts';
import { removeDeadNodes, sortTopologically } from '../../graph/edit.ts';
import type { Model, Node, Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import type { FreedModel } from '../../units/batch-axis.ts';
import type { GatedModel, GatedSite } from '../../units/gating.ts';
import { cutAtGates, type Cut } from './cut.ts';
import { dropUnusedInputs, setOutputs } from '../../graph/outputs.ts';
import { addContributions, planFold, type Fold } from './fold.ts';
import { GraphBuilder } from './graph-builder.ts';
import { SuffixFrame } from './suffix-frame.ts';

/** A tensor that the suffix reads from the prefix. */
export interface Crossing {
  /** Name of the suffix's input. */
  name: string;
  /** Name of the prefix's output. */
  output: string;
  /** Stored per group of s samples, as [groups, …dims]; or the same for all samples, whatever its shape. */
  kind: 'rows' | 'same';
  dims: number[];
  elemType: number;
}

/** Where a metric is put: the output with its rows in the order [groups, K, s]. */
export interface MetricPlace {
  builder: GraphBuilder;
  output: Value;
  /** Shape of that output; axis 0 holds rows × `inner`. */
  dims: readonly number[];
  inner: number;
  groups: Value;
  s: number;
}

export interface Instrumented {
  prefix: Model;
  suffix: Model;
  crossings: Crossing[];
  /** Names of the suffix's mask inputs, one per gate: float32 [K, size + 1], the last column 1. */
  masks: string[];
  /** Name of the suffix's only output. */
  result: string;
  /** Samples per group. */
  s: number;
  folds: Fold[];
  /** Every gated operand was folded into its consumer. */
  folded: boolean;
  /** Bytes per row of the largest tensor of the suffix. */
  rowBytes: number;
  /** Elements per row of all tensors of the suffix. */
  rowElements: number;
  /** Nodes of the freed model that depend on a gate; and those that are still run for every coalition. */
  dependent: ReadonlySet<Node>;
  running: ReadonlySet<Node>;
}

export interface InstrumentOptions {
  /** Whether many coalitions share a run; else gates have one row. */
  many: boolean;
  fold: boolean;
  /** Samples per group; by default so many that products are wide enough. */
  s?: number;
  /** Adds what is computed of the outputs; returns the suffix's only output. */
  finish(places: MetricPlace[]): Value;
}

/** Elements that a matrix product should have per row, so that it runs at full speed. */
const WIDE = 1024;

interface CutSite extends Pick<GatedSite, 'axis' | 'units'> {
  gate: number;
  operand: Value;
  gated: Value;
}

/**
 * Turns a gated model into prefix and suffix (architecture.md, ideas 2 to 4). `freed` is the gated model with its batch
 * axis freed and proven, with one row per sample in the gates when `many` is set.
 */
export function instrument(gated: GatedModel, freed: FreedModel, options: InstrumentOptions): Instrumented {
  const { proof } = freed;
  const gates = gated.gates.map((g) => freed.value(g.input));
  const cut = cutAtGates(freed.model, new Set(gates));
  const sites = sitesAtCut(gated, freed, cut);
  const folds = options.fold ? chooseFolds(gated, freed, sites) : [];
  const s = options.s ?? samplesPerGroup(folds);

  const { model: suffix, value: copy, node: copyNode } = cloneModel(freed.model);
  const graph = suffix.graph;
  const b = new GraphBuilder(suffix);
  const frame = new SuffixFrame(
    b,
    gated.gates.map((g) => g.size),
    s,
    options.many,
  );
  const crossings: Crossing[] = [];
  const crossed = new Map<Crossing, Value>();
  const cross = (kind: Crossing['kind'], v: Value, dims: number[], elemType: number): Value => {
    const crossing = { name: `secateur_in_${crossings.length}`, output: '', kind, dims, elemType };
    crossings.push(crossing);
    crossed.set(crossing, v);
    const rank = (proof.dims(v) ?? v.type?.shape)?.length;
    return kind === 'same'
      ? graph.addInput(crossing.name, {
          kind: 'tensor',
          elemType,
          shape: rank !== undefined ? Array(rank).fill(null) : undefined,
        })
      : b.input(crossing.name, elemType, ['groups', ...dims]);
  };

  // Outputs are read through nodes, so that whatever replaces them is followed.
  const probes = graph.outputs.map((v) => graph.addNode('Identity', [v], ['secateur_output']));
  setOutputs(
    graph,
    probes.map((p) => p.outputs[0]!),
  );
  for (const fold of folds) {
    const input = cross('rows', fold.operand, [fold.units + 1, s * fold.elements], DataType.FLOAT);
    const sums = b.op('MatMul', [b.reshape(frame.masks[0], [1, -1, fold.units + 1]), input]);
    copy(fold.result).replaceUsesWith(frame.restore(sums, fold.result, proof));
  }
  const contributions = crossings.length;
  removeDeadNodes(suffix);

  for (const original of cut.crossing) {
    const v = copy(original);
    const gatedHere = sites.filter((t) => t.operand === original && copy(t.gated).uses.length > 0);
    const products = new Set(gatedHere.map((t) => copy(t.gated).producer));
    const ungated = v.uses.some((u) => !products.has(u.node));
    if (!gatedHere.length && !ungated) continue;
    const state = proof.state(original);
    const elemType = original.type?.elemType ?? DataType.FLOAT;
    if (state.kind === 'sizes') v.replaceUsesWith(frame.sizesFor(state.entries!, original, proof));
    else if (state.kind === 'free') v.replaceUsesWith(cross('same', original, [], elemType));
    else {
      const elements = perSample(proof.dims(original)!, proof.batch);
      if (elements === 0) {
        const nothing = frame.empty(original, proof);
        for (const site of gatedHere) copy(site.gated).replaceUsesWith(nothing);
        if (ungated) v.replaceUsesWith(nothing, new Set(products as Set<Node>));
        continue;
      }
      const input = cross('rows', original, [s * elements], elemType);
      for (const site of gatedHere) {
        const mask = frame.mask(site.gate, site, original, proof);
        const all = b.op('Mul', [b.reshape(input, [-1, 1, s, elements]), mask]);
        copy(site.gated).replaceUsesWith(frame.restore(all, original, proof));
      }
      if (ungated)
        v.replaceUsesWith(
          frame.restore(frame.tile(input, s * elements), original, proof),
          new Set(products as Set<Node>),
        );
    }
  }
  removeDeadNodes(suffix);
  gates.forEach((g, i) => {
    if (copy(g).uses.length > 0) copy(g).replaceUsesWith(frame.gateRows(i));
  });

  const result = options.finish(
    freed.model.graph.outputs.map((original, i): MetricPlace => {
      const state = proof.state(original);
      return {
        builder: b,
        s,
        output: probes[i].inputs[0]!,
        dims: proof.dims(original)!,
        inner: state.kind === 'rows' ? state.inner : 1,
        groups: frame.groups,
      };
    }),
  );
  setOutputs(graph, [result]);
  removeDeadNodes(suffix);
  dropUnusedInputs(graph);
  sortTopologically(graph);

  const prefix = buildPrefix(freed, crossed, folds, contributions, s);
  const alive = new Set(graph.nodes);
  const running = new Set([...cut.dependent].filter((n) => alive.has(copyNode(n))));
  const consumers = new Set(folds.map((f) => f.consumer));
  const rows = [
    ...[...running]
      .flatMap((n) => n.outputs)
      .map((v) => (v && proof.dims(v) ? perSample(proof.dims(v)!, proof.batch) : 0)),
    ...folds.map((f) => f.elements),
    ...crossings.slice(contributions).map((c) => (c.kind === 'rows' ? c.dims[0] / s : 0)),
  ];
  return {
    prefix,
    suffix,
    crossings,
    s,
    folds,
    running,
    masks: frame.masks.map((m) => m.name),
    result: result.name,
    folded: gated.gates.every((g) => g.sites.length > 0 && g.sites.every((t) => consumers.has(freed.node(t.consumer)))),
    rowBytes: 4 * Math.max(1, ...rows),
    rowElements: rows.reduce((sum, n) => sum + n, 0),
    dependent: cut.dependent,
  };
}

/** Why prefix and suffix cannot be parted over rows, or undefined when they can. */
export function crossingProblem(gated: GatedModel, freed: FreedModel): string | undefined {
  const { proof } = freed;
  const cut = cutAtGates(freed.model, new Set(gated.gates.map((g) => freed.value(g.input))));
  for (const v of cut.crossing) {
    const state = proof.state(v);
    if (state.kind === 'mixed') return state.reason;
    if (state.kind === 'sizes' && (state.entries === null || state.entries.includes(null)))
      return `the sizes ${v.name} are not known`;
    if (state.kind !== 'rows' && state.kind !== 'free' && state.kind !== 'sizes')
      return `the samples in ${v.name} lie behind one another, or are numbered`;
    if (state.kind === 'rows' && !proof.dims(v)) return `the shape of ${v.name} is not known`;
  }
  return freed.model.graph.outputs.every((v) => proof.dims(v)) ? undefined : 'the shape of an output is not known';
}

/** Products at the cut whose rows lie as those of their operand, whatever rows the gate has: for the proof. */
export function productsAtCut(gated: GatedModel): Map<Value, Value> {
  const cut = cutAtGates(gated.model, new Set(gated.gates.map((g) => g.input)));
  const found = new Map<Value, Value>();
  for (const gate of gated.gates)
    for (const site of gate.sites)
      if (site.multiplied && cut.crossing.has(site.original)) found.set(site.gated, site.original);
  return found;
}

function perSample(dims: readonly number[], batch: number): number {
  return dims.reduce((p, d) => p * d, 1) / batch;
}

/** Sites whose operand depends on no gate and holds samples, each product once. */
function sitesAtCut(gated: GatedModel, freed: FreedModel, cut: Cut): CutSite[] {
  const found = new Map<Value, CutSite>();
  gated.gates.forEach((g, gate) => {
    for (const site of g.sites) {
      const operand = freed.value(site.original);
      const state = freed.proof.state(operand);
      const product = freed.value(site.gated);
      if (!site.multiplied || !cut.crossing.has(operand) || state.kind !== 'rows' || state.axis === site.axis) continue;
      found.set(product, { gate, operand, gated: product, axis: site.axis, units: site.units });
    }
  });
  return [...found.values()];
}

/** Consumers that are cheaper as masks × contributions. */
function chooseFolds(gated: GatedModel, freed: FreedModel, sites: readonly CutSite[]): Fold[] {
  const atCut = new Map(sites.map((t) => [t.gated, t]));
  const folds: Fold[] = [];
  for (const { sites: all, size } of gated.gates.slice(0, 1)) {
    for (const { gated: product, consumer, input } of all) {
      const site = atCut.get(freed.value(product));
      const fold = site && planFold(site, freed.node(consumer), input, size, freed.proof);
      if (fold && fold.cost.folded < fold.cost.plain && !folds.some((f) => f.consumer === fold.consumer))
        folds.push(fold);
    }
  }
  return folds;
}

/** So many samples side by side that the narrowest of the folded products is wide enough. */
function samplesPerGroup(folds: readonly Fold[]): number {
  if (folds.length === 0) return 1;
  const narrow = Math.min(...folds.map((f) => f.elements));
  return Math.max(1, Math.min(64, Math.ceil(WIDE / narrow)));
}

/** From the samples to what crosses the cut, in groups of s. */
function buildPrefix(
  freed: FreedModel,
  crossed: ReadonlyMap<Crossing, Value>,
  folds: readonly Fold[],
  contributions: number,
  s: number,
): Model {
  const { model, value } = cloneModel(freed.model);
  const b = new GraphBuilder(model);
  const outputs: Value[] = [];
  let i = 0;
  for (const [crossing, v] of crossed) {
    const state = freed.proof.state(v);
    let out = value(v);
    if (i < contributions) out = addContributions(b, out, folds[i], s);
    else if (crossing.kind === 'rows' && state.kind === 'rows') {
      const rank = freed.proof.dims(v)!.length;
      const others = Array.from({ length: rank }, (_, k) => k).filter((k) => k !== state.axis);
      out = b.reshape(b.transpose(out, [state.axis, ...others]), [-1, crossing.dims[0]]);
    } else out = b.op('Identity', [out]);
    crossing.output = out.name;
    outputs.push(out);
    i++;
  }
  setOutputs(model.graph, outputs);
  removeDeadNodes(model);
  dropUnusedInputs(model.graph);
  sortTopologically(model.graph);
  return model;
}
