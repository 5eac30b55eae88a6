import { SecateurError, checkSignal } from '../../errors.ts';
import type { DeviceName } from '../../formats.ts';
import { float32Tensor, toFloat32, type HostTensor } from '../../runtime/host-tensor.ts';
import { createSession, type Session } from '../../runtime/session.ts';
import type { Structure } from '../../units/types.ts';
import { sampleShapes, samplesProblem } from '../coalitions/samples.ts';
import type { Dataset } from '../data/dataset.ts';
import { batchedGraph, singleGraph, type GradientGraph } from './gradient-graph.ts';
import type { SampleLoss } from './sample-loss.ts';
import { SampleSums, zeroMoments, type GateMoments } from './sample-sums.ts';

export interface GateGradientOptions {
  device: DeviceName;
  signal?: AbortSignal;
  /** Told after every run: samples so far, each draw of a sample counted. */
  onProgress?: (done: number, planned: number) => void;
  /** Rows of a run, at most; by default as memory allows. */
  rows?: number;
}

export interface GateGradients {
  /** By group, for all groups that have derivatives. */
  moments: Map<string, GateMoments>;
  /** Why other groups have none: errors 'unsupported' that name the operator without a gradient rule. */
  failures: Map<string, SecateurError>;
  /** Sentences for the result. */
  notes: string[];
}

/** Bytes of the tensors of a run. */
const CPU_BYTES = 512 * 2 ** 20;
const GPU_BYTES = 1024 * 2 ** 20;
const MOST_ROWS = 256;
/** Tensors of the backward part, relative to those of the forward part that it needs. */
const BACKWARD = 1.5;

/**
 * Derivatives of the loss of each sample with respect to the gates of all units of the groups, at open gates, in one
 * backward pass over the data: ∂loss/∂gate = Σ a·∂loss/∂a over the positions of a unit's activation a. Only moments over
 * the samples are kept. Groups whose gates take one row at a time have passes of their own, a sample at a time.
 * @param loss opened for the same data
 * @throws SecateurError 'cancelled' between two runs; 'runtime'
 */
export async function gateGradients(
  structure: Structure,
  groupIds: readonly string[],
  dataset: Dataset,
  loss: SampleLoss,
  options: GateGradientOptions,
): Promise<GateGradients> {
  const { device, signal, onProgress } = options;
  const problem = await samplesProblem(structure, dataset, loss.outputs, device);
  checkSignal(signal);
  const build = (ids: readonly string[]): Graphs => graphsOf(structure, ids, dataset, loss, problem === undefined);
  const { graphs, failures } = differentiable(groupIds, build);
  const { many, single, left } = graphs;
  const notes: string[] = [];
  if (problem !== undefined) notes.push(`Gradients are taken sample by sample: ${problem.reason}.`);
  else if (left.length > 0) {
    const some = left.slice(0, 3).map((id) => `'${id}'`);
    const more = left.length > 3 ? ` and ${left.length - 3} more` : '';
    notes.push(
      `Gradients of ${some.join(', ')}${more} are taken sample by sample: their gates take one row at a time.`,
    );
  }
  const passes: Pass[] = [];
  if (many) passes.push({ graph: many, batches: batchesOf(dataset, rowsOf(many, options)), single: false });
  if (single) passes.push({ graph: single, batches: dataset.batches(null, 1), single: true });
  const sizes = new Map(structure.groups.map((g) => [g.id, g.size]));
  const planned = passes.length * dataset.samples * loss.draws;
  const moments = new Map<string, GateMoments>();
  let done = 0;
  for (const pass of passes) {
    const found = await runPass(pass, sizes, dataset, loss, device, signal, (samples) =>
      onProgress?.((done += samples), planned),
    );
    for (const [group, m] of found) moments.set(group, m);
  }
  // Of groups that only other outputs depend on, the loss has the derivative 0.
  for (const id of groupIds)
    if (!moments.has(id) && !failures.has(id)) moments.set(id, zeroMoments(sizes.get(id)!, dataset.samples));
  return { moments, failures, notes };
}

/** The graphs of some groups: of those whose rows are proven apart, and of the others. */
interface Graphs {
  many?: GradientGraph;
  single?: GradientGraph;
  /** The groups of `single`. */
  left: readonly string[];
}

function graphsOf(
  structure: Structure,
  ids: readonly string[],
  dataset: Dataset,
  loss: SampleLoss,
  batched: boolean,
): Graphs {
  const { graph: many, left } = batched
    ? batchedGraph(structure, ids, loss, sampleShapes(dataset))
    : { graph: undefined, left: ids };
  return { many, left, single: left.length > 0 ? singleGraph(structure, left, loss) : undefined };
}

/** The graphs of the groups that every operator behind has a rule for, and why others have none. */
function differentiable(groupIds: readonly string[], build: (ids: readonly string[]) => Graphs) {
  const failures = new Map<string, SecateurError>();
  const attempt = (ids: readonly string[]): Graphs | SecateurError => {
    try {
      return build(ids);
    } catch (thrown) {
      if (thrown instanceof SecateurError && thrown.code === 'unsupported') return thrown;
      throw thrown;
    }
  };
  const all = attempt(groupIds);
  if (!(all instanceof SecateurError)) return { graphs: all, failures };
  for (const id of groupIds) {
    const one = attempt([id]);
    if (one instanceof SecateurError) failures.set(id, one);
  }
  return { graphs: build(groupIds.filter((id) => !failures.has(id))), failures };
}

interface Pass {
  graph: GradientGraph;
  batches: { indices: Int32Array; count: number }[];
  /** A run is one sample, whose derivatives are in the first row. */
  single: boolean;
}

function batchesOf(dataset: Dataset, rows: number): { indices: Int32Array; count: number }[] {
  const batches: { indices: Int32Array; count: number }[] = [];
  for (let from = 0; from < dataset.samples; from += rows) {
    const count = Math.min(rows, dataset.samples - from);
    batches.push({ indices: Int32Array.from({ length: count }, (_, i) => from + i), count });
  }
  return batches;
}

function rowsOf(graph: GradientGraph, { device, rows = MOST_ROWS }: GateGradientOptions): number {
  const bytes = 4 * (1 + BACKWARD) * Math.max(1, graph.rowElements);
  const fitting = Math.floor((device === 'cpu' ? CPU_BYTES : GPU_BYTES) / bytes);
  return Math.max(1, Math.min(MOST_ROWS, rows, fitting));
}

/** Runs the backward pass over all batches. */
async function runPass(
  { graph, batches, single }: Pass,
  sizes: ReadonlyMap<string, number>,
  dataset: Dataset,
  loss: SampleLoss,
  device: DeviceName,
  signal: AbortSignal | undefined,
  onRun: (samples: number) => void,
): Promise<Map<string, GateMoments>> {
  const groups = [...new Set(graph.parts.map((p) => p.group))];
  const sums = new Map(groups.map((id) => [id, new SampleSums(sizes.get(id)!)]));
  const session = await createSession(graph.model, { device });
  try {
    for (const { indices, count } of batches) {
      const rows = single ? 1 : indices.length;
      const feeds = { ...dataset.feeds(indices), ...gateFeeds(graph, rows) };
      for (const s of sums.values()) s.start(rows);
      for (let draw = 0; draw < loss.draws; draw++) {
        checkSignal(signal);
        const results = await runOnce(session, graph, { ...feeds, ...loss.feeds(indices, draw) });
        const weights = Float64Array.from({ length: rows }, (_, r) => loss.weight(indices[r], draw));
        for (const [id, gradients] of perUnit(graph, results, sizes, rows)) sums.get(id)!.add(gradients, weights);
        onRun(count);
      }
      for (const s of sums.values()) s.finish(single ? 1 : count, loss.draws);
    }
  } finally {
    await session.release();
  }
  return new Map([...sums].map(([id, s]) => [id, s.moments]));
}

function gateFeeds(graph: GradientGraph, rows: number): Record<string, HostTensor> {
  return Object.fromEntries(
    graph.gates.map(({ name, size }) => [name, float32Tensor([rows, size], new Float32Array(rows * size).fill(1))]),
  );
}

function runOnce(session: Session, graph: GradientGraph, feeds: Record<string, HostTensor>) {
  return session.run(
    feeds,
    graph.parts.map((p) => p.output),
  );
}

/** ∂loss/∂gate by group, [rows, size]: what the places of a group give is added up. */
function perUnit(
  graph: GradientGraph,
  results: Record<string, HostTensor>,
  sizes: ReadonlyMap<string, number>,
  rows: number,
): Map<string, Float64Array> {
  const found = new Map<string, Float64Array>();
  for (const { output, group, units } of graph.parts) {
    const size = sizes.get(group)!;
    let gradients = found.get(group);
    if (!gradients) found.set(group, (gradients = new Float64Array(rows * size)));
    const values = toFloat32(results[output]);
    const width = units.length;
    for (let r = 0; r < rows; r++)
      for (let p = 0; p < width; p++) if (units[p] >= 0) gradients[r * size + units[p]] += values[r * width + p];
  }
  return found;
}
