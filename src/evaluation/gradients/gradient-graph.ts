import { addGradients } from '../../autodiff/gradient.ts';
import { emitterFor, type Emitter } from '../../autodiff/emit.ts';
import { dropUnusedInputs, setOutputs, keepOutputs } from '../../graph/outputs.ts';
import { removeDeadNodes, sortTopologically } from '../../graph/edit.ts';
import type { Graph, Model, Value } from '../../graph/ir.ts';
import { DataType } from '../../onnx/data-type.ts';
import { freeBatch, type FreedModel, type SampleShapes } from '../../units/batch-axis.ts';
import { gateModel, type GatedModel, type GatedSite } from '../../units/gating.ts';
import type { Structure } from '../../units/types.ts';
import type { SampleLoss } from './sample-loss.ts';

/** An output of a gradient graph: float32 [rows, positions], to be added to the derivatives of a group's units. */
export interface UnitGradients {
  output: string;
  group: string;
  /** Unit of each position, −1 where none. */
  units: Int32Array;
}

/** A model that gives the derivatives of the loss of every row with respect to the gates of groups, at open gates. */
export interface GradientGraph {
  model: Model;
  parts: UnitGradients[];
  /** Gate inputs, float32 [rows, size] or [1, size], to be fed with ones. */
  gates: { name: string; size: number }[];
  /** Numbers in all tensors of the forward part, for one row; 0 where rows are not counted. */
  rowElements: number;
}

/** Where the derivative of one gate shows: a tensor that it multiplies. */
interface Place {
  group: string;
  /** Stands between the operand and its consumers. */
  through: Value;
  axis: number;
  units: Int32Array;
}

/** Gates whose consumers say themselves how they are gated stay as inputs. */
interface OpenGates {
  gated: GatedModel;
  places: Place[];
  inputs: { group: string; size: number; input: Value }[];
}

/**
 * Gates of groups, all of them open. The derivative with respect to a factor of 1 on a tensor a is Σ a·∂loss/∂a over the
 * positions of the unit, so that nothing need be multiplied on the way forward: a node that changes nothing marks the
 * place. Formulas that depend on gates keep them.
 */
function openGates(structure: Structure, groupIds: readonly string[], outputs: readonly string[]): OpenGates {
  const gated = gateModel(structure, groupIds);
  const { graph } = gated.model;
  keepOutputs(graph, outputs);
  removeDeadNodes(gated.model);
  const alive = new Set(graph.nodes);
  const places: Place[] = [];
  const opened = new Map<Value, Value>();
  for (const gate of gated.gates)
    for (const site of gate.sites) {
      if (!site.multiplied || !alive.has(site.consumer) || opened.has(site.gated)) continue;
      places.push({ group: gate.group, through: bypass(graph, site, opened), axis: site.axis, units: site.units });
    }
  sortTopologically(graph);
  removeDeadNodes(gated.model);
  const inputs = gated.gates
    .filter((g) => g.input.uses.length > 0)
    .map((g) => ({ group: g.group, size: g.size, input: g.input }));
  dropUnusedInputs(graph);
  return { gated, places, inputs };
}

/** Takes the multiplication out of a site, of which an operand may be the product of another site. */
function bypass(graph: Graph, { original, gated }: GatedSite, opened: Map<Value, Value>): Value {
  const operand = opened.get(original) ?? original;
  const through = graph.addNode('Identity', [operand], [`${operand.name}_open`]).outputs[0]!;
  through.type = operand.type && { ...operand.type };
  gated.replaceUsesWith(through);
  opened.set(gated, through);
  return through;
}

/**
 * Derivatives for the groups of which each row can be told from the others.
 * @param samples inputs that hold one sample per row
 * @returns undefined when that holds for none; `left`: the groups that are not in the graph
 * @throws SecateurError 'unsupported' naming the operator that has no gradient rule
 */
export function batchedGraph(
  structure: Structure,
  groupIds: readonly string[],
  loss: SampleLoss,
  samples: SampleShapes,
): { graph?: GradientGraph; left: string[] } {
  if (groupIds.length === 0) return { left: [] };
  const open = openGates(structure, groupIds, loss.outputs);
  const rows = new Map(open.inputs.map((g) => [g.input.name, [g.size]]));
  const freed = freeBatch(open.gated.model, samples, { rows });
  const left = unprovenGroups(open, freed);
  if (left.length > 0) {
    const rest = batchedGraph(
      structure,
      groupIds.filter((id) => !left.includes(id)),
      loss,
      samples,
    );
    return { graph: rest.graph, left: [...left, ...rest.left] };
  }
  const graph = differentiate(
    freed.model,
    open.places.map((p) => ({ ...p, through: freed.value(p.through) })),
    open.inputs.map((g) => ({ ...g, input: freed.value(g.input) })),
    loss,
    (through) => rowsOf(freed, through),
  );
  return { graph: { ...graph, rowElements: elementsPerRow(freed, open.gated.model) }, left };
}

/** Derivatives of the loss of one sample, of which a run holds one copy or as many as the model demands. */
export function singleGraph(structure: Structure, groupIds: readonly string[], loss: SampleLoss): GradientGraph {
  const { gated, places, inputs } = openGates(structure, groupIds, loss.outputs);
  return { ...differentiate(gated.model, places, inputs, loss, () => undefined), rowElements: 0 };
}

/** Groups that keep a run from holding many samples; all of them when it is not known which. */
function unprovenGroups({ places, inputs }: OpenGates, freed: FreedModel): string[] {
  const formulas = inputs.map((g) => g.group);
  const all = [...new Set([...places.map((p) => p.group), ...formulas])];
  if (!freed.proof.carried) return formulas.length > 0 ? formulas : all;
  const fixed = places.filter((p) => {
    const rows = rowsOf(freed, freed.value(p.through));
    return !rows || rows.axis === p.axis;
  });
  return [...new Set(fixed.map((p) => p.group))];
}

/** Where the rows of a tensor lie; undefined when it does not hold one per sample. */
function rowsOf(freed: FreedModel, v: Value): { axis: number; inner: number } | undefined {
  const state = freed.proof.state(v);
  return state.kind === 'rows' ? state : undefined;
}

function elementsPerRow({ proof, value }: FreedModel, source: Model): number {
  let sum = 0;
  for (const v of source.graph.nodes.flatMap((n) => n.outputs)) {
    const copy = v && value(v);
    const dims = copy && proof.state(copy).kind === 'rows' && proof.dims(copy);
    if (dims) sum += dims.reduce((p, d) => p * d, 1) / proof.batch;
  }
  return sum;
}

function differentiate(
  model: Model,
  places: readonly Place[],
  inputs: OpenGates['inputs'],
  loss: SampleLoss,
  rowsOf: (through: Value) => { axis: number; inner: number } | undefined,
): Omit<GradientGraph, 'rowElements'> {
  const { graph } = model;
  const losses = loss.addTo(model);
  const single = places.every((p) => !rowsOf(p.through));
  const e = emitterFor(model, 'secateur_gate');
  // Rows of a batch have losses of their own; without, all rows are copies of one sample.
  const total = single ? e.meanAll(losses) : e.sumAll(losses);
  const { gradients } = addGradients(model, total, [...places.map((p) => p.through), ...inputs.map((g) => g.input)]);
  const emitter = emitterFor(model, 'secateur_gate');
  const parts = [
    ...places.map(({ group, through, axis, units }) => {
      const sums = unitSums(emitter, through, gradients.get(through)!, axis, rowsOf(through));
      return { group, units, sums };
    }),
    ...inputs.map(({ group, size, input }) => {
      const units = Int32Array.from({ length: size }, (_, i) => i);
      return { group, units, sums: gradients.get(input)! };
    }),
  ].map(({ sums, ...part }) => ({ ...part, value: emitter.op('Identity', [sums]) }));
  setOutputs(
    graph,
    parts.map((p) => p.value),
  );
  removeDeadNodes(model);
  dropUnusedInputs(graph);
  sortTopologically(graph);
  return {
    model,
    parts: parts.map(({ group, units, value }) => ({ group, units, output: value.name })),
    gates: inputs.filter((g) => graph.inputs.includes(g.input)).map((g) => ({ name: g.input.name, size: g.size })),
  };
}

/** Σ a·∂loss/∂a of every position along the axis of units and every row: float32 [rows, positions]. */
function unitSums(
  e: Emitter,
  operand: Value,
  gradient: Value,
  axis: number,
  rows: { axis: number; inner: number } | undefined,
): Value {
  const product = e.cast(e.mul(operand, gradient), DataType.FLOAT);
  const kept = [...(rows ? [rows.axis] : []), ...(axis >= 0 ? [axis] : [])];
  const others = Array.from({ length: e.rankOf(product) }, (_, i) => i).filter((i) => !kept.includes(i));
  let sums = e.reduceSum(product, others, false);
  if (rows && axis >= 0 && axis < rows.axis) sums = e.transpose(sums, [1, 0]);
  if (!rows) return e.reshape(sums, [1, -1]);
  const positions = axis >= 0 ? e.dims(operand, [axis]) : e.ints([1]);
  if (rows.inner === 1) return e.reshape(sums, e.joinInts([e.ints([-1]), positions]));
  return e.reduceSum(e.reshape(sums, e.joinInts([e.ints([-1, rows.inner]), positions])), [1], false);
}
