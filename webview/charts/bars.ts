import { axisBottom, axisLeft } from 'd3-axis';
import { scaleLinear, type ScaleLinear } from 'd3-scale';
import { select } from 'd3-selection';
import type { UnitScore } from '../../src/formats.ts';
import { count, number } from '../logic/format.ts';
import { scoreDomain, type Whiskers, Z95 } from '../logic/units.ts';
import { h, onResize, setAttr, setText } from '../ui/dom.ts';
import { tipText, tooltip, type Tip } from '../ui/tooltip.ts';
import { columnsOf, type Column } from './columns.ts';
import { isHighContrast, onThemeChange, tone } from './theme.ts';

const HEIGHT = 280;
const MARGIN = { top: 12, right: 12, bottom: 36, left: 60 };
/** More marks than this are drawn on a canvas. */
const SVG_MARKS = 2000;

export interface BarData {
  /** Best first. */
  units: UnitScore[];
  /** `channel` */
  unitName: string;
  /** What the axis measures. */
  axis: string;
  label: string;
  /** What whiskers mean. */
  whiskers: Whiskers;
}

/** Scores of a group's units, sorted, with whiskers (95 % intervals, or one posterior standard deviation to each side). Arrow keys reach every unit. */
export class BarChart {
  readonly element: HTMLElement;
  private readonly svg: SVGSVGElement;
  private readonly canvas: HTMLCanvasElement;
  private readonly live: HTMLElement;
  private data: BarData | null = null;
  private columns: Column[] = [];
  private y: ScaleLinear<number, number> = scaleLinear();
  private width = 0;
  private active = -1;

  constructor() {
    this.svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    setAttr(this.svg, 'height', HEIGHT);
    setAttr(this.svg, 'aria-hidden', 'true');
    this.canvas = h('canvas', { attrs: { 'aria-hidden': 'true' } });
    this.live = h('div', { class: 'sr-only', attrs: { 'aria-live': 'polite' } });
    this.element = h(
      'div',
      { class: 'chart bar-chart', attrs: { role: 'application', tabindex: 0, 'aria-roledescription': 'bar chart' } },
      this.canvas,
      this.live,
    );
    this.element.insertBefore(this.svg, this.live);
    this.element.addEventListener('pointermove', (e) => {
      const box = this.element.getBoundingClientRect();
      this.hover(this.unitAt(e.clientX - box.left), e.clientX, e.clientY);
    });
    this.element.addEventListener('pointerleave', () => this.leave());
    this.element.addEventListener('blur', () => this.leave());
    this.element.addEventListener('keydown', (e) => this.onKey(e));
    onResize(this.element, (width) => {
      this.width = width;
      this.draw();
    });
    onThemeChange(() => this.draw());
  }

  set(data: BarData): void {
    this.data = data;
    setAttr(
      this.element,
      'aria-label',
      `${data.label}. ${count(data.units.length)} bars, best first. Arrow keys move along units.`,
    );
    if (this.active >= data.units.length) this.active = -1;
    this.draw();
  }

  private get plot(): number {
    return Math.max(0, this.width - MARGIN.left - MARGIN.right);
  }

  private draw(): void {
    const { data } = this;
    if (!data || this.plot <= 0) return;
    const { units, whiskers } = data;
    this.columns = columnsOf(units, this.plot, whiskers);
    this.y = scaleLinear(scoreDomain(units, whiskers), [HEIGHT - MARGIN.bottom, MARGIN.top]).nice(5);
    setAttr(this.svg, 'width', this.width);
    const onCanvas = units.length > SVG_MARKS;
    this.canvas.hidden = !onCanvas;
    this.drawAxes(data);
    if (onCanvas) this.drawCanvas();
    this.drawPaths(!onCanvas);
    this.drawMark();
  }

  private drawAxes(data: BarData): void {
    const root = select(this.svg);
    const layer = (name: string) =>
      root.selectAll<SVGGElement, string>(`g.${name}`).data([name]).join('g').attr('class', name);
    const ticks = axisLeft<number>(this.y)
      .ticks(5)
      .tickSize(-this.plot)
      .tickPadding(8)
      .tickFormat((v) => number(+v));
    layer('y-axis').attr('transform', `translate(${MARGIN.left},0)`).call(ticks);
    const n = data.units.length;
    const step = this.plot / n;
    const x = scaleLinear([0, n], [0, this.plot]);
    const every = niceStep(Math.max(1, Math.ceil(30 / step)));
    const values: number[] = [];
    const dense = step >= 22;
    if (dense) for (let i = 0; i < n; i += every) values.push(i + 0.5);
    else {
      // Places: the first, then round numbers where the steps are large enough for it.
      values.push(0.5);
      for (let place = every < 5 ? 1 + every : every; place <= n; place += every) values.push(place - 0.5);
    }
    const bottom = axisBottom<number>(x)
      .tickValues(values)
      .tickSize(0)
      .tickPadding(6)
      .tickFormat((v) => (dense ? `#${data.units[Math.floor(+v)].index}` : count(Math.floor(+v) + 1)));
    layer('x-axis')
      .attr('transform', `translate(${MARGIN.left},${HEIGHT - MARGIN.bottom})`)
      .call(bottom as never);
    const titles = [
      {
        x: MARGIN.left,
        y: HEIGHT - 4,
        text: dense ? `${data.unitName} number, best first` : 'place in the order, best first',
      },
    ];
    root
      .selectAll<SVGTextElement, (typeof titles)[number]>('text.axis-title')
      .data(titles)
      .join('text')
      .attr('class', 'axis-title')
      .attr('x', (t) => t.x)
      .attr('y', (t) => t.y)
      .text((t) => t.text);
    root
      .selectAll<SVGLineElement, number>('line.zero')
      .data([this.y(0)])
      .join('line')
      .attr('class', 'zero')
      .attr('x1', MARGIN.left)
      .attr('x2', this.width - MARGIN.right)
      .attr('y1', (v) => v)
      .attr('y2', (v) => v);
  }

  /** Bars and whiskers as a few paths: as fast as one shape, styled by CSS. */
  private drawPaths(drawn: boolean): void {
    const zero = this.y(0);
    const paths: Record<string, string[]> = {
      'bar positive': [],
      'bar negative': [],
      'bar positive light': [],
      'bar negative light': [],
      whisker: [],
    };
    if (drawn) {
      for (const c of this.columns) {
        const x = MARGIN.left + c.x;
        const top = Math.min(zero, this.y(c.score));
        const height = Math.max(0.5, Math.abs(this.y(c.score) - zero));
        paths[`bar ${c.score < 0 ? 'negative' : 'positive'}${c.light ? ' light' : ''}`].push(
          `M${r(x)},${r(top)}h${r(c.width)}v${r(height)}h${r(-c.width)}z`,
        );
        if (!c.hasError) continue;
        const mid = r(x + c.width / 2);
        paths['whisker'].push(`M${mid},${r(this.y(c.low))}V${r(this.y(c.high))}`);
        if (c.width >= 7) {
          const cap = Math.min(4, c.width / 4);
          for (const v of [c.low, c.high])
            paths['whisker'].push(`M${r(x + c.width / 2 - cap)},${r(this.y(v))}h${r(2 * cap)}`);
        }
      }
    }
    const thin = (this.columns[0]?.width ?? 0) < 4;
    select(this.svg)
      .selectAll<SVGPathElement, [string, string[]]>('path.marks')
      .data(Object.entries(paths))
      .join('path')
      .attr('class', ([name]) => `marks ${name}${thin ? ' thin' : ''}`)
      .attr('d', ([, d]) => d.join(''));
  }

  private drawCanvas(): void {
    const ratio = devicePixelRatio || 1;
    const { canvas } = this;
    canvas.width = Math.round(this.width * ratio);
    canvas.height = Math.round(HEIGHT * ratio);
    canvas.style.width = `${this.width}px`;
    canvas.style.height = `${HEIGHT}px`;
    const g = canvas.getContext('2d');
    if (!g) return;
    g.scale(ratio, ratio);
    const zero = this.y(0);
    const band = isHighContrast() ? 0.6 : 0.35;
    for (const c of this.columns) {
      const x = MARGIN.left + c.x;
      g.fillStyle = tone(c.score < 0 ? 'negative' : 'positive');
      g.globalAlpha = c.light ? 0.4 : 1;
      g.fillRect(x, Math.min(zero, this.y(c.score)), c.width, Math.max(0.5, Math.abs(this.y(c.score) - zero)));
      if (!c.hasError) continue;
      g.globalAlpha = band;
      g.fillStyle = tone('ink');
      g.fillRect(x, this.y(c.high), c.width, Math.max(0.5, this.y(c.low) - this.y(c.high)));
    }
    g.globalAlpha = 1;
  }

  private drawMark(): void {
    const n = this.data?.units.length ?? 0;
    const step = n ? this.plot / n : 0;
    select(this.svg)
      .selectAll<SVGRectElement, number>('rect.mark')
      .data(this.active >= 0 ? [this.active] : [])
      .join('rect')
      .attr('class', 'mark')
      .attr('x', (i) => MARGIN.left + i * step)
      .attr('y', MARGIN.top)
      .attr('width', Math.max(2, step))
      .attr('height', HEIGHT - MARGIN.top - MARGIN.bottom);
  }

  private unitAt(x: number): number {
    const n = this.data?.units.length ?? 0;
    const at = Math.floor(((x - MARGIN.left) / this.plot) * n);
    return at < 0 || at >= n ? -1 : at;
  }

  private tip(at: number): Tip {
    const { units, unitName, whiskers } = this.data!;
    const u = units[at];
    const lines: Tip['lines'] = [
      ['place', `${count(at + 1)} of ${count(units.length)}`],
      ['score', number(u.score)],
    ];
    if (u.stderr !== undefined && whiskers.posterior) lines.push(['posterior deviation', number(u.stderr, 2)]);
    else if (u.stderr !== undefined) {
      lines.push(['95 % interval', `${number(u.score - Z95 * u.stderr)} to ${number(u.score + Z95 * u.stderr)}`]);
      if (Math.abs(u.score) <= Z95 * u.stderr) lines.push(['', 'may be zero']);
    }
    return { title: `${unitName} #${u.index}`, lines };
  }

  private hover(at: number, x: number, y: number): void {
    if (at < 0) return this.leave();
    if (at !== this.active) {
      this.active = at;
      this.drawMark();
    }
    tooltip.show(this.tip(at), x, y);
  }

  private leave(): void {
    this.active = -1;
    this.drawMark();
    tooltip.hide();
  }

  private onKey(e: KeyboardEvent): void {
    const last = (this.data?.units.length ?? 0) - 1;
    if (last < 0) return;
    const page = Math.max(1, Math.round(last / 10));
    const next = {
      ArrowRight: this.active + 1,
      ArrowLeft: this.active < 0 ? 0 : this.active - 1,
      PageDown: this.active + page,
      PageUp: this.active - page,
      Home: 0,
      End: last,
    }[e.key];
    if (next === undefined) return;
    const at = Math.max(0, Math.min(last, next));
    const box = this.element.getBoundingClientRect();
    this.hover(at, box.left + MARGIN.left + ((at + 0.5) * this.plot) / (last + 1), box.top + HEIGHT / 2);
    setText(this.live, tipText(this.tip(at)));
    e.preventDefault();
  }
}

function r(value: number): string {
  return value.toFixed(2);
}

/** 1, 2, 5, 10, 20, 50, … at least as large. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((m) => m * power).find((m) => m >= least) ?? least;
}
