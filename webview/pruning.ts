import type { Allocation, MetricName, TargetKind } from '../src/formats.ts';
import type { KeepByGroup, Measured, Progress, ViewState } from '../src/protocol.ts';
import { pruneCommand, suggestName } from './logic/cli.ts';
import { predictBytes, predictCost, type Cost } from './logic/cost.ts';
import { cutGroup, keepOf, keepSignature, Sweep, type CutGroup } from './logic/keep.ts';
import { addPoint, type HistoryPoint } from './logic/history.ts';
import { memo } from './logic/memo.ts';
import { method } from './logic/words.ts';
import { wireError } from './rpc.ts';
import type { Run, Session } from './session.ts';
import { shownPlan } from './shown-plan.ts';
import { inspection, shownRanks, type AppState, type Store } from './state.ts';

/** How long the cut must rest before its metric is measured. */
const REST = 150;
/** Points of a traced curve. */
const TRACE = 9;

/** The present cut: where it comes from, what it costs, what the gated model makes of it, and its export. */
export class Pruning {
  private readonly session: Session;
  private readonly store: Store;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private measuring: AbortController | null = null;
  private searching: Run | null = null;
  private tracing: Run | null = null;
  private pruning: Run | null = null;
  /** Only while the Prune view is shown is anything measured. */
  private active = false;

  constructor(session: Session) {
    this.session = session;
    this.store = session.store;
    session.onBasisChanged = () => this.forgetMeasured();
    this.store.subscribe((state, changed) => {
      if (changed.has('ranks') || changed.has('model')) this.follow();
      const active = state.view.view === 'prune';
      if (active !== this.active) {
        this.active = active;
        if (active) this.follow();
      }
      if (changed.has('view') || changed.has('data') || changed.has('ranks')) this.measureSoon();
    });
  }

  /** Prunable groups that have ranks, with their removal order. */
  readonly cuts = memo(
    (model: ReturnType<typeof inspection>, ranks: ReturnType<typeof shownRanks>, roundTo: number): CutGroup[] => {
      if (!model || !ranks) return [];
      const byId = new Map(ranks.ranks.groups.map((g) => [g.id, g]));
      return model.groups
        .filter((g) => g.prunable && (byId.get(g.id)?.units.length ?? -1) >= g.size)
        .map((g) => cutGroup(g, byId.get(g.id), roundTo));
    },
  );

  private readonly sweepOf = memo(
    (
      cuts: CutGroup[],
      model: NonNullable<ReturnType<typeof inspection>>,
      cost: 'macs' | 'parameters' | 'units',
      comparable: boolean,
      allocation: Allocation,
      frozen: string[],
      minKeep: number,
    ) =>
      new Sweep(cuts, model.costTerms, model.groups, model.totals, {
        cost,
        comparable,
        allocation,
        frozen: new Set(frozen),
        minKeep,
      }),
  );

  private readonly ranksOf = memo((ranks: AppState['ranks'], view: ViewState['method'], model: AppState['model']) =>
    shownRanks({ ...this.store.state, ranks, model, view: { ...this.store.state.view, method: view } }),
  );

  cutGroups(state = this.store.state): CutGroup[] {
    return this.cuts(inspection(state), this.ranksOf(state.ranks, state.view.method, state.model), state.view.roundTo);
  }

  sweep(state = this.store.state): Sweep | null {
    const model = inspection(state);
    const cuts = this.cutGroups(state);
    if (!model || cuts.length === 0) return null;
    const { view } = state;
    const cost =
      ({ 'keep-params': 'parameters', 'keep-units': 'units' } as const)[view.target.kind as string] ?? 'macs';
    return this.sweepOf(
      cuts,
      model,
      cost,
      method(view.method).comparable,
      view.allocation ?? 'global',
      view.frozen,
      view.minKeep,
    );
  }

  readonly predicted = memo(
    (model: ReturnType<typeof inspection>, keep: KeepByGroup | null): Cost & { bytes: number | null } => {
      if (!model) return { macs: 0, parameters: 0, bytes: null };
      const cost = predictCost(model.costTerms, model.groups, keep, model.totals);
      return { ...cost, bytes: predictBytes(model.model.bytes, model.totals.parameters, cost.parameters) };
    },
  );

  prediction(state = this.store.state): Cost & { bytes: number | null } {
    return this.predicted(inspection(state), state.view.keep);
  }

  /** Metric that the live card measures. */
  judge(state = this.store.state): MetricName | null {
    if (state.data.status !== 'ready') return null;
    const { metrics } = state.data.value;
    return state.view.judge ?? (metrics.includes('accuracy') ? 'accuracy' : (metrics[0] ?? null));
  }

  setJudge(metric: MetricName): void {
    this.store.setView({ judge: metric, history: [] });
    this.forgetMeasured();
  }

  /** Moves the slider. `max-drop` only notes the wish: `search` finds the cut. */
  setTarget(kind: TargetKind, value: number): void {
    this.store.set({ planMessages: [] });
    this.store.setView({ target: { kind, value }, manual: false });
    if (kind !== 'max-drop') this.follow();
  }

  setOptions(patch: Partial<Pick<ViewState, 'minKeep' | 'roundTo' | 'allocation'>>): void {
    this.store.setView(patch);
    this.follow();
  }

  toggleLock(id: string): void {
    this.session.toggleLock(id);
    this.follow();
  }

  /** Moves one group's cut line by hand. */
  setCut(group: CutGroup, kept: number): void {
    const { keep } = this.store.state.view;
    if (keep?.[group.id]?.length === kept) return;
    this.store.setView({ keep: { ...keep, [group.id]: keepOf(group, kept) }, manual: true });
  }

  /** Back to what the slider says. */
  resetManual(): void {
    this.store.setView({ manual: false });
    this.follow();
    if (this.store.state.view.target.kind === 'max-drop') void this.search();
  }

  /** Takes an earlier point of the curve up again. */
  reopen(point: HistoryPoint): void {
    this.store.setView({ keep: { ...this.fullKeep(), ...point.keep }, manual: true });
  }

  /** Lets the keep-sets follow slider, locks, floor and ranks, unless cuts were moved by hand. */
  private follow(): void {
    const { state } = this.store;
    const { view } = state;
    const cuts = this.cutGroups(state);
    if (cuts.length === 0) return;
    let keep: KeepByGroup | null = null;
    if (view.manual || view.target.kind === 'max-drop') {
      keep = { ...this.fullKeep(), ...view.keep };
      for (const id of Object.keys(keep)) if (!cuts.some((c) => c.id === id)) delete keep[id];
      for (const c of cuts) if (view.frozen.includes(c.id)) keep[c.id] = keepOf(c, c.size);
    } else {
      const sweep = this.sweep(state);
      if (sweep) keep = sweep.keepFor(view.target.kind, view.target.value);
    }
    if (keep && (!view.keep || keepSignature(keep) !== keepSignature(view.keep))) this.store.setView({ keep });
  }

  private fullKeep(): KeepByGroup {
    return Object.fromEntries(this.cutGroups().map((c) => [c.id, keepOf(c, c.size)]));
  }

  // Measuring

  private forgetMeasured(): void {
    this.measuring?.abort();
    this.measuring = null;
    this.store.set({ measured: { status: 'idle' }, reference: null });
    this.measureSoon();
  }

  /** Measures the present cut when it has rested; an earlier measurement is cancelled. */
  measureSoon(force = false): void {
    const { state } = this.store;
    const { keep } = state.view;
    const metric = this.judge(state);
    if (!this.active || !keep || !metric || state.data.status !== 'ready' || state.engineDied) return;
    const signature = `${metric} ${keepSignature(keep)}`;
    if (!force && state.measured.status !== 'idle' && state.measured.signature === signature) return;
    clearTimeout(this.timer);
    this.measuring?.abort();
    this.measuring = null;
    this.store.set({ measured: { status: 'running', signature, partial: null, progress: null } });
    this.timer = setTimeout(() => void this.measure(keep, metric, signature), REST);
  }

  private async measure(keep: KeepByGroup, metric: MetricName, signature: string): Promise<void> {
    const run = (this.measuring = new AbortController());
    const mine = (): boolean => this.measuring === run;
    try {
      const value = await this.requestMeasure(keep, metric, run.signal, (progress) => {
        const partial = isMeasured(progress.partial) ? progress.partial : null;
        const now = this.store.state.measured;
        if (mine() && now.status === 'running') {
          this.store.set({ measured: { ...now, progress, partial: partial ?? now.partial } });
        }
      });
      if (!mine()) return;
      this.store.set({ measured: { status: 'ready', signature, value }, reference: value.reference });
      this.remember(keep, value);
    } catch (thrown) {
      if (!mine()) return;
      const error = wireError(thrown);
      this.store.set({
        measured: error.code === 'cancelled' ? { status: 'idle' } : { status: 'error', signature, error },
      });
    } finally {
      if (mine()) this.measuring = null;
    }
  }

  private requestMeasure(
    keep: KeepByGroup,
    metric: MetricName,
    signal: AbortSignal,
    onProgress: (p: Progress) => void,
  ): Promise<Measured> {
    const { view } = this.store.state;
    return this.session.rpc.request(
      'measure',
      { data: view.data!, keep, metric, device: view.device },
      { signal, onProgress },
    );
  }

  private remember(keep: KeepByGroup, value: Measured): void {
    const cost = this.predicted(inspection(this.store.state), keep);
    const point = { keep, macs: cost.macs, parameters: cost.parameters, value: value.value };
    this.store.setView({ history: addPoint(this.store.state.view.history, point) });
  }

  /** Measures the curve at evenly spaced targets, so that its knee shows. */
  async trace(): Promise<void> {
    const sweep = this.sweep();
    const metric = this.judge();
    if (!sweep || !metric || this.tracing) return;
    const run = (this.tracing = this.session.begin('measure', 'measuring the curve'));
    const { kind } = this.store.state.view.target;
    const by: TargetKind = kind === 'max-drop' ? 'keep-macs' : kind;
    const smallest = sweep.smallest(by);
    try {
      for (let i = 0; i < TRACE; i++) {
        const share = 1 - ((1 - smallest) * i) / (TRACE - 1);
        const keep = sweep.keepFor(by, share);
        const tracing = { fraction: i / TRACE, note: `point ${i + 1} of ${TRACE}` };
        this.store.set({ tracing });
        this.session.progress(run, tracing);
        const value = await this.requestMeasure(keep, metric, run.abort.signal, () => {});
        this.store.set({ reference: value.reference });
        this.remember(keep, value);
      }
    } catch (thrown) {
      const error = wireError(thrown);
      if (error.code !== 'cancelled') this.store.set({ planError: error });
    } finally {
      this.tracing = null;
      this.session.end(run);
      this.store.set({ tracing: null });
    }
  }

  /** Lets the engine search for the smallest model that loses at most the target's drop. */
  async search(): Promise<void> {
    const { state } = this.store;
    const { view } = state;
    const shown = shownRanks(state);
    if (!shown || !view.data || view.target.kind !== 'max-drop') return;
    this.searching?.abort.abort();
    const run = (this.searching = this.session.begin('plan', 'searching the smallest model'));
    const mine = (): boolean => this.searching === run;
    this.store.set({ planning: { fraction: null, note: 'searching' }, planError: null, planMessages: [] });
    try {
      const { resume: _, ...ranks } = shown.ranks;
      const made = await this.session.rpc.request(
        'plan',
        {
          data: view.data,
          ranks,
          target: view.target,
          allocation: view.allocation ?? 'global',
          minKeep: view.minKeep,
          roundTo: view.roundTo,
          frozen: view.frozen,
          metric: this.judge() ?? undefined,
          device: view.device,
          seed: view.data.seed,
        },
        {
          signal: run.abort.signal,
          onProgress: (planning) => {
            this.session.progress(run, planning);
            if (mine()) this.store.set({ planning });
          },
        },
      );
      if (!mine()) return;
      const keep = Object.fromEntries(made.plan.groups.map((g) => [g.id, [...g.keep].sort((a, b) => a - b)]));
      const full = this.fullKeep();
      for (const id of Object.keys(keep)) if (!(id in full)) delete keep[id];
      this.store.set({ planMessages: made.messages ?? [] });
      this.store.setView({ keep: { ...full, ...keep }, manual: false });
    } catch (thrown) {
      const error = wireError(thrown);
      if (mine() && error.code !== 'cancelled') this.store.set({ planError: error });
    } finally {
      this.session.end(run);
      if (mine()) {
        this.searching = null;
        this.store.set({ planning: null });
      }
    }
  }

  // Exporting

  /** Asks where to, prunes, checks and reports. */
  async pruneAndExport(): Promise<void> {
    const { state } = this.store;
    const plan = shownPlan(state);
    if (!plan || !state.view.data || this.pruning || state.host.status !== 'ready') return;
    const run = (this.pruning = this.session.begin('prune', 'pruning'));
    this.store.set({ pruneError: null });
    try {
      const out = await this.session.rpc.request('pick-export', { suggestion: suggestName(state.host.value.name) });
      if (out === null) return;
      clearTimeout(this.timer);
      this.measuring?.abort();
      this.store.set({ pruning: { fraction: null, note: 'pruning' }, report: null });
      const report = await this.session.rpc.request(
        'prune',
        { data: state.view.data, plan, out, metric: this.judge() ?? undefined, device: state.view.device },
        {
          signal: run.abort.signal,
          onProgress: (pruning) => {
            this.store.set({ pruning });
            this.session.progress(run, pruning);
          },
        },
      );
      this.store.set({ report });
    } catch (thrown) {
      this.store.set({ pruneError: wireError(thrown) });
    } finally {
      this.session.end(run);
      this.pruning = null;
      this.store.set({ pruning: null });
      this.measureSoon();
    }
  }

  /** Saves the plan and copies the command that replays it. Resolves with what to say, empty when dismissed. */
  async copyCommand(): Promise<string> {
    const { report, view } = this.store.state;
    if (!report) return '';
    const saved = await this.session.rpc.request('save-plan', { plan: report.plan });
    if (!saved) return '';
    const text = pruneCommand(report, saved.path, view.data);
    await this.session.rpc.request('copy', { text });
    return `Copied. The plan is in ${saved.path}`;
  }
}

function isMeasured(partial: unknown): partial is Measured {
  return typeof (partial as Measured | undefined)?.value === 'number' && !('units' in (partial as object));
}
