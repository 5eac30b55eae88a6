import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { read } from '../editor.mjs';
import { until } from '../harness.mjs';
import { enginesOf } from '../processes.mjs';

/** A dying engine, files that are no models, a model that changes. */
export async function surviveTrouble({ harness, workbench, editor, home, model, artifacts }) {
  await harness.check('a killed engine is reported, and everything works after a restart', async () => {
    await editor.show('ranks');
    await editor.choose('Evaluations per group', '50 000');
    await editor.choose('Stop when the ranking', 'no tolerance');
    await editor.click('Rank');
    await until('a running job', async () => (await editor.jobRunning()) && (await editor.bars()) > 0, {
      timeout: 30_000,
    });
    const engines = enginesOf(home);
    assert.equal(engines.length, 1, `${engines.length} engines`);
    process.kill(engines[0], 'SIGKILL');
    await editor.find('.banner.error').waitFor({ timeout: 10_000 });
    await until('a notification', async () =>
      (await workbench.notifications()).some((text) => text.includes('killed')),
    );
    assert.equal(await editor.jobRunning(), false);
    await workbench.screenshot(join(artifacts, 'engine-killed.png'));
    await editor.find('.banner.error').locator('vscode-button', { hasText: 'Restart engine' }).click();
    await editor.find('.banner.error').waitFor({ state: 'detached' });
    await editor.waitForData();
    await editor.choose('Evaluations per group', '200 evaluations');
    await editor.choose('Which groups', 'this group');
    await editor.click('Rank');
    await editor.jobEnds();
    assert.ok((await editor.bars()) > 0);
    assert.equal(enginesOf(home).length, 1);
  });

  await harness.check('a file that is no model gets a sentence, and the other editor goes on', async () => {
    await workbench.command('Notifications: Clear All Notifications');
    await (await workbench.showInExplorer('broken.onnx')).dblclick();
    const message = editor.find('.problem-message').first();
    await message.waitFor({ timeout: 20_000 });
    const text = await read(message);
    assert.match(text, /\w{3,}.*\.$/s);
    await workbench.screenshot(join(artifacts, 'broken-model.png'));
    assert.doesNotMatch(text, /\bat .*:\d+|undefined|\bstack\b/);
    await workbench.command('View: Close Editor');
    await workbench.tab('model.onnx').click();
    await editor.ready();
  });

  await harness.check('a model that changes on disk is called out of date', async () => {
    writeFileSync(model, readFileSync(model));
    await editor.find('.banner.warning').waitFor({ timeout: 20_000 });
    await editor.find('.banner.warning').locator('vscode-button', { hasText: 'Reload' }).click();
    await editor.find('.banner.warning').waitFor({ state: 'detached' });
    await editor.ready();
  });

  await harness.check('the palette leads to a view', async () => {
    await workbench.command('Secateur: Prune Model');
    await until('the Prune view', async () => (await editor.view()) === 'Prune');
    await workbench.command('Secateur: Show Log');
    await workbench.page.locator('.part.panel .view-line', { hasText: 'Secateur' }).first().waitFor();
    await workbench.command('View: Toggle Panel Visibility');
  });
}
