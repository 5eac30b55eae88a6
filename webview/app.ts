import { Explaining } from './explaining.ts';
import { Frame } from './ui/frame.ts';
import { GroupList } from './ui/group-list.ts';
import { Pruning } from './pruning.ts';
import { Ranking } from './ranking.ts';
import type { VsCodeApi } from './rpc.ts';
import { Session } from './session.ts';
import type { AppState } from './state.ts';
import { FeaturesView } from './views/features.ts';
import { Overview } from './views/overview.ts';
import { PruneView } from './views/prune.ts';
import { RanksView } from './views/ranks.ts';

/** A view of the editor. `changed` null: draw everything. */
export interface View {
  readonly element: HTMLElement;
  update(state: AppState, changed: ReadonlySet<keyof AppState> | null): void;
}

/** Puts the editor together and keeps the shown view up to date. */
export function startApp(api: VsCodeApi, root: HTMLElement): Session {
  const session = new Session(api);
  const pruning = new Pruning(session);
  const ranking = new Ranking(session);
  const list = new GroupList(session, pruning);
  const views: Record<AppState['view']['view'], View> = {
    overview: new Overview(session),
    ranks: new RanksView(session, ranking),
    prune: new PruneView(session, pruning, ranking),
    features: new FeaturesView(session, new Explaining(session)),
  };
  const frame = new Frame(session, list.element);
  root.replaceChildren(frame.element);
  let shown: View | null = null;
  const draw = (state: AppState, changed: ReadonlySet<keyof AppState> | null): void => {
    frame.update(state, changed);
    list.update(state, changed);
    const view = views[state.view.view] ?? views.overview;
    const ready = state.host.status === 'ready' && state.model.status === 'ready';
    frame.show(ready ? view.element : null);
    if (!ready) shown = null;
    else {
      view.update(state, view === shown ? changed : null);
      shown = view;
    }
  };
  session.store.subscribe(draw);
  draw(session.store.state, null);
  void session.start();
  return session;
}
