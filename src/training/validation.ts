import type { Dataset } from '../evaluation/data/dataset.ts';
import { evaluateModel, type EvaluateOptions } from '../evaluation/metrics/evaluate.ts';
import type { DeviceName } from '../formats.ts';
import type { Model } from '../graph/ir.ts';
import { createSession } from '../runtime/session.ts';

/** A value to train by: a metric of the model on data that are not trained on, larger is better. */
export function validationBy(
  dataset: Dataset,
  options: EvaluateOptions,
  device: DeviceName = 'cpu',
): (model: Model, signal?: AbortSignal) => Promise<number> {
  return async (model, signal) => {
    const session = await createSession(model, { device });
    try {
      return (await evaluateModel(session, dataset, options, signal)).value;
    } finally {
      await session.release();
    }
  };
}
