import type { Features, FeatureScore } from '../../src/formats.ts';
import { featureLines, largestImportance } from '../logic/features.ts';
import { fill, h } from '../ui/dom.ts';
import { tooltip } from '../ui/tooltip.ts';

/** A text whose tokens carry their importance as the strength of a ground colour. */
export class TokenText {
  readonly element = h('div', { class: 'chart token-text', attrs: { role: 'list' } });
  private readonly onMark: (index: number | null) => void;
  private features: readonly FeatureScore[] = [];
  private method: Features['method'] = 'qfit';

  constructor(onMark: (index: number | null) => void) {
    this.onMark = onMark;
    this.element.addEventListener('pointermove', (e) => {
      const at = (e.target as Element).closest<HTMLElement>('.token')?.dataset.at;
      const score = at === undefined ? undefined : this.features[Number(at)];
      if (!score) return this.leave();
      tooltip.show({ title: score.name, lines: featureLines(score, this.method) }, e.clientX, e.clientY);
      this.onMark(score.index);
    });
    this.element.addEventListener('pointerleave', () => this.leave());
  }

  set(tokens: readonly string[], features: readonly FeatureScore[], method: Features['method']): void {
    this.features = features;
    this.method = method;
    const largest = largestImportance(features) || 1;
    fill(
      this.element,
      ...tokens.map((token, i) => {
        const importance = features[i]?.importance ?? 0;
        const element = h('span', {
          class: `token ${importance < 0 ? 'negative' : 'positive'}`,
          // A blank would have no ground to see.
          text: token.trim() === '' ? '␣' : token,
          attrs: { role: 'listitem', 'data-at': i, 'aria-label': `${token}: ${describe(features[i], method)}` },
        });
        element.style.setProperty('--strength', `${Math.round(80 * Math.sqrt(Math.abs(importance) / largest))}%`);
        return element;
      }),
    );
  }

  mark(index: number | null): void {
    for (const child of this.element.children)
      child.classList.toggle(
        'marked',
        index !== null && this.features[Number((child as HTMLElement).dataset.at)]?.index === index,
      );
  }

  private leave(): void {
    tooltip.hide();
    this.onMark(null);
  }
}

function describe(score: FeatureScore | undefined, method: Features['method']): string {
  if (!score) return '';
  return featureLines(score, method)
    .map(([label, value]) => `${label} ${value}`)
    .join(', ');
}
