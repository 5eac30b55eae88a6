import type { Features, FeatureScore } from '../../src/formats.ts';
import { featureLines, featureMarks, type FeatureMark } from '../logic/features.ts';
import { number } from '../logic/format.ts';
import { scrollToShow, visibleRange } from '../logic/virtual.ts';
import { fill, h, onResize, setAttr, setText, uniqueId } from '../ui/dom.ts';
import { tooltip } from '../ui/tooltip.ts';

const ROW = 24;
const ROWS_IN_SIGHT = 16;

export interface FeatureBarsData {
  /** In the order to be drawn. */
  features: readonly FeatureScore[];
  method: Features['method'];
  /** Importance of every feature if all were equal: a line to compare with; null for Shapley values. */
  even: number | null;
  label: string;
  /** A second explanation of the same features, by index: drawn as a tick. */
  other: ReadonlyMap<number, FeatureScore> | null;
  /** The feature to mark, by index. */
  marked: number | null;
}

/** Features by name, a bar with a whisker each. Arrow keys choose one; only what is in sight exists. */
export class FeatureBars {
  readonly element: HTMLElement;
  private readonly scroller: HTMLElement;
  private readonly spacer = h('div', { class: 'feature-spacer' });
  private readonly key = h('p', { class: 'feature-key muted' });
  private readonly onMark: (index: number | null) => void;
  private readonly id = uniqueId('feature');
  private data: FeatureBarsData | null = null;
  private marks: FeatureMark[] = [];
  private low = 0;
  private high = 1;
  private viewport = 0;

  constructor(onMark: (index: number | null) => void) {
    this.onMark = onMark;
    this.scroller = h('div', { class: 'feature-body', attrs: { role: 'listbox', tabindex: 0 } }, this.spacer);
    this.element = h('div', { class: 'chart feature-bars' }, this.scroller, this.key);
    this.scroller.addEventListener('scroll', () => this.draw(), { passive: true });
    this.scroller.addEventListener('keydown', (e) => this.onKey(e));
    this.spacer.addEventListener('pointermove', (e) => this.hover(e));
    this.spacer.addEventListener('pointerleave', () => {
      tooltip.hide();
      this.onMark(null);
    });
    onResize(this.scroller, (_, height) => {
      this.viewport = height;
      this.draw();
    });
  }

  set(data: FeatureBarsData): void {
    this.data = data;
    this.marks = featureMarks(data.features, data.method);
    const others = [...(data.other?.values() ?? [])].map((f) => f.importance);
    const values = [...this.marks.flatMap((m) => [m.low, m.high]), ...others, data.even ?? 0];
    this.low = values.reduce((a, b) => Math.min(a, b), 0);
    this.high = values.reduce((a, b) => Math.max(a, b), 0);
    if (this.high <= this.low) this.high = this.low + 1;
    const n = this.marks.length;
    this.scroller.style.height = `${Math.min(n, ROWS_IN_SIGHT) * ROW}px`;
    this.spacer.style.height = `${n * ROW}px`;
    setText(this.key, keyText(data));
    setAttr(this.scroller, 'aria-label', data.label);
    this.draw();
  }

  /** Marks a feature that was chosen elsewhere, and brings it into sight. */
  mark(index: number | null): void {
    if (!this.data || this.data.marked === index) return;
    this.data = { ...this.data, marked: index };
    const at = this.marks.findIndex((m) => m.score.index === index);
    if (at >= 0) this.scroller.scrollTop = scrollToShow(at, this.scroller.scrollTop, this.scroller.clientHeight, ROW);
    this.draw();
  }

  private draw(): void {
    const { data } = this;
    if (!data) return;
    const { start, end } = visibleRange(this.scroller.scrollTop, this.viewport, ROW, this.marks.length, 4);
    const rows = this.marks.slice(start, end).map((m, i) => this.row(m, start + i, data));
    fill(this.spacer, ...rows);
    const at = this.marks.findIndex((m) => m.score.index === data.marked);
    setAttr(this.scroller, 'aria-activedescendant', at >= start && at < end ? `${this.id}-${at}` : null);
  }

  private row({ score, low, high }: FeatureMark, place: number, data: FeatureBarsData): HTMLElement {
    const [zero, value] = [this.at(0), this.at(score.importance)];
    const bar = h('span', { class: `feature-bar ${score.importance < 0 ? 'negative' : 'positive'}` });
    bar.style.left = `${Math.min(zero, value)}%`;
    bar.style.width = `${Math.abs(value - zero)}%`;
    const track = h('span', { class: 'feature-track', attrs: { 'aria-hidden': 'true' } }, bar);
    if (high > low) {
      const whisker = h('span', { class: 'feature-whisker' });
      whisker.style.left = `${this.at(low)}%`;
      whisker.style.width = `${this.at(high) - this.at(low)}%`;
      track.append(whisker);
    }
    if (data.even !== null) track.append(this.tick('feature-even', data.even));
    const other = data.other?.get(score.index);
    if (other) track.append(this.tick('feature-other', other.importance));
    const element = h(
      'div',
      {
        class: `feature-row${score.index === data.marked ? ' marked' : ''}`,
        attrs: {
          role: 'option',
          'aria-selected': String(score.index === data.marked),
          'data-at': place,
          'aria-label': rowLabel(score, data.method),
        },
      },
      h('span', { class: 'feature-name', text: score.name, title: score.name }),
      track,
      h('span', { class: 'feature-value', text: number(score.importance) }),
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
    const row = (e.target as Element).closest<HTMLElement>('.feature-row');
    const mark = row ? this.marks[Number(row.dataset.at)] : undefined;
    if (!mark || !this.data) return;
    const lines = featureLines(mark.score, this.data.method);
    const other = this.data.other?.get(mark.score.index);
    if (other) lines.push(['compared', number(other.importance)]);
    tooltip.show({ title: mark.score.name, lines }, e.clientX, e.clientY);
    if (this.data.marked !== mark.score.index) this.onMark(mark.score.index);
  }

  private onKey(e: KeyboardEvent): void {
    const at = this.marks.findIndex((m) => m.score.index === this.data?.marked);
    const last = this.marks.length - 1;
    const next = {
      ArrowDown: at + 1,
      ArrowUp: at < 0 ? 0 : at - 1,
      Home: 0,
      End: last,
      PageDown: at + ROWS_IN_SIGHT,
      PageUp: at - ROWS_IN_SIGHT,
    }[e.key];
    if (next === undefined || last < 0) return;
    const { index } = this.marks[Math.max(0, Math.min(last, next))].score;
    this.mark(index);
    this.onMark(index);
    e.preventDefault();
  }
}

/** What lines and ticks mean. */
function keyText({ features, method, even, other }: FeatureBarsData): string {
  const parts: string[] = [];
  if (features.some((f) => f.sd !== null))
    parts.push(method === 'qfit' ? 'Whiskers: ± one standard deviation' : 'Whiskers: 95 % intervals');
  if (even !== null) parts.push(`dashed: an even share, ${number(even)}`);
  if (other) parts.push('ticks: what it is compared with');
  return parts.join(' · ');
}

function rowLabel(score: FeatureScore, method: Features['method']): string {
  return `${score.name}: ${featureLines(score, method)
    .map(([label, value]) => `${label} ${value}`)
    .join(', ')}`;
}
