import type { FeatureGrid, FeaturePicture, Features, FeatureScore } from '../../src/formats.ts';
import { featureLines, largestImportance } from '../logic/features.ts';
import { number } from '../logic/format.ts';
import { h, onResize, setAttr, setText } from '../ui/dom.ts';
import { tipText, tooltip, type Tip } from '../ui/tooltip.ts';
import { onThemeChange, rgb, tone } from './theme.ts';

/** Largest drawn side, in pixels of the screen. */
const LARGEST = 380;

export interface FeatureMapData {
  /** One per cell of the grid, in the order of their index. */
  features: readonly FeatureScore[];
  method: Features['method'];
  grid: FeatureGrid;
  picture: FeaturePicture | null;
  /** Cells with a frame: those that a selection chose. */
  selected: readonly number[];
  label: string;
}

/** Importance of the parts of an image, laid over the image in grey. Arrow keys walk over the cells. */
export class FeatureMap {
  readonly element: HTMLElement;
  private readonly canvas = h('canvas', { class: 'feature-canvas', attrs: { 'aria-hidden': 'true' } });
  private readonly stage: HTMLElement;
  private readonly low = h('span');
  private readonly high = h('span');
  private readonly ramp = h('canvas', { class: 'heat-ramp', attrs: { width: 64, height: 1, 'aria-hidden': 'true' } });
  private readonly live = h('div', { class: 'sr-only', attrs: { 'aria-live': 'polite' } });
  private readonly onMark: (index: number | null) => void;
  private data: FeatureMapData | null = null;
  /** One pixel per pixel of the image, in the colours of the theme; null until it is drawn. */
  private image: HTMLCanvasElement | null = null;
  private active: number | null = null;
  private room = LARGEST;

  constructor(onMark: (index: number | null) => void) {
    this.onMark = onMark;
    this.stage = h(
      'div',
      { class: 'feature-stage', attrs: { role: 'application', tabindex: 0, 'aria-roledescription': 'heat map' } },
      this.canvas,
      this.live,
    );
    const legend = h('div', { class: 'heat-legend' }, this.low, this.ramp, this.high);
    this.element = h('div', { class: 'chart feature-map' }, this.stage, legend);
    this.stage.addEventListener('pointermove', (e) => this.hover(e));
    this.stage.addEventListener('pointerleave', () => this.choose(null));
    this.stage.addEventListener('blur', () => this.choose(null));
    this.stage.addEventListener('keydown', (e) => this.onKey(e));
    onResize(this.element, (width) => {
      this.room = Math.min(LARGEST, width);
      this.draw();
    });
    onThemeChange(() => {
      this.image = null;
      this.draw();
    });
  }

  set(data: FeatureMapData): void {
    this.data = data;
    this.image = null;
    setAttr(this.stage, 'aria-label', `${data.label}. Arrow keys walk over the image.`);
    this.draw();
  }

  /** Frames a feature that was chosen elsewhere. */
  mark(index: number | null): void {
    if (this.active === index) return;
    this.active = index;
    this.draw();
  }

  private draw(): void {
    const { data, canvas } = this;
    if (!data || this.room <= 0) return;
    const { grid } = data;
    const scale = Math.max(1, Math.floor(this.room / Math.max(grid.height, grid.width)));
    const ratio = devicePixelRatio || 1;
    // Images larger than the room are drawn smaller than one to one.
    const fit = Math.min(1, this.room / (Math.max(grid.height, grid.width) * scale));
    const [width, height] = [grid.width * scale * fit, grid.height * scale * fit];
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const g = canvas.getContext('2d');
    if (!g) return;
    g.imageSmoothingEnabled = false;
    g.drawImage((this.image ??= painted(data)), 0, 0, canvas.width, canvas.height);
    const unit = canvas.width / grid.width;
    g.lineWidth = Math.max(1, ratio);
    g.strokeStyle = tone('ink');
    for (const index of data.selected) frame(g, grid, index, unit);
    if (this.active !== null && data.features[this.active]) {
      g.lineWidth = 2 * ratio;
      frame(g, grid, this.active, unit);
    }
    this.drawLegend(data);
  }

  private drawLegend(data: FeatureMapData): void {
    const largest = largestImportance(data.features) || 1;
    const [positive, negative] = [rgb(tone('positive')), rgb(tone('negative'))];
    const signed = data.features.some((f) => f.importance < 0);
    setText(this.low, signed ? number(-largest) : '0');
    setText(this.high, `${number(largest)} ${data.method === 'qfit' ? 'share' : ''}`);
    const g = this.ramp.getContext('2d');
    if (!g) return;
    const ground = rgb(tone('neutral'));
    const image = g.createImageData(64, 1);
    for (let x = 0; x < 64; x++) {
      const value = signed ? (2 * x) / 63 - 1 : x / 63;
      const colour = value < 0 ? negative : positive;
      const share = Math.sqrt(Math.abs(value));
      image.data.set([...ground.map((v, c) => v + (colour[c] - v) * share), 255], x * 4);
    }
    g.putImageData(image, 0, 0);
  }

  private tip(index: number): Tip {
    const { features, method } = this.data!;
    return { title: features[index].name, lines: featureLines(features[index], method) };
  }

  private choose(index: number | null, x?: number, y?: number): void {
    if (index === null) tooltip.hide();
    else if (x !== undefined && y !== undefined) tooltip.show(this.tip(index), x, y);
    if (index === this.active) return;
    this.active = index;
    this.draw();
    this.onMark(index);
  }

  private hover(e: PointerEvent): void {
    if (!this.data) return;
    const { grid } = this.data;
    const box = this.canvas.getBoundingClientRect();
    const x = Math.floor(((e.clientX - box.left) / box.width) * grid.width);
    const y = Math.floor(((e.clientY - box.top) / box.height) * grid.height);
    const inside = x >= 0 && y >= 0 && x < grid.width && y < grid.height;
    this.choose(inside ? cellOf(grid, y, x) : null, e.clientX, e.clientY);
  }

  private onKey(e: KeyboardEvent): void {
    if (!this.data) return;
    const { columns, rows } = this.data.grid;
    const at = this.active ?? 0;
    const [row, column] = this.active === null ? [0, -1] : [Math.floor(at / columns), at % columns];
    const next = {
      ArrowRight: [row, column + 1],
      ArrowLeft: [row, column - 1],
      ArrowDown: [row + (this.active === null ? 0 : 1), Math.max(0, column)],
      ArrowUp: [row - 1, Math.max(0, column)],
      Home: [0, 0],
      End: [rows - 1, columns - 1],
    }[e.key];
    if (!next) return;
    const clamp = (v: number, most: number): number => Math.max(0, Math.min(most, v));
    const index = clamp(next[0], rows - 1) * columns + clamp(next[1], columns - 1);
    const box = this.canvas.getBoundingClientRect();
    const centre = (cell: number, cells: number): number => (cell + 0.5) / cells;
    this.choose(
      index,
      box.left + centre(index % columns, columns) * box.width,
      box.top + centre(Math.floor(index / columns), rows) * box.height,
    );
    setText(this.live, tipText(this.tip(index)));
    e.preventDefault();
  }
}

/** The image with its importances laid over it, in its own size. */
function painted({ features, grid, picture }: FeatureMapData): HTMLCanvasElement {
  const canvas = h('canvas', { attrs: { width: grid.width, height: grid.height } });
  const g = canvas.getContext('2d');
  if (!g) return canvas;
  const largest = largestImportance(features) || 1;
  const [positive, negative, ground] = [rgb(tone('positive')), rgb(tone('negative')), rgb(tone('neutral'))];
  const image = g.createImageData(grid.width, grid.height);
  for (let y = 0; y < grid.height; y++) {
    for (let x = 0; x < grid.width; x++) {
      const { importance } = features[cellOf(grid, y, x)];
      const share = Math.sqrt(Math.abs(importance) / largest);
      const colour = importance < 0 ? negative : positive;
      const under = picture ? grey(picture, grid, y, x) : ground;
      const over = share > 0 && picture ? 0.1 + 0.65 * share : share;
      const at = (y * grid.width + x) * 4;
      for (let c = 0; c < 3; c++) image.data[at + c] = under[c] + (colour[c] - under[c]) * over;
      image.data[at + 3] = 255;
    }
  }
  g.putImageData(image, 0, 0);
  return canvas;
}

/** Number of the feature that a pixel belongs to. */
function cellOf(grid: FeatureGrid, y: number, x: number): number {
  const column = grid.columns === 1 ? 0 : Math.floor(x / grid.patch);
  return Math.floor(y / grid.patch) * grid.columns + column;
}

/** A pixel of the picture in grey, neither black nor white, so that colours over it can be told apart. */
function grey(picture: FeaturePicture, grid: FeatureGrid, y: number, x: number): [number, number, number] {
  const [py, px] = [Math.floor((y * picture.height) / grid.height), Math.floor((x * picture.width) / grid.width)];
  const at = (py * picture.width + px) * picture.channels;
  // Luma of ITU-R BT.709.
  const [r, g, b] =
    picture.channels === 3 ? picture.pixels.slice(at, at + 3) : Array<number>(3).fill(picture.pixels[at]);
  const luma = (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
  const shade = 20 + 215 * luma;
  return [shade, shade, shade];
}

function frame(g: CanvasRenderingContext2D, grid: FeatureGrid, index: number, unit: number): void {
  const row = Math.floor(index / grid.columns);
  const column = index % grid.columns;
  const [top, left] = [row * grid.patch, grid.columns === 1 ? 0 : column * grid.patch];
  const bottom = Math.min(grid.height, top + grid.patch);
  const right = grid.columns === 1 ? grid.width : Math.min(grid.width, left + grid.patch);
  const half = g.lineWidth / 2;
  g.strokeRect(
    left * unit + half,
    top * unit + half,
    (right - left) * unit - g.lineWidth,
    (bottom - top) * unit - g.lineWidth,
  );
}
