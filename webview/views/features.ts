import type { FeatureBaseline, FeatureKind, Features, FeatureScore } from '../../src/formats.ts';
import type { FeatureControls } from '../../src/protocol.ts';
import type { View } from '../app.ts';
import { NamedBars } from '../charts/named-bars.ts';
import { FeatureMap } from '../charts/feature-map.ts';
import { TokenText } from '../charts/token-text.ts';
import type { Explaining } from '../explaining.ts';
import { BASELINE_WORDS, FEATURE_WORDS, featureBars, kindsOf, whiskersOf } from '../logic/features.ts';
import { count, number, plural, seconds } from '../logic/format.ts';
import { metricLabel } from '../logic/words.ts';
import type { Session } from '../session.ts';
import { inspection, type AppState } from '../state.ts';
import { fill, h, icon, show } from '../ui/dom.ts';
import { emptyState, errorSlot } from '../ui/states.ts';
import { button, checkbox, dropdown, textField } from '../ui/toolkit.ts';

const METHODS: Record<Features['method'], { label: string; about: string }> = {
  qfit: {
    label: 'Q-FIT',
    about:
      'A Dirichlet distribution over shares of attention: features that the answer needs draw shares from the others.',
  },
  shapley: {
    label: 'Shapley value',
    about: 'Mean contribution of a feature to the metric over all orders of revealing features.',
  },
};

/** Which parts of the input the model's answers rest on. */
export class FeaturesView implements View {
  readonly element: HTMLElement;
  private readonly session: Session;
  private readonly explaining: Explaining;
  private readonly scope: ReturnType<typeof dropdown>;
  private readonly sample: ReturnType<typeof textField>;
  private readonly sampleWords: HTMLElement;
  private readonly method: ReturnType<typeof dropdown>;
  private readonly input: ReturnType<typeof dropdown>;
  private readonly inputWords: HTMLElement;
  private readonly kind: ReturnType<typeof dropdown>;
  private readonly patch: ReturnType<typeof textField>;
  private readonly patchWords: HTMLElement;
  private readonly baseline: ReturnType<typeof dropdown>;
  private readonly select: ReturnType<typeof textField>;
  private readonly selectWords: HTMLElement;
  private readonly against: ReturnType<typeof checkbox>;
  private readonly run: ReturnType<typeof button>;
  private readonly save: ReturnType<typeof button>;
  private readonly note = h('p', { class: 'muted run-note', attrs: { role: 'status' } });
  private readonly error: ReturnType<typeof errorSlot>;
  private readonly messages = h('div', { class: 'slot' });
  private readonly empty = h('div', { class: 'slot' });
  private readonly head = h('div', { class: 'group-head' });
  private readonly bars: NamedBars;
  private readonly map: FeatureMap;
  private readonly text: TokenText;
  private readonly inOrder: ReturnType<typeof checkbox>;
  private readonly results: HTMLElement;
  private readonly local: ReturnType<typeof textField>;
  private readonly localWords: HTMLElement;
  private ordered = false;
  /** The sample that is shown, of an explanation of each; null: their mean. */
  private shownSample: number | null = null;

  constructor(session: Session, explaining: Explaining) {
    this.session = session;
    this.explaining = explaining;
    const controls = (patch: Partial<FeatureControls>): void =>
      session.store.setView({ features: { ...session.store.state.view.features, ...patch } });
    this.scope = dropdown('Which samples', (v) =>
      controls({ sample: v === 'one' ? 0 : undefined, each: v === 'each' }),
    );
    this.sample = textField({ label: 'Number of the sample', numeric: true, className: 'short' }, (v) => {
      const number = Number(v);
      if (Number.isInteger(number) && number >= 0) controls({ sample: number });
      else this.drawControls(session.store.state);
    });
    this.sampleWords = h('span', { class: 'words' }, this.sample.element);
    this.method = dropdown('Method', (v) =>
      controls({ method: v as Features['method'], ...(v === 'shapley' ? { each: false } : {}) }),
    );
    this.input = dropdown('Input', (v) => controls({ input: v, kind: undefined }));
    this.inputWords = h('span', { class: 'words' }, 'of', this.input.element);
    this.kind = dropdown('Features', (v) => controls({ kind: v === '' ? undefined : (v as FeatureKind) }));
    this.patch = textField({ label: 'Side of a patch in pixels', numeric: true, className: 'short' }, (v) => {
      const number = Number(v);
      controls({ patch: Number.isInteger(number) && number >= 1 ? number : undefined });
    });
    this.patchWords = h('span', { class: 'words' }, 'of side', this.patch.element);
    this.baseline = dropdown('Baseline', (v) => controls({ baseline: v as FeatureBaseline }));
    this.select = textField(
      { label: 'How many to choose', numeric: true, className: 'short', placeholder: 'none' },
      (v) => {
        const number = Number(v);
        controls({ select: Number.isInteger(number) && number >= 1 ? number : undefined });
      },
    );
    this.selectWords = h('span', { class: 'words' }, 'and choose', this.select.element, 'that lie apart');
    this.against = checkbox('Compare with the pruned model', (on) => controls({ against: on }));
    this.run = button({ label: 'Explain', icon: 'play', kind: 'primary', onClick: () => void explaining.start() });
    this.save = button({ label: 'Save…', icon: 'save', onClick: () => this.saveShown() });
    this.error = errorSlot(
      { retry: () => void explaining.start(), showLog: () => session.showLog() },
      'Explaining failed',
    );
    this.bars = new NamedBars((index) => this.markAll(index, this.bars));
    this.map = new FeatureMap((index) => this.markAll(index, this.map));
    this.text = new TokenText((index) => this.markAll(index, this.text));
    this.inOrder = checkbox('In the order of the input', (on) => {
      this.ordered = on;
      this.drawResults(session.store.state);
    });
    this.local = textField({ label: 'Sample to show', numeric: true, className: 'short', placeholder: 'mean' }, (v) => {
      const number = Number(v);
      this.shownSample = v.trim() !== '' && Number.isInteger(number) && number >= 0 ? number : null;
      this.drawResults(session.store.state);
    });
    this.localWords = h('span', { class: 'words' }, 'Show sample', this.local.element);
    const charts = h('div', { class: 'feature-charts' }, this.map.element, this.bars.element);
    this.results = h('section', { class: 'results' }, this.head, this.text.element, charts);
    this.element = h(
      'div',
      { class: 'view features' },
      h(
        'div',
        { class: 'sentence', attrs: { role: 'group', 'aria-label': 'What to explain' } },
        h('span', { class: 'words' }, 'Explain', this.scope.element),
        this.sampleWords,
        h('span', { class: 'words' }, 'by', this.method.element),
        h('span', { class: 'words' }, 'over', this.kind.element),
        this.patchWords,
        this.inputWords,
        h('span', { class: 'words' }, 'against', this.baseline.element),
        this.selectWords,
        h('span', { class: 'buttons' }, this.run.element, this.save.element),
      ),
      this.against.element,
      this.note,
      this.error.element,
      this.messages,
      this.empty,
      this.results,
    );
  }

  update(state: AppState, changed: ReadonlySet<keyof AppState> | null): void {
    const any = (...keys: (keyof AppState)[]): boolean => changed === null || keys.some((k) => changed.has(k));
    if (any('view', 'data', 'model', 'job', 'features', 'report', 'engineDied')) this.drawControls(state);
    if (any('featuresError', 'engineDied')) this.error.set(state.engineDied ? null : state.featuresError);
    if (any('featuresNote', 'features', 'model', 'data', 'job')) this.drawNote(state);
    if (any('features', 'featuresPartial', 'job', 'featuresError')) this.drawResults(state);
  }

  private drawControls(state: AppState): void {
    const asked = state.view.features ?? {};
    const samples = state.data.status === 'ready' ? state.data.value.samples : null;
    this.scope.set(
      [
        { value: 'all', label: 'all samples', title: 'One importance for all samples together' },
        { value: 'one', label: 'sample number', title: 'What the answer to one sample rests on' },
        {
          value: 'each',
          label: 'each sample',
          title: 'Every sample by itself, by a small network that is trained for it (Q-FIT)',
          disabled: asked.method === 'shapley',
        },
      ],
      asked.sample !== undefined ? 'one' : asked.each ? 'each' : 'all',
    );
    show(this.sampleWords, asked.sample !== undefined);
    this.sample.set(String(asked.sample ?? 0));
    this.sample.element.title = samples === null ? 'Number of the sample' : `0 to ${count(samples - 1)}`;
    this.method.set(
      Object.entries(METHODS).map(([value, m]) => ({ value, label: m.label, title: m.about })),
      asked.method ?? 'qfit',
    );
    const inputs = inspection(state)?.inputs ?? [];
    const input = inputs.find((i) => i.name === asked.input) ?? inputs[0];
    show(this.inputWords, inputs.length > 1);
    this.input.set(
      inputs.map((i) => ({ value: i.name, label: i.name })),
      input?.name ?? '',
    );
    const kinds = kindsOf(input);
    this.kind.set(
      [
        { value: '', label: 'its features', title: 'What suits the input: columns, patches, tokens, …' },
        ...kinds.map((k) => ({ value: k, label: FEATURE_WORDS[k][1] })),
      ],
      asked.kind && kinds.includes(asked.kind) ? asked.kind : '',
    );
    show(this.patchWords, asked.kind === 'patches');
    this.patch.set(asked.patch === undefined ? '' : String(asked.patch));
    this.baseline.set(
      Object.entries(BASELINE_WORDS).map(([value, label]) => ({
        value,
        label,
        title: 'What a feature is when it is taken away',
      })),
      asked.baseline ?? 'mean',
    );
    show(this.selectWords, asked.kind === 'rows' || asked.kind === 'patches' || asked.kind === 'pixels');
    this.select.set(asked.select === undefined ? '' : String(asked.select));
    show(this.against.element, state.report !== null && !asked.each);
    this.against.set(asked.against === true);
    const running = state.job?.method === 'features';
    const why = state.engineDied
      ? 'The engine stopped'
      : state.data.status === 'ready'
        ? ''
        : 'The data is not there yet';
    this.run.set({
      label: running ? 'Explaining…' : 'Explain',
      disabled: running || why !== '',
      title: why || 'Find what the answers rest on',
    });
    show(this.save.element, state.features !== null && !running);
  }

  private drawNote(state: AppState): void {
    const { features } = state;
    const text = state.featuresNote || (features && state.job?.method !== 'features' ? provenance(features) : '');
    fill(this.note, text);
    show(this.note, text !== '');
    const stale = features && staleness(state, features);
    fill(
      this.messages,
      stale && message('warning', `This was ${stale}. Explain again to have it for what is chosen now.`),
      ...(features?.warnings ?? []).map((w) => message('info', w)),
    );
  }

  private drawResults(state: AppState): void {
    const { features, featuresPartial } = state;
    const running = state.job?.method === 'features';
    const shown = features !== null || featuresPartial !== null;
    show(this.results, shown);
    show(this.empty, !shown);
    if (!shown) {
      const text = running
        ? 'Bars appear with the first steps.'
        : 'Which columns, patches, rows or tokens of the input the answers rest on: press Explain above. Bars appear while the values converge, and Stop keeps what was computed.';
      const title = running ? 'Explaining' : 'What does the model look at?';
      fill(this.empty, state.featuresError ? null : emptyState(title, text));
      return;
    }
    fill(this.empty);
    if (featuresPartial) this.drawPartial(state, featuresPartial);
    else this.drawFinal(features!);
  }

  /** While values converge only the bars are drawn: where features lie is told with the result. */
  private drawPartial(state: AppState, scores: readonly FeatureScore[]): void {
    show(this.map.element, false);
    show(this.text.element, false);
    const method = state.view.features?.method ?? 'qfit';
    fill(this.head, h('p', { class: 'muted', text: `${plural(scores.length, 'feature')}, converging` }));
    this.drawBars(scores, method, null, 'Importance of features so far');
  }

  private drawFinal(all: Features): void {
    const found = this.ofShownSample(all);
    const { kind, method, grid, picture, tokens } = found;
    const [one, many] = FEATURE_WORDS[kind];
    const n = found.features.length;
    const facts = [`${count(n)} ${n === 1 ? one : many} of ${found.input}`, ...valueFacts(found)];
    fill(
      this.head,
      h('h2', { text: `${METHODS[method].label} of ${many}` }),
      h('p', { class: 'muted', text: facts.join(' · ') }),
      this.inOrder.element,
      found.local ? this.localWords : null,
    );
    if (found.comparison) this.head.append(h('p', { class: 'comparison-line', text: comparisonText(found) }));
    this.inOrder.set(this.ordered);
    const label = `${METHODS[method].label} of the ${many} of ${found.input}`;
    show(this.map.element, grid !== undefined);
    if (grid) {
      const selected = found.selected?.indices ?? [];
      this.map.set({ features: found.features, method, grid, picture: picture ?? null, selected, label });
    }
    show(this.text.element, tokens !== undefined);
    const named = tokens ? found.features.map((f, i) => ({ ...f, name: `${tokens[i]} (${i})` })) : found.features;
    if (tokens) this.text.set(tokens, named, method);
    this.drawBars(named, method, found, label);
  }

  /** An explanation of each sample, as that of the one that is looked at: without deviations, which are of the mean. */
  private ofShownSample(found: Features): Features {
    const one = found.local?.find((l) => l.sample === this.shownSample);
    this.local.set(one ? String(one.sample) : '');
    if (!one) return found;
    const features = found.features.map((f, i) => ({ ...f, importance: one.importance[i], sd: null }));
    return { ...found, features, picture: undefined };
  }

  private drawBars(
    scores: readonly FeatureScore[],
    method: Features['method'],
    found: Features | null,
    label: string,
  ): void {
    const features = this.ordered
      ? scores
      : [...scores].sort((a, b) => b.importance - a.importance || a.index - b.index);
    const other = found?.comparison?.other.features;
    this.bars.set({
      bars: featureBars(features, method),
      label,
      whiskers: whiskersOf(features, method),
      even: method === 'qfit' ? 1 / scores.length : null,
      other: other ? new Map(other.map((f) => [f.index, f.importance])) : null,
    });
  }

  /** A feature that one chart points at is shown in the others. */
  private markAll(index: number | null, from: { mark(index: number | null): void }): void {
    for (const chart of [this.bars, this.map, this.text]) if (chart !== from) chart.mark(index);
  }

  private saveShown(): void {
    const { features } = this.session.store.state;
    if (features) void this.explaining.save(features);
  }
}

function message(kind: 'warning' | 'info', text: string): HTMLElement {
  return h('p', { class: `note ${kind}` }, icon(kind), h('span', { text }));
}

/** The metric, or the loss, with all features and with none. */
function valueFacts({ method, loss, value }: Features): string[] {
  const name = method === 'qfit' ? `loss (${metricLabel(loss).replace('−', '')})` : metricLabel(loss);
  return [`${name} ${number(value.open)} with all, ${number(value.closed)} with all at the baseline`];
}

function comparisonText({ comparison }: Features): string {
  if (!comparison) return '';
  const { of, other, divergence, spearman } = comparison;
  const who = of === 'models' ? other.name.split(/[\\/]/).pop()! : other.name;
  const parts = [`Ticks: ${who}`];
  if (divergence) parts.push(`KL ${number(divergence.forward)} nats there, ${number(divergence.backward)} back`);
  if (spearman !== null) parts.push(`Spearman ${number(spearman)}`);
  return parts.join(' · ');
}

/** What differs between the explanation and what is chosen now, if anything. */
function staleness(state: AppState, features: Features): string | null {
  const model = inspection(state);
  if (model && features.model.sha256 !== model.model.sha256) return 'made from an earlier version of the model';
  if (state.data.status === 'ready' && features.data.fingerprint !== state.data.value.fingerprint)
    return 'made with other data';
  return null;
}

/** The run that made it, so that every number can be traced. */
function provenance(f: Features): string {
  const parts = [
    METHODS[f.method].label,
    f.mode === 'local' && f.sample !== undefined ? `sample ${count(f.sample)}` : plural(f.samples, 'sample'),
    f.data.path.split(/[\\/]/).pop()!,
    `baseline: ${BASELINE_WORDS[f.baseline]}`,
    f.method === 'qfit' ? plural(f.steps, 'step') : plural(f.steps, 'evaluation'),
    seconds(f.seconds),
    `seed ${f.seed}`,
    f.device.toUpperCase(),
  ];
  if (!f.complete) parts.push('stopped before the end');
  return parts.join(' · ');
}
