import { SecateurError } from '../../errors.ts';
import type { DeviceName, MetricName } from '../../formats.ts';
import type { Dataset } from '../../evaluation/data/index.ts';
import type { OutputReading } from '../../evaluation/types.ts';
import { compareLatency } from '../../runtime/latency.ts';
import { createSession } from '../../runtime/session.ts';
import type { Session } from '../../runtime/session.ts';
import { sampleBatches } from './batches.ts';
import { metricOf } from './metric.ts';

/** How the metric is read, and on which data. */
export interface MetricOptions {
  metric: MetricName;
  reading: OutputReading;
  device: DeviceName;
  search: Dataset;
  holdout: Dataset | null;
}

export interface MeasuredSide {
  value: number;
  holdout: number | null;
  latencyMs: number | null;
}

/**
 * Metric on both data sets and latency of two model files. The metric of `b` that needs a reference (KL, MSE and
 * agreement without labels) refers to the outputs of `a`. Latency is the median over single runs of the smallest batch
 * that the models take, run turn by turn.
 */
export async function measureBoth(
  a: string,
  b: string,
  options: MetricOptions,
  report: (note: string, fraction: number) => void,
  signal?: AbortSignal,
): Promise<{ a: MeasuredSide; b: MeasuredSide }> {
  const sessions: Session[] = [];
  try {
    for (const path of [a, b]) sessions.push(await createSession(path, { device: options.device }));
    const [sessionA, sessionB] = sessions;
    const sides: MeasuredSide[] = [];
    let done = 0;
    for (const session of [sessionA, sessionB]) {
      const values: (number | null)[] = [];
      for (const dataset of [options.search, options.holdout]) {
        report(`measuring the ${session === sessionA ? 'original' : 'result'}`, done++ / 5);
        if (signal?.aborted) throw new SecateurError('cancelled', 'The job was cancelled; nothing was written.');
        const original = dataset && { session: sessionA, dataset, reading: options.reading };
        values.push(original ? (await metricOf(session, original, dataset, options, signal)).value : null);
      }
      sides.push({ value: values[0]!, holdout: values[1], latencyMs: null });
    }
    report('measuring latency', 0.8);
    const [batch] = sampleBatches(options.search, 1);
    if (batch) {
      const { feeds } = batch;
      const latency = await compareLatency({ session: sessionA, feeds }, { session: sessionB, feeds }, { signal });
      sides[0].latencyMs = latency.a.medianMs;
      sides[1].latencyMs = latency.b.medianMs;
    }
    return { a: sides[0], b: sides[1] };
  } finally {
    for (const session of sessions) await session.release().catch(() => undefined);
  }
}
