import { bisector } from 'd3-array';
import { scaleLinear } from 'd3-scale';
import { select } from 'd3-selection';
import type { LayerInfo } from '../../src/formats.ts';
import { count, percent, shape, si } from '../logic/format.ts';
import { COST_UNITS } from '../logic/words.ts';
import { h, onResize, setAttr, setText } from '../ui/dom.ts';
import { tipText, tooltip, type Tip } from '../ui/tooltip.ts';

const HEIGHT = 48;
/** Segments narrower than this are drawn together; the pointer still finds each layer. */
const NARROW = 1.5;

interface Segment {
  from: number;
  to: number;
  first: number;
  last: number;
  kind: 'prunable' | 'frozen' | 'mixed';
  odd: boolean;
}

/** The model's cost as one bar, layer after layer in graph order. */
export class CostStrip {
  readonly element: HTMLElement;
  private readonly svg: SVGSVGElement;
  private readonly live: HTMLElement;
  private layers: LayerInfo[] = [];
  private prunable: ReadonlySet<string> = new Set();
  private unit: 'macs' | 'parameters' = 'macs';
  private selected: string | null = null;
  /** Cost before each layer; one more at the end. */
  private ends = new Float64Array(1);
  private width = 0;
  private active = -1;
  private readonly onSelect: (layer: LayerInfo) => void;

  constructor(onSelect: (layer: LayerInfo) => void) {
    this.onSelect = onSelect;
    this.svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    setAttr(this.svg, 'height', HEIGHT);
    setAttr(this.svg, 'aria-hidden', 'true');
    this.live = h('div', { class: 'sr-only', attrs: { 'aria-live': 'polite' } });
    this.element = h('div', {
      class: 'chart cost-strip',
      attrs: { role: 'application', tabindex: 0, 'aria-roledescription': 'bar of layers' },
    });
    this.element.append(this.svg, this.live);
    this.element.addEventListener('pointermove', (e) => this.hover(this.layerAt(e.offsetX), e.clientX, e.clientY));
    this.element.addEventListener('pointerleave', () => this.leave());
    this.element.addEventListener('blur', () => this.leave());
    this.element.addEventListener('click', () => this.active >= 0 && this.onSelect(this.layers[this.active]));
    this.element.addEventListener('keydown', (e) => this.onKey(e));
    onResize(this.element, (width) => {
      this.width = width;
      this.draw();
    });
  }

  set(layers: LayerInfo[], prunable: ReadonlySet<string>, unit: 'macs' | 'parameters', selected: string | null): void {
    if (layers === this.layers && unit === this.unit && selected === this.selected) return;
    this.layers = layers;
    this.prunable = prunable;
    this.unit = unit;
    this.selected = selected;
    this.ends = new Float64Array(layers.length + 1);
    layers.forEach((l, i) => (this.ends[i + 1] = this.ends[i] + l[unit]));
    setAttr(
      this.element,
      'aria-label',
      `${COST_UNITS[unit]} of ${count(layers.length)} layers in graph order. Arrow keys move along layers.`,
    );
    this.draw();
  }

  private get total(): number {
    return this.ends[this.ends.length - 1];
  }

  private segments(): Segment[] {
    const x = scaleLinear([0, this.total], [0, this.width]);
    const found: Segment[] = [];
    let open: Segment | null = null;
    this.layers.forEach((layer, i) => {
      if (layer[this.unit] <= 0) return;
      const kind = layer.group && this.prunable.has(layer.group) ? 'prunable' : 'frozen';
      const from = x(this.ends[i]);
      const to = x(this.ends[i + 1]);
      if (open && (to - from < NARROW || open.to - open.from < NARROW) && to - open.from < 6 * NARROW) {
        open.to = to;
        open.last = i;
        if (open.kind !== kind) open.kind = 'mixed';
      } else {
        open = { from, to, first: i, last: i, kind, odd: found.length % 2 === 1 };
        found.push(open);
      }
    });
    return found;
  }

  private draw(): void {
    if (this.width <= 0) return;
    setAttr(this.svg, 'width', this.width);
    const segments = this.total > 0 ? this.segments() : [];
    const root = select(this.svg);
    root
      .selectAll<SVGRectElement, Segment>('rect.seg')
      .data(segments)
      .join('rect')
      .attr('class', (s) => `seg ${s.kind}${s.odd ? ' odd' : ''}${this.holdsSelected(s) ? ' selected' : ''}`)
      .attr('x', (s) => s.from)
      .attr('y', 4)
      .attr('width', (s) => Math.max(0.5, s.to - s.from - (s.to - s.from > 3 ? 1 : 0)))
      .attr('height', HEIGHT - 8);
    root
      .selectAll<SVGTextElement, Segment>('text')
      .data(segments.filter((s) => s.first === s.last && s.to - s.from > 56))
      .join('text')
      .attr('class', (s) => s.kind)
      .attr('x', (s) => s.from + 6)
      .attr('y', HEIGHT / 2 + 4)
      .text((s) => fit(this.layers[s.first].name, s.to - s.from - 12));
    root
      .selectAll('rect.mark')
      .data(this.active >= 0 ? [this.active] : [])
      .join('rect')
      .attr('class', 'mark')
      .attr('x', (i) => (this.ends[i] / this.total) * this.width)
      .attr('y', 1)
      .attr('width', (i) => Math.max(2, (this.layers[i][this.unit] / this.total) * this.width))
      .attr('height', HEIGHT - 2);
    root.selectAll('rect.mark').raise();
  }

  private holdsSelected(s: Segment): boolean {
    if (this.selected === null) return false;
    for (let i = s.first; i <= s.last; i++) if (this.layers[i].group === this.selected) return true;
    return false;
  }

  private layerAt(x: number): number {
    if (this.total <= 0 || this.width <= 0) return -1;
    const cost = (x / this.width) * this.total;
    const at = bisector((d: number) => d).right(Array.from(this.ends), cost) - 1;
    return Math.max(0, Math.min(this.layers.length - 1, at));
  }

  private tip(i: number): Tip {
    const layer = this.layers[i];
    return {
      title: layer.name || layer.op,
      lines: [
        ['op', layer.op],
        ['shape', shape(layer.shape)],
        ['MACs', si(layer.macs)],
        ['parameters', si(layer.parameters)],
        ['share', percent(this.total > 0 ? layer[this.unit] / this.total : 0)],
        ['group', layer.group ?? 'none'],
      ],
    };
  }

  private hover(i: number, x: number, y: number): void {
    if (i < 0) return this.leave();
    if (i !== this.active) {
      this.active = i;
      this.draw();
    }
    tooltip.show(this.tip(i), x, y);
  }

  private leave(): void {
    this.active = -1;
    this.draw();
    tooltip.hide();
  }

  private onKey(e: KeyboardEvent): void {
    const last = this.layers.length - 1;
    if (last < 0 || this.total <= 0) return;
    const next = { ArrowRight: this.active + 1, ArrowLeft: this.active - 1, Home: 0, End: last }[e.key];
    if (e.key === 'Enter' && this.active >= 0) this.onSelect(this.layers[this.active]);
    else if (next !== undefined) {
      let i = Math.max(0, Math.min(last, next));
      const step = e.key === 'ArrowLeft' || e.key === 'End' ? -1 : 1;
      while (this.layers[i][this.unit] <= 0 && i + step >= 0 && i + step <= last) i += step;
      const box = this.element.getBoundingClientRect();
      this.hover(i, box.left + (this.ends[i] / this.total) * this.width, box.bottom - 8);
      setText(this.live, tipText(this.tip(i)));
    } else return;
    e.preventDefault();
  }
}

/** A name that fits so many pixels at the chart's type size, cut at the front where layers are alike. */
function fit(name: string, pixels: number): string {
  const room = Math.floor(pixels / 6.4);
  return name.length <= room ? name : room < 4 ? '' : `…${name.slice(name.length - room + 1)}`;
}
