import type { GroupRanks } from '../../src/formats.ts';
import { count, number } from '../logic/format.ts';
import { displayName } from '../logic/names.ts';
import { largestScore, sortUnits, splitName } from '../logic/units.ts';
import { scrollToShow, visibleRange } from '../logic/virtual.ts';
import { fill, h, onResize, setAttr, setText, uniqueId } from '../ui/dom.ts';
import { nameElement } from '../ui/states.ts';
import { tooltip } from '../ui/tooltip.ts';
import { divergingScale, onThemeChange, rgb } from './theme.ts';

const ROW = 22;
const ROWS_IN_SIGHT = 9;

export interface HeatRow {
  id: string;
  size: number;
  ranks: GroupRanks | undefined;
  /** Being ranked right now. */
  running: boolean;
}

/** All groups at once: a row per group, units best first, one colour scale for the whole method. */
export class HeatStrip {
  readonly element: HTMLElement;
  private readonly scroller: HTMLElement;
  private readonly spacer: HTMLElement;
  private readonly lowLabel = h('span');
  private readonly highLabel = h('span');
  private readonly ramp = h('canvas', { class: 'heat-ramp', attrs: { width: 64, height: 1, 'aria-hidden': 'true' } });
  private readonly onSelect: (id: string) => void;
  private readonly id = uniqueId('heat');
  private rows: HeatRow[] = [];
  private selected: string | null = null;
  private largest = 0;
  private viewport = 0;

  constructor(onSelect: (id: string) => void) {
    this.onSelect = onSelect;
    this.spacer = h('div', { class: 'heat-spacer' });
    this.scroller = h(
      'div',
      {
        class: 'heat-body',
        attrs: { role: 'listbox', tabindex: 0, 'aria-label': 'Scores of all groups. Arrow keys choose a group.' },
      },
      this.spacer,
    );
    this.element = h(
      'div',
      { class: 'chart heat' },
      this.scroller,
      h(
        'div',
        { class: 'heat-legend' },
        this.lowLabel,
        this.ramp,
        this.highLabel,
        h('span', { class: 'muted', text: 'units of each group, best first; square-root scale' }),
      ),
    );
    this.scroller.addEventListener('scroll', () => this.draw(), { passive: true });
    this.scroller.addEventListener('keydown', (e) => this.onKey(e));
    // Rows are drawn anew while values arrive: a click would need the same row twice.
    this.spacer.addEventListener('pointerdown', (e) => {
      const id = (e.target as Element).closest<HTMLElement>('.heat-row')?.dataset.group;
      if (id) this.onSelect(id);
    });
    this.spacer.addEventListener('pointermove', (e) => this.hover(e));
    this.spacer.addEventListener('pointerleave', () => tooltip.hide());
    onResize(this.scroller, (_, height) => {
      this.viewport = height;
      this.draw();
    });
    onThemeChange(() => this.draw());
  }

  set(rows: HeatRow[], selected: string | null): void {
    const moved = selected !== this.selected;
    this.rows = rows;
    this.selected = selected;
    this.largest = largestScore(rows.flatMap((r) => (r.ranks ? [r.ranks] : [])));
    this.scroller.style.height = `${Math.min(rows.length, ROWS_IN_SIGHT) * ROW}px`;
    this.spacer.style.height = `${rows.length * ROW}px`;
    if (moved) {
      const at = rows.findIndex((r) => r.id === selected);
      if (at >= 0) this.scroller.scrollTop = scrollToShow(at, this.scroller.scrollTop, this.scroller.clientHeight, ROW);
    }
    this.draw();
  }

  private draw(): void {
    const { start, end } = visibleRange(this.scroller.scrollTop, this.viewport, ROW, this.rows.length, 3);
    const colour = divergingScale();
    fill(
      this.spacer,
      ...this.rows.slice(start, end).map((row, i) => {
        const element = h(
          'div',
          {
            class: `heat-row${row.id === this.selected ? ' selected' : ''}`,
            attrs: {
              role: 'option',
              'aria-selected': String(row.id === this.selected),
              'data-group': row.id,
              'aria-label': rowLabel(row),
            },
          },
          h('span', { class: 'heat-name' }, nameElement(row.id, splitName(displayName(row.id), 12))),
          row.ranks
            ? this.strip(row.ranks, colour)
            : h('span', { class: `heat-none${row.running ? ' running' : ''}`, text: row.running ? '' : 'not ranked' }),
          h('span', { class: 'heat-size', text: count(row.size) }),
        );
        element.id = `${this.id}-${start + i}`;
        element.style.transform = `translateY(${(start + i) * ROW}px)`;
        return element;
      }),
    );
    const at = this.rows.findIndex((r) => r.id === this.selected);
    setAttr(this.scroller, 'aria-activedescendant', at >= start && at < end ? `${this.id}-${at}` : null);
    this.drawLegend(colour);
  }

  private strip(ranks: GroupRanks, colour: (value: number) => string): HTMLElement {
    const units = sortUnits(ranks.units);
    const width = Math.max(1, Math.min(units.length, 2048));
    const canvas = h('canvas', { class: 'heat-strip', attrs: { width, height: 1, 'aria-hidden': 'true' } });
    paint(canvas, width, (x) => {
      const u = units[Math.floor((x * units.length) / width)];
      return u && this.largest > 0 ? colour(u.score / this.largest) : colour(0);
    });
    return canvas;
  }

  private drawLegend(colour: (value: number) => string): void {
    const hasNegative = this.rows.some((r) => r.ranks?.units.some((u) => u.score < 0));
    const low = hasNegative ? -1 : 0;
    setText(this.lowLabel, hasNegative ? number(-this.largest) : '0');
    setText(this.highLabel, number(this.largest));
    paint(this.ramp, 64, (x) => colour(low + ((1 - low) * x) / 63));
  }

  private hover(e: PointerEvent): void {
    const strip = (e.target as Element).closest<HTMLElement>('.heat-strip');
    const id = (e.target as Element).closest<HTMLElement>('.heat-row')?.dataset.group;
    const row = this.rows.find((r) => r.id === id);
    if (!strip || !row?.ranks) return tooltip.hide();
    const units = sortUnits(row.ranks.units);
    const box = strip.getBoundingClientRect();
    const u = units[Math.min(units.length - 1, Math.floor(((e.clientX - box.left) / box.width) * units.length))];
    if (!u) return;
    tooltip.show(
      {
        title: row.id,
        lines: [
          [row.ranks.kind, `#${u.index}`],
          ['score', number(u.score)],
        ],
      },
      e.clientX,
      e.clientY,
    );
  }

  private onKey(e: KeyboardEvent): void {
    const at = this.rows.findIndex((r) => r.id === this.selected);
    const last = this.rows.length - 1;
    const next = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      Home: 0,
      End: last,
      PageDown: at + ROWS_IN_SIGHT,
      PageUp: at - ROWS_IN_SIGHT,
    }[e.key];
    if (next === undefined || last < 0) return;
    this.onSelect(this.rows[Math.max(0, Math.min(last, next))].id);
    e.preventDefault();
  }
}

function rowLabel(row: HeatRow): string {
  if (!row.ranks) return `${row.id}, ${row.running ? 'being ranked' : 'not ranked'}`;
  const units = sortUnits(row.ranks.units);
  return `${row.id}, ${count(row.size)} units, best ${number(units[0]?.score ?? 0)}, worst ${number(units[units.length - 1]?.score ?? 0)}`;
}

function paint(canvas: HTMLCanvasElement, width: number, at: (x: number) => string): void {
  const g = canvas.getContext('2d');
  if (!g) return;
  const image = g.createImageData(width, 1);
  for (let x = 0; x < width; x++) {
    image.data.set([...rgb(at(x)), 255], x * 4);
  }
  g.putImageData(image, 0, 0);
}
