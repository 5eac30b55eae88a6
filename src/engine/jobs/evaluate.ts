import type { Dataset } from '../../evaluation/data/index.ts';
import type { EngineMethods } from '../../protocol.ts';
import type { EvaluateReport } from '../../formats.ts';
import { elementCount, isFloatHost } from '../../runtime/host-tensor.ts';
import { metricOf } from '../../pruning/export/metric.ts';
import type { JobContext } from './context.ts';
import { checkpoint } from './context.ts';
import { chooseMetric, openData } from './data.ts';
import { openModel } from './model.ts';
import { chooseDevice, withSession } from './sessions.ts';

/** Value of the model as it stands, on all samples of the data, and on the held-out data where it was given. */
export async function evaluate(
  params: EngineMethods['evaluate']['params'],
  context: JobContext,
): Promise<EvaluateReport> {
  const { signal } = context;
  context.progress({ fraction: null, note: 'reading model and data' });
  const model = await openModel(params.model);
  await checkpoint(context);
  const data = await openData(model, params.data);
  const metric = chooseMetric(data, params.metric);
  const warnings = [...data.warnings];
  const device = await chooseDevice(params.device, warnings);
  await checkpoint(context);
  return withSession(model, device, async (session) => {
    const { reading } = data;
    const measure = (dataset: Dataset) =>
      metricOf(session, { session, dataset, reading }, dataset, { metric, reading }, signal);
    context.progress({ fraction: 0, note: `measuring ${metric} on ${data.all.samples} samples` });
    const { value, stderr, samples } = await measure(data.all);
    const perplexity = (crossEntropy: number): { perplexity?: number } =>
      metric === 'cross-entropy' && answersTokens(data.all) ? { perplexity: Math.exp(-crossEntropy) } : {};
    const holdout = params.data.holdout && data.holdout ? await measure(data.holdout) : undefined;
    context.progress({ fraction: 1, note: 'done' });
    return {
      metric,
      value,
      stderr,
      samples,
      output: reading.output,
      reading: reading.reading,
      ...perplexity(value),
      ...(holdout
        ? {
            holdout: {
              value: holdout.value,
              stderr: holdout.stderr,
              samples: holdout.samples,
              ...perplexity(holdout.value),
            },
          }
        : {}),
      device,
      warnings,
    };
  });
}

/** Whether the labels are one for each token of the data. */
function answersTokens({ inputs, labelsPerSample, nextTokens }: Dataset): boolean {
  if (nextTokens) return true;
  return (
    labelsPerSample > 1 &&
    inputs.some((i) => i.kind === 'rows' && !isFloatHost(i.type) && elementCount(i.sampleShape) === labelsPerSample)
  );
}
