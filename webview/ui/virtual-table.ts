import { scrollToShow, sortedOrder, visibleRange, type SortKey } from '../logic/virtual.ts';
import { h, icon, onResize, setAttr, uniqueId } from './dom.ts';

export const ROW = 24;

export interface Column {
  label: string;
  /** Longer words for the header's tooltip. */
  title?: string;
  /** CSS grid track: `minmax(120px, 2fr)`. */
  width: string;
  numeric?: boolean;
  /** Shown only when the table is at least so wide. */
  from?: number;
  sort?: (row: number) => SortKey;
  render: (row: number, cell: HTMLElement) => void;
}

export interface VirtualTableOptions {
  label: string;
  columns: Column[];
  /** Enter or click on a row. */
  onActivate?: (row: number) => void;
  rowClass?: (row: number) => string;
  sort?: { column: number; descending: boolean };
}

/**
 * A table with a fixed header that holds only the rows in sight, so that 10 000 rows cost as much as 40.
 * Headers sort; arrow keys, Page, Home and End move along rows; Enter activates.
 */
export class VirtualTable {
  readonly element: HTMLElement;
  private readonly options: VirtualTableOptions;
  private readonly head: HTMLElement;
  private readonly scroller: HTMLElement;
  private readonly spacer: HTMLElement;
  private readonly pool: HTMLElement[] = [];
  private readonly id = uniqueId('table');
  private columns: Column[] = [];
  private order: Int32Array = new Int32Array(0);
  private sort: { column: Column; descending: boolean } | null = null;
  /** Position (not row number) of the keyboard's row. */
  private active = -1;
  private viewport = 0;
  private frame = 0;

  constructor(options: VirtualTableOptions) {
    this.options = options;
    this.head = h('div', { class: 'vt-head', attrs: { role: 'row', 'aria-rowindex': 1 } });
    this.spacer = h('div', { class: 'vt-spacer', attrs: { role: 'rowgroup' } });
    this.scroller = h('div', { class: 'vt-body', attrs: { role: 'presentation' } }, this.spacer);
    this.element = h(
      'div',
      { class: 'vt', attrs: { role: 'grid', tabindex: 0, 'aria-label': options.label } },
      h('div', { attrs: { role: 'rowgroup' } }, this.head),
      this.scroller,
    );
    if (options.sort) this.sort = { column: options.columns[options.sort.column], descending: options.sort.descending };
    this.scroller.addEventListener('scroll', () => this.drawSoon(), { passive: true });
    this.element.addEventListener('keydown', (e) => this.onKey(e));
    this.spacer.addEventListener('click', (e) => {
      const row = (e.target as Element).closest<HTMLElement>('.vt-row');
      if (!row) return;
      this.active = Number(row.dataset.position);
      this.draw();
      this.options.onActivate?.(this.order[this.active]);
    });
    onResize(this.element, (width) => {
      this.viewport = this.scroller.clientHeight;
      this.element.style.setProperty('--vt-gutter', `${this.scroller.offsetWidth - this.scroller.clientWidth}px`);
      this.layout(width);
      this.draw();
    });
  }

  setRows(count: number): void {
    setAttr(this.element, 'aria-rowcount', count + 1);
    this.order = Int32Array.from({ length: count }, (_, i) => i);
    this.active = -1;
    this.applySort();
  }

  /** Draws the rows in sight again (their contents changed). */
  refresh(): void {
    this.draw();
  }

  /** The keyboard's row; −1: none. */
  get activeRow(): number {
    return this.active < 0 ? -1 : this.order[this.active];
  }

  /** Scrolls to a row and marks it. */
  reveal(row: number): void {
    const at = this.order.indexOf(row);
    if (at >= 0) this.moveTo(at);
  }

  private layout(width: number): void {
    const columns = this.options.columns.filter((c) => width >= (c.from ?? 0));
    if (columns.length === this.columns.length) return;
    this.columns = columns;
    this.element.style.setProperty('--vt-columns', columns.map((c) => c.width).join(' '));
    setAttr(this.element, 'aria-colcount', columns.length);
    this.drawHead();
    for (const row of this.pool) row.replaceChildren(...columns.map((c) => cellElement(c)));
  }

  private drawHead(): void {
    this.head.replaceChildren(
      ...this.columns.map((column) => {
        const sorted = this.sort?.column === column;
        const direction = this.sort?.descending ? 'descending' : 'ascending';
        const inner = column.sort
          ? h(
              'button',
              {
                class: 'vt-sort',
                attrs: { type: 'button' },
                title: column.title ?? `Sort by ${column.label}`,
                on: { click: () => this.sortBy(column) },
              },
              h('span', { text: column.label }),
              sorted ? icon(this.sort?.descending ? 'chevron-down' : 'chevron-up') : null,
            )
          : h('span', { text: column.label, title: column.title });
        return h(
          'div',
          {
            class: `vt-th${column.numeric ? ' numeric' : ''}`,
            attrs: { role: 'columnheader', 'aria-sort': column.sort ? (sorted ? direction : 'none') : null },
          },
          inner,
        );
      }),
    );
  }

  /** First click: numbers descending, words ascending; second: the other way; third: graph order. */
  private sortBy(column: Column): void {
    const first = Boolean(column.numeric);
    if (this.sort?.column !== column) this.sort = { column, descending: first };
    else if (this.sort.descending === first) this.sort = { column, descending: !first };
    else this.sort = null;
    const at = this.columns.indexOf(column);
    this.applySort();
    this.scroller.scrollTop = 0;
    this.drawHead();
    this.head.querySelectorAll<HTMLElement>('.vt-th')[at]?.querySelector<HTMLElement>('button')?.focus();
  }

  private applySort(): void {
    const row = this.active >= 0 ? this.order[this.active] : -1;
    const { sort } = this;
    this.order = sortedOrder(
      this.order.length,
      (i) => (sort?.column.sort ? sort.column.sort(i) : i),
      sort?.descending ?? false,
    );
    this.active = row >= 0 ? this.order.indexOf(row) : -1;
    this.spacer.style.height = `${this.order.length * ROW}px`;
    this.draw();
  }

  private onKey(e: KeyboardEvent): void {
    if (e.target instanceof HTMLButtonElement || this.order.length === 0) return;
    const page = Math.max(1, Math.floor(this.viewport / ROW) - 1);
    const last = this.order.length - 1;
    const to: Record<string, number> = {
      ArrowDown: this.active + 1,
      ArrowUp: this.active - 1,
      PageDown: this.active + page,
      PageUp: this.active - page,
      Home: 0,
      End: last,
    };
    if (e.key in to) this.moveTo(Math.max(0, Math.min(last, to[e.key])));
    else if ((e.key === 'Enter' || e.key === ' ') && this.active >= 0)
      this.options.onActivate?.(this.order[this.active]);
    else return;
    e.preventDefault();
  }

  private moveTo(position: number): void {
    this.active = position;
    this.scroller.scrollTop = scrollToShow(position, this.scroller.scrollTop, this.viewport, ROW);
    this.draw();
  }

  private drawSoon(): void {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    if (this.columns.length === 0) return;
    const { start, end } = visibleRange(this.scroller.scrollTop, this.viewport, ROW, this.order.length);
    while (this.pool.length < end - start) {
      const row = h('div', { class: 'vt-row', attrs: { role: 'row' } });
      row.append(...this.columns.map((c) => cellElement(c)));
      this.pool.push(row);
      this.spacer.append(row);
    }
    this.pool.forEach((row, i) => {
      const position = start + i;
      row.hidden = position >= end;
      if (row.hidden) return;
      const index = this.order[position];
      row.style.transform = `translateY(${position * ROW}px)`;
      row.id = `${this.id}-${position}`;
      row.dataset.position = String(position);
      row.className = `vt-row ${this.options.rowClass?.(index) ?? ''}${position === this.active ? ' active' : ''}`;
      setAttr(row, 'aria-rowindex', position + 2);
      setAttr(row, 'aria-selected', position === this.active);
      this.columns.forEach((column, c) => column.render(index, row.children[c] as HTMLElement));
    });
    setAttr(
      this.element,
      'aria-activedescendant',
      this.active >= start && this.active < end ? `${this.id}-${this.active}` : null,
    );
  }
}

function cellElement(column: Column): HTMLElement {
  return h('div', { class: `vt-td${column.numeric ? ' numeric' : ''}`, attrs: { role: 'gridcell' } });
}
