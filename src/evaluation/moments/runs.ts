import { SecateurError } from '../../errors.ts';
import type { DeviceName } from '../../formats.ts';
import { cloneModel } from '../../graph/clone.ts';
import { removeDeadNodes } from '../../graph/edit.ts';
import { createSession, type HostTensor, type Session } from '../../runtime/session.ts';
import type { Group, Structure } from '../../units/types.ts';
import { setOutputs } from '../../graph/outputs.ts';
import { GraphBuilder } from '../coalitions/graph-builder.ts';
import type { Dataset } from '../data/index.ts';
import { sumOverSamples } from '../data/sum-runs.ts';
import { addMoments, type MomentOutputs } from './columns.ts';
import { columnsOfUnits, linearReads } from './reads.ts';
import type { LinearRead, LinearReads, MomentKind, MomentSource, Moments } from './types.ts';

/**
 * Moments from runs of the graph up to the places where a group's gates stand. Products are summed over the rows of one
 * run in the graph, in single precision, and over the runs in double precision.
 */
export class MomentRuns implements MomentSource {
  readonly reads: LinearReads;
  private readonly structure: Structure;
  private readonly dataset: Dataset;
  private readonly device: DeviceName;

  constructor(structure: Structure, group: Group, dataset: Dataset, device: DeviceName) {
    this.reads = linearReads(group);
    this.structure = structure;
    this.dataset = dataset;
    this.device = device;
  }

  async moments(kind: MomentKind, reads: readonly LinearRead[], signal?: AbortSignal): Promise<Moments[]> {
    if (reads.length === 0) return [];
    if (kind === 'blocks') reads.forEach(requireEqualUnits);
    const clone = cloneModel(this.structure.model);
    const b = new GraphBuilder(clone.model);
    const outputs = reads.map((read) => addMoments(b, read, clone.value(read.operand), kind));
    setOutputs(
      clone.model.graph,
      outputs.flatMap(({ shape, sum, second }) => [shape, sum, second]),
    );
    removeDeadNodes(clone.model);
    const session = await createSession(clone.model, { device: this.device });
    try {
      return await new Accumulation(session, this.dataset, outputs, kind).run(signal);
    } finally {
      await session.release();
    }
  }
}

/** Sums of all reads over the samples of a data set. */
class Accumulation {
  private readonly rows: Float64Array;
  private readonly sums: Float64Array[] = [];
  private readonly seconds: Float64Array[] = [];

  constructor(
    private readonly session: Session,
    private readonly dataset: Dataset,
    private readonly outputs: readonly MomentOutputs[],
    private readonly kind: MomentKind,
  ) {
    this.rows = new Float64Array(outputs.length);
  }

  async run(signal?: AbortSignal): Promise<Moments[]> {
    await sumOverSamples(this.dataset, (indices, weight) => this.add(indices, weight), signal);
    return this.outputs.map((_, i) => this.means(i));
  }

  /** Adds `weight` times the sums of a run. @returns rows × columns of that run, of all reads */
  private async add(indices: Int32Array, weight: number): Promise<number> {
    const given = await this.session.run(this.dataset.feeds(indices));
    let values = 0;
    this.outputs.forEach(({ shape, sum, second }, i) => {
      const [rows, columns] = Array.from(given[shape.name].data as BigInt64Array, Number);
      values += rows * columns;
      this.rows[i] += weight * rows;
      this.sums[i] = added(this.sums[i], given[sum.name], weight);
      this.seconds[i] = added(this.seconds[i], given[second.name], weight);
    });
    return values;
  }

  private means(i: number): Moments {
    const rows = Math.round(this.rows[i]);
    const [mean, second] = [this.sums[i], this.seconds[i]];
    for (const values of [mean, second]) {
      for (let j = 0; j < values.length; j++) values[j] /= rows;
      if (!values.every(Number.isFinite))
        throw new SecateurError(
          'runtime',
          'A second moment of what a layer reads is not finite.',
          'Check the data for infinities and NaN.',
        );
    }
    if (this.kind === 'gram') symmetrise(second, mean.length);
    return { rows, mean, second };
  }
}

function added(sums: Float64Array | undefined, { data }: HostTensor, weight: number): Float64Array {
  const values = data as Float32Array;
  const into = sums ?? new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) into[i] += weight * values[i];
  return into;
}

/** Takes the mean of each pair of elements, whose sums the runtime may have made in different orders. */
function symmetrise(matrix: Float64Array, n: number): void {
  for (let i = 1; i < n; i++)
    for (let j = 0; j < i; j++) matrix[i * n + j] = matrix[j * n + i] = (matrix[i * n + j] + matrix[j * n + i]) / 2;
}

function requireEqualUnits(read: LinearRead): void {
  const size = 1 + read.units.reduce((a, u) => Math.max(a, u), -1);
  const columns = columnsOfUnits(read.units, size);
  if (columns.some((c) => c.length !== columns[0].length))
    throw new SecateurError(
      'unsupported',
      `The units that '${read.consumers[0].node.name}' reads have different numbers of columns.`,
    );
}
