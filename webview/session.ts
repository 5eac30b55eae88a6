import type { MetricName } from '../src/formats.ts';
import type { DataChoice, DataSpec, HostEvent, JobInfo, Progress, ViewState } from '../src/protocol.ts';
import { addPartialRanks, withRanks } from './ranking.ts';
import { Rpc, wireError, type VsCodeApi } from './rpc.ts';
import { DEFAULT_VIEW, inspection, Store, type AppState } from './state.ts';

/** The view is saved at once, but not more often than this (ms): a tab may be hidden right after a change. */
const SAVE_INTERVAL = 100;

/** What `vscode.setState` keeps for this tab. */
interface Saved {
  view?: Partial<ViewState>;
  report?: AppState['report'];
}

/** A job that this view started. */
export interface Run {
  job: JobInfo;
  abort: AbortController;
}

/** Everything that a person does to the model, the data and the ranks; views call it, the store shows what came of it. */
export class Session {
  readonly store: Store;
  readonly rpc: Rpc;
  private readonly api: VsCodeApi;
  private readonly runs: Run[] = [];
  private saveTimer: ReturnType<typeof setTimeout> | undefined;
  private lastSave = 0;
  /** What the last save took: large models are saved less often, so that a drag stays smooth. */
  private saveCost = 0;
  private dataRun = 0;
  /** Called when the data, the device or the model changed, so that measured values no longer hold. */
  onBasisChanged: () => void = () => {};

  constructor(api: VsCodeApi) {
    this.api = api;
    const saved = (api.getState() ?? {}) as Saved;
    this.store = new Store({ ...DEFAULT_VIEW, ...saved.view });
    if (saved.report) this.store.set({ report: saved.report });
    this.rpc = new Rpc(api, (event) => this.onHostEvent(event));
    this.store.subscribe((state, changed) => {
      if (changed.has('view') || changed.has('report')) this.save(state);
    });
    window.addEventListener('pagehide', () => this.saveNow());
    document.addEventListener('visibilitychange', () => document.hidden && this.saveNow());
  }

  async start(): Promise<void> {
    const saved = ((this.api.getState() ?? {}) as Saved).view ?? null;
    this.store.set({ host: { status: 'loading', progress: null } });
    try {
      const hello = await this.rpc.request('hello', { state: saved });
      const choices = hello.dataChoices ?? [];
      // A reload of the window may bring back an older copy than the host has.
      const newer = saved && (saved.savedAt ?? 0) >= (hello.defaults.savedAt ?? 0) ? saved : null;
      const view = { ...DEFAULT_VIEW, ...hello.defaults, ...newer };
      if (!view.data) view.data = { path: choices[0]?.path ?? null, seed: 0 };
      const ranks = { ...hello.ranksByMethod };
      if (hello.ranks && !ranks[hello.ranks.method]) ranks[hello.ranks.method] = hello.ranks;
      this.store.set({
        host: { status: 'ready', value: { model: hello.model, name: hello.name } },
        dataChoices: choices,
        view,
        ranks,
        report: hello.report ?? this.store.state.report,
        layerRanks: hello.layerRanks ?? null,
        features: hello.features ?? null,
        job: hello.job ? { ...hello.job, stoppable: true } : null,
      });
    } catch (thrown) {
      this.store.set({ host: { status: 'error', error: wireError(thrown) } });
      return;
    }
    void this.loadDevices();
    await this.loadModel();
  }

  /** Reads the model (again) and then the data. */
  async loadModel(): Promise<void> {
    this.store.set({ model: { status: 'loading', progress: null }, stale: false });
    try {
      const value = await this.rpc.request(
        'inspect',
        {},
        {
          onProgress: (progress) => this.store.set({ model: { status: 'loading', progress } }),
        },
      );
      const { view } = this.store.state;
      const known = new Set(value.groups.map((g) => g.id));
      const sizes = new Map(value.groups.map((g) => [g.id, g.size]));
      const fits = (keep: Record<string, number[]>): boolean =>
        Object.entries(keep).every(([id, units]) => units.every((u) => u < (sizes.get(id) ?? 0)));
      this.store.set({ model: { status: 'ready', value } });
      this.store.setView({
        selectedGroup:
          view.selectedGroup && known.has(view.selectedGroup)
            ? view.selectedGroup
            : (value.groups.find((g) => g.prunable)?.id ?? null),
        frozen: view.frozen.filter((id) => known.has(id)),
        keep: view.keep && fits(view.keep) ? view.keep : null,
        history: view.history.filter((p) => fits(p.keep)),
      });
      await this.loadData();
    } catch (thrown) {
      this.store.set({ model: { status: 'error', error: wireError(thrown) } });
    }
  }

  /** Asks the engine what the chosen data is. The last call wins. */
  async loadData(): Promise<void> {
    const run = ++this.dataRun;
    const { view } = this.store.state;
    if (!view.data) return;
    this.store.set({ data: { status: 'loading', progress: null } });
    this.onBasisChanged();
    try {
      const value = await this.rpc.request(
        'describe-data',
        { data: view.data, device: view.device },
        { onProgress: (progress) => run === this.dataRun && this.store.set({ data: { status: 'loading', progress } }) },
      );
      if (run !== this.dataRun) return;
      this.store.set({ data: { status: 'ready', value } });
      const now = this.store.state.view;
      const allowed = (m: MetricName | null | undefined): MetricName | null =>
        m && value.metrics.includes(m) ? m : null;
      this.store.setView({ metric: allowed(now.metric), judge: allowed(now.judge) });
      this.onBasisChanged();
    } catch (thrown) {
      if (run === this.dataRun) this.store.set({ data: { status: 'error', error: wireError(thrown) } });
    }
  }

  async loadDevices(): Promise<void> {
    try {
      this.store.set({ devices: await this.rpc.request('devices', {}) });
    } catch {
      // The picker then offers auto and CPU; the engine's own error shows where something is asked of it.
    }
  }

  setData(path: string | null): void {
    const { view } = this.store.state;
    const holdout = this.store.state.dataChoices.find((choice) => choice.path === path)?.holdout;
    // Seed and sample limit come from the settings and hold for any data.
    const kept = { seed: view.data?.seed ?? 0, samples: view.data?.samples };
    this.store.setView({ data: { path, holdout, ...kept }, metric: null, judge: null, history: [] });
    void this.loadData();
  }

  async pickData(kind: 'file' | 'folder'): Promise<void> {
    const choice = await this.rpc.request('pick-data', { kind }).catch(() => null);
    if (choice) this.addChoice(choice);
    // The picker shows what is in force again, also after a dismissed dialog.
    if (choice) this.setData(choice.path);
    else this.store.set({ dataChoices: [...this.store.state.dataChoices] });
  }

  setDevice(device: ViewState['device']): void {
    this.store.setView({ device });
    void this.loadData();
  }

  /** Shows a job in the header until `end`; the header's Stop aborts it. */
  begin(method: string, title: string): Run {
    const run: Run = { job: { method, title, fraction: null, note: '' }, abort: new AbortController() };
    this.runs.push(run);
    this.publish();
    return run;
  }

  progress(run: Run, { fraction, note }: Progress): void {
    run.job = { ...run.job, fraction, note };
    this.publish();
  }

  end(run: Run): void {
    const at = this.runs.indexOf(run);
    if (at >= 0) this.runs.splice(at, 1);
    this.publish();
  }

  /** Stops the job that is shown, also one that an earlier view started. */
  stop(): void {
    const run = this.runs.at(-1);
    const { job } = this.store.state;
    if (run) {
      run.abort.abort();
      this.publish();
    } else if (job) {
      void this.rpc.request('stop-jobs', {}).catch(() => null);
      this.store.set({ job: { ...job, note: 'stopping…', stoppable: false } });
    }
  }

  private publish(): void {
    const run = this.runs.at(-1);
    if (!run) return this.store.set({ job: null });
    const stopping = run.abort.signal.aborted;
    this.store.set({ job: { ...run.job, note: stopping ? 'stopping…' : run.job.note, stoppable: !stopping } });
  }

  toggleLock(id: string): void {
    const { frozen } = this.store.state.view;
    this.store.setView({ frozen: frozen.includes(id) ? frozen.filter((f) => f !== id) : [...frozen, id] });
  }

  select(id: string | null): void {
    if (id !== this.store.state.view.selectedGroup) this.store.setView({ selectedGroup: id });
  }

  showLog(): void {
    void this.rpc.request('show-log', {}).catch(() => null);
  }

  async restartEngine(): Promise<void> {
    this.store.set({ restarting: true });
    try {
      await this.rpc.request('restart-engine', {});
      this.onRestarted();
    } catch (thrown) {
      this.store.set({ engineDied: wireError(thrown).message });
    } finally {
      this.store.set({ restarting: false });
    }
  }

  private onRestarted(): void {
    const { state } = this.store;
    if (state.engineDied === null && state.model.status !== 'error' && state.data.status !== 'error') return;
    this.store.set({ engineDied: null, rankError: null, planError: null, pruneError: null });
    if (inspection(this.store.state)) void this.loadData();
    else void this.loadModel();
    if (this.store.state.devices.length === 0) void this.loadDevices();
  }

  private addChoice(choice: DataChoice): void {
    const { dataChoices } = this.store.state;
    if (!dataChoices.some((c) => c.path === choice.path)) this.store.set({ dataChoices: [...dataChoices, choice] });
  }

  private onHostEvent(event: HostEvent): void {
    switch (event.type) {
      case 'engine-died':
        this.store.set({ engineDied: event.message || 'The engine stopped.', job: null });
        break;
      case 'engine-restarted':
        this.onRestarted();
        break;
      case 'model-changed':
        this.store.set({ stale: true });
        break;
      case 'job':
        if (this.runs.length > 0) break;
        this.store.set({ job: event.job && { ...event.job, stoppable: true } });
        if (event.job?.method === 'rank') addPartialRanks(this.store, event.job.partial);
        else this.store.set({ partial: null });
        if (event.job?.method !== 'features') this.store.set({ featuresPartial: null });
        break;
      case 'ranks':
        this.store.set({ ...withRanks(this.store.state, event.ranks), partial: null });
        break;
      case 'features':
        this.store.set({ features: event.features, featuresPartial: null });
        break;
      case 'report':
        this.store.set({ report: event.report });
        break;
      case 'data': {
        this.addChoice(event.choice);
        const data: DataSpec = event.data;
        this.store.setView({ data, metric: null, judge: null, history: [] });
        void this.loadData();
        break;
      }
      case 'show':
        this.store.setView({ view: event.view });
        break;
    }
  }

  private save(state: AppState): void {
    if (state.host.status !== 'ready') return;
    clearTimeout(this.saveTimer);
    const wait = this.lastSave + Math.max(SAVE_INTERVAL, 20 * this.saveCost) - performance.now();
    if (wait <= 0) this.saveNow();
    else this.saveTimer = setTimeout(() => this.saveNow(), wait);
  }

  private saveNow(): void {
    clearTimeout(this.saveTimer);
    this.lastSave = performance.now();
    const { report, host } = this.store.state;
    const view = { ...this.store.state.view, savedAt: Date.now() };
    if (host.status !== 'ready') return;
    this.api.setState({ view, report } satisfies Saved);
    void this.rpc.request('save-state', { state: view }).catch(() => null);
    this.saveCost = performance.now() - this.lastSave;
  }
}
