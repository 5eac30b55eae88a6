import type { GroupRanks, Ranks } from '../src/formats.ts';
import { count } from './logic/format.ts';
import { method } from './logic/words.ts';
import { wireError } from './rpc.ts';
import type { Session } from './session.ts';
import { prunableGroups, rankMetricOf, type AppState, type Store } from './state.ts';

/** What is to be ranked: the units of all groups or of some, or whole layers against each other. */
export type RankScope = { groups?: string[] } | { layers: { closing: number } };

/** Runs rankings, and keeps what came of them in the store. */
export class Ranking {
  private readonly session: Session;

  constructor(session: Session) {
    this.session = session;
  }

  /** Goes on from an unfinished run of the same settings when `resume`. Cancelling keeps what was computed. */
  async start(scope: RankScope = {}, resume = false): Promise<void> {
    const { store, rpc } = this.session;
    const { state } = store;
    const { view } = state;
    if (state.job?.method === 'rank' || !view.data) return;
    const about = method(view.method);
    const groups = 'groups' in scope ? scope.groups : undefined;
    const layers = 'layers' in scope ? scope.layers : undefined;
    const previous = layers ? undefined : state.ranks[view.method];
    store.set({ partial: new Map(), rankError: null, rankNote: '' });
    const title = layers ? 'ranking layers' : groups?.length === 1 ? `ranking ${groups[0]}` : 'ranking';
    const run = this.session.begin('rank', title);
    try {
      const made = await rpc.request(
        'rank',
        {
          data: view.data,
          method: view.method,
          metric: about.metric ? (rankMetricOf(state) ?? undefined) : undefined,
          groups,
          layers,
          budget: about.sampled ? view.budget : undefined,
          tolerance: about.sampled ? view.tolerance : undefined,
          seed: view.data.seed,
          device: view.device,
          resume: resume ? previous : undefined,
        },
        {
          signal: run.abort.signal,
          onProgress: (p) => {
            this.session.progress(run, p);
            addPartialRanks(store, p.partial);
          },
        },
      );
      const order = prunableGroups(store.state).map((g) => g.id);
      const done = `${count(made.groups.length)} of ${count(groups?.length ?? order.length)} groups`;
      store.set({
        ...withRanks(store.state, groups ? mergeRanks(previous, made, order) : made),
        rankNote: made.complete ? '' : `Stopped. What was computed by then is kept${layers ? '' : `: ${done}`}.`,
      });
    } catch (thrown) {
      const error = wireError(thrown);
      if (error.code === 'cancelled') store.set({ rankNote: 'Stopped before the first group was ranked.' });
      else store.set({ rankError: error });
    } finally {
      store.set({ partial: null });
      this.session.end(run);
    }
  }

  async save(ranks: Ranks): Promise<void> {
    const { store, rpc } = this.session;
    try {
      const { path } = await rpc.request('save-ranks', { ranks });
      store.set({ rankNote: path ? `Saved to ${path}` : '' });
    } catch (thrown) {
      const error = wireError(thrown);
      if (error.code !== 'cancelled') store.set({ rankError: error });
    }
  }
}

/** Where a finished ranking belongs: with the others of its method, or in the place of ranks of whole layers. */
export function withRanks(state: AppState, ranks: Ranks): Partial<AppState> {
  return ranks.layers ? { layerRanks: ranks } : { ranks: { ...state.ranks, [ranks.method]: ranks } };
}

/** Keeps what a running ranking tells of a group. */
export function addPartialRanks(store: Store, partial: unknown): void {
  const ranks = partial as Partial<GroupRanks> | undefined;
  if (!ranks?.id || !ranks.units) return;
  store.set({ partial: new Map(store.state.partial ?? []).set(ranks.id, ranks as GroupRanks) });
}

/** New ranks of some groups over old ranks of others, when both were made alike; else the new ones alone. */
export function mergeRanks(old: Ranks | undefined, made: Ranks, order: readonly string[]): Ranks {
  const alike =
    old &&
    old.method === made.method &&
    old.metric === made.metric &&
    old.model.sha256 === made.model.sha256 &&
    old.data.fingerprint === made.data.fingerprint;
  if (!alike) return made;
  const byId = new Map([...old.groups, ...made.groups].map((g) => [g.id, g]));
  const ids = [...order.filter((id) => byId.has(id)), ...[...byId.keys()].filter((id) => !order.includes(id))];
  return {
    ...made,
    groups: ids.map((id) => byId.get(id)!),
    complete: made.complete,
    seconds: old.seconds + made.seconds,
  };
}
