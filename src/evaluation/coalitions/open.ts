import type { DeviceName, MetricName } from '../../formats.ts';
import { modelCost } from '../../graph/cost.ts';
import { removeDeadNodes } from '../../graph/edit.ts';
import { opsetVersion, type Node, type Value } from '../../graph/ir.ts';
import { SecateurError, checkSignal } from '../../errors.ts';
import { hostTypeOf } from '../../runtime/host-tensor.ts';
import { createSession } from '../../runtime/session.ts';
import { freeBatch, type FreedModel } from '../../units/batch-axis.ts';
import { gateModel, type GatedModel } from '../../units/gating.ts';
import type { Structure } from '../../units/types.ts';
import type { Dataset } from '../data/dataset.ts';
import { batchRows, readingsOf, type Reference, referenceOutputs, sampleMeasure } from '../metrics/index.ts';
import type { OutputReading } from '../types.ts';
import { cutAtGates } from './cut.ts';
import { keepOutputs } from '../../graph/outputs.ts';
import { addMaskGradients, type GradientSuffix } from './mask-gradients.ts';
import { crossingProblem, instrument, type Instrumented, type MetricPlace, productsAtCut } from './instrument.ts';
import { appendMetric, canExpress, targetOf, rowLayout } from './metric-graph.ts';
import { cutRaw } from './raw-cut.ts';
import { RawEvaluator } from './raw-evaluator.ts';
import { RowsEvaluator, type Target } from './rows-evaluator.ts';
import { foldsPay, prefixStep, runSize } from './run-size.ts';
import { oneByOne, sampleShapes, samplesProblem } from './samples.ts';
import { CrossingStore } from './store.ts';
import type { MaskEvaluator } from './sums.ts';
import { metricTerms, type Term } from './terms.ts';

export interface EvaluatorOptions {
  metric: MetricName;
  reading: OutputReading;
  device: DeviceName;
  /** Outputs of the original model, for kl, agreement and mse; computed when absent and needed. */
  reference?: Reference;
  /**
   * naive: the whole gated model, one coalition per run. cut: as auto without folding. auto: whatever is fastest.
   */
  strategy?: 'auto' | 'cut' | 'naive';
  /** Gradients with respect to the gates besides the metric, where `info.gradients` says that they can be had. */
  gradients?: boolean;
  /** Bytes of prefix results to keep (default 1 GB). */
  limit?: number;
  /** Gives up opening. */
  signal?: AbortSignal;
}

/** How an evaluator works, for reports and benchmarks. */
export interface EvaluatorInfo {
  /**
   * folded, batched: prefix kept, many coalitions per run, with or without folding. samples: prefix kept, one coalition
   * per run. single: prefix kept, sample by sample. naive: the whole model every time.
   */
  strategy: 'folded' | 'batched' | 'samples' | 'single' | 'naive';
  /** Share of the model's MACs in what depends on the gates, 0..1. */
  suffixShare: number;
  /** True when all gates were folded into their consumers. */
  folded: boolean;
  /** Gates have gradients. False too where they were not asked for, and where the metric is not in the graph. */
  gradients: boolean;
  /** Most rows (coalitions × samples) of one run. */
  rows: number;
  /** Sentences for the report: what could not be done, and why. */
  notes: string[];
}

export interface OpenEvaluator {
  evaluator: MaskEvaluator;
  info: EvaluatorInfo;
}

/**
 * An evaluator for gates on these groups, in this order.
 * @throws SecateurError 'usage' for unknown groups, 'bad-data' for labels that do not fit, 'runtime'
 */
export async function openEvaluator(
  structure: Structure,
  groupIds: readonly string[],
  dataset: Dataset,
  options: EvaluatorOptions,
): Promise<OpenEvaluator> {
  const { metric, reading, device, strategy = 'auto', signal } = options;
  checkSignal(signal);
  const gated = gateModel(structure, groupIds);
  const compares = needsReference(dataset, metric, reading);
  const wanted = compares ? readingsOf(reading).map((r) => r.output) : [reading.output];
  let problem = strategy === 'naive' ? undefined : await samplesProblem(structure, dataset, wanted, device);
  checkSignal(signal);
  // Where samples depend on their company, the model is compared with itself on single samples too.
  const seen = problem && !problem.tried ? oneByOne(dataset) : dataset;
  const reference = compares ? (options.reference ?? (await referenceOf(structure, seen, reading, device))) : undefined;
  checkSignal(signal);
  const measure = sampleMeasure(dataset, metric, reading, reference);
  const { graph } = gated.model;
  keepOutputs(graph, measure.outputs);
  removeDeadNodes(gated.model);
  // Consumers that only other outputs need are gone, and with them their gates.
  const alive = new Set(graph.nodes);
  for (const gate of gated.gates) gate.sites = gate.sites.filter((t) => alive.has(t.consumer));

  const cut = cutAtGates(gated.model, new Set(gated.gates.map((g) => g.input)));
  const macs = macsByNode(structure, gated, alive);
  const total = [...macs.values()].reduce((a, b) => a + b, 0);
  const suffixMacs = [...cut.dependent].reduce((sum, n) => sum + (macs.get(n) ?? 0), 0);
  const info: EvaluatorInfo = {
    strategy: 'naive',
    suffixShare: total > 0 ? suffixMacs / total : 1,
    folded: false,
    gradients: false,
    rows: 0,
    notes: [],
  };

  const raw = async (rows: number, withCut: boolean): Promise<OpenEvaluator> => {
    const parts = withCut ? cutRaw(gated) : undefined;
    const suffix = await createSession(parts?.suffix ?? gated.model, { device });
    const prefix = parts ? await createSession(parts.prefix, { device }) : null;
    const gates = gated.gates.map((g) => g.input.name);
    info.rows = Math.min(rows, dataset.samples);
    return {
      evaluator: new RawEvaluator({ prefix, suffix, crossing: parts?.crossing ?? [], gates, measure }, dataset, rows),
      info,
    };
  };
  if (strategy === 'naive') return raw(batchRows(dataset), false);

  if (problem === undefined) {
    const terms = metricTerms(dataset, metric, reading, reference);
    if (terms.some((t) => !canExpress(opsetVersion(gated.model), t.reading))) {
      info.strategy = 'samples';
      info.notes.push('The metric is computed outside of the graph, one coalition at a time.');
      return raw(batchRows(dataset), true);
    }
    const { freed, many, reason } = freeGated(gated, sampleShapes(dataset));
    if (freed) {
      if (!many) info.notes.push(`Coalitions are run one at a time: ${reason}.`);
      return openRows(gated, freed, many, terms, macs, dataset, info, options);
    }
    problem = { reason: reason!, tried: true };
  }
  // No proof, but the model takes any batch, and samples came out the same in company as alone.
  if (problem.tried) {
    info.strategy = 'samples';
    info.notes.push(`Coalitions are run one at a time: ${problem.reason}.`);
    return raw(batchRows(dataset), true);
  }
  info.strategy = 'single';
  info.notes.push(`Samples and coalitions are run one at a time: ${problem.reason}.`);
  return raw(1, true);
}

/** Frees the batch with a row of gates per row, else with one row of gates for all. */
function freeGated(
  gated: GatedModel,
  samples: Map<string, number[]>,
): { freed?: FreedModel; many: boolean; reason?: string } {
  const rows = new Map(gated.gates.map((g) => [g.input.name, [g.size]]));
  const like = productsAtCut(gated);
  const attempt = (freed: FreedModel) => (freed.proof.carried ? crossingProblem(gated, freed) : freed.proof.reason);
  const many = freeBatch(gated.model, samples, { rows, like });
  const reason = attempt(many);
  if (reason === undefined) return { freed: many, many: true };
  const one = freeBatch(gated.model, samples);
  const worse = attempt(one);
  return worse === undefined ? { freed: one, many: false, reason } : { many: false, reason: worse };
}

async function openRows(
  gated: GatedModel,
  freed: FreedModel,
  many: boolean,
  terms: readonly Term[],
  macs: ReadonlyMap<Node, number>,
  dataset: Dataset,
  info: EvaluatorInfo,
  { device, strategy, limit, gradients }: EvaluatorOptions,
): Promise<OpenEvaluator> {
  const { proof } = freed;
  const targets: Target[] = [];
  const finish = (places: readonly MetricPlace[]): Value => {
    targets.length = 0;
    const rows = terms.map((term, i) => {
      const place = places[i];
      const { width, elemType } = targetOf(
        term.metric,
        term.reading.reading,
        rowLayout(place.dims, proof.batch, term.reading),
      );
      targets.push({ type: hostTypeOf(elemType)!, width, data: term.target(place.dims, proof.batch) });
      const row = appendMetric(place, i, term.metric, term.reading, proof.batch);
      return term.weight === 1
        ? row
        : place.builder.op('Mul', [row, place.builder.floats(Float32Array.of(term.weight), [])]);
    });
    return rows.reduce((a, b) => places[0].builder.op('Add', [a, b]));
  };
  // Few coalitions on small batches of samples: those of a group would be run for nothing.
  const build = (fold: boolean): Instrumented =>
    instrument(gated, freed, { many, fold, s: gradients ? 1 : undefined, finish });
  const back = new Map([...macs].map(([n, m]) => [freed.node(n), m] as const));
  let parts = build(many && strategy !== 'cut' && gated.gates.length === 1);
  if (!foldsPay(parts, runSize(parts, back, many, dataset.samples, device, gradients))) parts = build(false);
  const withGradients = gradients ? gradientSuffix(parts, info) : undefined;
  info.gradients = withGradients !== undefined;
  const size = runSize(parts, back, many, dataset.samples, device, info.gradients);
  const suffix = await createSession(withGradients?.model ?? parts.suffix, { device });
  const prefix = await createSession(parts.prefix, { device });
  const store = new CrossingStore(prefix, dataset, parts.crossings, parts.s, prefixStep(parts, freed, back), limit);
  info.strategy = !many ? 'samples' : parts.folds.length > 0 ? 'folded' : 'batched';
  info.folded = parts.folded;
  info.rows = Math.min(size.rows, size.coalitions * store.groups * parts.s);
  if (!store.complete)
    info.notes.push(
      'What comes before the gates does not fit into memory: it is computed again for every set of coalitions.',
    );
  const gateSizes = gated.gates.map((g) => g.size);
  return {
    evaluator: new RowsEvaluator(
      parts,
      suffix,
      prefix,
      store,
      gateSizes,
      targets,
      size,
      dataset.samples,
      withGradients?.outputs,
    ),
    info,
  };
}

/** The suffix with gradients, or a note that says which op has none. */
function gradientSuffix(parts: Instrumented, info: EvaluatorInfo): GradientSuffix | undefined {
  try {
    return addMaskGradients(parts);
  } catch (thrown) {
    if (!(thrown instanceof SecateurError && thrown.code === 'unsupported')) throw thrown;
    info.notes.push(thrown.message);
    return undefined;
  }
}

function needsReference(dataset: Dataset, metric: MetricName, reading: OutputReading): boolean {
  return (
    metric === 'kl' ||
    metric === 'agreement' ||
    (metric === 'mse' && !(dataset.labels && reading.reading === 'regression'))
  );
}

const references = new WeakMap<Structure, Map<string, Promise<Reference>>>();

/** Outputs of the ungated model, kept per structure, data and reading. */
export function referenceOf(
  structure: Structure,
  dataset: Dataset,
  reading: OutputReading,
  device: DeviceName,
): Promise<Reference> {
  const key = JSON.stringify([
    dataset.fingerprint,
    [...dataset.ids],
    reading,
    device,
    dataset.batches(null, 2)[0].indices.length,
  ]);
  let known = references.get(structure);
  if (!known) references.set(structure, (known = new Map()));
  let answer = known.get(key);
  if (!answer) {
    known.set(key, (answer = computeReference(structure, dataset, reading, device)));
    answer.catch(() => known.delete(key));
  }
  return answer;
}

async function computeReference(
  structure: Structure,
  dataset: Dataset,
  reading: OutputReading,
  device: DeviceName,
): Promise<Reference> {
  const session = await createSession(structure.model, { device });
  try {
    return await referenceOutputs(session, dataset, reading);
  } finally {
    await session.release();
  }
}

/** MACs of the nodes of the gated model, for one sample. */
function macsByNode(structure: Structure, gated: GatedModel, alive: ReadonlySet<Node>): Map<Node, number> {
  const macs = new Map<Node, number>();
  for (const layer of modelCost(structure.model).layers) {
    const node = layer.macs > 0 && layer.node.graph === structure.model.graph && gated.node(layer.node);
    if (node && alive.has(node)) macs.set(node, layer.macs);
  }
  return macs;
}
