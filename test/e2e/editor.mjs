/** The page inside the editor: its header, views and controls, found as a user finds them. */
import { until } from './harness.mjs';

/** The digits of a text as one number: "85 426 parameters" → 85426. */
export function wholeNumber(text) {
  const [found] = /\d[\d\s\u00a0\u202f]*/.exec(text ?? '') ?? [];
  return Number(found?.replace(/\D/g, '') ?? NaN);
}

/** Text as a reader sees it: numbers are written with no-break spaces. */
export async function read(locator, property = 'innerText') {
  return (await locator[property]()).replace(/[\u00a0\u202f]/g, ' ').trim();
}

export class Editor {
  constructor(workbench) {
    this.workbench = workbench;
  }

  get frame() {
    return this.workbench.frame;
  }

  find(selector, options) {
    return this.frame.locator(selector, options);
  }

  async ready(name = 'model.onnx') {
    await this.find('h1', { hasText: name }).waitFor({ timeout: 30_000 });
    await this.find('.view, .problem').first().waitFor({ timeout: 30_000 });
  }

  /** Exact totals from the tooltips of the Overview. */
  async totals() {
    const exact = async (name) =>
      wholeNumber(
        await this.find('.total', { has: this.find('dt', { hasText: new RegExp(`^${name}$`) }) }).getAttribute('title'),
      );
    return { parameters: await exact('Parameters'), macs: await exact('MACs'), bytes: await exact('File') };
  }

  async show(view) {
    await this.find(`#tab-${view}`).click();
    await this.find(`.view.${view}`).waitFor();
  }

  async view() {
    return this.find('[role=tab][aria-selected=true]').textContent();
  }

  dropdown(label) {
    return this.find(`vscode-dropdown[aria-label^="${label}"]`);
  }

  /** What a list has chosen, as shown. */
  async chosen(label) {
    return read(this.dropdown(label).locator('vscode-option[aria-selected=true]').first(), 'textContent');
  }

  /** Chooses the option whose label contains `text`. */
  async choose(label, text) {
    const list = this.dropdown(label);
    await until(`"${text}" of ${label}`, async () => {
      if ((await this.chosen(label).catch(() => ''))?.includes(text)) return true;
      await list.click({ timeout: 3000 });
      await list.locator('vscode-option', { hasText: text }).first().click({ timeout: 3000 });
      return (await this.chosen(label))?.includes(text);
    });
  }

  button(label) {
    return this.find('vscode-button', { hasText: label });
  }

  async click(label) {
    const button = this.button(label).first();
    await until(
      `button "${label}" enabled`,
      async () => (await button.isVisible()) && (await button.getAttribute('disabled')) === null,
    );
    await button.click();
  }

  group(id) {
    return this.find(`.gl-row[data-group="${id}"]`);
  }

  async waitForData() {
    await until('the data is described', async () => /sample/.test(await read(this.find('.data-facts'))), {
      timeout: 30_000,
    });
    return read(this.find('.data-facts'));
  }

  async jobRunning() {
    return this.find('.job').isVisible();
  }

  async jobEnds(timeout = 60_000) {
    await until('the job ends', async () => !(await this.jobRunning()), { timeout });
  }

  /** Number of bars in the chart of the selected group: each is one sub-path. */
  async bars() {
    const paths = await this.find('.bar-chart path.marks.bar').evaluateAll((all) =>
      all.map((path) => path.getAttribute('d') ?? ''),
    );
    return paths.join('').split('M').length - 1;
  }

  /** The measured metric as shown, with the status below it. */
  async measured(timeout = 30_000) {
    return until(
      'the cut is measured',
      async () => {
        const status = await read(this.find('.live-status'));
        if (/measuring|not measured/i.test(status)) return null;
        return { value: await read(this.find('.live-value')), status };
      },
      { timeout },
    );
  }

  /** A row of the report: `[before, after]` as shown. */
  async reportRow(label) {
    const cells = this.find('.report-table tr', { has: this.find('th', { hasText: label }) }).locator('td');
    return [await read(cells.nth(0)), await read(cells.nth(1))];
  }
}
