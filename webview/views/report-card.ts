import type { PruneReport } from '../../src/formats.ts';
import {
  bytes,
  change,
  count,
  DASH,
  isShare,
  metricDelta,
  metricValue,
  milliseconds,
  number,
  plural,
  seconds,
  si,
} from '../logic/format.ts';
import { metricLabel } from '../logic/words.ts';
import type { Pruning } from '../pruning.ts';
import { wireError } from '../rpc.ts';
import type { Session } from '../session.ts';
import type { AppState } from '../state.ts';
import { fill, h, icon, setText, show } from '../ui/dom.ts';
import { button } from '../ui/toolkit.ts';

/** What a prune did: before and after, the proof that the file does what was measured, and where it is. */
export class ReportCard {
  readonly element = h('section', { class: 'report', attrs: { 'aria-label': 'Report of the last prune' } });
  private readonly session: Session;
  private readonly pruning: Pruning;
  private readonly status = h('p', { class: 'muted', attrs: { role: 'status' } });
  private shown: PruneReport | null = null;

  constructor(session: Session, pruning: Pruning) {
    this.session = session;
    this.pruning = pruning;
  }

  update(state: AppState): void {
    const { report } = state;
    show(this.element, report !== null);
    if (report === this.shown) return;
    this.shown = report;
    setText(this.status, '');
    if (!report) return fill(this.element);
    fill(this.element, ...this.content(report));
    this.element.scrollIntoView({ block: 'nearest' });
  }

  private content(report: PruneReport): HTMLElement[] {
    const { before, after, equivalence, metric } = report;
    const name = report.output.split(/[\\/]/).pop() ?? report.output;
    const samples = report.data.samples;
    const row = (label: string, a: string, b: string, delta: string): HTMLElement =>
      h(
        'tr',
        {},
        h('th', { text: label, attrs: { scope: 'row' } }),
        h('td', { class: 'numeric muted', text: a }),
        h('td', { class: 'numeric', text: b }),
        h('td', { class: 'numeric muted', text: delta }),
      );
    const value = (label: string, a: number | null, b: number | null, n: number): HTMLElement | null =>
      a === null && b === null
        ? null
        : row(
            label,
            metricValue(metric, a, n),
            metricValue(metric, b, n),
            a !== null && b !== null ? metricDelta(metric, b - a, n).replace('points', 'pt') : DASH,
          );
    const rows = [
      row('MACs', si(before.macs), si(after.macs), change(before.macs, after.macs)),
      row('Parameters', si(before.parameters), si(after.parameters), change(before.parameters, after.parameters)),
      row('File', bytes(before.bytes), bytes(after.bytes), change(before.bytes, after.bytes)),
      value(metricName(metric, 'calibration'), before.value, after.value, samples),
      value(metricName(metric, 'held out'), before.holdout, after.holdout, report.holdoutSamples || samples),
      before.latencyMs === null && after.latencyMs === null
        ? null
        : row(
            'Latency',
            milliseconds(before.latencyMs ?? NaN),
            milliseconds(after.latencyMs ?? NaN),
            change(before.latencyMs ?? 0, after.latencyMs ?? NaN),
          ),
    ];
    const proof = `Outputs equal to the gated model: max ${number(equivalence.maxRelDiff, 1)}`;
    return [
      h('h2', {}, icon('pass-filled'), h('span', { text: 'Exported and checked' })),
      h('p', { class: 'report-file', text: name, title: report.output }),
      h(
        'table',
        { class: 'plain report-table' },
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            ...['', 'Before', 'After', 'Change'].map((t, i) =>
              h('th', { class: i ? 'numeric' : '', text: t, attrs: { scope: 'col' } }),
            ),
          ),
        ),
        h('tbody', {}, ...rows),
      ),
      h('p', {
        class: 'proof',
        text: `${proof} relative (tolerance ${number(equivalence.tolerance, 2)}, ${plural(equivalence.samples, 'sample')}).`,
        title: `Largest absolute difference ${number(equivalence.maxAbsDiff, 2)}`,
      }),
      ...report.warnings.map((w) => h('p', { class: 'note warning' }, icon('warning'), h('span', { text: w }))),
      ...(report.shrunkOutputs.length
        ? [
            h(
              'p',
              { class: 'note info' },
              icon('info'),
              h('span', { text: `Outputs that lost columns with their units: ${report.shrunkOutputs.join(', ')}.` }),
            ),
          ]
        : []),
      h(
        'div',
        { class: 'buttons' },
        button({
          label: 'Open beside',
          icon: 'split-horizontal',
          onClick: () => this.act(() => this.session.rpc.request('open-beside', { path: report.output })),
        }).element,
        button({
          label: 'Reveal',
          icon: 'folder-opened',
          title: 'Show the file in the explorer',
          onClick: () => this.act(() => this.session.rpc.request('reveal', { path: report.output })),
        }).element,
        button({
          label: 'Copy CLI command',
          icon: 'copy',
          title: 'Saves the plan and copies the command that makes this file again',
          onClick: () => this.act(() => this.pruning.copyCommand()),
        }).element,
      ),
      this.status,
      h('p', {
        class: 'muted',
        text: `${report.device.toUpperCase()} · ${seconds(report.seconds)} · ${count(samples)} samples`,
      }),
    ];
  }

  /** Runs an action of the host and says what came of it. */
  private act(action: () => Promise<unknown>): void {
    action().then(
      (said) => setText(this.status, typeof said === 'string' ? said : ''),
      (thrown: unknown) => setText(this.status, wireError(thrown).message),
    );
  }
}

function metricName(metric: PruneReport['metric'], where: string): string {
  const label = isShare(metric) ? metricLabel(metric) : metricLabel(metric).replace(' to the original', '');
  return `${label.charAt(0).toUpperCase()}${label.slice(1)}, ${where}`;
}
