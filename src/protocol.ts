/**
 * The messages between webview, extension host and engine. One shape for both hops: the host passes on what is the
 * engine's and answers the rest itself. Types only, so that the webview can share them.
 */
import type { ErrorCode } from './errors.ts';
import type {
  CompareReport,
  CostTerm,
  DeviceName,
  EvaluateReport,
  FeatureBaseline,
  FeatureKind,
  FeatureScaling,
  FeatureScore,
  Features,
  GroupRanks,
  InspectReport,
  MethodName,
  MetricName,
  Plan,
  PruneReport,
  Ranks,
  Reading,
  RemovalOrder,
  ShapleyEstimator,
  SwitchForm,
  SwitchScaling,
  TargetKind,
  Allocation,
} from './formats.ts';

export interface WireError {
  code: ErrorCode;
  message: string;
  hint: string;
}

/** What the user chose as data; null path: synthetic inputs. */
export interface DataSpec {
  path: string | null;
  holdout?: string | null;
  /** At most so many samples (first n after a seeded shuffle); undefined: all. */
  samples?: number;
  seed: number;
  /** Constant inputs, by name. */
  constants?: Record<string, number>;
  output?: string;
  /** Label column of a CSV file, or field of a .jsonl file. */
  label?: string;
  /** Tokens of a sample of text; undefined: as the model demands, or at most 128. */
  sequence?: number;
}

export interface DataSummary {
  path: string | null;
  synthetic: boolean;
  samples: number;
  holdoutSamples: number;
  fingerprint: string;
  hasLabels: boolean;
  classes: number | null;
  output: string;
  reading: Reading;
  /** Metrics that this data allows; the first is the default. */
  metrics: MetricName[];
  /** Plain sentences that the editor shows in the warning colour. */
  warnings: string[];
}

/** Where a measured value stands while it is being refined. */
export interface Measured {
  value: number;
  stderr: number | null;
  samples: number;
  /** False while more samples are to come. */
  final: boolean;
  /** The same metric of the unpruned model on the same samples. */
  reference: number;
  predicted: { macs: number; parameters: number };
}

/** What the job `features` is asked; the result is `Features`. What is left out is chosen by the data and stated. */
export interface FeaturesParams {
  model: string;
  data: DataSpec;
  method?: 'qfit' | 'shapley';
  /** `local` without a sample: a selector network, for all samples. */
  mode?: 'global' | 'local';
  /** Number of the one sample to explain. */
  sample?: number;
  /** Which input, where the model has several. */
  input?: string;
  kind?: FeatureKind;
  /** Side of a patch in pixels. */
  patch?: number;
  baseline?: FeatureBaseline;
  metric?: MetricName;
  /** Q-FIT: the loss over draws, or at the mean of the distribution. */
  form?: 'sampled' | 'point';
  draws?: number;
  prior?: number;
  klWeight?: number;
  scaling?: FeatureScaling;
  steps?: number;
  batch?: number;
  learningRate?: number;
  /** Shapley values: coalitions. */
  budget?: number;
  /** Path of a second model whose explanation is compared. */
  against?: string;
  /** Two labels whose samples are explained apart and compared. */
  compareLabels?: [number, number];
  /** How many features to choose, and the penalty for the neighbours of what was chosen. */
  select?: number;
  spread?: number;
  seed: number;
  device: DeviceName | 'auto';
}

/** What the job `features` tells while it converges. */
export interface FeaturesPartial {
  features: FeatureScore[];
}

export type KeepByGroup = Record<string, number[]>;

/** Methods of the engine process: params and result of each. All take the model by path. */
export interface EngineMethods {
  inspect: { params: { model: string }; result: InspectReport & { costTerms: CostTerm[] } };
  'describe-data': { params: { model: string; data: DataSpec; device: DeviceName | 'auto' }; result: DataSummary };
  evaluate: {
    params: { model: string; data: DataSpec; metric?: MetricName; device: DeviceName | 'auto' };
    result: EvaluateReport;
  };
  /** Progress carries `partial` GroupRanks while groups converge. Cancelling resolves with what was computed. */
  rank: {
    params: {
      model: string;
      data: DataSpec;
      method: MethodName;
      metric?: MetricName;
      groups?: string[];
      budget?: number;
      tolerance?: number;
      /** How Shapley values are computed; undefined: whatever suits group and budget. */
      estimator?: ShapleyEstimator;
      /** Shapley values by permutations of accuracy: where a sweep may end early. */
      truncation?: number;
      /** Dirichlet switch: over draws or at the mean, how shares become gates, and α₀ of the prior. */
      form?: SwitchForm;
      scaling?: SwitchScaling;
      prior?: number;
      /** Ranks whole groups, of which a closed one lacks this share of its units; undefined: ranks units. */
      layers?: { closing: number };
      seed: number;
      device: DeviceName | 'auto';
      resume?: Ranks;
    };
    result: Ranks;
  };
  /** Progress carries `partial` features while they converge. Cancelling resolves with what was computed. */
  features: { params: FeaturesParams; result: Features };
  plan: {
    params: {
      model: string;
      data: DataSpec;
      ranks: Ranks;
      target: { kind: TargetKind; value: number };
      allocation: Allocation;
      minKeep: number;
      roundTo: number;
      frozen: string[];
      metric?: MetricName;
      device: DeviceName | 'auto';
      seed: number;
    };
    result: {
      plan: Plan;
      predicted: { macs: number; parameters: number };
      value: number | null;
      /** All cuts of this allocation, for dragging: about the plan of a target is its first so many steps. */
      order?: RemovalOrder;
      /** Plain sentences: a target out of reach, groups without ranks. */
      messages?: string[];
      /** Cuts that a max-drop search measured. */
      measured?: { macs: number; parameters: number; value: number }[];
    };
  };
  /** Value of the gated model for a keep-set; progress carries `partial` Measured on growing subsets. */
  measure: {
    params: { model: string; data: DataSpec; keep: KeepByGroup; metric?: MetricName; device: DeviceName | 'auto' };
    result: Measured;
  };
  prune: {
    params: {
      model: string;
      data: DataSpec;
      plan: Plan;
      out: string;
      metric?: MetricName;
      device: DeviceName | 'auto';
    };
    result: PruneReport;
  };
  compare: {
    params: { a: string; b: string; data: DataSpec; metric?: MetricName; device: DeviceName | 'auto' };
    result: CompareReport;
  };
  devices: { params: Record<string, never>; result: { name: DeviceName; available: boolean; note: string }[] };
}

export interface DataChoice {
  path: string | null;
  label: string;
  /** Held-out data that lies beside it. */
  holdout?: string;
}

/** What the controls of the view Features say; what is left out is chosen by the data. */
export type FeatureControls = Pick<
  FeaturesParams,
  'method' | 'sample' | 'input' | 'kind' | 'patch' | 'baseline' | 'select'
> & {
  /** Every sample by itself, by a selector network. */
  each?: boolean;
  /** Compare with the model of the last prune. */
  against?: boolean;
};

/** What the editor remembers for one model, across hidden tabs and reloads. Small: no arrays of samples. */
export interface ViewState {
  view: 'overview' | 'ranks' | 'prune' | 'features';
  selectedGroup: string | null;
  costUnit: 'macs' | 'parameters';
  data: DataSpec | null;
  device: DeviceName | 'auto';
  method: MethodName;
  metric: MetricName | null;
  budget: number;
  tolerance: number;
  /** What the view Ranks ranks; all groups unless it says otherwise. */
  rankScope?: 'all' | 'one' | 'layers';
  /** Share of its units that a closed layer lacks. */
  closing: number;
  target: { kind: TargetKind; value: number };
  frozen: string[];
  minKeep: number;
  roundTo: number;
  /** Keep-sets of the present plan, if any. */
  keep: KeepByGroup | null;
  /** True when cut lines were moved by hand, so that `keep` no longer follows `target`. */
  manual?: boolean;
  allocation?: Allocation;
  /** Metric that the live card measures; null: accuracy where the data allows it, else the first one. */
  judge?: MetricName | null;
  features?: FeatureControls;
  /** When it was saved, in milliseconds since 1970: the newer of two copies holds. */
  savedAt?: number;
  /** Earlier measured points of the curve. */
  history: { keep: KeepByGroup; macs: number; parameters: number; value: number }[];
}

/** Methods that the extension host answers for the webview, besides those of the engine (params without `model`). */
export interface HostMethods {
  hello: {
    params: { state: Partial<ViewState> | null };
    result: {
      model: string;
      name: string;
      defaults: Partial<ViewState>;
      dataChoices: DataChoice[];
      /** Last ranks of this model in this workspace, and the last of each method; check `model.sha256` for staleness. */
      ranks: Ranks | null;
      ranksByMethod: Partial<Record<MethodName, Ranks>>;
      /** Last ranks of whole layers. */
      layerRanks: Ranks | null;
      /** Of the last prune of this model. */
      report: PruneReport | null;
      /** Last importance of input features of this model. */
      features: Features | null;
      /** A job of this model that is still running: it was started before the view was hidden or reloaded. */
      job: JobInfo | null;
    };
  };
  /** Cancels every running job of this model, also those that an earlier view started. */
  'stop-jobs': { params: Record<string, never>; result: null };
  'save-state': { params: { state: ViewState }; result: null };
  /** Opens a file dialog; null when dismissed. */
  'pick-data': { params: { kind: 'file' | 'folder' }; result: DataChoice | null };
  /** Where to export to: a save dialog with a proposal that is never the model itself; null when dismissed. */
  'pick-export': { params: { suggestion: string }; result: string | null };
  'save-ranks': { params: { ranks: Ranks }; result: { path: string } };
  'save-features': { params: { features: Features }; result: { path: string } };
  'save-plan': { params: { plan: Plan }; result: { path: string } | null };
  'open-beside': { params: { path: string }; result: null };
  reveal: { params: { path: string }; result: null };
  copy: { params: { text: string }; result: null };
  'show-log': { params: Record<string, never>; result: null };
  'restart-engine': { params: Record<string, never>; result: null };
}

type WithoutModel<T> = T extends { params: infer P; result: infer R } ? { params: Omit<P, 'model'>; result: R } : never;
/** Everything a webview may ask: the host fills in the model's path. */
export type WebviewMethods = HostMethods & { [K in keyof EngineMethods]: WithoutModel<EngineMethods[K]> };

export interface Progress {
  /** 0..1, or null when it cannot be told. */
  fraction: number | null;
  /** Short, for people: `ranking b3.conv1, 412 of 2 000 evaluations`. */
  note: string;
  partial?: GroupRanks | Measured | FeaturesPartial;
}

/** Client to server. Every request is answered by exactly one result or error with its id. */
export type ClientMessage =
  { kind: 'request'; id: number; method: string; params: unknown } | { kind: 'cancel'; id: number };
/** Server to client. */
export type ServerMessage =
  | { kind: 'result'; id: number; result: unknown }
  | { kind: 'error'; id: number; error: WireError }
  | { kind: 'progress'; id: number; progress: Progress }
  | { kind: 'event'; event: HostEvent };

/** A running job as shown in the header. `partial` as in Progress. */
export interface JobInfo {
  method: string;
  title: string;
  fraction: number | null;
  note: string;
  partial?: GroupRanks | Measured | FeaturesPartial;
}

/** Unasked messages of the extension host to the webview. */
export type HostEvent =
  | { type: 'engine-died'; message: string }
  | { type: 'engine-restarted' }
  /** The model file changed on disk: what is shown is stale. */
  | { type: 'model-changed' }
  /** Progress of a job that an earlier view of this model started (the view was hidden meanwhile); null when it ended. */
  | { type: 'job'; job: JobInfo | null }
  /** Such a job has ended with ranks. */
  | { type: 'ranks'; ranks: Ranks }
  /** A prune that an earlier view started has ended with this report. */
  | { type: 'report'; report: PruneReport }
  /** Such a job has ended with the importance of features. */
  | { type: 'features'; features: Features }
  /** Data was chosen by the palette command. */
  | { type: 'data'; data: DataSpec; choice: DataChoice }
  /** A palette command asks the view to change or act. */
  | { type: 'show'; view: ViewState['view'] };
