import { bytes, count, percent, si } from '../logic/format.ts';
import type { DeviceName } from '../../src/formats.ts';
import type { Session } from '../session.ts';
import { inspection, type AppState } from '../state.ts';
import { fill, h, icon, setAttr, setText, show } from './dom.ts';
import { banner, errorSlot, loadingState } from './states.ts';
import { button, dropdown, progressRing, type Choice } from './toolkit.ts';

type ViewName = AppState['view']['view'];

const TABS: { view: ViewName; label: string }[] = [
  { view: 'overview', label: 'Overview' },
  { view: 'ranks', label: 'Ranks' },
  { view: 'prune', label: 'Prune' },
  { view: 'features', label: 'Features' },
];

const DEVICES: Record<DeviceName, string> = {
  cpu: 'CPU',
  webgpu: 'WebGPU',
  cuda: 'CUDA',
  dml: 'DirectML',
  coreml: 'Core ML',
};

/** What stays while views change: facts, data and device, tabs, the running job, banners, the list of groups. */
export class Frame {
  readonly element: HTMLElement;
  private readonly session: Session;
  private readonly title = h('h1');
  private readonly facts = h('span', { class: 'facts' });
  private readonly data: ReturnType<typeof dropdown>;
  private readonly dataFacts = h('span', { class: 'data-facts' });
  private readonly device: ReturnType<typeof dropdown>;
  private readonly tabs: HTMLButtonElement[];
  private readonly job = h('div', { class: 'job' });
  private readonly jobText = h('span', { class: 'job-text' });
  private readonly jobBar = h('span', { class: 'job-bar-fill' });
  private readonly jobShare = h('span', { class: 'job-share' });
  private readonly jobLive = h('div', { class: 'sr-only', attrs: { role: 'status', 'aria-live': 'polite' } });
  private readonly stop: ReturnType<typeof button>;
  private readonly banners = h('div', { class: 'banners' });
  private readonly dataError: ReturnType<typeof errorSlot>;
  private readonly panel = h('div', { class: 'panel', attrs: { role: 'tabpanel', id: 'panel', tabindex: -1 } });
  private readonly side: HTMLElement;
  private readonly sideToggle: HTMLButtonElement;
  private readonly loading = loadingState('Reading the model');
  private content: HTMLElement | null = null;
  private announced = '';

  constructor(session: Session, list: HTMLElement) {
    this.session = session;
    this.data = dropdown('Data', (value) => this.chooseData(value), 'data-picker');
    this.device = dropdown(
      'Device',
      (value) => session.setDevice(value as AppState['view']['device']),
      'device-picker',
    );
    this.dataError = errorSlot({ retry: () => void session.loadData(), showLog: () => session.showLog() }, 'Data');
    this.stop = button({ label: 'Stop', icon: 'debug-stop', onClick: () => session.stop() });
    this.tabs = TABS.map((t) =>
      h('button', {
        class: 'tab',
        text: t.label,
        attrs: { type: 'button', role: 'tab', id: `tab-${t.view}`, 'aria-controls': 'panel' },
        on: { click: () => session.store.setView({ view: t.view }) },
      }),
    );
    const tablist = h('div', { class: 'tabs', attrs: { role: 'tablist', 'aria-label': 'Views' } }, ...this.tabs);
    tablist.addEventListener('keydown', (e) => this.onTabKey(e));
    this.job.append(
      progressRing(),
      this.jobText,
      h('span', { class: 'job-bar', attrs: { 'aria-hidden': 'true' } }, this.jobBar),
      this.jobShare,
      this.stop.element,
    );
    this.sideToggle = h('button', {
      class: 'side-toggle',
      attrs: { type: 'button', 'aria-expanded': 'false', 'aria-controls': 'side' },
      on: {
        click: () => {
          const open = this.side.classList.toggle('open');
          setAttr(this.sideToggle, 'aria-expanded', String(open));
        },
      },
    });
    this.sideToggle.append(icon('list-tree'), h('span', { text: 'Groups' }));
    this.side = h('div', { class: 'side', attrs: { id: 'side' } }, list);
    this.element = h(
      'div',
      { class: 'frame' },
      h(
        'header',
        { class: 'top' },
        h('div', { class: 'identity' }, this.title, this.facts),
        h(
          'div',
          { class: 'pickers' },
          h(
            'span',
            { class: 'picker' },
            h('span', { class: 'picker-label', text: 'Data' }),
            this.data.element,
            this.dataFacts,
          ),
          h('span', { class: 'picker' }, h('span', { class: 'picker-label', text: 'Device' }), this.device.element),
        ),
      ),
      h(
        'nav',
        { class: 'bar', attrs: { 'aria-label': 'Views and the running job' } },
        this.sideToggle,
        tablist,
        this.job,
        this.jobLive,
      ),
      this.banners,
      this.dataError.element,
      h('main', { class: 'body' }, this.side, this.panel),
    );
  }

  /** Shows a view's element; null: what is there instead (loading, error). */
  show(content: HTMLElement | null): void {
    if (content !== null && content === this.content) return;
    const before = this.content;
    this.content = content;
    if (content) {
      fill(this.panel, content);
      this.panel.scrollTop = 0;
      return;
    }
    const { host, model } = this.session.store.state;
    const failed = host.status === 'error' ? host.error : model.status === 'error' ? model.error : null;
    if (failed) {
      const retry = host.status === 'error' ? () => void this.session.start() : () => void this.session.loadModel();
      const slot = errorSlot({ retry, showLog: () => this.session.showLog() }, 'The model cannot be shown');
      slot.set(failed);
      fill(this.panel, slot.element);
    } else if (before || !this.loading.element.isConnected) {
      this.loading.reset();
      fill(this.panel, this.loading.element);
    }
  }

  update(state: AppState, changed: ReadonlySet<keyof AppState> | null): void {
    const any = (...keys: (keyof AppState)[]): boolean => changed === null || keys.some((k) => changed.has(k));
    if (any('host', 'model')) this.drawFacts(state);
    if (any('data', 'dataChoices', 'view', 'host')) this.drawData(state);
    if (any('devices', 'view')) this.drawDevices(state);
    if (any('view')) this.drawTabs(state);
    if (any('job')) this.drawJob(state);
    if (any('engineDied', 'restarting', 'stale')) this.drawBanners(state);
    if (any('model') && state.model.status === 'loading') this.loading.set(state.model.progress);
  }

  private drawFacts(state: AppState): void {
    const name = state.host.status === 'ready' ? state.host.value.name : '';
    setText(this.title, name);
    this.title.title = state.host.status === 'ready' ? state.host.value.model : '';
    const model = inspection(state);
    fill(this.facts);
    if (!model) return;
    const facts: [string, string][] = [
      [`opset ${model.model.opset}`, `ONNX operator set ${model.model.opset}, IR version ${model.model.irVersion}`],
      [
        `${si(model.totals.parameters)} parameters`.replace(/(\d) parameters/, '$1 parameters'),
        `${count(model.totals.parameters)} parameters`,
      ],
      [`${si(model.totals.macs)} MACs`, `${count(model.totals.macs)} multiply-accumulate operations for one sample`],
      [bytes(model.model.bytes), `${count(model.model.bytes)} bytes`],
    ];
    facts.forEach(([text, title], i) => {
      if (i > 0) this.facts.append(h('span', { class: 'dot', text: '·', attrs: { 'aria-hidden': 'true' } }));
      this.facts.append(h('span', { text, title }));
    });
  }

  private drawData(state: AppState): void {
    const path = state.view.data?.path ?? null;
    const choices: Choice[] = state.dataChoices
      .filter((c) => c.path !== null)
      .map((c) => ({ value: `path:${c.path}`, label: c.label, title: c.path ?? '' }));
    if (path !== null && !choices.some((c) => c.value === `path:${path}`)) {
      choices.push({ value: `path:${path}`, label: path.split(/[\\/]/).pop() ?? path, title: path });
    }
    choices.push(
      {
        value: 'none',
        label: 'synthetic inputs, compares outputs only',
        title:
          'No data: random inputs of the right shapes. Values compare outputs with the original’s, not with labels.',
      },
      { value: 'file', label: 'Choose a data file…' },
      { value: 'folder', label: 'Choose a data folder…' },
    );
    this.data.set(choices, path === null ? 'none' : `path:${path}`, state.host.status !== 'ready');
    this.data.element.classList.toggle('warning', path === null && state.host.status === 'ready');
    const { data } = state;
    this.dataFacts.className = 'data-facts';
    if (data.status === 'ready') {
      const d = data.value;
      const held = d.holdoutSamples ? ` + ${count(d.holdoutSamples)} held out` : '';
      const samples = `${count(d.samples)}${held} ${d.samples === 1 && !held ? 'sample' : 'samples'}`;
      const title = [
        samples,
        d.hasLabels ? `labels${d.classes ? `, ${count(d.classes)} classes` : ''}` : 'no labels',
        `output ${d.output}, read as ${d.reading}`,
        ...d.warnings,
      ].join('\n');
      fill(
        this.dataFacts,
        d.warnings.length ? icon('warning', d.warnings.join('\n')) : null,
        h('span', { text: samples }),
      );
      this.dataFacts.title = title;
      if (d.warnings.length) this.dataFacts.classList.add('warning');
    } else if (data.status === 'loading') {
      const p = data.progress?.fraction;
      fill(
        this.dataFacts,
        h('span', { class: 'late', text: p === null || p === undefined ? 'reading…' : `reading ${percent(p)}` }),
      );
    } else fill(this.dataFacts);
    this.dataError.set(data.status === 'error' && !state.engineDied ? data.error : null);
  }

  private chooseData(value: string): void {
    if (value === 'file' || value === 'folder') void this.session.pickData(value);
    else this.session.setData(value === 'none' ? null : value.slice('path:'.length));
  }

  private drawDevices(state: AppState): void {
    const known = state.devices.length ? state.devices : [{ name: 'cpu' as const, available: true, note: '' }];
    const choices: Choice[] = [{ value: 'auto', label: 'auto', title: 'The fastest device that is there' }];
    for (const d of known) {
      choices.push({
        value: d.name,
        label: DEVICES[d.name] ?? d.name,
        disabled: !d.available,
        title: d.note || DEVICES[d.name],
      });
    }
    this.device.set(choices, state.view.device, state.host.status !== 'ready');
  }

  private drawTabs(state: AppState): void {
    TABS.forEach((t, i) => {
      const on = t.view === state.view.view;
      setAttr(this.tabs[i], 'aria-selected', String(on));
      this.tabs[i].tabIndex = on ? 0 : -1;
    });
    setAttr(this.panel, 'aria-labelledby', `tab-${state.view.view}`);
  }

  private onTabKey(e: KeyboardEvent): void {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    const at = TABS.findIndex((t) => t.view === this.session.store.state.view.view);
    const next = step ? (at + step + TABS.length) % TABS.length : { Home: 0, End: TABS.length - 1 }[e.key];
    if (next === undefined) return;
    this.session.store.setView({ view: TABS[next].view });
    this.tabs[next].focus();
    e.preventDefault();
  }

  private drawJob(state: AppState): void {
    const { job } = state;
    show(this.job, job !== null);
    if (!job) {
      if (this.announced) setText(this.jobLive, `${this.announced}: finished`);
      this.announced = '';
      return;
    }
    setText(this.jobText, job.note || job.title);
    this.jobText.title = `${job.title}${job.note ? `: ${job.note}` : ''}`;
    const known = job.fraction !== null;
    this.job.classList.toggle('unknown', !known);
    setText(this.jobShare, known ? percent(Math.floor((job.fraction ?? 0) * 100) / 100) : '');
    this.jobBar.style.width = `${Math.round((job.fraction ?? 0) * 1000) / 10}%`;
    this.stop.set({ disabled: !job.stoppable });
    // Spoken at every quarter only.
    const quarter = known ? Math.floor((job.fraction ?? 0) * 4) * 25 : 0;
    const words = `${job.title} ${quarter} per cent`;
    if (words !== this.jobLive.textContent) setText(this.jobLive, words);
    this.announced = job.title;
  }

  private drawBanners(state: AppState): void {
    fill(this.banners);
    if (state.engineDied) {
      this.banners.append(
        banner({
          kind: 'error',
          text: `The engine stopped. ${state.engineDied} Nothing else in VS Code is affected, and finished results are kept.`,
          actions: [
            {
              label: state.restarting ? 'Restarting…' : 'Restart engine',
              disabled: state.restarting,
              onClick: () => void this.session.restartEngine(),
            },
            { label: 'Show log', onClick: () => this.session.showLog() },
          ],
        }),
      );
    }
    if (state.stale) {
      this.banners.append(
        banner({
          kind: 'warning',
          text: 'The model file changed on disk. What is shown is of the earlier version.',
          actions: [{ label: 'Reload', onClick: () => void this.session.loadModel() }],
        }),
      );
    }
  }
}
