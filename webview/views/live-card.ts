import type { MetricName } from '../../src/formats.ts';
import { CurveChart } from '../charts/curve.ts';
import { bytes, change, count, interval, metricDelta, metricValue, percent, plural, si } from '../logic/format.ts';
import { metricLabel, METRICS } from '../logic/words.ts';
import type { Pruning } from '../pruning.ts';
import type { Session } from '../session.ts';
import { inspection, type AppState } from '../state.ts';
import type { Measured } from '../../src/protocol.ts';
import { h, setText, show } from '../ui/dom.ts';
import { errorSlot } from '../ui/states.ts';
import { button, dropdown, progressRing } from '../ui/toolkit.ts';
import { ReportCard } from './report-card.ts';

/** What the present cut costs (at once) and what the gated model makes of it (measured), and the way out. */
export class LiveCard {
  readonly element: HTMLElement;
  private readonly pruning: Pruning;
  private readonly rows: Record<'macs' | 'parameters' | 'bytes' | 'units', { now: HTMLElement; change: HTMLElement }>;
  private readonly judge: ReturnType<typeof dropdown>;
  private readonly value = h('span', { class: 'live-value' });
  private readonly spread = h('span', { class: 'live-spread' });
  private readonly status = h('p', { class: 'muted live-status' });
  private readonly error: ReturnType<typeof errorSlot>;
  private readonly pruneError: ReturnType<typeof errorSlot>;
  private readonly curve: CurveChart;
  private readonly trace: ReturnType<typeof button>;
  private readonly prune: ReturnType<typeof button>;
  private readonly ring = progressRing();
  private readonly pruneNote = h('p', { class: 'muted', attrs: { role: 'status' } });
  private readonly report: ReportCard;
  private last: Measured | null = null;
  private lastMetric: MetricName | null = null;

  constructor(session: Session, pruning: Pruning) {
    this.pruning = pruning;
    const row = () => ({ now: h('td', { class: 'numeric' }), change: h('td', { class: 'numeric muted' }) });
    this.rows = { macs: row(), parameters: row(), bytes: row(), units: row() };
    const line = (label: string, r: { now: HTMLElement; change: HTMLElement }, title: string) =>
      h('tr', { title }, h('th', { text: label, attrs: { scope: 'row' } }), r.now, r.change);
    this.judge = dropdown('Metric to measure', (v) => pruning.setJudge(v as MetricName), 'judge');
    this.error = errorSlot(
      { retry: () => pruning.measureSoon(true), showLog: () => session.showLog() },
      'Not measured',
    );
    this.pruneError = errorSlot(
      { retry: () => void pruning.pruneAndExport(), showLog: () => session.showLog() },
      'Nothing was written',
    );
    this.curve = new CurveChart((i) => pruning.reopen(session.store.state.view.history[i]));
    this.trace = button({
      label: 'Measure the curve',
      icon: 'graph-line',
      title: 'Measures nine cuts from the whole model to the floor',
      onClick: () => void pruning.trace(),
    });
    this.prune = button({ label: 'Prune & export…', kind: 'primary', onClick: () => void pruning.pruneAndExport() });
    this.report = new ReportCard(session, pruning);
    this.element = h(
      'aside',
      { class: 'live', attrs: { 'aria-label': 'The present cut' } },
      h(
        'div',
        { class: 'live-measured' },
        h('div', { class: 'live-head' }, h('span', { class: 'words' }, 'Measured', this.judge.element), this.ring),
        h('p', { class: 'live-number', attrs: { 'aria-live': 'polite' } }, this.value, this.spread),
        this.status,
        this.error.element,
      ),
      h(
        'table',
        { class: 'plain live-cost' },
        h('caption', { class: 'sr-only', text: 'Predicted cost of the cut' }),
        h(
          'tbody',
          {},
          line('MACs', this.rows.macs, 'Predicted; one sample'),
          line('Parameters', this.rows.parameters, 'Predicted'),
          line('File', this.rows.bytes, 'Predicted from the bytes of the parameters that go'),
          line('Units', this.rows.units, 'Units of the ranked groups that stay'),
        ),
      ),
      h('div', { class: 'live-curve' }, this.curve.element, this.trace.element),
      h('div', { class: 'live-go' }, this.prune.element, this.pruneNote, this.pruneError.element),
      this.report.element,
    );
  }

  update(state: AppState, changed: ReadonlySet<keyof AppState> | null): void {
    const any = (...keys: (keyof AppState)[]): boolean => changed === null || keys.some((k) => changed.has(k));
    if (any('view', 'model', 'ranks')) this.drawCost(state);
    if (any('measured', 'data', 'view', 'reference', 'engineDied')) this.drawMeasured(state);
    if (any('view', 'measured', 'reference', 'tracing', 'model', 'engineDied', 'data')) this.drawCurve(state);
    if (any('pruning', 'pruneError', 'view', 'engineDied', 'data')) this.drawGo(state);
    if (any('report', 'pruning')) this.report.update(state);
  }

  private drawCost(state: AppState): void {
    const model = inspection(state);
    if (!model) return;
    const cost = this.pruning.prediction(state);
    setText(this.rows.macs.now, si(cost.macs));
    setText(this.rows.macs.change, change(model.totals.macs, cost.macs));
    setText(this.rows.parameters.now, si(cost.parameters));
    setText(this.rows.parameters.change, change(model.totals.parameters, cost.parameters));
    setText(this.rows.bytes.now, cost.bytes === null ? 'not known' : `≈ ${bytes(cost.bytes)}`);
    setText(this.rows.bytes.change, cost.bytes === null ? '' : change(model.model.bytes, cost.bytes));
    const groups = this.pruning.cutGroups(state);
    const all = groups.reduce((sum, g) => sum + g.size, 0);
    const kept = groups.reduce((sum, g) => sum + (state.view.keep?.[g.id]?.length ?? g.size), 0);
    setText(this.rows.units.now, `${count(kept)} of ${count(all)}`);
    setText(this.rows.units.change, change(all, kept));
  }

  private drawMeasured(state: AppState): void {
    const metric = this.pruning.judge(state);
    const metrics = state.data.status === 'ready' ? state.data.value.metrics : [];
    this.judge.set(
      metrics.length
        ? metrics.map((m) => ({ value: m, label: metricLabel(m), title: METRICS[m]?.about }))
        : [{ value: '', label: 'metric' }],
      metric ?? '',
      metrics.length === 0,
    );
    if (metric !== this.lastMetric) this.last = null;
    this.lastMetric = metric;
    const m = state.measured;
    const now = m.status === 'ready' ? m.value : m.status === 'running' ? m.partial : null;
    if (now) this.last = now;
    const shown = now ?? this.last;
    const old = now === null && this.last !== null;
    const running = m.status === 'running';
    show(this.ring, running);
    this.value.classList.toggle('old', old);
    this.spread.classList.toggle('old', old);
    if (shown) {
      setText(this.value, metricValue(metric, shown.value, shown.samples));
      setText(this.spread, shown.stderr ? interval(metric, shown.stderr) : '');
    } else {
      setText(this.value, '–');
      setText(this.spread, '');
    }
    const parts: string[] = [];
    if (state.engineDied) parts.push('The engine stopped: not measured.');
    else if (state.data.status === 'error') parts.push('Without usable data nothing is measured.');
    else if (running) parts.push(now ? `measuring… ${plural(now.samples, 'sample')} so far` : 'measuring…');
    else if (m.status === 'idle') parts.push('not measured yet');
    if (shown && !old) {
      const delta = shown.value - shown.reference;
      parts.push(
        `${metricDelta(metric, delta, shown.samples)} against ${metricValue(metric, shown.reference, shown.samples)} of the original`,
      );
      if (!running) parts.push(`on ${plural(shown.samples, 'sample')}`);
    }
    setText(this.status, parts.join(' · '));
    this.error.set(m.status === 'error' && !state.engineDied ? m.error : null);
  }

  private drawCurve(state: AppState): void {
    const model = inspection(state);
    if (!model) return;
    const { view } = state;
    const unit =
      view.target.kind === 'keep-params' ? 'parameters' : view.target.kind === 'keep-macs' ? 'macs' : view.costUnit;
    const total = Math.max(1, model.totals[unit]);
    const m = state.measured;
    const now = m.status === 'ready' ? m.value : m.status === 'running' ? m.partial : null;
    this.curve.set({
      points: view.history.map((p) => ({ cost: p[unit] / total, value: p.value })),
      present: {
        cost: this.pruning.prediction(state)[unit] / total,
        value: now?.value ?? null,
        stderr: now?.stderr ?? null,
      },
      reference: state.reference,
      metric: this.pruning.judge(state),
      samples: now?.samples ?? Infinity,
      costLabel: unit === 'macs' ? 'MACs' : 'parameters',
    });
    const busy = state.tracing !== null;
    this.trace.set({
      label: busy ? `Measuring ${state.tracing?.note ?? ''}…` : 'Measure the curve',
      disabled: busy || state.data.status !== 'ready' || state.engineDied !== null,
    });
  }

  private drawGo(state: AppState): void {
    const groups = this.pruning.cutGroups(state);
    const removed = groups.reduce((sum, g) => sum + g.size - (state.view.keep?.[g.id]?.length ?? g.size), 0);
    const busy = state.pruning !== null;
    const why =
      removed === 0
        ? 'Nothing is cut yet'
        : state.data.status !== 'ready'
          ? 'The data is not there yet'
          : state.engineDied
            ? 'The engine stopped'
            : '';
    this.prune.set({
      label: busy ? 'Pruning…' : 'Prune & export…',
      disabled: busy || why !== '',
      title: why || `Writes a new file without ${plural(removed, 'unit')}; the original is never changed`,
    });
    const p = state.pruning;
    const share = p && p.fraction !== null ? ` ${percent(p.fraction)}` : '';
    setText(this.pruneNote, busy ? `${p?.note ?? ''}${share}` : why);
    show(this.pruneNote, busy || why !== '');
    const error = state.engineDied ? null : state.pruneError;
    const shown = this.pruneError.element.childNodes.length > 0;
    this.pruneError.set(
      error?.code === 'cancelled'
        ? { ...error, message: 'The prune was stopped.', hint: 'No file was written.' }
        : error,
    );
    if (error && !shown) this.pruneError.element.scrollIntoView({ block: 'nearest' });
  }
}
