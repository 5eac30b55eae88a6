import type { GroupRanks, Ranks } from '../../src/formats.ts';
import { NamedBars } from '../charts/named-bars.ts';
import { count, metricValue, number, percent } from '../logic/format.ts';
import { displayName } from '../logic/names.ts';
import { hasNoSignal, Z95 } from '../logic/units.ts';
import { method, metricLabel } from '../logic/words.ts';
import { prunableGroups, type AppState } from '../state.ts';
import { fill, h, icon, show } from '../ui/dom.ts';

/** Id that the engine gives the game of whole layers. */
const LAYERS = 'layers';

/** Which layer matters: whole groups against each other, best first. */
export class LayerRanks {
  readonly element: HTMLElement;
  private readonly head = h('div', { class: 'group-head' });
  private readonly notes = h('div', { class: 'slot' });
  private readonly bars = new NamedBars();

  constructor() {
    this.element = h('section', {}, this.head, this.notes, this.bars.element);
  }

  /** False when there is nothing to show. */
  update(state: AppState): boolean {
    const running = state.partial?.get(LAYERS);
    const ranks = state.layerRanks;
    const found = running ?? ranks?.groups[0];
    show(this.bars.element, found !== undefined);
    fill(this.head);
    fill(this.notes);
    if (!found) return false;
    const about = method(running ? state.view.method : ranks!.method);
    this.head.append(
      h('h2', { text: `${about.label} of the layers` }),
      h('p', { class: 'muted', text: factsOf(found, running ? null : ranks) }),
    );
    if (!running && hasNoSignal(found))
      this.notes.append(note('No signal: these layers are interchangeable on this data.'));
    for (const warning of running ? [] : (ranks?.warnings ?? [])) this.notes.append(note(warning));
    const names = prunableGroups(state).map((g) => g.id);
    const units = [...found.units].sort((a, b) => b.score - a.score || a.index - b.index);
    this.bars.set({
      bars: units.map(({ index, name = names[index] ?? `#${index}`, score, stderr }) => ({
        key: index,
        name: displayName(name),
        value: score,
        low: score - Z95 * (stderr ?? 0),
        high: score + Z95 * (stderr ?? 0),
        lines: [
          ['score', number(score)],
          ...(stderr ? [['standard error', number(stderr, 2)] as [string, string]] : []),
        ],
      })),
      label: `${about.label} of whole layers`,
      whiskers: units.some((u) => u.stderr) ? '95 % intervals' : null,
      even: null,
      other: null,
    });
    return true;
  }
}

function factsOf(found: GroupRanks, ranks: Ranks | null): string {
  const facts = [`${count(found.size)} layers`, `${count(found.evaluations)} evaluations${ranks ? '' : ' so far'}`];
  if (ranks?.metric && found.value) {
    const value = (v: number): string => metricValue(ranks.metric, v, ranks.data.samples);
    facts.push(
      `${metricLabel(ranks.metric)} ${value(found.value.full)} with all, ${value(found.value.empty)} with all closed`,
    );
  }
  if (ranks?.layers)
    facts.push(
      `a closed layer lacks ${ranks.layers.closing === 1 ? 'all' : percent(ranks.layers.closing)} of its units`,
    );
  if (found.estimator) facts.push(found.estimator);
  return facts.join(' · ');
}

function note(text: string): HTMLElement {
  return h('p', { class: 'note info' }, icon('info'), h('span', { text }));
}
