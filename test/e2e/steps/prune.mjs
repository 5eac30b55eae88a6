import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { read } from '../editor.mjs';
import { until } from '../harness.mjs';
import { accuracy, outputs, readNpz, secateur, zeroedModel } from '../verify.mjs';

const percentage = (text) => Number(/([\d.]+)/.exec(text)?.[1]) / 100;

/** Slider, cut line, measured value, export, and the file that came out. */
export async function pruneModel({ harness, workbench, editor, model, artifacts }) {
  const out = join(dirname(model), 'model.pruned.onnx');
  const plan = join(dirname(model), 'model.plan.json');
  const before = readFileSync(model);
  const calibration = join(dirname(model), 'calib.npz');
  const heldOut = join(dirname(model), 'heldout.npz');

  await harness.check('the slider changes the predicted cost at once and the metric is measured', async () => {
    await editor.show('prune');
    const slider = editor.find('input.slider');
    await slider.waitFor();
    const box = await slider.boundingBox();
    const at = (share) => [box.x + box.width * share, box.y + box.height / 2];
    await workbench.page.mouse.move(...at(0.6));
    await workbench.page.mouse.down();
    for (const share of [0.65, 0.7, 0.75, 0.8]) await workbench.page.mouse.move(...at(share));
    await workbench.page.mouse.up();
    await until('the text of the slider', async () => percentage(await read(editor.find('.slider-text'))) < 0.95);
    const { value, status } = await editor.measured();
    assert.match(value, /\d/);
    assert.match(status, /400 samples/);
  });

  await harness.check('a cut line can be dragged, and the metric is measured again', async () => {
    const cell = editor.find('.cut-cell').first();
    const line = cell.locator('.cut-chart');
    const kept = await line.getAttribute('aria-valuenow');
    const { x, y, width, height } = await line.boundingBox();
    await workbench.page.mouse.move(x + width - 3, y + height / 2);
    await workbench.page.mouse.down();
    await workbench.page.mouse.move(x + width * 0.8, y + height / 2, { steps: 4 });
    await workbench.page.mouse.move(x + width * 0.7, y + height / 2, { steps: 4 });
    await workbench.page.mouse.up();
    await until('another cut', async () => (await line.getAttribute('aria-valuenow')) !== kept);
    // By keyboard as well.
    const dragged = Number(await line.getAttribute('aria-valuenow'));
    await line.press('ArrowRight');
    await until('one unit more', async () => Number(await line.getAttribute('aria-valuenow')) === dragged + 1);
    await editor.measured();
  });

  await harness.check('the smallest model that loses at most one point is found', async () => {
    await editor.find('.target button', { hasText: 'Largest drop' }).click();
    await until('the search', async () => (await read(editor.find('.slider-text'))).startsWith('at most 1'));
    await editor.jobEnds();
    const { status } = await editor.measured();
    const lost = /^−([\d.]+) points/.exec(status)?.[1] ?? 0;
    assert.ok(lost <= 1, status);
    assert.match(await read(editor.find('.live-cost')), /Units\s+\d+ of 192/);
  });

  let shown;
  await harness.check('Prune & export writes a checked file and shows the report', async () => {
    shown = await editor.measured();
    await editor.click('Prune & export');
    assert.equal(await workbench.fileDialog('.onnx'), out);
    await editor.find('.report h2', { hasText: 'Exported and checked' }).waitFor({ timeout: 60_000 });
    assert.match(await read(editor.find('.proof')), /Outputs equal to the gated model/);
    await workbench.screenshot(join(artifacts, 'report.png'));
    assert.ok(existsSync(out));
    assert.ok(readFileSync(model).equals(before), 'the original was changed');
  });

  await harness.check('the exported file is smaller and as accurate as the editor says', async () => {
    assert.ok(statSync(out).size < before.length);
    const [original, small] = await Promise.all([secateur('inspect', model), secateur('inspect', out)]);
    assert.ok(small.totals.macs < original.totals.macs && small.totals.parameters < original.totals.parameters);
    const measured = await accuracy(out, calibration);
    assert.ok(
      Math.abs(measured - percentage(shown.value)) < 0.002,
      `${measured} in the file, ${shown.value} in the editor`,
    );
    const held = await accuracy(out, heldOut);
    const [, reported] = await editor.reportRow('held out');
    assert.ok(Math.abs(held - percentage(reported)) < 0.002, `${held} in the file, ${reported} in the report`);
    const lost = (await accuracy(model, heldOut)) - held;
    assert.ok(lost < 0.05, `lost ${lost}`);
  });

  await harness.check('its outputs are those of the original with the same units closed', async () => {
    await editor.click('Copy CLI command');
    await workbench.fileDialog('.plan.json', plan);
    await until('the plan', () => existsSync(plan));
    const { groups } = JSON.parse(await until('the written plan', () => readFileSync(plan, 'utf8')));
    const report = await secateur('inspect', model);
    const keep = Object.fromEntries(groups.map((group) => [group.id, group.keep]));
    const { x } = readNpz(heldOut);
    const [a, b] = [await outputs(out, x), await outputs(await zeroedModel(model, report.groups, keep), x)];
    let worst = 0;
    let largest = 0;
    for (let i = 0; i < a.data.length; i++) {
      worst = Math.max(worst, Math.abs(a.data[i] - b.data[i]));
      largest = Math.max(largest, Math.abs(b.data[i]));
    }
    assert.ok(worst / largest < 1e-5, `differs by ${worst / largest}`);
    const command = await workbench.page.evaluate(() => navigator.clipboard.readText());
    assert.match(command, /^secateur prune .*--plan/);
  });

  await harness.check('the new file opens beside the old one', async () => {
    await editor.click('Open beside');
    await until('two editors', async () => (await workbench.page.locator('.editor-group-container').count()) === 2);
    await until('the pruned model', async () =>
      (await workbench.page.locator('.tab.active').allTextContents()).some((text) =>
        text.includes('model.pruned.onnx'),
      ),
    );
    await workbench.command('View: Close Editor');
    await until('one editor', async () => (await workbench.page.locator('.editor-group-container').count()) === 1);
  });

  await harness.check('two models are compared by a command', async () => {
    await workbench.command('Secateur: Compare with Another Model');
    const row = workbench.page.locator('.quick-input-list .monaco-list-row', { hasText: 'model.pruned.onnx' });
    await row.click();
    const heading = editor.find('h1', { hasText: 'model.pruned.onnx' });
    await heading.waitFor({ timeout: 60_000 });
    assert.match(await editor.find('table').first().innerText(), /MACs[\s\S]*accuracy[\s\S]*held out/);
    await workbench.screenshot(join(artifacts, 'compare.png'));
    await workbench.command('View: Close Editor');
    await editor.ready();
  });
}
