import { openDataset } from '../../evaluation/data/index.ts';
import type { Dataset } from '../../evaluation/data/index.ts';
import { SecateurError } from '../../errors.ts';
import type { CompareReport, MetricName, SideReport } from '../../formats.ts';
import type { DataSpec, EngineMethods } from '../../protocol.ts';
import { DifferenceMeter } from '../../pruning/export/difference.ts';
import { metricOf } from '../../pruning/export/metric.ts';
import { compareLatency } from '../../runtime/latency.ts';
import type { Session } from '../../runtime/session.ts';
import { topAnswers } from './answers.ts';
import type { JobContext } from './context.ts';
import { checkpoint, part } from './context.ts';
import type { OpenData } from './data.ts';
import { chooseMetric, openData } from './data.ts';
import { openModel } from './model.ts';
import type { OpenModel } from './model.ts';
import { chooseDevice, withSession } from './sessions.ts';

type CompareParams = EngineMethods['compare']['params'];

/** Rows per run while outputs are compared. */
const BATCH = 64;

/** Two models side by side: size, cost, metrics on the same data, distance of their outputs, latency. */
export async function compare(params: CompareParams, context: JobContext): Promise<CompareReport> {
  context.progress({ fraction: 0, note: 'reading models and data' });
  const a = await openModel(params.a);
  const b = await openModel(params.b);
  checkInputs(a, b);
  await checkpoint(context);
  const data = await openData(a, params.data);
  if (b.missingData) throw b.missingData;
  // The other model's inputs may differ in batch size or element type: the same data is bound to them anew.
  const dataB = await openDataset(b.structure().model, { ...params.data, holdout: null });
  const metric = chooseMetric(data, params.metric);
  const warnings = [...data.warnings];
  const device = await chooseDevice(params.device, warnings);
  await checkpoint(context);
  return withSession(a, device, (sessionA) =>
    withSession(b, device, async (sessionB) => {
      const values = await metrics(
        { sessionA, sessionB, a, b, data, dataB, metric, spec: params.data },
        part(context, 0, 0.5),
      );
      const distances = await compareOutputs(sessionA, sessionB, data, dataB, warnings, part(context, 0.5, 0.85));
      context.progress({ fraction: 0.85, note: 'measuring latency' });
      const latency = await compareLatency(
        { session: sessionA, feeds: firstFeeds(data.all) },
        { session: sessionB, feeds: firstFeeds(dataB) },
        { signal: context.signal },
      );
      const sides = {
        a: side(a, values.a, latency.a.medianMs),
        b: side(b, values.b, latency.b.medianMs),
      };
      return {
        ...sides,
        metric,
        samples: data.all.samples,
        holdoutSamples: values.a.holdout === null ? 0 : (data.holdout?.samples ?? 0),
        delta: deltaOf(sides.a, sides.b),
        ...distances,
        layers: matchLayers(a, b),
        warnings,
      };
    }),
  );
}

/** @throws SecateurError 'bad-data' when the models cannot be run on the same data */
function checkInputs(a: OpenModel, b: OpenModel): void {
  const names = (m: OpenModel): string[] => m.model.graph.inputs.filter((v) => !v.initializer).map((v) => v.name);
  const [inA, inB] = [names(a), names(b)];
  const missing = inB.filter((name) => !inA.includes(name));
  if (missing.length > 0 && !(inA.length === 1 && inB.length === 1)) {
    throw new SecateurError(
      'bad-data',
      `The models have different inputs: ${b.path} needs ${missing.join(', ')}, ${a.path} has ${inA.join(', ')}.`,
    );
  }
}

interface MetricJob {
  sessionA: Session;
  sessionB: Session;
  a: OpenModel;
  b: OpenModel;
  data: OpenData;
  dataB: Dataset;
  metric: MetricName;
  spec: DataSpec;
}

/** The metric on all samples, and on held-out data where it was given. A metric that needs a reference refers to A. */
async function metrics(job: MetricJob, context: JobContext) {
  const { sessionA, sessionB, data, dataB, metric, spec } = job;
  const { reading } = data;
  const readingB = sessionB.outputs.some((o) => o.name === reading.output)
    ? reading
    : { ...reading, output: sessionB.outputs[0].name };
  const value = async (session: Session, dataset: Dataset, original: Dataset): Promise<number> => {
    const options = { metric, reading: session === sessionA ? reading : readingB };
    return (
      await metricOf(session, { session: sessionA, dataset: original, reading }, dataset, options, context.signal)
    ).value;
  };
  const holdoutB =
    spec.holdout && data.holdout
      ? await openDataset(job.b.structure().model, { ...spec, path: spec.holdout, holdout: null })
      : null;
  context.progress({ fraction: 0, note: `measuring ${metric} of the first model` });
  const a = {
    value: await value(sessionA, data.all, data.all),
    holdout: holdoutB && data.holdout ? await value(sessionA, data.holdout, data.holdout) : null,
  };
  await checkpoint(context);
  context.progress({ fraction: 0.5, note: `measuring ${metric} of the second model` });
  const b = {
    value: await value(sessionB, dataB, data.all),
    holdout: holdoutB && data.holdout ? await value(sessionB, holdoutB, data.holdout) : null,
  };
  await checkpoint(context);
  return { a, b };
}

/** Distance of the outputs that both models have, and which samples get another class. */
async function compareOutputs(
  sessionA: Session,
  sessionB: Session,
  data: OpenData,
  dataB: Dataset,
  warnings: string[],
  context: JobContext,
): Promise<Pick<CompareReport, 'outputs' | 'changed'>> {
  const shared = sessionA.outputs.map((o) => o.name).filter((name) => sessionB.outputs.some((o) => o.name === name));
  const meter = new DifferenceMeter();
  const skipped = new Set<string>();
  const { reading } = data;
  const changed: number[] = [];
  let classes = shared.includes(reading.output);
  const [batchesA, batchesB] = [data.all.batches(null, BATCH), dataB.batches(null, BATCH)];
  if (data.all.batchSize !== dataB.batchSize)
    warnings.push('The models take batches of different sizes: their outputs are not compared.');
  else {
    for (const [i, batch] of batchesA.entries()) {
      await checkpoint(context);
      context.progress({ fraction: i / batchesA.length, note: 'comparing outputs' });
      const outA = await sessionA.run(data.all.feeds(batch.indices), shared);
      const outB = await sessionB.run(dataB.feeds(batchesB[i].indices), shared);
      for (const name of shared) {
        try {
          meter.add(name, outB[name], outA[name]);
        } catch (thrown) {
          if (!(thrown instanceof RangeError)) throw thrown;
          skipped.add(name);
        }
      }
      if (!classes) continue;
      const rows = batch.indices.length;
      const [ansA, ansB] = [
        topAnswers(outA[reading.output], reading, rows),
        topAnswers(outB[reading.output], reading, rows),
      ];
      if (!ansA || !ansB || ansA.length !== ansB.length) {
        classes = false;
        continue;
      }
      for (let row = 0; row < batch.count; row++) if (ansA[row] !== ansB[row]) changed.push(batch.indices[row]);
    }
  }
  for (const name of skipped)
    warnings.push(`The output '${name}' has different shapes in the two models and is not compared.`);
  const outputs = meter.names.filter((name) => !skipped.has(name)).map((name) => ({ name, ...meter.of(name) }));
  if (shared.length === 0) warnings.push('The models have no output of the same name.');
  const counted = classes && data.all.batchSize === dataB.batchSize;
  return {
    outputs,
    changed: counted
      ? {
          samples: changed.length,
          share: changed.length / data.all.samples,
          indices: changed.map((i) => data.all.ids[i]),
        }
      : null,
  };
}

function firstFeeds(dataset: Dataset): ReturnType<Dataset['feeds']> {
  return dataset.feeds(dataset.batches(null, 1)[0].indices);
}

function side(
  model: OpenModel,
  values: { value: number; holdout: number | null },
  latencyMs: number,
): SideReport & { path: string } {
  const { parameters, macs } = model.cost();
  return { path: model.path, bytes: model.bytes, parameters, macs, ...values, latencyMs };
}

function deltaOf(a: SideReport, b: SideReport): CompareReport['delta'] {
  const difference = (x: number | null, y: number | null): number | null => (x === null || y === null ? null : y - x);
  return {
    bytes: b.bytes - a.bytes,
    parameters: b.parameters - a.parameters,
    macs: b.macs - a.macs,
    value: difference(a.value, b.value),
    holdout: difference(a.holdout, b.holdout),
    latencyMs: difference(a.latencyMs, b.latencyMs),
  };
}

/** Layers of both by name, in the order of the first model; those of the second alone at the end. */
function matchLayers(a: OpenModel, b: OpenModel): CompareReport['layers'] {
  const others = new Map(b.cost().layers.map((l) => [l.name, l]));
  const costOf = (l: { parameters: number; macs: number } | undefined) =>
    l ? { parameters: l.parameters, macs: l.macs } : null;
  const rows = a.cost().layers.map((l) => {
    const other = others.get(l.name);
    others.delete(l.name);
    return { name: l.name, op: l.op, a: costOf(l), b: costOf(other) };
  });
  return [...rows, ...[...others.values()].map((l) => ({ name: l.name, op: l.op, a: null, b: costOf(l) }))];
}
