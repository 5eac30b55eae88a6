import type { GroupInfo, GroupRanks, MethodName } from '../../src/formats.ts';
import { Scatter } from '../charts/scatter.ts';
import { agreement } from '../logic/correlation.ts';
import { count, DASH, percent } from '../logic/format.ts';
import { kindName, method } from '../logic/words.ts';
import type { AppState } from '../state.ts';
import { h, setText, show } from '../ui/dom.ts';
import { dropdown } from '../ui/toolkit.ts';

/** Two methods on the same group: scatter, and three numbers that say how far they agree. */
export class Comparison {
  readonly element: HTMLElement;
  private readonly other: ReturnType<typeof dropdown>;
  private readonly scatter = new Scatter();
  private readonly numbers = h('p', { class: 'muted' });
  private chosen: MethodName | null = null;
  private drawn: unknown[] = [];
  private redraw: () => void = () => {};

  constructor() {
    this.other = dropdown('Compare with', (value) => {
      this.chosen = value as MethodName;
      this.redraw();
    });
    this.element = h(
      'section',
      { class: 'comparison' },
      h(
        'div',
        { class: 'group-head' },
        h('span', { class: 'words' }, 'Compared with', this.other.element),
        this.numbers,
      ),
      this.scatter.element,
    );
  }

  /** Shows the group by the method of the view against another method that has ranked it; hides when there is none. */
  update(state: AppState, group: GroupInfo, ranks: GroupRanks): void {
    this.redraw = () => this.update(state, group, ranks);
    const shown = state.view.method;
    const sha = state.model.status === 'ready' ? state.model.value.model.sha256 : '';
    const others = (Object.keys(state.ranks) as MethodName[]).filter(
      (m) => m !== shown && state.ranks[m]?.model.sha256 === sha && this.ranksOf(state, m, group.id),
    );
    show(this.element, others.length > 0);
    if (others.length === 0) return;
    if (!this.chosen || !others.includes(this.chosen)) this.chosen = others[0];
    const other = this.chosen;
    this.other.set(
      others.map((m) => ({ value: m, label: method(m).label, title: method(m).about })),
      other,
    );
    const theirs = this.ranksOf(state, other, group.id)!;
    const key = [ranks, theirs];
    if (key.every((k, i) => k === this.drawn[i])) return;
    this.drawn = key;
    const a = new Float64Array(group.size);
    const b = new Float64Array(group.size);
    for (const u of ranks.units) a[u.index] = u.score;
    for (const u of theirs.units) b[u.index] = u.score;
    const { spearman, kendall, topOverlap, k } = agreement(a, b);
    const text = (value: number): string => (Number.isFinite(value) ? value.toFixed(2).replace('-', '−') : DASH);
    const silent = [ranks.noSignal && shown, theirs.noSignal && other].filter((m) => m !== undefined && m !== false);
    const caution = silent.length > 0 ? ` · no signal by ${silent.map((m) => method(m).label).join(' and ')}` : '';
    setText(
      this.numbers,
      `Spearman ${text(spearman)} · Kendall ${text(kendall)} · ${percent(topOverlap)} of the best ${count(k)} are the same${caution}`,
    );
    const points = Array.from(a, (x, unit) => ({ unit, x, y: b[unit] })).sort((p, q) => p.x - q.x);
    this.scatter.set({
      points,
      xLabel: method(shown).label,
      yLabel: method(other).label,
      unitName: kindName(group.kind, 1),
    });
  }

  private ranksOf(state: AppState, name: MethodName, id: string): GroupRanks | undefined {
    return state.ranks[name]?.groups.find((g) => g.id === id && g.units.length === g.size);
  }
}
