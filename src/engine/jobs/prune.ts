import type { EngineMethods } from '../../protocol.ts';
import type { PruneReport } from '../../formats.ts';
import { pruneAndExport } from '../../pruning/export/pipeline.ts';
import { checkPlan } from '../../pruning/plan/plan-file.ts';
import type { JobContext } from './context.ts';
import { checkpoint } from './context.ts';
import { chooseMetric, openData, protectedFiles } from './data.ts';
import { openModel } from './model.ts';
import { dropMetric } from './plan.ts';
import { chooseDevice } from './sessions.ts';

/** Executes a plan: surgery, export aside, checks, measurements, and only then the file in its place. */
export async function prune(params: EngineMethods['prune']['params'], context: JobContext): Promise<PruneReport> {
  context.progress({ fraction: 0, note: 'reading model and data' });
  const model = await openModel(params.model);
  const reference = await model.ref();
  const plan = checkPlan(params.plan, reference, model.structure().groups);
  await checkpoint(context);
  const data = await openData(model, params.data);
  const metric = params.metric
    ? chooseMetric(data, params.metric)
    : plan.target.kind === 'max-drop'
      ? dropMetric(data)
      : data.metrics[0];
  const warnings = [...data.warnings, ...model.structure().warnings];
  const device = await chooseDevice(params.device, warnings);
  await checkpoint(context);
  return pruneAndExport(
    {
      structure: model.structure(),
      model: reference,
      data: data.ref,
      plan,
      out: params.out,
      protectedFiles: protectedFiles(model, params.data),
      warnings,
      metric,
      reading: data.reading,
      device,
      search: data.search,
      holdout: data.holdout,
    },
    { signal: context.signal, progress: (fraction, note) => context.progress({ fraction, note }) },
  );
}
