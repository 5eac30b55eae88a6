import type { Allocation, TargetKind } from '../../src/formats.ts';
import type { View } from '../app.ts';
import { isShare, metricDelta, percent, plural } from '../logic/format.ts';
import { method, metricLabel } from '../logic/words.ts';
import type { Pruning } from '../pruning.ts';
import type { Ranking } from '../ranking.ts';
import type { Session } from '../session.ts';
import { inspection, prunableGroups, shownRanks, type AppState } from '../state.ts';
import { fill, h, icon, setAttr, setText, show } from '../ui/dom.ts';
import { segmented } from '../ui/segmented.ts';
import { emptyState, errorSlot } from '../ui/states.ts';
import { button, dropdown, textField } from '../ui/toolkit.ts';
import { CutGrid } from './cut-grid.ts';
import { LiveCard } from './live-card.ts';

/** Largest drops that the slider offers, in the metric's unit: finer at the small end. */
const DROPS = [0, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2];

/** What is lost, what is won: slider, cut lines, live card, export. */
export class PruneView implements View {
  readonly element: HTMLElement;
  private readonly session: Session;
  private readonly pruning: Pruning;
  private readonly ranking: Ranking;
  private readonly kind: ReturnType<typeof segmented<TargetKind>>;
  private readonly slider = h('input', { class: 'slider', attrs: { type: 'range' } });
  private readonly sliderText = h('output', { class: 'slider-text' });
  private readonly find: ReturnType<typeof button>;
  private readonly minKeep: ReturnType<typeof textField>;
  private readonly roundTo: ReturnType<typeof textField>;
  private readonly allocation: ReturnType<typeof dropdown>;
  private readonly manual = h('div', { class: 'slot' });
  private readonly note = h('p', { class: 'muted', attrs: { role: 'status' } });
  private readonly planError: ReturnType<typeof errorSlot>;
  private readonly grid: CutGrid;
  private readonly card: LiveCard;
  private readonly empty = h('div', { class: 'slot' });
  private readonly work: HTMLElement;

  constructor(session: Session, pruning: Pruning, ranking: Ranking) {
    this.session = session;
    this.pruning = pruning;
    this.ranking = ranking;
    this.kind = segmented<TargetKind>(
      'Target',
      [
        { value: 'keep-macs', label: 'Kept MACs', title: 'Keep at most this share of the MACs' },
        { value: 'keep-params', label: 'Kept parameters', title: 'Keep at most this share of the parameters' },
        {
          value: 'max-drop',
          label: 'Largest drop',
          title: 'The smallest model whose metric falls by at most this much',
        },
      ],
      (kind) => this.setKind(kind),
    );
    this.slider.addEventListener('input', () => this.onSlide());
    this.slider.addEventListener('change', () => {
      if (session.store.state.view.target.kind === 'max-drop') void pruning.search();
    });
    this.find = button({
      label: 'Find',
      icon: 'search',
      title: 'Search for the smallest model with at most this drop',
      onClick: () => void pruning.search(),
    });
    this.minKeep = textField(
      { label: 'Keep at least so many per cent of each group', className: 'short', numeric: true },
      (v) => {
        const share = Number(v.replace(',', '.')) / 100;
        if (share >= 0 && share <= 1) pruning.setOptions({ minKeep: share });
        this.minKeep.set(String(Math.round(session.store.state.view.minKeep * 1000) / 10));
      },
    );
    this.roundTo = textField({ label: 'Kept units are a multiple of', className: 'short', numeric: true }, (v) => {
      const n = Number(v);
      if (Number.isInteger(n) && n >= 1) pruning.setOptions({ roundTo: n });
      this.roundTo.set(String(session.store.state.view.roundTo));
    });
    this.allocation = dropdown('How the cut is spread over groups', (v) =>
      pruning.setOptions({ allocation: v as Allocation }),
    );
    this.planError = errorSlot(
      { retry: () => void pruning.search(), showLog: () => session.showLog() },
      'No cut was found',
    );
    this.grid = new CutGrid(session, pruning);
    this.card = new LiveCard(session, pruning);
    const target = h(
      'section',
      { class: 'target' },
      h('div', { class: 'target-row' }, this.kind.element, this.find.element),
      h('div', { class: 'slider-row' }, this.slider, this.sliderText),
      h(
        'div',
        { class: 'options' },
        h('span', { class: 'words' }, 'Keep at least', this.minKeep.element, '% of each group,'),
        h('span', { class: 'words' }, 'in multiples of', this.roundTo.element),
        h('span', { class: 'words' }, 'spread', this.allocation.element),
      ),
      this.note,
      this.manual,
      this.planError.element,
    );
    this.work = h(
      'div',
      { class: 'prune-work' },
      h('div', { class: 'prune-left' }, target, this.grid.element),
      this.card.element,
    );
    this.element = h('div', { class: 'view prune' }, this.empty, this.work);
  }

  update(state: AppState, changed: ReadonlySet<keyof AppState> | null): void {
    const cuts = this.pruning.cutGroups(state);
    const ready = cuts.length > 0;
    show(this.work, ready);
    show(this.empty, !ready);
    if (!ready) return this.drawEmpty(state);
    this.empty.dataset.key = '';
    const any = (...keys: (keyof AppState)[]): boolean => changed === null || keys.some((k) => changed.has(k));
    if (any('view', 'ranks', 'model', 'planning', 'planMessages', 'data', 'engineDied')) this.drawTarget(state);
    if (any('planError', 'engineDied')) this.planError.set(state.engineDied ? null : state.planError);
    if (any('view', 'ranks', 'model')) this.grid.update(state);
    this.card.update(state, changed);
  }

  private drawEmpty(state: AppState): void {
    const nothing = prunableGroups(state).length === 0;
    const running = state.job?.method === 'rank';
    const key = `${nothing} ${running} ${state.view.method} ${state.data.status} ${state.engineDied}`;
    if (this.empty.dataset.key === key) return;
    this.empty.dataset.key = key;
    if (nothing) {
      const reason = inspection(state)?.groups[0]?.reason;
      fill(
        this.empty,
        emptyState(
          'Nothing to prune',
          `No group of units in this model can lose units${reason ? ` (${inspection(state)!.groups[0].id}: it ${reason})` : ''}. The Overview lists the reasons.`,
        ),
      );
      return;
    }
    const about = method(state.view.method);
    const can = !running && !state.engineDied && (state.data.status === 'ready' || !about.data);
    const text = running
      ? 'The ranking runs. When it is done, the cut lines appear here.'
      : `A cut takes away the units that matter least. Rank them first: by ${about.label}, for all groups.`;
    fill(
      this.empty,
      emptyState(
        'No ranks to cut by',
        text,
        can ? { label: 'Rank now', onClick: () => void this.ranking.start() } : undefined,
      ),
    );
  }

  private setKind(kind: TargetKind): void {
    const { target } = this.session.store.state.view;
    if (kind === target.kind) return;
    if (kind === 'max-drop') {
      this.pruning.setTarget(kind, 0.01);
      void this.pruning.search();
    } else this.pruning.setTarget(kind, target.kind === 'max-drop' ? 0.5 : target.value);
  }

  private onSlide(): void {
    const { target } = this.session.store.state.view;
    const value = Number(this.slider.value);
    this.pruning.setTarget(target.kind, target.kind === 'max-drop' ? DROPS[value] : value / 1000);
  }

  private drawTarget(state: AppState): void {
    const { view } = state;
    const { kind, value } = view.target;
    const model = inspection(state);
    const sweep = this.pruning.sweep(state);
    if (!model || !sweep) return;
    this.kind.set(kind);
    const drop = kind === 'max-drop';
    show(this.find.element, drop);
    this.find.set({
      label: state.planning ? 'Searching…' : 'Find',
      disabled: state.planning !== null || state.data.status !== 'ready' || state.engineDied !== null,
    });
    const cost = this.pruning.prediction(state);
    const unit = kind === 'keep-params' ? 'parameters' : 'macs';
    const left = model.totals[unit] > 0 ? cost[unit] / model.totals[unit] : 1;
    const name = unit === 'macs' ? 'MACs' : 'parameters';
    if (drop) {
      setAttr(this.slider, 'min', 0);
      setAttr(this.slider, 'max', DROPS.length - 1);
      setAttr(this.slider, 'step', 1);
      const near = DROPS.reduce((best, d, i) => (Math.abs(d - value) < Math.abs(DROPS[best] - value) ? i : best), 0);
      this.slider.value = String(near);
      const judge = this.pruning.judge(state);
      const text = isShare(judge) ? metricDelta(judge, -value) : `−${value}`;
      setText(
        this.sliderText,
        value === 0 ? 'no drop' : `at most ${text.replace(/^[−±]/, '')} of ${metricLabel(judge)}`,
      );
    } else {
      const smallest = sweep.smallest(kind);
      setAttr(this.slider, 'min', Math.floor(Math.min(smallest, left) * 1000));
      setAttr(this.slider, 'max', 1000);
      setAttr(this.slider, 'step', 5);
      this.slider.value = String(Math.round((view.manual ? left : Math.max(value, smallest)) * 1000));
      setText(this.sliderText, `${percent(left)} of the ${name} left`);
    }
    setAttr(this.slider, 'aria-label', drop ? 'Largest drop of the metric' : `Kept ${name}`);
    setAttr(this.slider, 'aria-valuetext', this.sliderText.textContent);
    const fillShare =
      (Number(this.slider.value) - Number(this.slider.min)) /
      Math.max(1, Number(this.slider.max) - Number(this.slider.min));
    this.slider.style.setProperty('--fill', String(fillShare));
    this.minKeep.set(String(Math.round(view.minKeep * 1000) / 10));
    this.roundTo.set(String(view.roundTo));
    this.allocation.set(
      [
        {
          value: 'global',
          label: 'by score',
          title: 'One order over all groups: what scores least per saved cost goes first',
        },
        { value: 'uniform', label: 'evenly', title: 'The same share of every group' },
      ],
      view.allocation ?? 'global',
    );
    this.drawNotes(state, sweep.smallest(kind));
  }

  private drawNotes(state: AppState, smallest: number): void {
    const { view } = state;
    const shown = shownRanks(state);
    const parts: (string | false)[] = [
      shown !== null &&
        `Cut by ${method(shown.ranks.method).label}${shown.ranks.metric ? ` of ${metricLabel(shown.ranks.metric)}` : ''}.`,
      shown?.stale ? `These ranks were ${shown.stale}.` : false,
      view.target.kind !== 'max-drop' &&
        !view.manual &&
        view.target.value < smallest - 0.0005 &&
        `The floor and the locks allow no less than ${percent(smallest)}.`,
      view.frozen.length > 0 && `${plural(view.frozen.length, 'group')} locked.`,
    ];
    const unranked = prunableGroups(state).length - this.pruning.cutGroups(state).length;
    if (unranked > 0)
      parts.push(`${plural(unranked, 'group')} without ranks ${unranked === 1 ? 'stays' : 'stay'} whole.`);
    if (view.target.kind === 'max-drop' && !view.manual) parts.push(...state.planMessages);
    if (state.planning) parts.unshift(`${state.planning.note || 'searching'}…`);
    setText(this.note, parts.filter(Boolean).join(' '));
    this.note.classList.toggle('warning', Boolean(shown?.stale));
    const on = view.manual === true;
    if (on === this.manual.childNodes.length > 0) return;
    fill(
      this.manual,
      on &&
        h(
          'p',
          { class: 'note info' },
          icon('edit'),
          h('span', { text: 'Cut lines were moved by hand.' }),
          button({ label: 'Follow the slider again', onClick: () => this.pruning.resetManual() }).element,
        ),
    );
  }
}
