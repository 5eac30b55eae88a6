import { axisBottom, axisLeft } from 'd3-axis';
import { scaleLinear, type ScaleLinear } from 'd3-scale';
import { select } from 'd3-selection';
import { count, number } from '../logic/format.ts';
import { h, onResize, setAttr, setText } from '../ui/dom.ts';
import { tipText, tooltip, type Tip } from '../ui/tooltip.ts';
import { onThemeChange, tone } from './theme.ts';

const HEIGHT = 300;
const MARGIN = { top: 12, right: 16, bottom: 38, left: 60 };
const SVG_MARKS = 2000;

export interface ScatterPoint {
  unit: number;
  x: number;
  y: number;
}

export interface ScatterData {
  /** Sorted by x, so that arrow keys go along the axis. */
  points: ScatterPoint[];
  xLabel: string;
  yLabel: string;
  unitName: string;
}

/** The scores of two methods against each other, one mark per unit. */
export class Scatter {
  readonly element: HTMLElement;
  private readonly svg: SVGSVGElement;
  private readonly canvas = h('canvas', { attrs: { 'aria-hidden': 'true' } });
  private readonly live = h('div', { class: 'sr-only', attrs: { 'aria-live': 'polite' } });
  private data: ScatterData | null = null;
  private x: ScaleLinear<number, number> = scaleLinear();
  private y: ScaleLinear<number, number> = scaleLinear();
  private width = 0;
  private active = -1;

  constructor() {
    this.svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    setAttr(this.svg, 'height', HEIGHT);
    setAttr(this.svg, 'aria-hidden', 'true');
    const attrs = { role: 'application', tabindex: 0, 'aria-roledescription': 'scatter plot' };
    this.element = h('div', { class: 'chart scatter', attrs }, this.canvas);
    this.element.append(this.svg, this.live);
    this.element.addEventListener('pointermove', (e) => {
      const box = this.element.getBoundingClientRect();
      this.activate(this.nearest(e.clientX - box.left, e.clientY - box.top), e.clientX, e.clientY);
    });
    this.element.addEventListener('pointerleave', () => this.activate(-1, 0, 0));
    this.element.addEventListener('blur', () => this.activate(-1, 0, 0));
    this.element.addEventListener('keydown', (e) => this.onKey(e));
    onResize(this.element, (width) => {
      this.width = width;
      this.draw();
    });
    onThemeChange(() => this.draw());
  }

  set(data: ScatterData): void {
    this.data = data;
    this.active = -1;
    setAttr(
      this.element,
      'aria-label',
      `${data.yLabel} against ${data.xLabel}, ${count(data.points.length)} units. Arrow keys move along units.`,
    );
    this.draw();
  }

  private draw(): void {
    const { data } = this;
    if (!data || this.width <= 0) return;
    const { points } = data;
    this.x = scaleLinear(range(points.map((p) => p.x)), [MARGIN.left, this.width - MARGIN.right]).nice(5);
    this.y = scaleLinear(range(points.map((p) => p.y)), [HEIGHT - MARGIN.bottom, MARGIN.top]).nice(5);
    setAttr(this.svg, 'width', this.width);
    const root = select(this.svg);
    const layer = (name: string) =>
      root.selectAll<SVGGElement, string>(`g.${name}`).data([name]).join('g').attr('class', name);
    const format = (v: number | { valueOf(): number }): string => number(+v);
    layer('x-axis')
      .attr('transform', `translate(0,${HEIGHT - MARGIN.bottom})`)
      .call(
        axisBottom<number>(this.x)
          .ticks(Math.max(2, Math.floor(this.width / 110)))
          .tickSize(-(HEIGHT - MARGIN.top - MARGIN.bottom))
          .tickPadding(8)
          .tickFormat(format),
      );
    layer('y-axis')
      .attr('transform', `translate(${MARGIN.left},0)`)
      .call(
        axisLeft<number>(this.y)
          .ticks(5)
          .tickSize(-(this.width - MARGIN.left - MARGIN.right))
          .tickPadding(8)
          .tickFormat(format),
      );
    const titles = [
      { text: `→ ${data.xLabel}`, x: MARGIN.left, y: HEIGHT - 4 },
      { text: `↑ ${data.yLabel}`, x: MARGIN.left + 4, y: MARGIN.top + 8 },
    ];
    root
      .selectAll<SVGTextElement, (typeof titles)[number]>('text.axis-title')
      .data(titles)
      .join('text')
      .attr('class', 'axis-title')
      .attr('x', (t) => t.x)
      .attr('y', (t) => t.y)
      .text((t) => t.text);
    const onCanvas = points.length > SVG_MARKS;
    this.canvas.hidden = !onCanvas;
    if (onCanvas) this.drawCanvas(points);
    root
      .selectAll<SVGCircleElement, ScatterPoint>('circle.point')
      .data(onCanvas ? [] : points)
      .join('circle')
      .attr('class', 'point')
      .attr('cx', (p) => this.x(p.x))
      .attr('cy', (p) => this.y(p.y))
      .attr('r', 3.5);
    this.drawActive();
  }

  private drawCanvas(points: ScatterPoint[]): void {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(HEIGHT * ratio);
    this.canvas.style.width = `${this.width}px`;
    this.canvas.style.height = `${HEIGHT}px`;
    const g = this.canvas.getContext('2d');
    if (!g) return;
    g.scale(ratio, ratio);
    g.fillStyle = tone('positive');
    g.globalAlpha = 0.5;
    for (const p of points) g.fillRect(this.x(p.x) - 1, this.y(p.y) - 1, 2, 2);
  }

  private drawActive(): void {
    const p = this.data?.points[this.active];
    select(this.svg)
      .selectAll<SVGCircleElement, ScatterPoint>('circle.active')
      .data(p ? [p] : [])
      .join('circle')
      .attr('class', 'active')
      .attr('cx', (d) => this.x(d.x))
      .attr('cy', (d) => this.y(d.y))
      .attr('r', 6)
      .raise();
  }

  private nearest(px: number, py: number): number {
    let best = -1;
    let distance = 20 ** 2;
    this.data?.points.forEach((p, i) => {
      const d = (this.x(p.x) - px) ** 2 + (this.y(p.y) - py) ** 2;
      if (d < distance) [best, distance] = [i, d];
    });
    return best;
  }

  private tip(i: number): Tip {
    const { points, xLabel, yLabel, unitName } = this.data!;
    const p = points[i];
    return {
      title: `${unitName} #${p.unit}`,
      lines: [
        [xLabel, number(p.x)],
        [yLabel, number(p.y)],
      ],
    };
  }

  private activate(at: number, x: number, y: number): void {
    if (at !== this.active) {
      this.active = at;
      this.drawActive();
    }
    if (at >= 0) tooltip.show(this.tip(at), x, y);
    else tooltip.hide();
  }

  private onKey(e: KeyboardEvent): void {
    const last = (this.data?.points.length ?? 0) - 1;
    const next = { ArrowRight: this.active + 1, ArrowLeft: this.active - 1, Home: 0, End: last }[e.key];
    if (next === undefined || last < 0) return;
    const at = Math.max(0, Math.min(last, next));
    const p = this.data!.points[at];
    const box = this.element.getBoundingClientRect();
    this.activate(at, box.left + this.x(p.x), box.top + this.y(p.y));
    setText(this.live, tipText(this.tip(at)));
    e.preventDefault();
  }
}

function range(values: number[]): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const v of values) {
    if (!Number.isFinite(v)) continue;
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  if (low > high) return [0, 1];
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}
