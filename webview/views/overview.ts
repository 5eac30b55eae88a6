import type { View } from '../app.ts';
import { CostStrip } from '../charts/cost-strip.ts';
import { bytes, count, percent, plural, shape, si } from '../logic/format.ts';
import { memo } from '../logic/memo.ts';
import { splitName } from '../logic/units.ts';
import { COST_UNITS } from '../logic/words.ts';
import type { Session } from '../session.ts';
import { inspection, type AppState, type Inspection } from '../state.ts';
import { fill, h, icon, setAttr, setText, show } from '../ui/dom.ts';
import { nameElement } from '../ui/states.ts';
import { ROW, VirtualTable } from '../ui/virtual-table.ts';

/** What the model is, where its cost goes, what of it can go. */
export class Overview implements View {
  readonly element: HTMLElement;
  private readonly session: Session;
  private readonly totals = h('dl', { class: 'totals' });
  private readonly warnings = h('div', { class: 'notes' });
  private readonly strip: CostStrip;
  private readonly stripTitle = h('h2');
  private readonly stripBox: HTMLElement;
  private readonly noCost = h('p', { class: 'muted' });
  private readonly legend = legend();
  private readonly reach = h('div', { class: 'reach' });
  private readonly table: VirtualTable;
  private readonly tableTitle = h('h2', { text: 'Layers' });
  private readonly ports = h('div', { class: 'ports' });
  private model: Inspection | null = null;
  private prunable: ReadonlySet<string> = new Set();
  private unit: 'macs' | 'parameters' = 'macs';
  private selected: string | null = null;

  constructor(session: Session) {
    this.session = session;
    this.strip = new CostStrip((layer) => {
      const at = this.model?.layers.indexOf(layer) ?? -1;
      if (at >= 0) this.table.reveal(at);
      if (layer.group) session.select(layer.group);
    });
    this.table = this.makeTable();
    this.stripBox = h('section', {}, this.stripTitle, this.strip.element, this.legend, this.noCost);
    this.element = h(
      'div',
      { class: 'view overview' },
      this.totals,
      this.warnings,
      this.stripBox,
      h('section', { class: 'reach-section' }, h('h2', { text: 'What can go' }), this.reach),
      h('section', { class: 'layers-section' }, this.tableTitle, this.table.element),
      this.ports,
    );
  }

  update(state: AppState, changed: ReadonlySet<keyof AppState> | null): void {
    const model = inspection(state);
    if (!model) return;
    const { costUnit, selectedGroup } = state.view;
    const fresh = model !== this.model;
    if (fresh) {
      this.model = model;
      this.prunable = new Set(model.groups.filter((g) => g.prunable).map((g) => g.id));
      this.drawTotals(model);
      this.drawPorts(model);
      this.table.setRows(model.layers.length);
      this.table.element.style.height = `${Math.min(model.layers.length + 1, 22) * ROW + 2}px`;
      setText(this.tableTitle, `${plural(model.layers.length, 'layer')}`);
    }
    if (fresh || costUnit !== this.unit) this.drawReach(model, costUnit);
    if (fresh || changed === null || changed.has('data')) this.drawWarnings(state, model);
    if (fresh || costUnit !== this.unit || selectedGroup !== this.selected) {
      const chosenElsewhere = !fresh && selectedGroup !== this.selected;
      this.unit = costUnit;
      this.selected = selectedGroup;
      setText(this.stripTitle, `${COST_UNITS[costUnit]} by layer, in graph order`.replace(/^p/, 'P'));
      this.strip.set(model.layers, this.prunable, costUnit, selectedGroup);
      const free = model.totals[costUnit] <= 0;
      show(this.strip.element, !free);
      show(this.legend, !free);
      show(this.noCost, free);
      setText(
        this.noCost,
        `No layer of this model has ${costUnit === 'macs' ? 'MACs: it neither convolves nor multiplies matrices' : 'parameters'}.`,
      );
      this.table.refresh();
      const { activeRow } = this.table;
      if (chosenElsewhere && (activeRow < 0 || model.layers[activeRow].group !== selectedGroup)) {
        this.table.reveal(model.layers.findIndex((l) => l.group === selectedGroup));
      }
    }
  }

  private drawTotals(model: Inspection): void {
    const { totals } = model;
    const facts: [string, string, string][] = [
      ['Parameters', si(totals.parameters), `${count(totals.parameters)} elements of weights`],
      ['MACs', si(totals.macs), `${count(totals.macs)} multiply-accumulate operations, one sample`],
      ['File', bytes(model.model.bytes), `${count(model.model.bytes)} bytes`],
      ['Nodes', count(totals.nodes), 'Operators in the graph'],
      ['Prunable MACs', percent(model.prunable.macs), 'Share of the MACs that depends on prunable groups'],
      [
        'Prunable parameters',
        percent(model.prunable.parameters),
        'Share of the parameters that goes with prunable groups',
      ],
    ];
    fill(
      this.totals,
      ...facts.map(([name, value, title]) =>
        h('div', { class: 'total', title }, h('dt', { text: name }), h('dd', { text: value })),
      ),
    );
  }

  private drawWarnings(state: AppState, model: Inspection): void {
    const data = state.data.status === 'ready' ? state.data.value.warnings : [];
    const all = [...new Set([...model.warnings, ...data])];
    const shown = all.slice(0, 5);
    fill(
      this.warnings,
      ...shown.map((text) => h('p', { class: 'note warning' }, icon('warning'), h('span', { text }))),
      all.length > shown.length &&
        h('p', {
          class: 'muted',
          text: `and ${plural(all.length - shown.length, 'more warning')}`,
          title: all.slice(5).join('\n'),
        }),
    );
  }

  /** How much lies in prunable groups, and the frozen rest by reason. */
  private drawReach(model: Inspection, unit: 'macs' | 'parameters'): void {
    const prunable = model.groups.filter((g) => g.prunable);
    if (prunable.length === 0) {
      fill(this.reach, h('p', { text: nothingPrunable(model) }), reasonTable(model, unit));
      return;
    }
    const units = prunable.reduce((sum, g) => sum + g.size, 0);
    fill(
      this.reach,
      h(
        'p',
        {},
        h('strong', { text: percent(model.prunable.macs) }),
        ' of the MACs and ',
        h('strong', { text: percent(model.prunable.parameters) }),
        ` of the parameters lie in ${plural(prunable.length, 'prunable group')} with ${plural(units, 'unit')}.`,
      ),
      reasonTable(model, unit),
    );
  }

  private drawPorts(model: Inspection): void {
    const port = (title: string, ports: Inspection['inputs']): HTMLElement =>
      h(
        'section',
        {},
        h('h2', { text: title }),
        ports.length === 0
          ? h('p', { class: 'muted', text: 'none' })
          : h(
              'table',
              { class: 'plain' },
              h(
                'thead',
                {},
                h('tr', {}, ...['name', 'type', 'shape'].map((t) => h('th', { text: t, attrs: { scope: 'col' } }))),
              ),
              h(
                'tbody',
                {},
                ...ports.map((p) =>
                  h(
                    'tr',
                    {},
                    h('td', {}, nameElement(p.name, splitName(p.name))),
                    h('td', { text: p.type }),
                    h('td', { text: shape(p.shape) }),
                  ),
                ),
              ),
            ),
      );
    const facts: [string, string][] = [
      ['producer', model.model.producer || 'not stated'],
      ['opset', String(model.model.opset)],
      ['IR version', String(model.model.irVersion)],
      ['SHA-256', model.model.sha256],
      ...Object.entries(model.metadata),
    ];
    fill(
      this.ports,
      port('Inputs', model.inputs),
      port('Outputs', model.outputs),
      h(
        'section',
        { class: 'metadata' },
        h('h2', { text: 'Metadata' }),
        h(
          'table',
          { class: 'plain' },
          h(
            'tbody',
            {},
            ...facts.map(([k, v]) =>
              h('tr', {}, h('th', { text: k, attrs: { scope: 'row' } }), h('td', { class: 'wrap', text: v })),
            ),
          ),
        ),
      ),
    );
  }

  private makeTable(): VirtualTable {
    const layer = (row: number) => this.model!.layers[row];
    const total = (): number => Math.max(1, this.model?.totals[this.unit] ?? 1);
    const share = (row: number): number => layer(row)[this.unit] / total();
    const largest = memo((model: Inspection | null, unit: 'macs' | 'parameters') =>
      Math.max(1e-12, ...(model?.layers.slice(0, 100_000).map((l) => l[unit]) ?? [0])),
    );
    return new VirtualTable({
      label: 'Layers',
      onActivate: (row) => {
        const { group } = layer(row);
        if (group) this.session.select(group);
      },
      rowClass: (row) => (this.selected !== null && layer(row).group === this.selected ? 'selected' : ''),
      columns: [
        {
          label: 'Layer',
          width: 'minmax(120px, 2.6fr)',
          sort: (r) => layer(r).name,
          render: (r, cell) => renderName(cell, layer(r).name || `(${layer(r).op})`),
        },
        {
          label: 'Op',
          width: 'minmax(96px, 1fr)',
          from: 460,
          sort: (r) => layer(r).op,
          render: (r, cell) => setText(cell, layer(r).op),
        },
        {
          label: 'Shape',
          title: 'Shape of the first output',
          width: 'minmax(148px, 1.6fr)',
          from: 840,
          sort: (r) => layer(r).shape?.reduce<number>((p, d) => p * (typeof d === 'number' ? d : 1), 1) ?? null,
          render: (r, cell) => setText(cell, shape(layer(r).shape)),
        },
        {
          label: 'Parameters',
          width: '92px',
          numeric: true,
          from: 380,
          sort: (r) => layer(r).parameters,
          render: (r, cell) => renderNumber(cell, layer(r).parameters),
        },
        {
          label: 'MACs',
          width: '84px',
          numeric: true,
          sort: (r) => layer(r).macs,
          render: (r, cell) => renderNumber(cell, layer(r).macs),
        },
        {
          label: 'Share',
          title: 'Share of the model’s cost',
          width: '108px',
          numeric: true,
          from: 320,
          sort: share,
          render: (r, cell) => renderShare(cell, share(r), layer(r)[this.unit] / largest(this.model, this.unit)),
        },
        {
          label: 'Group',
          width: 'minmax(90px, 1.6fr)',
          from: 560,
          sort: (r) => layer(r).group ?? null,
          render: (r, cell) => {
            const { group } = layer(r);
            renderName(cell, group ?? '');
            cell.classList.toggle('muted', !group || !this.prunable.has(group));
          },
        },
      ],
    });
  }
}

function legend(): HTMLElement {
  return h(
    'div',
    { class: 'legend' },
    h('span', { class: 'key prunable' }),
    h('span', { text: 'produces prunable units' }),
    h('span', { class: 'key frozen' }),
    h('span', { text: 'other' }),
  );
}

function nothingPrunable(model: Inspection): string {
  if (model.groups.length === 0) {
    return 'Nothing in this model can be pruned: no layer was found that produces units which other layers consume (convolutions or fully connected layers in a row).';
  }
  return `Nothing in this model can be pruned: all ${plural(model.groups.length, 'group')} must keep their size, for the reasons below.`;
}

function reasonTable(model: Inspection, unit: 'macs' | 'parameters'): HTMLElement | null {
  const reasons = new Map<string, { groups: number; units: number; cost: number; names: string[] }>();
  for (const g of model.groups) {
    if (g.prunable) continue;
    const reason = g.reason || 'not stated';
    const r = reasons.get(reason) ?? { groups: 0, units: 0, cost: 0, names: [] };
    r.groups++;
    r.units += g.size;
    r.cost += g[unit];
    r.names.push(g.id);
    reasons.set(reason, r);
  }
  if (reasons.size === 0) return null;
  const rows = [...reasons].sort((a, b) => b[1].cost - a[1].cost);
  const total = Math.max(1, model.totals[unit]);
  const table = h(
    'table',
    { class: 'plain reasons' },
    h('caption', { text: 'Frozen groups by reason' }),
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        ...['Reason', 'Groups', `Share of ${COST_UNITS[unit]}`].map((t, i) =>
          h('th', { class: i ? 'numeric' : '', text: t, attrs: { scope: 'col' } }),
        ),
      ),
    ),
    h(
      'tbody',
      {},
      ...rows
        .slice(0, 12)
        .map(([reason, r]) =>
          h(
            'tr',
            { title: r.names.slice(0, 20).join('\n') + (r.names.length > 20 ? '\n…' : '') },
            h('td', { class: 'wrap', text: reason }),
            h('td', { class: 'numeric', text: count(r.groups) }),
            h('td', { class: 'numeric', text: percent(r.cost / total) }),
          ),
        ),
    ),
  );
  return rows.length > 12
    ? h('div', {}, table, h('p', { class: 'muted', text: `and ${plural(rows.length - 12, 'more reason')}` }))
    : table;
}

function renderName(cell: HTMLElement, name: string): void {
  if (cell.dataset.name === name) return;
  cell.dataset.name = name;
  fill(cell, name ? nameElement(name, splitName(name)) : null);
}

function renderNumber(cell: HTMLElement, value: number): void {
  setText(cell, value ? si(value) : '–');
  cell.classList.toggle('muted', value === 0);
  setAttr(cell, 'title', value ? count(value) : null);
}

function renderShare(cell: HTMLElement, share: number, ofLargest: number): void {
  let bar = cell.querySelector<HTMLElement>('.share-bar');
  if (!bar) {
    bar = h('span', { class: 'share-bar', attrs: { 'aria-hidden': 'true' } });
    cell.append(bar, h('span'));
  }
  bar.style.setProperty('--share', String(ofLargest));
  setText(cell.lastElementChild!, share > 0 ? percent(share) : '–');
  cell.classList.toggle('muted', share === 0);
}
