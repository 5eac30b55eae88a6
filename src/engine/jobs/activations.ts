import { SecateurError } from '../../errors.ts';
import type { Dataset } from '../../evaluation/data/index.ts';
import type { DeviceName } from '../../formats.ts';
import { cloneModel } from '../../graph/clone.ts';
import { removeDeadNodes } from '../../graph/edit.ts';
import type { Value } from '../../graph/ir.ts';
import { sampleBatches } from '../../pruning/export/batches.ts';
import type { ActivationSource } from '../../ranking/types.ts';
import { elementCount, toFloat32 } from '../../runtime/host-tensor.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { createSession } from '../../runtime/session.ts';
import type { GateSite, Group, Structure } from '../../units/types.ts';

/** About so many values of activations per run. */
const VALUES_PER_RUN = 16e6;

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
    const sites = this.sites(group);
    const sums = sites.map(() => new Float64Array(group.size));
    const counts = sites.map(() => new Float64Array(group.size));
    const weightSites = sites.filter(({ operand }) => operand.initializer);
    for (const site of weightSites) {
      const { initializer } = site.operand;
      addAbs(
        site.site,
        { type: 'float32', dims: [...initializer!.dims], data: initializer!.toFloat32() },
        1,
        sums[site.index],
        counts[site.index],
      );
    }
    const running = sites.filter(({ operand }) => !operand.initializer);
    if (running.length > 0) await this.run(running, sums, counts, signal);
    const mean = new Float64Array(group.size);
    for (let unit = 0; unit < group.size; unit++) {
      let used = 0;
      sites.forEach((_, s) => {
        if (counts[s][unit] === 0) return;
        mean[unit] += sums[s][unit] / counts[s][unit];
        used++;
      });
      if (used > 0) mean[unit] /= used;
    }
    return mean;
  }

  /** Sites of the group; several consumers of one value count once. */
  private sites(group: Group): { index: number; site: GateSite; operand: Value }[] {
    const seen = new Set<string>();
    const found: { index: number; site: GateSite; operand: Value }[] = [];
    for (const site of group.sites) {
      const operand = site.node.inputs[site.input];
      if (!operand) continue;
      const key = `${operand.name}|${site.axis}|${site.units.join()}`;
      if (seen.has(key)) continue;
      seen.add(key);
      found.push({ index: found.length, site, operand });
    }
    return found;
  }

  private async run(
    sites: { index: number; site: GateSite; operand: Value }[],
    sums: Float64Array[],
    counts: Float64Array[],
    signal?: AbortSignal,
  ): Promise<void> {
    const clone = cloneModel(this.structure.model);
    const { graph } = clone.model;
    graph.outputs.length = 0;
    const wanted = sites.map(({ operand }) => clone.value(operand));
    for (const value of new Set(wanted)) graph.outputs.push(value);
    removeDeadNodes(clone.model);
    const session = await createSession(clone.model, { device: this.device });
    try {
      const perSample = wanted.reduce(
        (sum, v) => sum + elementCount((v.type?.shape ?? []).map((d) => (typeof d === 'number' ? d : 1))),
        1,
      );
      const size = Math.min(256, Math.max(1, Math.floor(VALUES_PER_RUN / perSample)));
      for (const { feeds, samples } of sampleBatches(this.dataset, size)) {
        if (signal?.aborted) throw new SecateurError('cancelled', 'The job was cancelled.');
        const outputs = await session.run(feeds, [...new Set(wanted.map((v) => v.name))]);
        const rows = this.dataset.batchSize ?? samples;
        sites.forEach(({ site, index }, i) =>
          addAbs(site, outputs[wanted[i].name], samples / rows, sums[index], counts[index]),
        );
      }
    } finally {
      await session.release();
    }
  }
}

/** Adds |x| of every element to the unit of its position; `share`: leading part of axis 0 that holds real samples. */
function addAbs(
  { axis, units }: GateSite,
  tensor: HostTensor,
  share: number,
  sums: Float64Array,
  counts: Float64Array,
): void {
  const { dims } = tensor;
  const data = toFloat32(tensor);
  // Where the operand as a whole is the unit, it counts as an axis of one position in front of all others.
  const whole = axis < 0;
  const inner = whole ? Math.round(elementCount(dims) * share) : elementCount(dims.slice(axis + 1));
  const width = whole ? 1 : dims[axis];
  let outer = whole ? 1 : elementCount(dims.slice(0, axis));
  if (axis > 0 && share < 1) outer = Math.round(outer * share);
  for (let o = 0; o < outer; o++) {
    for (let position = 0; position < width; position++) {
      const unit = units[position];
      if (unit < 0) continue;
      const start = (o * width + position) * inner;
      let sum = 0;
      for (let i = start; i < start + inner; i++) sum += Math.abs(data[i]);
      sums[unit] += sum;
      counts[unit] += inner;
    }
  }
}
