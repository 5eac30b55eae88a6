/** Drives VS Code's window: explorer, menus, palette, dialogs, and the page inside the active editor. */
import { until } from './harness.mjs';

const LOCAL = (url) => url.hostname === '127.0.0.1' || url.hostname.endsWith('.vscode-resource.vscode-cdn.net');

export class Workbench {
  /** Requests to other machines, all refused. */
  outside = [];
  /** What the page and its frames wrote to the console. */
  console = [];

  static async open(chromium, url) {
    const workbench = new Workbench();
    workbench.url = url;
    workbench.browser = await chromium.launch({
      executablePath: process.env.SECATEUR_CHROMIUM ?? '/usr/bin/chromium',
      headless: true,
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
    });
    const context = await workbench.browser.newContext({
      viewport: { width: 1400, height: 900 },
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    await context.route(
      (address) => !LOCAL(address),
      (route) => {
        workbench.outside.push(route.request().url());
        return route.abort();
      },
    );
    workbench.page = await context.newPage();
    workbench.page.on('console', (message) => workbench.console.push(`${message.type()}: ${message.text()}`));
    workbench.page.on('pageerror', (error) => workbench.console.push(`pageerror: ${error.message}`));
    await workbench.page.goto(url);
    await workbench.ready();
    return workbench;
  }

  async ready() {
    await this.page.locator('.monaco-workbench').waitFor({ timeout: 60_000 });
    await this.page.locator('.explorer-folders-view .monaco-list-row').first().waitFor({ timeout: 60_000 });
  }

  async reload() {
    await this.page.reload();
    await this.ready();
  }

  async close() {
    await this.browser?.close();
  }

  screenshot(path) {
    return this.page.screenshot({ path });
  }

  /** A file or folder in the explorer by the text of its row. */
  row(name) {
    return this.page.locator('.explorer-folders-view .monaco-list-row').filter({
      has: this.page.locator('.label-name', {
        hasText: new RegExp(`^${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`),
      }),
    });
  }

  /** Opens folders one after the other so that `path` (relative, with /) is visible. @returns its row */
  async showInExplorer(path) {
    const parts = path.split('/');
    for (const [index, part] of parts.entries()) {
      const row = this.row(part).first();
      await row.waitFor({ timeout: 20_000 });
      if (index === parts.length - 1) return row;
      if ((await row.getAttribute('aria-expanded')) !== 'true') await row.click();
      const child = this.row(parts[index + 1]).first();
      await child.waitFor({ timeout: 20_000 });
    }
    throw new Error('empty path');
  }

  /**
   * Chooses from the context menu of an explorer row. The explorer is drawn before extensions are registered, and an
   * open menu is never updated: it is opened again until the item is in it.
   */
  async contextMenu(row, ...labels) {
    const { page } = this;
    const item = (label) => page.locator('.monaco-menu .action-item', { hasText: label }).first();
    await until(
      `"${labels[0]}" in the context menu`,
      async () => {
        await row.click({ button: 'right' });
        await page.locator('.monaco-menu .action-item').first().waitFor({ timeout: 10_000 });
        if (await item(labels[0]).isVisible()) return true;
        await page.keyboard.press('Escape');
        await page.locator('.monaco-menu').first().waitFor({ state: 'detached', timeout: 5000 });
        return false;
      },
      { timeout: 40_000, interval: 500 },
    );
    const last = labels[labels.length - 1];
    for (const label of labels.slice(0, -1)) await item(label).click();
    // A menu that has just opened may ignore a click.
    await until(`a click on "${last}"`, async () => {
      if ((await page.locator('.monaco-menu').count()) === 0) return true;
      await item(last).click({ timeout: 5000 });
      await page.locator('.monaco-menu').first().waitFor({ state: 'detached', timeout: 2000 });
      return true;
    });
  }

  /** Runs a command of the palette by its full title. */
  async command(title) {
    const { page } = this;
    await until(
      `command "${title}"`,
      async () => {
        await page.keyboard.press('Escape');
        await page.keyboard.press('F1');
        const input = page.locator('.quick-input-widget input.input');
        await input.waitFor({ timeout: 5000 });
        await input.fill(`>${title}`);
        const row = page.locator('.quick-input-list .monaco-list-row', { hasText: title }).first();
        if (
          !(await row.waitFor({ timeout: 2000 }).then(
            () => true,
            () => false,
          ))
        )
          return false;
        await row.click();
        return true;
      },
      { timeout: 30_000 },
    );
  }

  /** Switches the colour theme by its label, as from the palette. */
  async chooseTheme(label) {
    await this.command('Preferences: Color Theme');
    const input = this.page.locator('.quick-input-widget:visible input.input');
    const row = this.page.locator('.quick-input-list .monaco-list-row.focused', { hasText: label });
    await until(`theme ${label}`, async () => {
      await input.fill(label);
      return row.isVisible();
    });
    await input.press('Enter');
    await input.waitFor({ state: 'hidden' });
  }

  /**
   * Answers VS Code's own file dialog (the one inside the page) with `path`, or with what it proposes.
   * @param expected what the proposal ends with: it is filled in after the dialog has opened
   */
  async fileDialog(expected, path) {
    const dialog = this.page.locator('.quick-input-widget:visible');
    const input = dialog.locator('input.input');
    await input.waitFor({ timeout: 20_000 });
    const proposed = await until(`a proposal that ends with ${expected}`, async () => {
      const value = await input.inputValue();
      return value.endsWith(expected) && value;
    });
    if (path) await input.fill(path);
    await dialog.locator('.quick-input-action .monaco-button').first().click();
    await dialog.waitFor({ state: 'hidden' });
    return proposed;
  }

  /** The page of the visible editor. VS Code puts two frames around it. */
  get frame() {
    return this.page.frameLocator('iframe.webview.ready:visible').frameLocator('iframe#active-frame');
  }

  tab(name) {
    // Not by text: the preview of a report names the model too.
    return this.page.locator(`.tabs-container .tab[data-resource-name="${name}"]`);
  }

  notifications() {
    return this.page.locator('.notification-toast').allTextContents();
  }
}
