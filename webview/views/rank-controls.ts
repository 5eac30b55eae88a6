import type { MethodName, MetricName } from '../../src/formats.ts';
import type { ViewState } from '../../src/protocol.ts';
import { count, percent } from '../logic/format.ts';
import { method, METHODS, metricLabel, METRICS, metricsFor } from '../logic/words.ts';
import type { Ranking, RankScope } from '../ranking.ts';
import type { Session } from '../session.ts';
import { groupById, prunableGroups, rankMetricOf, shownRanks, type AppState } from '../state.ts';
import { h, show } from '../ui/dom.ts';
import { button, dropdown } from '../ui/toolkit.ts';

const BUDGETS = [200, 500, 1000, 2000, 5000, 10_000, 50_000];
const TOLERANCES = [0, 0.01, 0.02, 0.05, 0.1, 0.2];
const CLOSINGS = [0.25, 0.5, 0.75, 1];
/** Methods that can play with whole layers. */
const LAYER_METHODS: readonly MethodName[] = ['shapley', 'leave-one-out', 'oracle'];

/** The sentence that says what to rank, and its buttons. */
export class RankControls {
  readonly element: HTMLElement;
  private readonly session: Session;
  private readonly ranking: Ranking;
  private readonly scope: ReturnType<typeof dropdown>;
  private readonly closing: ReturnType<typeof dropdown>;
  private readonly method: ReturnType<typeof dropdown>;
  private readonly metric: ReturnType<typeof dropdown>;
  private readonly tolerance: ReturnType<typeof dropdown>;
  private readonly budget: ReturnType<typeof dropdown>;
  private readonly closingWords: HTMLElement;
  private readonly metricWords: HTMLElement;
  private readonly sampledWords: HTMLElement;
  private readonly run: ReturnType<typeof button>;
  private readonly resume: ReturnType<typeof button>;
  private readonly save: ReturnType<typeof button>;

  constructor(session: Session, ranking: Ranking) {
    this.session = session;
    this.ranking = ranking;
    const { store } = session;
    this.scope = dropdown('Which groups', (v) => this.setScope(v as ViewState['rankScope']));
    this.closing = dropdown('What a closed layer loses', (v) => store.setView({ closing: Number(v) }));
    this.method = dropdown('Method', (v) => store.setView({ method: v as MethodName }));
    this.metric = dropdown('Value function', (v) => store.setView({ metric: v as MetricName }));
    this.tolerance = dropdown('Stop when the ranking is stable to', (v) => store.setView({ tolerance: Number(v) }));
    this.budget = dropdown('Evaluations per group at most', (v) => store.setView({ budget: Number(v) }));
    this.closingWords = h('span', { class: 'words' }, 'that lose', this.closing.element);
    this.metricWords = h('span', { class: 'words' }, 'of', this.metric.element);
    this.sampledWords = h('span', { class: 'words' }, 'stop at', this.tolerance.element, 'or', this.budget.element);
    this.run = button({ label: 'Rank', icon: 'play', kind: 'primary', onClick: () => this.start(false) });
    this.resume = button({ label: 'Continue', icon: 'debug-continue', onClick: () => this.start(true) });
    this.save = button({ label: 'Save ranks…', icon: 'save', onClick: () => this.saveRanks() });
    this.element = h(
      'div',
      { class: 'sentence', attrs: { role: 'group', 'aria-label': 'What to rank' } },
      h('span', { class: 'words' }, 'Rank', this.scope.element),
      this.closingWords,
      h('span', { class: 'words' }, 'by', this.method.element),
      this.metricWords,
      this.sampledWords,
      h('span', { class: 'buttons' }, this.run.element, this.resume.element, this.save.element),
    );
  }

  /** Runs what the sentence says. */
  start(resume: boolean): void {
    void this.ranking.start(this.chosen(), resume);
  }

  update(state: AppState): void {
    const { view } = state;
    const layers = view.rankScope === 'layers';
    this.drawScope(state);
    const methods = layers ? LAYER_METHODS : (Object.keys(METHODS) as MethodName[]);
    this.method.set(
      methods.map((m) => ({ value: m, label: METHODS[m].label, title: METHODS[m].about })),
      view.method,
    );
    const about = method(view.method);
    show(this.metricWords, about.metric);
    show(this.sampledWords, about.sampled);
    const metrics: readonly MetricName[] =
      state.data.status === 'ready' ? metricsFor(about, state.data.value.metrics) : view.metric ? [view.metric] : [];
    this.metric.set(
      metrics.length
        ? metrics.map((m) => ({ value: m, label: metricLabel(m), title: METRICS[m]?.about }))
        : [{ value: '', label: 'a metric of the data' }],
      rankMetricOf(state) ?? '',
      metrics.length === 0,
    );
    this.tolerance.set(
      withValue(TOLERANCES, view.tolerance).map((t) => ({
        value: String(t),
        label: t === 0 ? 'no tolerance' : `± ${percent(t)} of the spread`,
        title: 'Standard error that is small enough, as a share of the scores’ spread',
      })),
      String(view.tolerance),
    );
    this.budget.set(
      withValue(BUDGETS, view.budget).map((b) => ({
        value: String(b),
        label: `${count(b)} evaluations`,
        title: 'Per group; one evaluation is one coalition on all samples',
      })),
      String(view.budget),
    );
    this.drawButtons(state);
  }

  private drawScope(state: AppState): void {
    const { view } = state;
    const group = groupById(state, view.selectedGroup);
    const one = group?.prunable ? group.id : null;
    const scope = view.rankScope === 'one' && !one ? 'all' : (view.rankScope ?? 'all');
    const many = prunableGroups(state).length > 1;
    this.scope.set(
      [
        { value: 'all', label: 'all groups' },
        { value: 'one', label: 'this group', title: one ?? 'Select a prunable group first', disabled: !one },
        { value: 'layers', label: 'whole layers', title: 'Which layer matters', disabled: !many },
      ],
      scope,
    );
    show(this.closingWords, scope === 'layers');
    this.closing.set(
      withValue(CLOSINGS, view.closing).map((c) => ({
        value: String(c),
        label: c === 1 ? 'all units' : `${percent(c)} of their units`,
        title: 'What a layer lacks while it is closed; units with the smallest weights go first',
      })),
      String(view.closing),
    );
  }

  private drawButtons(state: AppState): void {
    const about = method(state.view.method);
    const running = state.job?.method === 'rank' || state.partial !== null;
    const why =
      prunableGroups(state).length === 0
        ? 'Nothing in this model can be pruned'
        : state.data.status !== 'ready' && about.data
          ? 'The data is not there yet'
          : state.engineDied
            ? 'The engine stopped'
            : '';
    this.run.set({
      label: running ? 'Ranking…' : 'Rank',
      disabled: running || why !== '',
      title: why || 'Run this ranking',
    });
    const layers = state.view.rankScope === 'layers';
    const shown = layers ? null : shownRanks(state);
    const unfinished = shown !== null && !shown.ranks.complete && !shown.stale && about.sampled;
    show(this.resume.element, unfinished && !running);
    show(this.save.element, (layers ? state.layerRanks !== null : shown !== null) && !running);
  }

  private setScope(rankScope: ViewState['rankScope']): void {
    const { store } = this.session;
    const { view } = store.state;
    const known = rankScope !== 'layers' || LAYER_METHODS.includes(view.method);
    store.setView({ rankScope, method: known ? view.method : 'shapley' });
  }

  private chosen(): RankScope {
    const { view } = this.session.store.state;
    if (view.rankScope === 'layers') return { layers: { closing: view.closing } };
    return view.rankScope === 'one' && view.selectedGroup !== null ? { groups: [view.selectedGroup] } : {};
  }

  private saveRanks(): void {
    const { state } = this.session.store;
    const ranks = state.view.rankScope === 'layers' ? state.layerRanks : shownRanks(state)?.ranks;
    if (ranks) void this.ranking.save(ranks);
  }
}

function withValue(values: readonly number[], value: number): number[] {
  return values.includes(value) ? [...values] : [...values, value].sort((a, b) => a - b);
}
