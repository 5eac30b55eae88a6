import type { Plan } from '../src/formats.ts';
import { inspection, shownRanks, type AppState } from './state.ts';

/** What a prune executes: exactly the keep-sets that are shown. Null before there are any. */
export function shownPlan(state: AppState): Plan | null {
  const model = inspection(state);
  const { view } = state;
  if (!model || !view.keep) return null;
  const ranks = shownRanks(state)?.ranks;
  const groups = Object.entries(view.keep).map(([id, keep]) => ({
    id,
    keep,
    ...(view.frozen.includes(id) ? { frozen: true } : {}),
  }));
  const { path, sha256, bytes } = model.model;
  return {
    format: 'secateur-plan/1',
    model: { path, sha256, bytes },
    groups,
    target: view.manual ? { kind: 'manual' } : view.target,
    allocation: view.manual ? 'manual' : (view.allocation ?? 'global'),
    minKeep: view.minKeep,
    roundTo: view.roundTo,
    from: ranks ? { method: ranks.method, metric: ranks.metric, seed: ranks.seed, data: ranks.data } : null,
  };
}
