import { fill, h } from './dom.ts';

export interface Tip {
  title: string;
  lines: [label: string, value: string][];
}

/** One tooltip for all charts: next to the pointer or the keyboard's mark, never under it, never outside the window. */
class Tooltip {
  private readonly element = h('div', { class: 'tip', attrs: { 'aria-hidden': 'true' } });

  /** Shows at a point of the window. */
  show(tip: Tip, x: number, y: number): void {
    if (!this.element.isConnected) document.body.append(this.element);
    fill(
      this.element,
      h('div', { class: 'tip-title', text: tip.title }),
      ...tip.lines.map(([label, value]) =>
        h('div', { class: 'tip-line' }, h('span', { class: 'muted', text: label }), h('span', { text: value })),
      ),
    );
    this.element.hidden = false;
    const { width, height } = this.element.getBoundingClientRect();
    const left = x + 12 + width > innerWidth - 4 ? x - 12 - width : x + 12;
    const top = y + 16 + height > innerHeight - 4 ? y - 12 - height : y + 16;
    this.element.style.left = `${Math.max(4, left)}px`;
    this.element.style.top = `${Math.max(4, top)}px`;
  }

  hide(): void {
    this.element.hidden = true;
  }
}

export const tooltip = new Tooltip();

export function tipText(tip: Tip): string {
  return `${tip.title}. ${tip.lines.map(([label, value]) => `${label} ${value}`).join(', ')}`;
}
