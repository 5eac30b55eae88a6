/* global requestAnimationFrame, getComputedStyle */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { until } from '../harness.mjs';

const THEMES = [
  ['light', 'Light Modern', 'vscode-light'],
  ['dark', 'Dark Modern', 'vscode-dark'],
  ['high-contrast', 'Dark High Contrast', 'vscode-high-contrast'],
];

/** Screenshots of each view in each theme, to be looked at. */
export async function showThemes({ harness, workbench, editor, artifacts }) {
  await workbench.command('Notifications: Clear All Notifications');
  for (const [name, theme, className] of THEMES) {
    await harness.check(`views in ${theme}`, async () => {
      await workbench.chooseTheme(theme);
      const themed = (body, wanted) => body.classList.contains(wanted);
      await until(theme, () => editor.find('body').evaluate(themed, className));
      for (const view of ['overview', 'ranks', 'prune', 'features']) {
        await editor.show(view);
        if (view === 'prune') await editor.measured();
        await workbench.page.mouse.move(5, 5);
        // Drawn once more after the theme and the view have changed.
        await editor
          .find('body')
          .evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
        await workbench.screenshot(join(artifacts, `${view}-${name}.png`));
      }
      const [ink, ground] = await editor
        .find('body')
        .evaluate((body) => [getComputedStyle(body).color, getComputedStyle(body).backgroundColor]);
      assert.notEqual(ink, ground);
    });
  }
}
