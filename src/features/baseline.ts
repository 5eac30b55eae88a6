import { checkSignal } from '../errors.ts';
import { dropUnusedInputs, setOutputs } from '../graph/outputs.ts';
import type { Dataset } from '../evaluation/data/dataset.ts';
import { batchRows } from '../evaluation/metrics/index.ts';
import type { DeviceName } from '../formats.ts';
import { cloneModel } from '../graph/clone.ts';
import { removeDeadNodes } from '../graph/edit.ts';
import type { Model } from '../graph/ir.ts';
import { toFloat32 } from '../runtime/host-tensor.ts';
import { createSession, type Session } from '../runtime/session.ts';
import type { GatePoint } from './points.ts';

/** What stands at a gate point for samples of a data set. Holds a session for embeddings until it is closed. */
export class PointValues {
  private session: Promise<Session> | undefined;
  private readonly model: Model;
  private readonly dataset: Dataset;
  private readonly input: string;
  private readonly point: GatePoint;
  private readonly device: DeviceName;

  constructor(model: Model, dataset: Dataset, input: string, point: GatePoint, device: DeviceName) {
    this.model = model;
    this.dataset = dataset;
    this.input = input;
    this.point = point;
    this.device = device;
  }

  /**
   * Calls `visit` with the numbers of each of these samples, in order.
   * @throws SecateurError 'cancelled' between two batches
   */
  async forEach(
    samples: Int32Array | null,
    visit: (values: Float32Array, at: number) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    let at = 0;
    for (const { indices, count } of this.dataset.batches(samples, batchRows(this.dataset))) {
      // Lets a message that cancels arrive.
      await new Promise((resolve) => setImmediate(resolve));
      checkSignal(signal);
      const feeds = this.dataset.feeds(indices);
      const tensor =
        this.point.width === null
          ? feeds[this.input]
          : (await (await this.open()).run(feeds, [this.point.value.name]))[this.point.value.name];
      const values = toFloat32(tensor);
      const each = values.length / indices.length;
      for (let i = 0; i < count; i++) visit(values.subarray(i * each, (i + 1) * each), at++);
    }
  }

  async close(): Promise<void> {
    await (await this.session)?.release();
  }

  /** The graph up to the point. */
  private open(): Promise<Session> {
    if (!this.session) {
      const clone = cloneModel(this.model);
      setOutputs(clone.model.graph, [clone.value(this.point.value)]);
      removeDeadNodes(clone.model);
      dropUnusedInputs(clone.model.graph);
      this.session = createSession(clone.model, { device: this.device });
    }
    return this.session;
  }
}

/**
 * The mean over the data of what stands at each gate point: element by element, and over all positions too for embeddings,
 * whose mean belongs to no position.
 */
export async function baselines(
  model: Model,
  dataset: Dataset,
  input: string,
  points: readonly GatePoint[],
  device: DeviceName,
  signal?: AbortSignal,
): Promise<Float32Array[]> {
  const found: Float32Array[] = [];
  for (const point of points) {
    const values = new PointValues(model, dataset, input, point, device);
    try {
      let sums: Float64Array | undefined;
      let counted = 0;
      const add = (row: Float32Array): void => {
        const width = point.width ?? row.length;
        sums ??= new Float64Array(width);
        row.forEach((v, i) => (sums![i % width] += v));
        counted += row.length / width;
      };
      await values.forEach(null, add, signal);
      found.push(Float32Array.from(sums!, (s) => s / counted));
    } finally {
      await values.close();
    }
  }
  return found;
}
