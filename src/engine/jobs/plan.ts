import type { EngineMethods } from '../../protocol.ts';
import { SecateurError } from '../../errors.ts';
import type { MetricName } from '../../formats.ts';
import { makePlan } from '../../pruning/plan/make-plan.ts';
import type { PlanResult, PlanSearch } from '../../pruning/plan/make-plan.ts';
import { defaultMeasurements } from '../../pruning/plan/max-drop.ts';
import type { JobContext } from './context.ts';
import { checkpoint } from './context.ts';
import type { OpenData } from './data.ts';
import { chooseMetric, openData } from './data.ts';
import { changedGroups } from '../../pruning/export/keep-sets.ts';
import { namesBlocks, withGatedModel } from './gated.ts';
import { openModel } from './model.ts';
import type { OpenModel } from './model.ts';
import { checkRanksModel } from './rank.ts';
import { chooseDevice } from './sessions.ts';

type PlanParams = EngineMethods['plan']['params'];

/** Turns ranks into a plan; for `max-drop` the gated model is measured on the data that searches see. */
export async function plan(params: PlanParams, context: JobContext): Promise<EngineMethods['plan']['result']> {
  context.progress({ fraction: null, note: 'reading the model' });
  const model = await openModel(params.model);
  const { sha256 } = await model.ref();
  checkRanksModel(params.ranks, sha256, model.path);
  await checkpoint(context);
  const { groups } = model.structure();
  const options = {
    allocation: params.allocation,
    minKeep: params.minKeep,
    roundTo: params.roundTo,
    frozen: params.frozen,
  };
  const build = (search?: PlanSearch): Promise<PlanResult> =>
    makePlan(groups, params.ranks, params.target, options, model.costTerms(), search);

  let result: PlanResult;
  if (params.target.kind === 'max-drop') result = await searchPlan(params, model, context, build);
  else result = await build();
  await checkpoint(context);
  return {
    plan: result.plan,
    predicted: result.predicted,
    value: result.value,
    order: result.order,
    messages: result.messages,
    measured: result.measured,
  };
}

async function searchPlan(
  params: PlanParams,
  model: OpenModel,
  context: JobContext,
  build: (search: PlanSearch) => Promise<PlanResult>,
): Promise<PlanResult> {
  const data = await openData(model, params.data);
  const metric = params.metric ? chooseMetric(data, params.metric) : dropMetric(data);
  const device = await chooseDevice(params.device, []);
  const most = defaultMeasurements(model.structure().groups);
  await checkpoint(context);
  context.progress({ fraction: 0, note: `searching for the smallest model: preparing to measure ${metric}` });
  const withBlocks = namesBlocks(
    model,
    params.ranks.groups.map((g) => g.id),
  );
  return withGatedModel(model, data, metric, device, context.signal, withBlocks, (gated) => {
    let full = NaN;
    return build({
      signal: context.signal,
      maxMeasurements: most,
      measure: async (keep, signal) => {
        await checkpoint(context);
        const changed = changedGroups(model.structure(), {
          groups: [...keep].map(([id, units]) => ({ id, keep: [...units] })),
        });
        const { value } = await gated.measure(changed, {}, signal);
        return value;
      },
      onMeasured: (point, count) => {
        if (count === 1) full = point.value;
        const drop = full - point.value;
        context.progress({
          fraction: Math.min(0.95, count / most),
          note: `searching for the smallest model: cut ${count}, ${percent(point.macs / model.cost().macs)} of the MACs, ${metric} ${drop >= 0 ? '−' : '+'}${Math.abs(drop).toPrecision(2)}`,
        });
      },
    });
  });
}

/**
 * What a largest drop refers to: the metric that the labels allow; without labels the agreement with the original's
 * top answer, and for outputs that are no classes the first metric there is.
 */
export function dropMetric(data: OpenData): MetricName {
  if (data.all.labels) return data.metrics[0];
  if (data.metrics.includes('agreement')) return 'agreement';
  if (data.metrics.length === 0)
    throw new SecateurError('unsupported', 'There is nothing that could be measured on this model.');
  return data.metrics[0];
}

function percent(share: number): string {
  return Number.isFinite(share) ? `${Math.round(share * 100)} %` : '?';
}
