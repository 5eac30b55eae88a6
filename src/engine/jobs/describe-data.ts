import type { DataSpec, DataSummary } from '../../protocol.ts';
import type { JobContext } from './context.ts';
import { checkpoint } from './context.ts';
import { openData } from './data.ts';
import { openModel } from './model.ts';

/** What a data set is and what can be measured with it. */
export async function describeData(
  params: { model: string; data: DataSpec },
  context: JobContext,
): Promise<DataSummary> {
  const model = await openModel(params.model);
  await checkpoint(context);
  const { all, search, holdout, reading, metrics, warnings } = await openData(model, params.data);
  await checkpoint(context);
  return {
    path: params.data.path,
    synthetic: all.synthetic,
    samples: search.samples,
    holdoutSamples: holdout?.samples ?? 0,
    fingerprint: all.fingerprint,
    hasLabels: all.labels !== null,
    classes: all.classes,
    output: reading.output,
    reading: reading.reading,
    metrics,
    warnings,
  };
}
