import { select } from 'd3-selection';
import { scaleLinear } from 'd3-scale';
import { count, number } from '../logic/format.ts';
import { neighbour, snap, type CutGroup } from '../logic/keep.ts';
import { h, onResize, setAttr } from '../ui/dom.ts';
import { tooltip } from '../ui/tooltip.ts';

const HEIGHT = 56;
const PAD = 4;

/**
 * A group's scores, best first, with a cut line that can be dragged or moved by the arrow keys: what is left of it
 * stays. Units that go are hatched, never only coloured.
 */
export class CutChart {
  readonly element: HTMLElement;
  private readonly svg: SVGSVGElement;
  private group: CutGroup | null = null;
  private keepSet: ReadonlySet<number> = new Set();
  private kept = 0;
  private locked = false;
  private width = 0;
  private drawn = '';
  private readonly onCut: (group: CutGroup, kept: number) => void;

  constructor(onCut: (group: CutGroup, kept: number) => void) {
    this.onCut = onCut;
    this.svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    setAttr(this.svg, 'height', HEIGHT);
    setAttr(this.svg, 'aria-hidden', 'true');
    this.element = h('div', {
      class: 'chart cut-chart',
      attrs: { role: 'slider', tabindex: 0, 'aria-orientation': 'horizontal' },
    });
    this.element.append(this.svg);
    this.element.addEventListener('pointerdown', (e) => {
      if (this.locked || e.button !== 0) return;
      this.element.setPointerCapture(e.pointerId);
      this.element.classList.add('dragging');
      this.cutAt(e.clientX);
    });
    this.element.addEventListener('pointermove', (e) => {
      if (this.element.hasPointerCapture(e.pointerId)) this.cutAt(e.clientX);
      this.hover(e);
    });
    const end = (): void => this.element.classList.remove('dragging');
    this.element.addEventListener('pointerup', end);
    this.element.addEventListener('pointercancel', end);
    this.element.addEventListener('pointerleave', () => tooltip.hide());
    this.element.addEventListener('keydown', (e) => this.onKey(e));
    onResize(this.element, (width) => {
      this.width = width;
      this.drawn = '';
      this.draw();
    });
  }

  set(group: CutGroup, keep: readonly number[], unitName: string, locked: boolean): void {
    if (group !== this.group) this.drawn = '';
    this.group = group;
    this.locked = locked;
    this.kept = keep.length;
    this.keepSet = new Set(keep);
    setAttr(this.element, 'aria-label', `Cut line of ${group.id}`);
    setAttr(this.element, 'aria-valuemin', group.stops[0]);
    setAttr(this.element, 'aria-valuemax', group.size);
    setAttr(this.element, 'aria-valuenow', this.kept);
    setAttr(
      this.element,
      'aria-valuetext',
      `${count(this.kept)} of ${count(group.size)} ${unitName} stay${locked ? ', locked' : ''}`,
    );
    setAttr(this.element, 'aria-disabled', locked ? 'true' : null);
    this.element.classList.toggle('locked', locked);
    this.draw();
  }

  private draw(): void {
    const { group } = this;
    if (!group || this.width <= 0) return;
    const { size, scores, order } = group;
    const prefix = order.slice(0, this.kept).every((u) => this.keepSet.has(u));
    const step = this.width / size;
    const root = select(this.svg);
    // While a line is dragged only it and two clips move; the bars are drawn once.
    const key = `${this.width} ${size} ${prefix ? 'prefix' : [...this.keepSet].join()}`;
    if (key !== this.drawn) {
      this.drawn = key;
      setAttr(this.svg, 'width', this.width);
      root.selectAll('*').remove();
      const y = scaleLinear(
        [Math.min(0, ...extremes(scores)), Math.max(0, ...extremes(scores)) || 1],
        [HEIGHT - PAD, PAD],
      );
      const gap = step >= 8 ? 2 : step >= 3 ? 1 : 0;
      const zero = y(0);
      const bars = { all: [] as string[], stay: [] as string[], go: [] as string[] };
      const columns = Math.min(size, Math.max(1, Math.floor(this.width)));
      for (let c = 0; c < columns; c++) {
        const i = Math.floor((c * size) / columns);
        const value = y(scores[i]);
        const left = (c * this.width) / columns;
        const d = `M${left.toFixed(2)},${Math.min(zero, value).toFixed(2)}h${Math.max(0.5, this.width / columns - gap).toFixed(2)}v${Math.max(1, Math.abs(value - zero)).toFixed(2)}H${left.toFixed(2)}z`;
        bars.all.push(d);
        (this.keepSet.has(order[i]) ? bars.stay : bars.go).push(d);
      }
      const id = `cut-${Math.random().toString(36).slice(2)}`;
      root
        .append('clipPath')
        .attr('id', `${id}-stay`)
        .append('rect')
        .attr('class', 'clip-stay')
        .attr('y', 0)
        .attr('height', HEIGHT);
      root
        .append('clipPath')
        .attr('id', `${id}-go`)
        .append('rect')
        .attr('class', 'clip-go')
        .attr('y', 0)
        .attr('height', HEIGHT);
      root.append('rect').attr('class', 'gone-ground').attr('y', 0).attr('height', HEIGHT);
      const go = root
        .append('path')
        .attr('class', 'go')
        .attr('d', (prefix ? bars.all : bars.go).join(''));
      const stay = root
        .append('path')
        .attr('class', 'stay')
        .attr('d', (prefix ? bars.all : bars.stay).join(''));
      if (prefix) {
        go.attr('clip-path', `url(#${id}-go)`);
        stay.attr('clip-path', `url(#${id}-stay)`);
      }
      root.append('line').attr('class', 'zero').attr('x1', 0).attr('x2', this.width).attr('y1', zero).attr('y2', zero);
      root.append('line').attr('class', 'cut').attr('y1', 0).attr('y2', HEIGHT);
      root
        .append('rect')
        .attr('class', 'grip')
        .attr('width', 6)
        .attr('height', 16)
        .attr('y', HEIGHT / 2 - 8)
        .attr('rx', 2);
    }
    const x = Math.min(this.width - 1, Math.max(1, this.kept * step - (this.kept < size ? 0.5 : 0)));
    root.select('.clip-stay').attr('x', 0).attr('width', x);
    root
      .select('.clip-go')
      .attr('x', x)
      .attr('width', Math.max(0, this.width - x));
    root
      .select('.gone-ground')
      .attr('x', x)
      .attr('width', Math.max(0, this.width - x));
    root.select('.cut').attr('x1', x).attr('x2', x);
    root.select('.grip').attr('x', Math.min(this.width - 6, Math.max(0, x - 3)));
  }

  private cutAt(clientX: number): void {
    if (!this.group) return;
    const box = this.element.getBoundingClientRect();
    const kept = snap(this.group, Math.round(((clientX - box.left) / box.width) * this.group.size));
    if (kept !== this.kept) this.onCut(this.group, kept);
  }

  private hover(e: PointerEvent): void {
    if (!this.group) return;
    const box = this.element.getBoundingClientRect();
    const i = Math.floor(((e.clientX - box.left) / box.width) * this.group.size);
    if (i < 0 || i >= this.group.size) return tooltip.hide();
    const dragging = this.element.classList.contains('dragging');
    if (dragging) {
      tooltip.show({ title: `${count(this.kept)} of ${count(this.group.size)} stay`, lines: [] }, e.clientX, e.clientY);
      return;
    }
    const unit = this.group.order[i];
    tooltip.show(
      {
        title: `#${unit}`,
        lines: [
          ['score', number(this.group.scores[i])],
          ['', this.keepSet.has(unit) ? 'stays' : 'goes'],
        ],
      },
      e.clientX,
      e.clientY,
    );
  }

  private onKey(e: KeyboardEvent): void {
    if (!this.group || this.locked) return;
    const page = Math.max(1, Math.round(this.group.stops.length / 10));
    const by = {
      ArrowRight: 1,
      ArrowUp: 1,
      ArrowLeft: -1,
      ArrowDown: -1,
      PageUp: page,
      PageDown: -page,
      Home: -Infinity,
      End: Infinity,
    }[e.key];
    if (by === undefined) return;
    this.onCut(this.group, neighbour(this.group, this.kept, by));
    e.preventDefault();
    e.stopPropagation();
  }
}

/** Smallest and largest score. */
function extremes(scores: readonly number[]): [number, number] {
  return scores.reduce<[number, number]>(([low, high], s) => [Math.min(low, s), Math.max(high, s)], [0, 0]);
}
