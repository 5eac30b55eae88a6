import { number } from '../logic/format.ts';
import type { NamedBar } from '../logic/named-bar.ts';
import { scrollToShow, visibleRange } from '../logic/virtual.ts';
import { fill, h, onResize, setAttr, setText, uniqueId } from '../ui/dom.ts';
import { tooltip } from '../ui/tooltip.ts';

const ROW = 24;
const ROWS_IN_SIGHT = 16;

export interface NamedBarsData {
  /** In the order to be drawn. */
  bars: readonly NamedBar[];
  label: string;
  /** What whiskers are; null where there are none. */
  whiskers: string | null;
  /** A value to compare all with: a dashed line. */
  even: number | null;
  /** Values of something else to compare with, by key: ticks. */
  other: ReadonlyMap<number, number> | null;
}

/** Bars by name, each with a whisker. Arrow keys choose one; only what is in sight exists. */
export class NamedBars {
  readonly element: HTMLElement;
  private readonly scroller: HTMLElement;
  private readonly spacer = h('div', { class: 'named-spacer' });
  private readonly key = h('p', { class: 'named-key muted' });
  private readonly onMark: (key: number | null) => void;
  private readonly id = uniqueId('bar');
  private data: NamedBarsData | null = null;
  private marked: number | null = null;
  private low = 0;
  private high = 1;
  private viewport = 0;

  constructor(onMark: (key: number | null) => void = () => undefined) {
    this.onMark = onMark;
    this.scroller = h('div', { class: 'named-body', attrs: { role: 'listbox', tabindex: 0 } }, this.spacer);
    this.element = h('div', { class: 'chart named-bars' }, this.scroller, this.key);
    this.scroller.addEventListener('scroll', () => this.draw(), { passive: true });
    this.scroller.addEventListener('keydown', (e) => this.onKey(e));
    this.spacer.addEventListener('pointermove', (e) => this.hover(e));
    this.spacer.addEventListener('pointerleave', () => {
      tooltip.hide();
      this.mark(null);
      this.onMark(null);
    });
    onResize(this.scroller, (_, height) => {
      this.viewport = height;
      this.draw();
    });
  }

  set(data: NamedBarsData): void {
    this.data = data;
    const values = [
      ...data.bars.flatMap((b) => [b.value, b.low, b.high]),
      ...(data.other?.values() ?? []),
      data.even ?? 0,
    ];
    this.low = values.reduce((a, b) => Math.min(a, b), 0);
    this.high = values.reduce((a, b) => Math.max(a, b), 0);
    if (this.high <= this.low) this.high = this.low + 1;
    const n = data.bars.length;
    this.scroller.style.height = `${Math.min(n, ROWS_IN_SIGHT) * ROW}px`;
    this.spacer.style.height = `${n * ROW}px`;
    setText(this.key, keyText(data));
    setAttr(this.scroller, 'aria-label', data.label);
    this.draw();
  }

  /** Marks a bar that was chosen elsewhere, and brings it into sight. */
  mark(key: number | null): void {
    if (!this.data || this.marked === key) return;
    this.marked = key;
    const at = this.place();
    if (at >= 0) this.scroller.scrollTop = scrollToShow(at, this.scroller.scrollTop, this.scroller.clientHeight, ROW);
    this.draw();
  }

  /** Place of the marked bar, −1 without one. */
  private place(): number {
    return this.data?.bars.findIndex((b) => b.key === this.marked) ?? -1;
  }

  private draw(): void {
    const { data } = this;
    if (!data) return;
    const { start, end } = visibleRange(this.scroller.scrollTop, this.viewport, ROW, data.bars.length, 4);
    const rows = data.bars.slice(start, end).map((bar, i) => this.row(bar, start + i, data));
    fill(this.spacer, ...rows);
    const at = this.place();
    setAttr(this.scroller, 'aria-activedescendant', at >= start && at < end ? `${this.id}-${at}` : null);
  }

  private row({ key, name, value, low, high, lines }: NamedBar, place: number, data: NamedBarsData): HTMLElement {
    const [zero, end] = [this.at(0), this.at(value)];
    const bar = h('span', { class: `named-bar ${value < 0 ? 'negative' : 'positive'}` });
    bar.style.left = `${Math.min(zero, end)}%`;
    bar.style.width = `${Math.abs(end - zero)}%`;
    const track = h('span', { class: 'named-track', attrs: { 'aria-hidden': 'true' } }, bar);
    if (high > low) {
      const whisker = h('span', { class: 'named-whisker' });
      whisker.style.left = `${this.at(low)}%`;
      whisker.style.width = `${this.at(high) - this.at(low)}%`;
      track.append(whisker);
    }
    if (data.even !== null) track.append(this.tick('named-even', data.even));
    const other = data.other?.get(key);
    if (other !== undefined) track.append(this.tick('named-other', other));
    const chosen = key === this.marked;
    const said = lines.map(([label, text]) => `${label} ${text}`).join(', ');
    const attrs = {
      role: 'option',
      'aria-selected': String(chosen),
      'data-at': place,
      'aria-label': `${name}: ${said}`,
    };
    const element = h(
      'div',
      { class: `named-row${chosen ? ' marked' : ''}`, attrs },
      h('span', { class: 'named-name', text: name, title: name }),
      track,
      h('span', { class: 'named-value', text: number(value) }),
    );
    element.id = `${this.id}-${place}`;
    element.style.transform = `translateY(${place * ROW}px)`;
    return element;
  }

  private tick(name: string, value: number): HTMLElement {
    const tick = h('span', { class: name });
    tick.style.left = `${this.at(value)}%`;
    return tick;
  }

  /** Place on the track in percent. */
  private at(value: number): number {
    return (100 * (value - this.low)) / (this.high - this.low);
  }

  private hover(e: PointerEvent): void {
    const row = (e.target as Element).closest<HTMLElement>('.named-row');
    const bar = row && this.data?.bars[Number(row.dataset.at)];
    if (!bar) return;
    const other = this.data?.other?.get(bar.key);
    const lines = other === undefined ? bar.lines : [...bar.lines, ['compared', number(other)] as [string, string]];
    tooltip.show({ title: bar.name, lines }, e.clientX, e.clientY);
    this.choose(bar.key);
  }

  private choose(key: number): void {
    if (key === this.marked) return;
    this.mark(key);
    this.onMark(key);
  }

  private onKey(e: KeyboardEvent): void {
    const at = this.place();
    const last = (this.data?.bars.length ?? 0) - 1;
    const next = {
      ArrowDown: at + 1,
      ArrowUp: at < 0 ? 0 : at - 1,
      Home: 0,
      End: last,
      PageDown: at + ROWS_IN_SIGHT,
      PageUp: at - ROWS_IN_SIGHT,
    }[e.key];
    if (next === undefined || last < 0) return;
    this.choose(this.data!.bars[Math.max(0, Math.min(last, next))].key);
    e.preventDefault();
  }
}

/** What lines and ticks mean. */
function keyText({ whiskers, even, other }: NamedBarsData): string {
  const parts: string[] = [];
  if (whiskers) parts.push(`Whiskers: ${whiskers}`);
  if (even !== null) parts.push(`dashed: an even share, ${number(even)}`);
  if (other) parts.push('ticks: what it is compared with');
  return parts.join(' · ');
}
