import { axisBottom, axisLeft } from 'd3-axis';
import { scaleLinear, type ScaleLinear } from 'd3-scale';
import { select } from 'd3-selection';
import { line } from 'd3-shape';
import type { MetricName } from '../../src/formats.ts';
import { isShare, metricValue, number, percent } from '../logic/format.ts';
import { paretoFront } from '../logic/history.ts';
import { h, onResize, setAttr, setText } from '../ui/dom.ts';
import { tipText, tooltip, type Tip } from '../ui/tooltip.ts';

const HEIGHT = 180;
const MARGIN = { top: 12, right: 14, bottom: 36, left: 52 };

export interface CurvePoint {
  /** Share of the cost that is left, 0..1. */
  cost: number;
  value: number;
}

export interface CurveData {
  points: CurvePoint[];
  /** The present cut; value null while it is measured. */
  present: { cost: number; value: number | null; stderr: number | null } | null;
  /** The whole model. */
  reference: number | null;
  metric: MetricName | null;
  samples: number;
  costLabel: string;
}

/** Metric against cost: measured points, the present one, the front that no point beats. Points open again. */
export class CurveChart {
  readonly element: HTMLElement;
  private readonly svg: SVGSVGElement;
  private readonly live: HTMLElement;
  private data: CurveData | null = null;
  private width = 0;
  private active = -1;
  private x: ScaleLinear<number, number> = scaleLinear();
  private y: ScaleLinear<number, number> = scaleLinear();
  private readonly onOpen: (index: number) => void;

  constructor(onOpen: (index: number) => void) {
    this.onOpen = onOpen;
    this.svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    setAttr(this.svg, 'height', HEIGHT);
    setAttr(this.svg, 'aria-hidden', 'true');
    this.live = h('div', { class: 'sr-only', attrs: { 'aria-live': 'polite' } });
    this.element = h('div', {
      class: 'chart curve',
      attrs: { role: 'application', tabindex: 0, 'aria-roledescription': 'curve' },
    });
    this.element.append(this.svg, this.live);
    this.element.addEventListener('pointermove', (e) => {
      const box = this.element.getBoundingClientRect();
      const at = this.nearest(e.clientX - box.left, e.clientY - box.top);
      this.activate(at, e.clientX, e.clientY);
    });
    this.element.addEventListener('pointerleave', () => this.activate(-1, 0, 0));
    this.element.addEventListener('blur', () => this.activate(-1, 0, 0));
    this.element.addEventListener('click', () => this.active >= 0 && this.onOpen(this.active));
    this.element.addEventListener('keydown', (e) => this.onKey(e));
    onResize(this.element, (width) => {
      this.width = width;
      this.draw();
    });
  }

  set(data: CurveData): void {
    this.data = data;
    if (this.active >= data.points.length) this.active = -1;
    setAttr(
      this.element,
      'aria-label',
      `Metric against ${data.costLabel}, ${data.points.length} measured points. Arrow keys move, Enter opens a point again.`,
    );
    this.draw();
  }

  private draw(): void {
    const { data } = this;
    if (!data || this.width <= 0) return;
    const values = [...data.points.map((p) => p.value)];
    if (data.reference !== null) values.push(data.reference);
    if (data.present?.value !== null && data.present?.value !== undefined) {
      const half = 1.96 * (data.present.stderr ?? 0);
      values.push(data.present.value - half, data.present.value + half);
    }
    let low = Math.min(...values);
    let high = Math.max(...values);
    if (values.length === 0) [low, high] = isShare(data.metric) ? [0, 1] : [-1, 0];
    const pad = (high - low) * 0.08 || Math.max(0.01, Math.abs(high) * 0.1);
    const costs = data.points.map((p) => p.cost).concat(data.present?.cost ?? [], 1);
    const left = Math.max(0, Math.min(...costs) - 0.05);
    this.x = scaleLinear([left, 1], [MARGIN.left, this.width - MARGIN.right]);
    this.y = scaleLinear(
      [low - pad, isShare(data.metric) ? Math.min(1, high + pad) : high + pad],
      [HEIGHT - MARGIN.bottom, MARGIN.top],
    );
    setAttr(this.svg, 'width', this.width);
    const root = select(this.svg);
    const layer = (name: string) =>
      root.selectAll<SVGGElement, string>(`g.${name}`).data([name]).join('g').attr('class', name);
    layer('y-axis')
      .attr('transform', `translate(${MARGIN.left},0)`)
      .call(
        axisLeft<number>(this.y)
          .ticks(4)
          .tickSize(-(this.width - MARGIN.left - MARGIN.right))
          .tickPadding(8)
          .tickFormat((v) => (isShare(data.metric) ? percent(+v) : number(+v))),
      );
    layer('x-axis')
      .attr('transform', `translate(0,${HEIGHT - MARGIN.bottom})`)
      .call(
        axisBottom<number>(this.x)
          .ticks(Math.max(2, Math.floor(this.width / 80)))
          .tickSize(4)
          .tickFormat((v) => percent(+v)),
      );
    root
      .selectAll<SVGTextElement, string>('text.axis-title')
      .data([data.costLabel])
      .join('text')
      .attr('class', 'axis-title')
      .attr('x', MARGIN.left)
      .attr('y', HEIGHT - 4)
      .text((t) => `${t} left`);
    const all = data.reference === null ? data.points : [...data.points, { cost: 1, value: data.reference }];
    const path = line<CurvePoint>(
      (p) => this.x(p.cost),
      (p) => this.y(p.value),
    );
    root
      .selectAll<SVGPathElement, CurvePoint[]>('path.front')
      .data([paretoFront(all)])
      .join('path')
      .attr('class', 'front')
      .attr('d', path);
    root
      .selectAll<SVGLineElement, number>('line.reference')
      .data(data.reference === null ? [] : [data.reference])
      .join('line')
      .attr('class', 'reference')
      .attr('x1', MARGIN.left)
      .attr('x2', this.width - MARGIN.right)
      .attr('y1', (v) => this.y(v))
      .attr('y2', (v) => this.y(v));
    root
      .selectAll<SVGCircleElement, CurvePoint>('circle.point')
      .data(data.points)
      .join('circle')
      .attr('class', (_, i) => `point${i === this.active ? ' active' : ''}`)
      .attr('cx', (p) => this.x(p.cost))
      .attr('cy', (p) => this.y(p.value))
      .attr('r', (_, i) => (i === this.active ? 6 : 4));
    this.drawPresent();
  }

  private drawPresent(): void {
    const present = this.data?.present;
    const root = select(this.svg);
    const known =
      present && present.value !== null ? [present as { cost: number; value: number; stderr: number | null }] : [];
    root
      .selectAll<SVGLineElement, number>('line.present')
      .data(present ? [present.cost] : [])
      .join('line')
      .attr('class', 'present')
      .attr('x1', (c) => this.x(c))
      .attr('x2', (c) => this.x(c))
      .attr('y1', MARGIN.top)
      .attr('y2', HEIGHT - MARGIN.bottom);
    root
      .selectAll<SVGLineElement, (typeof known)[number]>('line.whisker')
      .data(known)
      .join('line')
      .attr('class', 'whisker')
      .attr('x1', (p) => this.x(p.cost))
      .attr('x2', (p) => this.x(p.cost))
      .attr('y1', (p) => this.y(p.value - 1.96 * (p.stderr ?? 0)))
      .attr('y2', (p) => this.y(p.value + 1.96 * (p.stderr ?? 0)));
    root
      .selectAll<SVGCircleElement, (typeof known)[number]>('circle.present')
      .data(known)
      .join('circle')
      .attr('class', 'present')
      .attr('cx', (p) => this.x(p.cost))
      .attr('cy', (p) => this.y(p.value))
      .attr('r', 6)
      .raise();
  }

  private nearest(px: number, py: number): number {
    let best = -1;
    let distance = 24 ** 2;
    this.data?.points.forEach((p, i) => {
      const d = (this.x(p.cost) - px) ** 2 + (this.y(p.value) - py) ** 2;
      if (d < distance) [best, distance] = [i, d];
    });
    return best;
  }

  private tip(i: number): Tip {
    const { points, metric, samples, costLabel } = this.data!;
    const p = points[i];
    return {
      title: metricValue(metric, p.value, samples),
      lines: [
        [costLabel, percent(p.cost)],
        ['', 'click to open again'],
      ],
    };
  }

  private activate(at: number, x: number, y: number): void {
    if (at !== this.active) {
      this.active = at;
      this.draw();
    }
    if (at >= 0) tooltip.show(this.tip(at), x, y);
    else tooltip.hide();
  }

  private onKey(e: KeyboardEvent): void {
    const points = this.data?.points ?? [];
    if (points.length === 0) return;
    if (e.key === 'Enter' && this.active >= 0) this.onOpen(this.active);
    else if (e.key === 'ArrowRight' || e.key === 'ArrowLeft') {
      const order = points.map((_, i) => i).sort((a, b) => points[a].cost - points[b].cost);
      const at = order.indexOf(this.active);
      const next =
        e.key === 'ArrowRight' ? Math.min(order.length - 1, at + 1) : Math.max(0, at < 0 ? order.length - 1 : at - 1);
      const i = order[next];
      const box = this.element.getBoundingClientRect();
      this.activate(i, box.left + this.x(points[i].cost), box.top + this.y(points[i].value));
      setText(this.live, tipText(this.tip(i)));
    } else return;
    e.preventDefault();
  }
}
