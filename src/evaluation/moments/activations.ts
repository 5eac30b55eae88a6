import type { DeviceName } from '../../formats.ts';
import { cloneModel } from '../../graph/clone.ts';
import { removeDeadNodes } from '../../graph/edit.ts';
import type { Value } from '../../graph/ir.ts';
import { elementCount, toFloat32, type HostTensor } from '../../runtime/host-tensor.ts';
import { createSession } from '../../runtime/session.ts';
import type { GateSite, Group, Structure } from '../../units/types.ts';
import { setOutputs } from '../../graph/outputs.ts';
import type { Dataset } from '../data/index.ts';
import { sumOverSamples } from '../data/sum-runs.ts';
import type { ActivationSource } from './types.ts';

/** What is read at one place where a group's gates stand. */
interface Place {
  site: GateSite;
  operand: Value;
  /** By unit: Σ|x|, and over how many elements. */
  sums: Float64Array;
  counts: Float64Array;
}

/** Mean activations from runs of the graph up to the places where a group's gates stand. */
export class ActivationRuns implements ActivationSource {
  private readonly structure: Structure;
  private readonly dataset: Dataset;
  private readonly device: DeviceName;

  constructor(structure: Structure, dataset: Dataset, device: DeviceName) {
    this.structure = structure;
    this.dataset = dataset;
    this.device = device;
  }

  async meanAbs(group: Group, signal?: AbortSignal): Promise<Float64Array> {
    const places = placesOf(group);
    for (const place of places) {
      const weight = place.operand.initializer;
      if (weight) addAbs(place, weight.dims, weight.toFloat32(), 1);
    }
    const computed = places.filter(({ operand }) => !operand.initializer);
    if (computed.length > 0) await this.run(computed, signal);
    return Float64Array.from({ length: group.size }, (_, unit) => {
      const read = places.filter(({ counts }) => counts[unit] > 0);
      const mean = read.reduce((sum, { sums, counts }) => sum + sums[unit] / counts[unit], 0);
      return read.length > 0 ? mean / read.length : 0;
    });
  }

  private async run(places: readonly Place[], signal?: AbortSignal): Promise<void> {
    const clone = cloneModel(this.structure.model);
    const names = places.map(({ operand }) => clone.value(operand).name);
    setOutputs(clone.model.graph, [...new Set(places.map(({ operand }) => clone.value(operand)))]);
    removeDeadNodes(clone.model);
    const session = await createSession(clone.model, { device: this.device });
    try {
      const add = async (indices: Int32Array, weight: number): Promise<number> => {
        const given = await session.run(this.dataset.feeds(indices));
        places.forEach((place, i) => addTensor(place, given[names[i]], weight));
        return Object.values(given).reduce((sum, { dims }) => sum + elementCount(dims), 0);
      };
      await sumOverSamples(this.dataset, add, signal);
    } finally {
      await session.release();
    }
  }
}

/** Places of the group; several consumers of one value count once. */
function placesOf(group: Group): Place[] {
  const found = new Map<string, Place>();
  for (const site of group.sites) {
    const operand = site.node.inputs[site.input];
    if (!operand) continue;
    const key = `${operand.name}|${site.axis}|${site.units.join()}`;
    const empty = (): Float64Array => new Float64Array(group.size);
    if (!found.has(key)) found.set(key, { site, operand, sums: empty(), counts: empty() });
  }
  return [...found.values()];
}

function addTensor(place: Place, tensor: HostTensor, weight: number): void {
  addAbs(place, tensor.dims, toFloat32(tensor), weight);
}

/** Adds `weight` times |x| of every element to the unit of its position. */
function addAbs({ site, sums, counts }: Place, dims: readonly number[], data: Float32Array, weight: number): void {
  const { axis, units } = site;
  // Where the operand as a whole is the unit, it counts as an axis of one position in front of all others.
  const whole = axis < 0;
  const inner = elementCount(whole ? dims : dims.slice(axis + 1));
  const width = whole ? 1 : dims[axis];
  const outer = whole ? 1 : elementCount(dims.slice(0, axis));
  for (let o = 0; o < outer; o++) {
    for (let position = 0; position < width; position++) {
      const unit = units[position];
      if (unit < 0) continue;
      const start = (o * width + position) * inner;
      let sum = 0;
      for (let i = start; i < start + inner; i++) sum += Math.abs(data[i]);
      sums[unit] += weight * sum;
      counts[unit] += weight * inner;
    }
  }
}
