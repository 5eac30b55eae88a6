import type { View } from '../app.ts';
import { BarChart } from '../charts/bars.ts';
import { HeatStrip } from '../charts/heat-strip.ts';
import { count, metricValue, number } from '../logic/format.ts';
import { provenance } from '../logic/provenance.ts';
import { ERRORS, hasNoSignal, sortUnits, splitName, whiskersOf, Z95 } from '../logic/units.ts';
import { kindName, method, metricLabel } from '../logic/words.ts';
import type { Ranking } from '../ranking.ts';
import type { Session } from '../session.ts';
import {
  groupById,
  groupRanks,
  inspection,
  prunableGroups,
  rankMetricOf,
  shownRanks,
  staleness,
  type AppState,
} from '../state.ts';
import { fill, h, icon, show } from '../ui/dom.ts';
import { Comparison } from './comparison.ts';
import { LayerRanks } from './layer-ranks.ts';
import { RankControls } from './rank-controls.ts';
import { emptyState, errorSlot, nameElement } from '../ui/states.ts';
import { checkbox } from '../ui/toolkit.ts';
import { VirtualTable } from '../ui/virtual-table.ts';

/** Which units matter, and how sure that is. */
export class RanksView implements View {
  readonly element: HTMLElement;
  private readonly controls: RankControls;
  private whiskers = ERRORS;
  private readonly note = h('p', { class: 'muted run-note', attrs: { role: 'status' } });
  private readonly error: ReturnType<typeof errorSlot>;
  private readonly stale = h('div', { class: 'slot' });
  private readonly results: HTMLElement;
  private readonly heat: HeatStrip;
  private readonly bars = new BarChart();
  private readonly groupHead = h('div', { class: 'group-head' });
  private readonly signal = h('div', { class: 'slot' });
  private readonly barsBox: HTMLElement;
  private readonly comparison = new Comparison();
  private readonly layers = new LayerRanks();
  private readonly table: VirtualTable;
  private readonly asTable: ReturnType<typeof checkbox>;
  private readonly empty = h('div', { class: 'slot' });
  private tableShown = false;
  private units: ReturnType<typeof sortUnits> = [];
  private tableKey: unknown = null;

  constructor(session: Session, ranking: Ranking) {
    this.controls = new RankControls(session, ranking);
    const { store } = session;
    this.error = errorSlot(
      { retry: () => this.controls.start(false), showLog: () => session.showLog() },
      'Ranking failed',
    );
    this.heat = new HeatStrip((id) => session.select(id));
    this.table = this.makeTable();
    this.asTable = checkbox('Show as table', (on) => {
      this.tableShown = on;
      this.drawGroup(store.state);
    });
    this.barsBox = h('div', { class: 'bars-box' }, this.bars.element, this.table.element);
    this.results = h(
      'div',
      { class: 'results' },
      h('section', {}, h('h2', { text: 'All groups' }), this.heat.element),
      h('section', {}, this.groupHead, this.signal, this.barsBox),
      this.comparison.element,
    );
    this.element = h(
      'div',
      { class: 'view ranks' },
      this.controls.element,
      this.note,
      this.error.element,
      this.stale,
      this.empty,
      this.layers.element,
      this.results,
    );
  }

  update(state: AppState, changed: ReadonlySet<keyof AppState> | null): void {
    const any = (...keys: (keyof AppState)[]): boolean => changed === null || keys.some((k) => changed.has(k));
    if (any('view', 'data', 'model', 'job', 'ranks', 'layerRanks', 'partial', 'engineDied'))
      this.controls.update(state);
    if (any('rankError', 'engineDied')) this.error.set(state.engineDied ? null : state.rankError);
    if (any('rankNote', 'ranks', 'layerRanks', 'partial', 'view')) this.drawNote(state);
    if (any('ranks', 'layerRanks', 'partial', 'view', 'model', 'data', 'job', 'rankError')) this.drawResults(state);
  }

  private drawNote(state: AppState): void {
    const shown = shownFor(state);
    if (state.partial !== null) {
      fill(this.note);
    } else if (state.rankNote) fill(this.note, state.rankNote);
    else if (shown) fill(this.note, provenance(shown.ranks));
    else fill(this.note);
    show(this.note, this.note.childNodes.length > 0);
    fill(
      this.stale,
      shown?.stale &&
        h(
          'p',
          { class: 'note warning' },
          icon('warning'),
          h('span', { text: `These ranks were ${shown.stale}. Rank again to have them for what is chosen now.` }),
        ),
    );
  }

  private drawResults(state: AppState): void {
    const groups = prunableGroups(state);
    const running = state.partial !== null || state.job?.method === 'rank';
    const layers = state.view.rankScope === 'layers' && groups.length > 0;
    const drawn = layers && this.layers.update(state);
    show(this.layers.element, drawn);
    if (layers) {
      show(this.results, false);
      show(this.empty, !drawn);
      if (!drawn) this.drawEmpty(state, false);
      return;
    }
    const any = groups.some((g) => groupRanks(state, g.id));
    if (groups.length === 0 || (!any && !running)) {
      show(this.results, false);
      show(this.empty, true);
      this.drawEmpty(state, groups.length === 0);
      return;
    }
    show(this.empty, false);
    fill(this.empty);
    show(this.results, true);
    const rows = groups.map((g) => ({
      id: g.id,
      size: g.size,
      ranks: groupRanks(state, g.id),
      running: running && !groupRanks(state, g.id),
    }));
    this.heat.set(rows, state.view.selectedGroup);
    this.drawGroup(state);
  }

  private drawEmpty(state: AppState, nothing: boolean): void {
    const model = inspection(state);
    if (nothing && model) {
      const reason = model.groups[0]?.reason;
      fill(
        this.empty,
        emptyState(
          'Nothing to rank',
          `This model has no prunable group of units${reason ? ` (${model.groups[0].id}: it ${reason})` : ''}. The Overview lists the reasons.`,
        ),
      );
      return;
    }
    if (state.rankError) {
      fill(this.empty);
      this.empty.dataset.key = '';
      return;
    }
    const about = method(state.view.method);
    const label = about.label.charAt(0).toUpperCase() + about.label.slice(1);
    const how = about.sampled ? 'Bars appear while the values converge, and Stop keeps what was computed.' : '';
    const text = `${about.about} Press Rank above. ${how}`;
    if (this.empty.dataset.key === text && this.empty.childNodes.length) return;
    this.empty.dataset.key = text;
    fill(this.empty, emptyState(`${label}: not computed yet`, text));
  }

  private drawGroup(state: AppState): void {
    const group = groupById(state, state.view.selectedGroup);
    const ranks = group && groupRanks(state, group.id);
    const running = state.partial?.has(group?.id ?? '') ?? false;
    fill(this.groupHead);
    fill(this.signal);
    show(this.barsBox, ranks !== undefined);
    show(this.comparison.element, false);
    if (!group) {
      this.groupHead.append(h('p', { class: 'muted', text: 'Select a group to see its units.' }));
      return;
    }
    this.groupHead.append(h('h2', {}, nameElement(group.id, splitName(group.id))));
    if (!group.prunable) {
      this.groupHead.append(
        h('p', {
          class: 'muted',
          text: `Frozen: ${group.reason ? `it ${group.reason}` : 'not prunable'}. Its units are not ranked.`,
        }),
      );
      show(this.barsBox, false);
      return;
    }
    if (!ranks) {
      const waiting = state.partial !== null || state.job?.method === 'rank';
      this.groupHead.append(
        h('p', {
          class: 'muted',
          text: waiting ? 'Its turn comes; bars appear with the first values.' : 'Not ranked yet.',
        }),
      );
      return;
    }
    const metric = state.partial?.has(group.id) ? rankMetricOf(state) : (shownRanks(state)?.ranks.metric ?? null);
    const samples = shownRanks(state)?.ranks.data.samples ?? Infinity;
    const facts = [`${count(group.size)} ${kindName(group.kind, group.size)}`];
    if (ranks.evaluations > 0) facts.push(`${count(ranks.evaluations)} evaluations${running ? ' so far' : ''}`);
    if (ranks.value)
      facts.push(
        `${metricLabel(metric)} ${metricValue(metric, ranks.value.full, samples)} with all, ${metricValue(metric, ranks.value.empty, samples)} with none`,
      );
    if (ranks.estimator) facts.push(ranks.estimator);
    const why = ranks.chosen ? { title: `Estimator ${ranks.chosen.estimator}: ${ranks.chosen.reason}` } : {};
    this.groupHead.append(h('p', { class: 'muted', text: facts.join(' · '), ...why }), this.asTable.element);
    this.asTable.set(this.tableShown);
    if (!running && hasNoSignal(ranks)) {
      this.signal.append(
        h(
          'p',
          { class: 'note info' },
          icon('info'),
          h(
            'span',
            {},
            h('strong', { text: 'No signal: ' }),
            'these units are interchangeable on this data. The order below is not supported by it.',
          ),
        ),
      );
    }
    this.units = sortUnits(ranks.units);
    this.whiskers = whiskersOf(ranks);
    const about = method(state.view.method);
    show(this.bars.element, !this.tableShown);
    show(this.table.element, this.tableShown);
    if (this.tableShown) {
      if (this.tableKey !== ranks.units) this.table.setRows(this.units.length);
      this.tableKey = ranks.units;
    } else {
      this.bars.set({
        units: this.units,
        unitName: kindName(group.kind, 1),
        axis: about.label,
        label: `${about.label} of the ${kindName(group.kind, 2)} of ${group.id}`,
        whiskers: this.whiskers,
      });
    }
    if (!running) this.comparison.update(state, group, ranks);
  }

  private makeTable(): VirtualTable {
    const u = (row: number) => this.units[row];
    const text = (get: (row: number) => string) => (row: number, cell: HTMLElement) => {
      cell.textContent = get(row);
    };
    const table = new VirtualTable({
      label: 'Scores of the units',
      columns: [
        { label: 'Place', width: '72px', numeric: true, sort: (r) => -r, render: text((r) => count(r + 1)) },
        { label: 'Unit', width: '84px', numeric: true, sort: (r) => u(r).index, render: text((r) => `#${u(r).index}`) },
        {
          label: 'Score',
          width: 'minmax(90px, 1fr)',
          numeric: true,
          sort: (r) => u(r).score,
          render: text((r) => number(u(r).score)),
        },
        {
          label: 'Std. error',
          title: 'Standard error of the score; of the Dirichlet switch, the posterior standard deviation',
          width: 'minmax(84px, 1fr)',
          numeric: true,
          from: 400,
          sort: (r) => u(r).stderr,
          render: text((r) => (u(r).stderr === undefined ? '–' : number(u(r).stderr!, 2))),
        },
        {
          label: '95 % interval',
          width: 'minmax(150px, 2fr)',
          numeric: true,
          from: 520,
          render: text((r) => {
            const { score, stderr } = u(r);
            return stderr === undefined || this.whiskers.posterior
              ? '–'
              : `${number(score - Z95 * stderr)} to ${number(score + Z95 * stderr)}`;
          }),
        },
      ],
    });
    table.element.style.height = '300px';
    return table;
  }
}

/** The ranks that the scope asks for, and what they no longer fit. */
function shownFor(state: AppState): ReturnType<typeof shownRanks> {
  if (state.view.rankScope !== 'layers') return shownRanks(state);
  return state.layerRanks && { ranks: state.layerRanks, stale: staleness(state, state.layerRanks) };
}
