import { openGatedModel } from '../../evaluation/coalitions/index.ts';
import type { GatedModelRunner } from '../../evaluation/coalitions/index.ts';
import { SecateurError } from '../../errors.ts';
import type { DeviceName, MetricName } from '../../formats.ts';
import type { KeepByGroup } from '../../protocol.ts';
import { changedGroups } from '../../pruning/export/keep-sets.ts';
import { checkPlan } from '../../pruning/plan/plan-file.ts';
import { Cache } from './cache.ts';
import { checkpoint, unlessCancelled } from './context.ts';
import type { OpenData } from './data.ts';
import type { OpenModel } from './model.ts';

const gatedModels = new Cache<GatedModelRunner>(2, (gated) => gated.close());

/**
 * Runs `use` with the model that has gates on all of its groups (on residual blocks only `withBlocks`: they make all that
 * follows the first of them depend on gates), on the data that searches see. A job that is cancelled
 * while the model is being opened ends at once; the next one finds it open.
 */
export function withGatedModel<R>(
  model: OpenModel,
  data: OpenData,
  metric: MetricName,
  device: DeviceName,
  signal: AbortSignal,
  withBlocks: boolean,
  use: (gated: GatedModelRunner) => Promise<R>,
): Promise<R> {
  const structure = model.structure();
  const groups = structure.groups.filter((g) => g.prunable && (withBlocks || g.kind !== 'block')).map((g) => g.id);
  const key = [data.key, metric, device, withBlocks].join('|');
  const opened = gatedModels.use(
    key,
    () => openGatedModel(structure, data.search, { metric, reading: data.reading, device, groups }),
    async (gated) => {
      await checkpoint({ signal });
      return use(gated);
    },
  );
  return unlessCancelled(opened, signal);
}

/** Checked keep-sets of a request. @throws SecateurError 'bad-data' */
export function keepSetsOfRequest(model: OpenModel, keep: KeepByGroup): Map<string, number[]> {
  if (typeof keep !== 'object' || keep === null)
    throw new SecateurError('usage', 'There are no units to keep in the request.');
  const structure = model.structure();
  // The model is the one that the request names: there is no hash to compare.
  const ref = { path: model.path, sha256: '-' };
  const groups = Object.entries(keep).map(([id, units]) => ({ id, keep: units }));
  return changedGroups(structure, checkPlan({ format: 'secateur-plan/1', model: ref, groups }, ref, structure.groups));
}

/** Whether any of these groups is one of residual blocks. */
export function namesBlocks(model: OpenModel, ids: Iterable<string>): boolean {
  const named = new Set(ids);
  return model.structure().groups.some((g) => g.kind === 'block' && named.has(g.id));
}
