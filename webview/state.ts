import { method, metricsFor } from './logic/words.ts';
import type {
  CostTerm,
  Features,
  FeatureScore,
  GroupInfo,
  GroupRanks,
  InspectReport,
  MethodName,
  MetricName,
  PruneReport,
  Ranks,
} from '../src/formats.ts';
import type {
  DataChoice,
  DataSummary,
  EngineMethods,
  JobInfo,
  KeepByGroup,
  Measured,
  Progress,
  ViewState,
  WireError,
} from '../src/protocol.ts';

/** Something that is fetched. `since` lets a view wait before it shows that it waits. */
export type Async<T> =
  | { status: 'idle' }
  | { status: 'loading'; progress: Progress | null }
  | { status: 'ready'; value: T }
  | { status: 'error'; error: WireError };

export type Inspection = InspectReport & { costTerms: CostTerm[] };
export type DeviceInfo = EngineMethods['devices']['result'][number];

/** The metric of the present cut. */
export type Measurement =
  | { status: 'idle' }
  /** Waiting or running; `partial` refines. */
  | { status: 'running'; signature: string; partial: Measured | null; progress: Progress | null }
  | { status: 'ready'; signature: string; value: Measured }
  | { status: 'error'; signature: string; error: WireError };

export interface AppState {
  /** The answer to `hello`. */
  host: Async<{ model: string; name: string }>;
  model: Async<Inspection>;
  data: Async<DataSummary>;
  dataChoices: DataChoice[];
  devices: DeviceInfo[];
  view: ViewState;
  /** Last ranks of each method. */
  ranks: Partial<Record<MethodName, Ranks>>;
  /** Groups of the running rank job as they converge, by id; null when none runs. */
  partial: ReadonlyMap<string, GroupRanks> | null;
  rankError: WireError | null;
  /** What a view says after a rank run: cancelled, saved. */
  rankNote: string;
  /** Last ranks of whole layers. */
  layerRanks: Ranks | null;
  /** Last importance of input features. */
  features: Features | null;
  /** The same, as it converges; null when none is computed. */
  featuresPartial: readonly FeatureScore[] | null;
  featuresError: WireError | null;
  featuresNote: string;
  job: (JobInfo & { stoppable: boolean }) | null;
  /** Full-model value of the metric on the measured samples. */
  reference: number | null;
  measured: Measurement;
  planError: WireError | null;
  /** What the engine says about the plan it found, in plain sentences. */
  planMessages: string[];
  planning: Progress | null;
  tracing: Progress | null;
  pruning: Progress | null;
  pruneError: WireError | null;
  report: PruneReport | null;
  engineDied: string | null;
  restarting: boolean;
  stale: boolean;
}

export const DEFAULT_VIEW: ViewState = {
  view: 'overview',
  selectedGroup: null,
  costUnit: 'macs',
  data: null,
  device: 'auto',
  method: 'shapley',
  metric: null,
  budget: 2000,
  tolerance: 0.05,
  closing: 0.5,
  target: { kind: 'keep-macs', value: 0.5 },
  frozen: [],
  minKeep: 0.25,
  roundTo: 1,
  keep: null,
  history: [],
};

type Key = keyof AppState;
type Listener = (state: AppState, changed: ReadonlySet<Key>) => void;

/** The one place where state changes. Listeners run at most once per frame, with the keys that changed. */
export class Store {
  state: AppState;
  private readonly listeners: Listener[] = [];
  private changed = new Set<Key>();
  private queued = false;

  constructor(view: ViewState) {
    this.state = {
      host: { status: 'loading', progress: null },
      model: { status: 'loading', progress: null },
      data: { status: 'idle' },
      dataChoices: [],
      devices: [],
      view,
      ranks: {},
      partial: null,
      rankError: null,
      rankNote: '',
      layerRanks: null,
      features: null,
      featuresPartial: null,
      featuresError: null,
      featuresNote: '',
      job: null,
      reference: null,
      measured: { status: 'idle' },
      planError: null,
      planMessages: [],
      planning: null,
      tracing: null,
      pruning: null,
      pruneError: null,
      report: null,
      engineDied: null,
      restarting: false,
      stale: false,
    };
  }

  set(patch: Partial<AppState>): void {
    for (const key of Object.keys(patch) as Key[]) if (patch[key] !== this.state[key]) this.changed.add(key);
    this.state = { ...this.state, ...patch };
    if (this.changed.size === 0 || this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => this.flush());
  }

  setView(patch: Partial<ViewState>): void {
    this.set({ view: { ...this.state.view, ...patch } });
  }

  subscribe(listener: Listener): void {
    this.listeners.push(listener);
  }

  private flush(): void {
    this.queued = false;
    const changed = this.changed;
    this.changed = new Set();
    for (const listener of this.listeners) listener(this.state, changed);
  }
}

/** The report, when there is one. */
export function inspection(state: AppState): Inspection | null {
  return state.model.status === 'ready' ? state.model.value : null;
}

/** Metric that ranks are made for: the one that was chosen, where the method can use it, else its default. */
export function rankMetricOf({ view, data }: AppState): MetricName | null {
  if (data.status !== 'ready') return view.metric ?? null;
  const usable = metricsFor(method(view.method), data.value.metrics);
  return view.metric && usable.includes(view.metric) ? view.metric : (usable[0] ?? null);
}

/** Ranks that the controls ask for, when there are some, and what differs from the present model and data. */
export function shownRanks(state: AppState): { ranks: Ranks; stale: string | null } | null {
  const ranks = state.ranks[state.view.method];
  return ranks && ranks.groups.length > 0 ? { ranks, stale: staleness(state, ranks) } : null;
}

/** What of the present model, data or metric ranks were not made for; null when they fit. */
export function staleness(state: AppState, ranks: Ranks): string | null {
  const model = inspection(state);
  if (model && ranks.model.sha256 !== model.model.sha256) return 'made from an earlier version of the model';
  if (
    state.data.status === 'ready' &&
    ranks.data.fingerprint &&
    ranks.data.fingerprint !== state.data.value.fingerprint
  ) {
    return 'made with other data';
  }
  const metric = rankMetricOf(state);
  if (ranks.metric && metric && ranks.metric !== metric) {
    return 'made for another metric';
  }
  return null;
}

/** Ranks of one group: those that are converging now, else the last ones. */
export function groupRanks(state: AppState, id: string): GroupRanks | undefined {
  return state.partial?.get(id) ?? shownRanks(state)?.ranks.groups.find((g) => g.id === id);
}

export function prunableGroups(state: AppState): GroupInfo[] {
  return inspection(state)?.groups.filter((g) => g.prunable) ?? [];
}

export function groupById(state: AppState, id: string | null): GroupInfo | undefined {
  return id === null ? undefined : inspection(state)?.groups.find((g) => g.id === id);
}

/** Keeps of every prunable group in full. */
export function fullKeep(state: AppState): KeepByGroup {
  return Object.fromEntries(prunableGroups(state).map((g) => [g.id, Array.from({ length: g.size }, (_, i) => i)]));
}
