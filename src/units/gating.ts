import { cloneModel } from '../graph/clone.ts';
import type { Graph, Model, Node, Value } from '../graph/ir.ts';
import { DataType } from '../onnx/data-type.ts';
import { Tensor } from '../onnx/tensor.ts';
import { SecateurError } from '../errors.ts';
import type { GateSite, Group, Structure } from './types.ts';

/** One gated operand in a gated model. */
export interface GatedSite {
  original: Value;
  gated: Value;
  /** False when axis 0 of the operand is not free for rows (the units lie on it): such gates take one row. */
  batchable: boolean;
  /** The consumer in the gated model, and which of its inputs is gated. */
  consumer: Node;
  input: number;
  /** Axis of the operand along which the units lie. */
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
  const graph = clone.model.graph;
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
    return { group: id, size: group.size, input, sites: insertGate(graph, group, input, clone.node) };
  });
  return { model: clone.model, gates, node: clone.node };
}

function insertGate(graph: Graph, group: Group, gate: Value, copy: (n: Node) => Node): GatedSite[] {
  const made = new Map<string, Value>();
  return group.sites.map((site) => {
    const consumer = copy(site.node);
    const original = consumer.inputs[site.input]!;
    const key = `${original.name}|${site.axis}|${site.units.join()}`;
    let gated = made.get(key);
    if (!gated) {
      gated = multiply(graph, consumer, original, gate, site, group.size);
      made.set(key, gated);
    }
    consumer.setInput(site.input, gated);
    return {
      original,
      gated,
      batchable: site.axis > 0 && !original.initializer,
      consumer,
      input: site.input,
      axis: site.axis,
      units: site.units,
    };
  });
}

/** original × gate, the gate spread over the positions of the axis. */
function multiply(graph: Graph, before: Node, original: Value, gate: Value, site: GateSite, size: number): Value {
  const { units, axis } = site;
  const rank = original.type!.shape!.length;
  const stem = `${original.name}_${gate.name}`;
  const add = (op: string, inputs: Value[]) => graph.addNode(op, inputs, [stem], { before }).outputs[0]!;
  const constant = (tensor: Tensor) => graph.addInitializer(`${stem}_c`, tensor);
  let factor = gate;
  const plain = units.length === size && units.every((u, i) => u === i);
  if (!plain) {
    const index = Tensor.fromInt64(
      '',
      [units.length],
      [...units].map((u) => Math.max(u, 0)),
    );
    const gather = graph.addNode('Gather', [gate, constant(index)], [stem], { before });
    gather.setInt('axis', 1);
    factor = gather.outputs[0]!;
  }
  if (units.some((u) => u < 0)) {
    const ours = Float32Array.from(units, (u) => (u < 0 ? 0 : 1));
    factor = add('Mul', [factor, constant(Tensor.fromFloat32('', [1, units.length], ours))]);
    factor = add('Add', [
      factor,
      constant(
        Tensor.fromFloat32(
          '',
          [1, units.length],
          ours.map((v) => 1 - v),
        ),
      ),
    ]);
  }
  // [rows, positions] to the rank of the operand: rows on axis 0, positions on the group's axis, 1 elsewhere.
  const shape = Array.from({ length: rank }, (_, i) => (i === axis ? units.length : 1));
  if (axis > 0) shape[0] = -1;
  factor = add('Reshape', [factor, constant(Tensor.fromInt64('', [rank], shape))]);
  const elemType = original.type!.elemType;
  if (elemType !== DataType.FLOAT && elemType !== DataType.UNDEFINED) {
    const cast = graph.addNode('Cast', [factor], [stem], { before });
    cast.setInt('to', elemType);
    factor = cast.outputs[0]!;
  }
  const product = add('Mul', [original, factor]);
  product.type = original.type && { ...original.type };
  return product;
}

/** The gate row of a keep-set: 1 for units that stay, 0 for others. */
export function gateRow(size: number, keep: readonly number[] | undefined): Float32Array {
  if (!keep) return new Float32Array(size).fill(1);
  const row = new Float32Array(size);
  for (const unit of keep) row[unit] = 1;
  return row;
}
