import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import * as vscode from 'vscode';
import { SecateurError } from '../errors.ts';
import type { EngineMethod, ParamsOf, ResultOf } from '../engine/process/wire.ts';
import type { Features, PruneReport, Ranks } from '../formats.ts';
import type { HostEvent, HostMethods, JobInfo, Progress, ViewState } from '../protocol.ts';
import { dataToBeginWith, labelOf, proposeData } from './data-choices.ts';
import type { EngineService } from './engine-service.ts';
import type { Memory, StoredRanks } from './memory.ts';
import { mergeRanks } from './merge-ranks.ts';
import { dataSpec, defaultsFromSettings } from './settings.ts';

/** Jobs that go on while nobody looks. The others only serve a view and end with it. */
const LASTING: ReadonlySet<EngineMethod> = new Set<EngineMethod>(['rank', 'prune', 'compare', 'features']);
const TITLES: Partial<Record<EngineMethod, string>> = {
  rank: 'Ranking',
  prune: 'Pruning',
  compare: 'Comparing',
  features: 'Explaining',
};

/** One context of a webview: hiding a tab ends it, showing the tab again begins another one. */
export interface View {
  event(event: HostEvent): void;
}

interface Job {
  view: View | null;
  info: JobInfo;
  lasting: boolean;
  abort: AbortController;
}

export interface SessionServices {
  engine: EngineService;
  memory: Memory;
  log: vscode.LogOutputChannel;
}

/**
 * What the extension host knows about one open model, whether its views are visible or not: its running jobs, its last
 * ranks, what the view looked like, and whether the file has changed.
 */
export class ModelSession implements vscode.Disposable {
  readonly uri: vscode.Uri;
  private readonly services: SessionServices;
  private readonly views = new Set<View>();
  private readonly jobs = new Set<Job>();
  private readonly disposables: vscode.Disposable[] = [];
  private inspected: { stamp: string; result: Promise<ResultOf<'inspect'>> } | null = null;
  private stored: Promise<StoredRanks> | null = null;
  /** What a command wants to be shown as soon as a view is there. */
  private waitingEvents: HostEvent[] = [];

  constructor(uri: vscode.Uri, services: SessionServices) {
    this.uri = uri;
    this.services = services;
    this.watch();
    this.disposables.push(
      services.engine.onDied((exit) => this.broadcast({ type: 'engine-died', message: exit.message })),
      services.engine.onRestarted(() => this.broadcast({ type: 'engine-restarted' })),
    );
  }

  get path(): string {
    return this.uri.fsPath;
  }

  /** A view has started: what it needs to draw itself. Its events follow the answer. */
  async hello(view: View): Promise<HostMethods['hello']['result']> {
    const { memory } = this.services;
    const [{ last, byMethod, layers }, saved, report, features, dataChoices] = await Promise.all([
      this.storedRanks(),
      memory.views.load(this.path),
      memory.reports.load(this.path),
      memory.features.load(this.path),
      proposeData(this.path),
    ]);
    this.views.add(view);
    const begin = dataToBeginWith(dataChoices);
    const data = saved?.data ?? dataSpec(this.uri, begin);
    if (data.path !== null && !dataChoices.some(({ path }) => path === data.path)) {
      dataChoices.unshift({ path: data.path, label: labelOf(data.path, vscode.Uri.joinPath(this.uri, '..').fsPath) });
    }
    const job = [...this.jobs].find(({ lasting }) => lasting);
    setImmediate(() => this.afterHello(view));
    return {
      model: this.path,
      name: basename(this.path),
      defaults: { ...defaultsFromSettings(this.uri), ...saved, data },
      dataChoices,
      ranks: last === null ? null : (byMethod[last] ?? null),
      ranksByMethod: byMethod,
      layerRanks: layers ?? null,
      report: report ?? null,
      features: features ?? null,
      job: job?.info ?? null,
    };
  }

  /** The view is gone: hidden, reloaded or closed. Lasting jobs go on without it. */
  leave(view: View): void {
    this.views.delete(view);
    for (const job of this.jobs) {
      if (job.view !== view) continue;
      job.view = null;
      if (!job.lasting) job.abort.abort();
    }
  }

  saveState(state: ViewState): Promise<void> {
    return this.services.memory.views.save(this.path, state);
  }

  /** Sends to the views that are there, or keeps it for the first that comes. */
  deliver(event: HostEvent): void {
    if (this.views.size > 0) this.broadcast(event);
    else this.waitingEvents.push(event);
  }

  stopJobs(): void {
    for (const job of this.jobs) if (job.lasting) job.abort.abort();
  }

  /**
   * Runs a job of this model. `view` is who asked; when it goes away, other views are told how the job goes on.
   * `signal` aborts it, as do `stopJobs` and closing the editor.
   */
  async run<M extends EngineMethod>(
    method: M,
    params: ParamsOf<M>,
    view: View | null,
    signal: AbortSignal,
    onProgress: (progress: Progress) => void,
  ): Promise<ResultOf<M>> {
    if (method === 'inspect') return (await this.inspect()) as ResultOf<M>;
    const abort = new AbortController();
    const cancel = (): void => abort.abort();
    if (signal.aborted) cancel();
    signal.addEventListener('abort', cancel);
    const title = TITLES[method] ?? method;
    const job: Job = { view, info: { method, title, fraction: null, note: '' }, lasting: LASTING.has(method), abort };
    this.jobs.add(job);
    const work = this.services.engine.request(method, params, {
      signal: abort.signal,
      onProgress: (progress) => {
        job.info = { method, title, ...progress };
        onProgress(progress);
        if (job.lasting) this.tellOthers(job, { type: 'job', job: job.info });
      },
    });
    if (job.lasting) showInStatusBar(`${title} ${basename(this.path)}`, job, work);
    try {
      const result = await work;
      if (method === 'rank') await this.keepRanks(job, result as Ranks);
      if (method === 'features') await this.keepFeatures(job, result as Features);
      if (method === 'prune') await this.keepReport(job, result as PruneReport);
      return result;
    } finally {
      this.jobs.delete(job);
      signal.removeEventListener('abort', cancel);
      if (job.lasting) this.tellOthers(job, { type: 'job', job: null });
    }
  }

  dispose(): void {
    for (const job of this.jobs) job.abort.abort();
    this.views.clear();
    vscode.Disposable.from(...this.disposables).dispose();
  }

  /** The report is kept as long as the file stays the same, so that a tab that is shown again is drawn at once. */
  private async inspect(): Promise<ResultOf<'inspect'>> {
    const stamp = await this.stamp();
    if (this.inspected?.stamp === stamp) return this.inspected.result;
    const result = this.services.engine.request('inspect', { model: this.path });
    this.inspected = { stamp, result };
    result.catch(() => {
      if (this.inspected?.result === result) this.inspected = null;
    });
    return result;
  }

  private async stamp(): Promise<string> {
    try {
      const { mtimeMs, size } = await stat(this.path);
      return `${mtimeMs} ${size}`;
    } catch (error) {
      throw new SecateurError('io', `${this.path} cannot be read.`, 'Was it moved or deleted?', { cause: error });
    }
  }

  private storedRanks(): Promise<StoredRanks> {
    const load = async (): Promise<StoredRanks> =>
      (await this.services.memory.ranks.load(this.path)) ?? { last: null, byMethod: {} };
    return (this.stored ??= load());
  }

  private async keepRanks(job: Job, ranks: Ranks): Promise<void> {
    if (ranks.groups.length === 0) return;
    const before = await this.storedRanks();
    const { byMethod } = before;
    const merged = ranks.layers ? ranks : mergeRanks(byMethod[ranks.method], ranks);
    const stored = ranks.layers
      ? { ...before, layers: ranks }
      : { ...before, last: ranks.method, byMethod: { ...byMethod, [ranks.method]: merged } };
    this.stored = Promise.resolve(stored);
    this.tellOthers(job, { type: 'ranks', ranks: merged });
    await this.services.memory.ranks.save(this.path, stored);
  }

  private async keepReport(job: Job, report: PruneReport): Promise<void> {
    this.tellOthers(job, { type: 'report', report });
    await this.services.memory.reports.save(this.path, report);
  }

  private async keepFeatures(job: Job, features: Features): Promise<void> {
    this.tellOthers(job, { type: 'features', features });
    await this.services.memory.features.save(this.path, features);
  }

  private afterHello(view: View): void {
    if (!this.views.has(view)) return;
    const death = this.services.engine.death;
    if (death) view.event({ type: 'engine-died', message: death.message });
    for (const event of this.waitingEvents.splice(0)) view.event(event);
  }

  private broadcast(event: HostEvent): void {
    for (const view of this.views) view.event(event);
  }

  private tellOthers(job: Job, event: HostEvent): void {
    for (const view of this.views) if (view !== job.view) view.event(event);
  }

  private watch(): void {
    const folder = vscode.Uri.joinPath(this.uri, '..');
    const name = basename(this.path).replace(/[[\]{}*?]/g, '?');
    const watcher = vscode.workspace.createFileSystemWatcher(new vscode.RelativePattern(folder, name));
    let timer: NodeJS.Timeout | undefined;
    const changed = (): void => {
      // A file that is being written changes many times.
      clearTimeout(timer);
      timer = setTimeout(() => {
        this.inspected = null;
        this.broadcast({ type: 'model-changed' });
      }, 300);
    };
    this.disposables.push(
      watcher,
      watcher.onDidChange(changed),
      watcher.onDidCreate(changed),
      watcher.onDidDelete(changed),
    );
    this.disposables.push({ dispose: () => clearTimeout(timer) });
  }
}

/** A spinner with a note in the status bar, for as long as the job runs. */
function showInStatusBar(title: string, job: Job, work: Promise<unknown>): void {
  const options = { location: vscode.ProgressLocation.Window, title: `Secateur: ${title}` };
  void vscode.window.withProgress(options, async (report) => {
    const timer = setInterval(() => {
      const { fraction, note } = job.info;
      report.report({ message: fraction === null ? note : `${Math.round(fraction * 100)} % ${note}` });
    }, 250);
    try {
      await work;
    } catch {
      // Whoever asked for the job tells the user.
    } finally {
      clearInterval(timer);
    }
  });
}
