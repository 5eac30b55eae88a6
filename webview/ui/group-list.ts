import type { GroupInfo } from '../../src/formats.ts';
import { count, percent } from '../logic/format.ts';
import { displayName } from '../logic/names.ts';
import { splitName } from '../logic/units.ts';
import { scrollToShow, visibleRange } from '../logic/virtual.ts';
import { COST_UNITS, kindName } from '../logic/words.ts';
import type { Pruning } from '../pruning.ts';
import type { Session } from '../session.ts';
import { inspection, type AppState } from '../state.ts';
import { fill, h, icon, onResize, setAttr, setText, show } from './dom.ts';
import { segmented } from './segmented.ts';
import { nameElement } from './states.ts';
import { textField } from './toolkit.ts';

const ROW = 24;

/** The list of groups that stays beside every view: bars of cost, sizes, locks, a filter. */
export class GroupList {
  readonly element: HTMLElement;
  private readonly session: Session;
  private readonly pruning: Pruning;
  private readonly scroller: HTMLElement;
  private readonly spacer: HTMLElement;
  private readonly summary = h('span', { class: 'list-title' });
  private readonly nothing = h('p', { class: 'muted list-empty' });
  private readonly unit: ReturnType<typeof segmented<'macs' | 'parameters'>>;
  private groups: GroupInfo[] = [];
  private shown: GroupInfo[] = [];
  private largest = 1;
  private filter = '';
  private viewport = 0;

  constructor(session: Session, pruning: Pruning) {
    this.session = session;
    this.pruning = pruning;
    this.spacer = h('div', { class: 'gl-spacer', attrs: { role: 'rowgroup' } });
    this.scroller = h(
      'div',
      { class: 'gl-body', attrs: { role: 'grid', tabindex: 0, 'aria-label': 'Groups. Arrow keys select, L locks.' } },
      this.spacer,
    );
    this.unit = segmented(
      'Cost in',
      [
        { value: 'macs', label: 'MACs', title: 'Multiply-accumulate operations of one sample' },
        { value: 'parameters', label: 'Params', title: 'Parameters: elements of the weights' },
      ],
      (costUnit) => session.store.setView({ costUnit }),
    );
    const filter = textField(
      {
        label: 'Filter groups by name',
        placeholder: 'Filter groups',
        icon: 'filter',
        live: true,
        className: 'gl-filter',
      },
      (value) => {
        this.filter = value.trim().toLowerCase();
        this.scroller.scrollTop = 0;
        this.applyFilter();
      },
    );
    this.element = h(
      'nav',
      { class: 'group-list', attrs: { 'aria-label': 'Groups' } },
      h('div', { class: 'gl-head' }, this.summary, this.unit.element),
      filter.element,
      this.scroller,
      this.nothing,
    );
    this.scroller.addEventListener('scroll', () => this.draw(), { passive: true });
    this.scroller.addEventListener('keydown', (e) => this.onKey(e));
    this.spacer.addEventListener('click', (e) => this.onClick(e));
    onResize(this.scroller, (_, height) => {
      this.viewport = height;
      this.draw();
    });
  }

  update(state: AppState, changed: ReadonlySet<keyof AppState> | null): void {
    if (changed && !changed.has('model') && !changed.has('view')) return;
    const model = inspection(state);
    const groups = model?.groups ?? [];
    const { costUnit } = state.view;
    this.unit.set(costUnit);
    this.largest = Math.max(1e-9, ...groups.map((g) => g[costUnit] / Math.max(1, model?.totals[costUnit] ?? 1)));
    if (groups !== this.groups) {
      this.groups = groups;
      const prunable = groups.filter((g) => g.prunable).length;
      const all = prunable === groups.length ? count(groups.length) : `${count(prunable)} of ${count(groups.length)}`;
      setText(this.summary, model ? `Groups ${all}` : 'Groups');
      this.summary.title = `${count(prunable)} prunable of ${count(groups.length)} groups`;
      this.applyFilter();
    } else this.draw();
  }

  private applyFilter(): void {
    const words = this.filter.split(/\s+/).filter(Boolean);
    this.shown = this.groups.filter((g) => {
      const text = `${g.id} ${g.kind} ${g.prunable ? '' : 'frozen'}`.toLowerCase();
      return words.every((w) => text.includes(w));
    });
    this.spacer.style.height = `${this.shown.length * ROW}px`;
    setAttr(this.scroller, 'aria-rowcount', this.shown.length);
    const { model } = this.session.store.state;
    show(this.nothing, this.shown.length === 0 && model.status === 'ready');
    setText(
      this.nothing,
      this.groups.length === 0 ? 'This model has no groups of units.' : 'No group matches the filter.',
    );
    this.draw();
  }

  private draw(): void {
    const { state } = this.session.store;
    const { view } = state;
    const total = Math.max(1, inspection(state)?.totals[view.costUnit] ?? 1);
    const { start, end } = visibleRange(this.scroller.scrollTop, this.viewport, ROW, this.shown.length);
    const rows = this.shown.slice(start, end).map((g, i) => {
      const share = g[view.costUnit] / total;
      const locked = view.frozen.includes(g.id);
      const selected = view.selectedGroup === g.id;
      const kept = view.keep?.[g.id]?.length;
      const bar = h('span', { class: 'gl-bar', attrs: { 'aria-hidden': 'true' } }, h('span', { class: 'gl-bar-fill' }));
      (bar.firstElementChild as HTMLElement).style.width =
        `${Math.max(share > 0 ? 2 : 0, (share / this.largest) * 100)}%`;
      const size =
        kept !== undefined && kept < g.size && view.view === 'prune'
          ? `${count(kept)}/${count(g.size)}`
          : count(g.size);
      const about = `${g.prunable ? count(g.size) + ' ' + kindName(g.kind, g.size) : `frozen: ${g.reason ? `it ${g.reason}` : 'not prunable'}`}, ${percent(share)} of the ${COST_UNITS[view.costUnit]}`;
      const row = h(
        'div',
        {
          class: `gl-row${selected ? ' selected' : ''}${g.prunable ? '' : ' fixed'}${locked ? ' locked' : ''}`,
          attrs: { role: 'row', 'aria-rowindex': start + i + 1, 'aria-selected': String(selected), 'data-group': g.id },
          title: `${g.id}\n${about}`,
        },
        h('span', { class: 'gl-cell', attrs: { role: 'gridcell', 'aria-label': percent(share) } }, bar),
        h(
          'span',
          { class: 'gl-cell gl-name', attrs: { role: 'rowheader' } },
          nameElement(g.id, splitName(displayName(g.id))),
        ),
        g.prunable
          ? null
          : h('span', { class: 'gl-cell gl-reason', text: g.reason ?? 'frozen', attrs: { role: 'gridcell' } }),
        h('span', { class: 'gl-cell gl-size', text: size, attrs: { role: 'gridcell' } }),
        h(
          'span',
          { class: 'gl-cell gl-lock', attrs: { role: 'gridcell' } },
          g.prunable ? lockButton(g.id, locked) : null,
        ),
      );
      row.id = `group-row-${start + i}`;
      row.style.transform = `translateY(${(start + i) * ROW}px)`;
      return row;
    });
    const focused = (document.activeElement as HTMLElement | null)?.closest<HTMLElement>('.gl-row')?.dataset.group;
    fill(this.spacer, ...rows);
    if (focused)
      this.spacer
        .querySelector<HTMLElement>(`[data-group="${CSS.escape(focused)}"] button`)
        ?.focus({ preventScroll: true });
    const at = this.shown.findIndex((g) => g.id === view.selectedGroup);
    setAttr(this.scroller, 'aria-activedescendant', at >= start && at < end ? `group-row-${at}` : null);
  }

  private onClick(e: Event): void {
    const target = e.target as Element;
    const id = target.closest<HTMLElement>('.gl-row')?.dataset.group;
    if (!id) return;
    if (target.closest('.gl-lock button')) this.pruning.toggleLock(id);
    else this.session.select(id);
  }

  private onKey(e: KeyboardEvent): void {
    if ((e.target as Element).tagName === 'BUTTON' && (e.key === 'Enter' || e.key === ' ')) return;
    const { view } = this.session.store.state;
    const at = this.shown.findIndex((g) => g.id === view.selectedGroup);
    const last = this.shown.length - 1;
    const page = Math.max(1, Math.floor(this.viewport / ROW) - 1);
    const to: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: last,
    };
    if (e.key in to && last >= 0) {
      const next = Math.max(0, Math.min(last, to[e.key]));
      this.scroller.scrollTop = scrollToShow(next, this.scroller.scrollTop, this.viewport, ROW);
      this.session.select(this.shown[next].id);
    } else if (e.key.toLowerCase() === 'l' && at >= 0 && this.shown[at].prunable && !e.ctrlKey && !e.metaKey) {
      this.pruning.toggleLock(this.shown[at].id);
    } else return;
    e.preventDefault();
  }
}

function lockButton(id: string, locked: boolean): HTMLElement {
  const label = locked ? `Unlock ${id}` : `Lock ${id}: keep all its units`;
  return h(
    'button',
    {
      class: 'icon-button',
      attrs: { type: 'button', tabindex: -1, 'aria-pressed': String(locked), 'aria-label': label },
      title: label,
    },
    icon(locked ? 'lock' : 'unlock'),
  );
}
