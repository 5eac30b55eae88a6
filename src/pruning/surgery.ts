import { cloneModel } from '../graph/clone.ts';
import { removeDeadNodes } from '../graph/edit.ts';
import { inferShapes } from '../graph/shapes/index.ts';
import { factorDim, mulDims } from '../graph/shapes/dims.ts';
import type { Dim, Model, Value } from '../graph/ir.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { SecateurError } from '../errors.ts';
import { removeBlocks } from './blocks.ts';
import type { Labels } from '../units/atoms.ts';
import type { Kept } from '../units/flow.ts';
import { shareConstants } from '../units/normalise.ts';
import type { Group, KeepSets, Structure } from '../units/types.ts';

/**
 * The model without the units that `keep` leaves out: blocks are taken out, every axis that carries units is cut, shape constants follow,
 * shapes are inferred anew, what nothing reads is gone. The structure is not changed; tensors that are whole keep
 * their bytes where they are.
 * @throws SecateurError 'usage' when a keep-set does not fit its group
 */
export function pruneModel(structure: Structure, keep: KeepSets): { model: Model; shrunkOutputs: string[] } {
  const removed = removedClasses(structure, keep);
  const kept = keptPositions(structure, removed);
  checkNothingEmpty(structure, kept);
  const clone = cloneModel(structure.model);
  const { model } = clone;

  removeBlocks(structure, keep, clone);
  const alive = new Set(model.graph.nodes);
  for (const [node, rewrites] of structure.flow.rewrites) {
    const copy = clone.node(node);
    if (!alive.has(copy)) continue;
    for (const rewrite of rewrites) rewrite(copy, kept);
  }
  const cut = new Map<Tensor['storage'], Map<string, Tensor>>();
  for (const [value, axes] of structure.flow.tracked) {
    if (!value.initializer) continue;
    const copy = clone.value(value);
    // Weights of blocks that went are not cut first.
    if (copy.uses.length === 0 && !copy.isGraphOutput) continue;
    axes.forEach((labels, axis) => {
      if (!(labels instanceof Int32Array) || kept.count(labels) === labels.length) return;
      copy.initializer = cutOnce(cut, copy.initializer!, axis, kept.positions(labels)).renamed(copy.name);
      copy.type = { kind: 'tensor', elemType: copy.initializer.dataType, shape: [...copy.initializer.dims] };
    });
  }
  setShapes(structure, kept, clone.value);
  shareConstants(model.graph);
  removeDeadNodes(model);
  inferShapes(model);
  return { model, shrunkOutputs: [] };
}

/**
 * Shapes of what is computed, from what stays of each axis: a shape that was declared for more units would mislead shape
 * inference, and runtimes plan their memory by it.
 */
function setShapes(structure: Structure, kept: Kept, copy: (v: Value) => Value): void {
  for (const [value, axes] of structure.flow.tracked) {
    const shape = value.type?.shape;
    if (!value.producer || !shape || axes.every((axis) => typeof axis === 'string')) continue;
    const after = shape.map((dim, i): Dim => {
      const axis = axes[i];
      if (typeof axis === 'string') return dim;
      if (axis instanceof Int32Array) return kept.count(axis);
      const factors = factorDim(dim);
      return factors ? mulDims(factors.rest, kept.count(axis.labels)) : null;
    });
    if (after.every((dim, i) => dim === shape[i])) continue;
    const target = copy(value);
    target.type = { ...target.type!, shape: after };
    target.proto = undefined;
  }
}

/** Cuts each (tensor, axis, keep-set) once, so that layers that share a weight and lose the same go on sharing. */
function cutOnce(
  cache: Map<Tensor['storage'], Map<string, Tensor>>,
  tensor: Tensor,
  axis: number,
  positions: Int32Array,
): Tensor {
  let byCut = cache.get(tensor.storage);
  if (!byCut) cache.set(tensor.storage, (byCut = new Map()));
  const key = `${axis}:${positions.join()}`;
  let result = byCut.get(key);
  if (!result) byCut.set(key, (result = tensor.take(axis, positions)));
  return result;
}

function keptPositions(structure: Structure, removed: ReadonlySet<number>): Kept {
  const { atoms } = structure.flow;
  const cache = new Map<Labels, Int32Array>();
  const goes = (atom: number) =>
    atoms.isComposite(atom) ? atoms.causes(atom).some((c) => removed.has(c)) : removed.has(atoms.find(atom));
  const positions = (labels: Labels): Int32Array => {
    let found = cache.get(labels);
    if (!found) {
      const list: number[] = [];
      for (let p = 0; p < labels.length; p++) if (!goes(labels[p])) list.push(p);
      cache.set(labels, (found = Int32Array.from(list)));
    }
    return found;
  };
  return { positions, count: (labels) => positions(labels).length };
}

/** Classes of atoms that go, after checking each keep-set against its group. */
function removedClasses(structure: Structure, keep: KeepSets): Set<number> {
  const removed = new Set<number>();
  for (const [id, units] of keep) {
    const group = structure.groups.find((g) => g.id === id);
    if (!group)
      throw new SecateurError('usage', `The model has no group "${id}".`, 'Was the plan made for another model?');
    const stays = checkKeepSet(group, units);
    group.atoms.forEach((atom, unit) => {
      if (!stays.has(unit)) removed.add(structure.flow.atoms.find(atom));
    });
  }
  return removed;
}

/** Runtimes compute anything but zero with empty axes: an axis keeps at least one of its positions. */
function checkNothingEmpty(structure: Structure, kept: Kept): void {
  for (const [value, axes] of structure.flow.tracked) {
    const empty = axes.some((labels) => labels instanceof Int32Array && labels.length > 0 && kept.count(labels) === 0);
    if (!empty) continue;
    throw new SecateurError(
      'usage',
      `Nothing would be left of ${value.name}, which holds some of a group's units only.`,
      'Keep at least one of its units.',
    );
  }
}

function checkKeepSet(group: Group, units: readonly number[]): Set<number> {
  const stays = new Set(units);
  const wrong = units.find((u) => !Number.isInteger(u) || u < 0 || u >= group.size);
  if (wrong !== undefined) {
    throw new SecateurError(
      'usage',
      `Group "${group.id}" has units 0 to ${group.size - 1}; ${wrong} is not one of them.`,
    );
  }
  if (stays.size !== units.length)
    throw new SecateurError('usage', `The keep-set of group "${group.id}" names a unit twice.`);
  if (stays.size === 0)
    throw new SecateurError('usage', `Group "${group.id}" would lose all of its units.`, 'Keep at least one.');
  if (stays.size < group.size && !group.prunable) {
    throw new SecateurError('usage', `Group "${group.id}" cannot be pruned: it ${group.reason}.`);
  }
  const counts = group.blocks?.map((block) => block.filter((u) => stays.has(u)).length);
  if (counts?.some((n) => n !== counts[0])) {
    throw new SecateurError(
      'usage',
      `Group "${group.id}" lies in ${counts.length} blocks (a grouped convolution), which must keep equally many units; they would keep ${counts.join(', ')}.`,
    );
  }
  return stays;
}
