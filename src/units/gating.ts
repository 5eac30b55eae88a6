import { cloneModel } from '../graph/clone.ts';
import { isConstantOnly, sortTopologically } from '../graph/edit.ts';
import { opsetVersion, type Graph, type Model, type Node, type Value } from '../graph/ir.ts';
import { DataType, isFloatType } from '../onnx/data-type.ts';
import { Tensor } from '../onnx/tensor.ts';
import { SecateurError } from '../errors.ts';
import { GateContext } from './gates/gate.ts';
import type { GateSite, Structure } from './types.ts';

/** One gated operand in a gated model. */
export interface GatedSite {
  original: Value;
  /** The operand times its gate; the operand itself where the consumer is gated in another way. */
  gated: Value;
  multiplied: boolean;
  /** False when axis 0 of the operand is not free for rows (the units lie on it): such gates take one row. */
  batchable: boolean;
  /** The consumer in the gated model; the first node of the formula where one stands in for it. */
  consumer: Node;
  /** Which of the consumer's inputs is gated. */
  input: number;
  /** Axis of the operand along which the units lie; −1: the operand as a whole is one unit. */
  axis: number;
  /** Unit of each position along the axis, −1 where none. */
  units: Int32Array;
}

export interface Gate {
  group: string;
  size: number;
  /** Graph input, float32 [rows, size]: row r applies to row r of axis 0 of the gated operands, one row to all. */
  input: Value;
  sites: GatedSite[];
}

export interface GatedModel {
  model: Model;
  gates: Gate[];
  /** The copy of a node of the structure's model. */
  node(n: Node): Node;
}

/**
 * A copy of the structure's model with one multiplier per unit in front of the consumers of each named group
 * (architecture.md, idea 1). Gate 1 everywhere gives the original; gate 0 is exactly the model without the unit.
 * @throws SecateurError 'usage' for a group that does not exist or may not be pruned
 */
export function gateModel(structure: Structure, groupIds: readonly string[]): GatedModel {
  const clone = cloneModel(structure.model);
  const { graph } = clone.model;
  const opset = opsetVersion(clone.model);
  const special = new Map<string, SpecialSite[]>();
  const gates = groupIds.map((id): Gate => {
    const group = structure.groups.find((g) => g.id === id);
    if (!group)
      throw new SecateurError('usage', `The model has no group "${id}".`, 'Run `inspect` for the list of groups.');
    if (!group.prunable) throw new SecateurError('usage', `Group "${id}" cannot be pruned: it ${group.reason}.`);
    const input = graph.addInput(`gate:${id}`, {
      kind: 'tensor',
      elemType: DataType.FLOAT,
      shape: [`rows:${id}`, group.size],
    });
    const made = new Map<string, Value>();
    const grows = opset >= 9 && group.sites.some((s) => s.gate);
    const sites = group.sites.map((site): GatedSite => {
      const consumer = clone.node(site.node);
      const original = consumer.inputs[site.input]!;
      const common = { original, consumer, input: site.input, axis: site.axis, units: site.units };
      const batchable = site.axis !== 0 && !isConstantOnly(site.node.inputs[site.input]!);
      if (site.gate) {
        const key = `${consumer.name}|${consumer.outputs[0]!.name}|${site.input}`;
        const made: GatedSite = { ...common, gated: original, batchable, multiplied: false };
        special.set(key, [...(special.get(key) ?? []), { site, made, gate: input, size: group.size }]);
        return made;
      }
      const key = `${original.name}|${site.axis}|${site.units.join()}`;
      let gated = made.get(key);
      if (!gated) {
        const factor = spread(graph, original, input, site, group.size);
        const context = new GateContext({ node: consumer, input: site.input, factor, axes: [site.axis], opset });
        gated = grows ? context.product(original) : context.add('Mul', [original, factor]);
        gated.type = original.type && { ...original.type };
        made.set(key, gated);
      }
      consumer.setInput(site.input, gated);
      return { ...common, gated, batchable, multiplied: true };
    });
    return { group: id, size: group.size, input, sites };
  });
  // In the order of the graph: an operand may be what another gate gives in the place of an output.
  const position = new Map(structure.model.graph.nodes.map((n, i) => [n, i]));
  const inOrder = [...special.values()].sort((a, b) => position.get(a[0].site.node)! - position.get(b[0].site.node)!);
  for (const sites of inOrder) gateSpecially(graph, sites, opset);
  for (const site of gates.flatMap((g) => g.sites))
    if (site.multiplied) site.original = productOf(site.gated).inputs[0]!;
  sortTopologically(graph);
  return { model: clone.model, gates, node: clone.node };
}

/** A site whose consumer says itself how it is gated. */
interface SpecialSite {
  site: GateSite;
  made: GatedSite;
  gate: Value;
  size: number;
}

/** All gates on one operand act together: a mean over the units of two groups divides by the count of both. */
function gateSpecially(graph: Graph, sites: SpecialSite[], opset: number): void {
  const { site, made } = sites[0];
  const { consumer } = made;
  const operand = consumer.inputs[site.input]!;
  const factors = sites.map((s) => spread(graph, operand, s.gate, s.site, s.size));
  const stem = `${operand.name}_gates`;
  const factor = factors.reduce((a, b) => graph.addNode('Mul', [a, b], [stem]).outputs[0]!);
  const axes = [...new Set(sites.map((s) => s.site.axis))];
  site.gate!(new GateContext({ node: consumer, input: site.input, factor, axes, opset }));
  // Where a formula stands in for the consumer, what reads the gates is the consumer now.
  const replaced = consumer.outputs.every((v) => !v || (v.uses.length === 0 && !v.isGraphOutput));
  for (const s of sites) {
    s.made.original = s.made.gated = operand;
    if (replaced) s.made.consumer = factor.uses[0]?.node ?? consumer;
  }
}

/** The multiplication behind a gated operand. */
function productOf(gated: Value): Node {
  const { producer } = gated;
  return producer!.opType === 'Where' ? producer!.inputs[1]!.producer! : producer!;
}

/** The gate spread over the positions of the axis: the rank of the operand, rows on axis 0, size 1 on other axes. */
function spread(graph: Graph, original: Value, gate: Value, site: GateSite, size: number): Value {
  const { units, axis } = site;
  const rank = original.type!.shape!.length;
  const stem = `${original.name}_${gate.name}`;
  const add = (op: string, inputs: Value[]) => graph.addNode(op, inputs, [stem]).outputs[0]!;
  const constant = (tensor: Tensor) => graph.addInitializer(`${stem}_c`, tensor);
  let factor = gate;
  const plain = units.length === size && units.every((u, i) => u === i);
  if (!plain) {
    const index = Tensor.fromInt64(
      '',
      [units.length],
      [...units].map((u) => Math.max(u, 0)),
    );
    const gather = graph.addNode('Gather', [gate, constant(index)], [stem]);
    gather.setInt('axis', 1);
    factor = gather.outputs[0]!;
  }
  if (units.some((u) => u < 0)) {
    const ours = Float32Array.from(units, (u) => (u < 0 ? 0 : 1));
    const others = ours.map((v) => 1 - v);
    factor = add('Mul', [factor, constant(Tensor.fromFloat32('', [1, units.length], ours))]);
    factor = add('Add', [factor, constant(Tensor.fromFloat32('', [1, units.length], others))]);
  }
  const shape = Array.from({ length: rank }, (_, i) => (i === axis ? units.length : 1));
  if (axis !== 0) shape[0] = -1;
  factor = add('Reshape', [factor, constant(Tensor.fromInt64('', [rank], shape))]);
  const elemType = original.type!.elemType;
  if (elemType !== DataType.FLOAT && isFloatType(elemType)) {
    const cast = graph.addNode('Cast', [factor], [stem]);
    cast.setInt('to', elemType);
    factor = cast.outputs[0]!;
  }
  return factor;
}

/** The gate row of a keep-set: 1 for units that stay, 0 for others. */
export function gateRow(size: number, keep: readonly number[] | undefined): Float32Array {
  if (!keep) return new Float32Array(size).fill(1);
  const row = new Float32Array(size);
  for (const unit of keep) row[unit] = 1;
  return row;
}
