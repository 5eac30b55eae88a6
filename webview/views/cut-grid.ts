import { CutChart } from '../charts/cut-chart.ts';
import { count } from '../logic/format.ts';
import type { CutGroup } from '../logic/keep.ts';
import { displayName } from '../logic/names.ts';
import { splitName } from '../logic/units.ts';
import { visibleRange } from '../logic/virtual.ts';
import { kindName } from '../logic/words.ts';
import type { Pruning } from '../pruning.ts';
import type { Session } from '../session.ts';
import { groupById, type AppState } from '../state.ts';
import { fill, h, icon, onResize, setAttr, setText } from '../ui/dom.ts';
import { nameElement } from '../ui/states.ts';

/** Few groups on much room get wider cells. */
const CELL = { width: 200, wide: 280, height: 104, gap: 16 };
const FEW = 12;
const MUCH = 900;

/** A cell that is used again for whatever group scrolls into sight. */
interface Cell {
  element: HTMLElement;
  name: HTMLElement;
  kept: HTMLElement;
  lock: HTMLButtonElement;
  chart: CutChart;
  id: string;
}

/** The cut line of every ranked group, as many cells as are in sight. */
export class CutGrid {
  readonly element: HTMLElement;
  private readonly session: Session;
  private readonly pruning: Pruning;
  private readonly spacer = h('div', { class: 'cut-spacer' });
  private readonly cells: Cell[] = [];
  private groups: CutGroup[] = [];
  private width = 0;
  private columns = 1;
  private selected: string | null = null;
  private scroller: HTMLElement | null = null;

  constructor(session: Session, pruning: Pruning) {
    this.session = session;
    this.pruning = pruning;
    this.element = h('section', { class: 'cuts', attrs: { 'aria-label': 'Cut lines of the groups' } }, this.spacer);
    onResize(this.element, (width) => {
      this.width = width;
      this.bindScroller();
      this.draw();
    });
  }

  update(state: AppState): void {
    this.groups = this.pruning.cutGroups(state);
    this.draw();
    if (state.view.selectedGroup === this.selected) return;
    const first = this.selected === null;
    this.selected = state.view.selectedGroup;
    if (!first) this.reveal();
  }

  /** Scrolls to the selected group when its cell is out of sight. */
  private reveal(): void {
    const at = this.groups.findIndex((g) => g.id === this.selected);
    const { scroller } = this;
    if (at < 0 || !scroller) return;
    const top = this.element.getBoundingClientRect().top + Math.floor(at / this.columns) * CELL.height;
    const view = scroller.getBoundingClientRect();
    if (top < view.top) scroller.scrollTop -= view.top - top;
    else if (top + CELL.height > view.bottom) scroller.scrollTop += top + CELL.height - view.bottom;
  }

  /** The view scrolls as a whole: the cells in sight follow it. */
  private bindScroller(): void {
    const scroller = this.element.closest<HTMLElement>('.panel');
    if (!scroller || scroller === this.scroller) return;
    this.scroller = scroller;
    scroller.addEventListener('scroll', () => this.element.isConnected && this.draw(), { passive: true });
    onResize(scroller, () => this.draw());
  }

  private draw(): void {
    const { state } = this.session.store;
    const room = this.groups.length <= FEW && this.width > MUCH ? CELL.wide : CELL.width;
    this.columns = Math.max(1, Math.floor((this.width + CELL.gap) / (room + CELL.gap)));
    const rows = Math.ceil(this.groups.length / this.columns);
    this.spacer.style.height = `${rows * CELL.height}px`;
    this.spacer.style.setProperty('--columns', String(this.columns));
    const view = this.scroller?.getBoundingClientRect();
    const above = view ? view.top - this.element.getBoundingClientRect().top : 0;
    const { start, end } = visibleRange(above, view?.height ?? 800, CELL.height, rows, 2);
    const first = start * this.columns;
    const last = Math.min(this.groups.length, end * this.columns);
    while (this.cells.length < last - first) this.cells.push(this.makeCell());
    this.cells.forEach((cell, i) => {
      const at = first + i;
      cell.element.hidden = at >= last;
      if (at >= last) return;
      const group = this.groups[at];
      cell.element.style.top = `${Math.floor(at / this.columns) * CELL.height}px`;
      cell.element.style.left = `calc(${(at % this.columns) / this.columns} * (100% + 16px))`;
      this.fillCell(cell, group, state);
    });
  }

  private makeCell(): Cell {
    const cell: Cell = {
      element: h('div', { class: 'cut-cell' }),
      name: h('button', {
        class: 'cut-name',
        attrs: { type: 'button' },
        on: { click: () => this.session.select(cell.id) },
      }),
      kept: h('span', { class: 'cut-kept' }),
      lock: h('button', {
        class: 'icon-button',
        attrs: { type: 'button' },
        on: { click: () => this.pruning.toggleLock(cell.id) },
      }),
      chart: new CutChart((group, kept) => this.pruning.setCut(group, kept)),
      id: '',
    };
    cell.chart.element.addEventListener('focus', () => this.session.select(cell.id));
    cell.element.append(h('div', { class: 'cut-head' }, cell.lock, cell.name, cell.kept), cell.chart.element);
    this.spacer.append(cell.element);
    return cell;
  }

  private fillCell(cell: Cell, group: CutGroup, state: AppState): void {
    const { view } = state;
    const locked = view.frozen.includes(group.id);
    const keep = view.keep?.[group.id] ?? group.order;
    if (cell.id !== group.id) {
      cell.id = group.id;
      fill(cell.name, nameElement(group.id, splitName(displayName(group.id))));
    }
    const unit = groupById(state, group.id)?.kind ?? 'channel';
    setText(
      cell.kept,
      keep.length === group.size ? `all ${count(group.size)}` : `${count(keep.length)} of ${count(group.size)}`,
    );
    cell.element.classList.toggle('selected', view.selectedGroup === group.id);
    cell.element.classList.toggle('locked', locked);
    const label = locked ? `Unlock ${group.id}` : `Lock ${group.id}: keep all its units`;
    if (cell.lock.title !== label) {
      cell.lock.title = label;
      setAttr(cell.lock, 'aria-label', label);
      fill(cell.lock, icon(locked ? 'lock' : 'unlock'));
    }
    setAttr(cell.lock, 'aria-pressed', String(locked));
    cell.chart.set(group, keep, kindName(unit, 2), locked);
  }
}
