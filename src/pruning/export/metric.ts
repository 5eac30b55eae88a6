import type { Dataset } from '../../evaluation/data/index.ts';
import { evaluateModel, referenceOutputs } from '../../evaluation/metrics/index.ts';
import type { Evaluation } from '../../evaluation/metrics/index.ts';
import type { OutputReading } from '../../evaluation/types.ts';
import type { MetricName } from '../../formats.ts';
import type { Session } from '../../runtime/session.ts';

/** Whether a metric compares with the original's outputs rather than with labels. */
function needsReference(metric: MetricName, dataset: Dataset, reading: OutputReading): boolean {
  if (metric === 'kl' || metric === 'agreement') return true;
  return metric === 'mse' && !(dataset.labels && reading.reading === 'regression');
}

/**
 * Value of a model on data, with the outputs of `original` as the reference where the metric needs one.
 * @throws as evaluateModel
 */
export async function metricOf(
  session: Session,
  original: { session: Session; dataset: Dataset; reading: OutputReading },
  dataset: Dataset,
  { metric, reading }: { metric: MetricName; reading: OutputReading },
  signal?: AbortSignal,
): Promise<Evaluation> {
  const reference = needsReference(metric, dataset, reading)
    ? await referenceOutputs(original.session, original.dataset, original.reading, signal)
    : undefined;
  return evaluateModel(session, dataset, { metric, reading, reference }, signal);
}
