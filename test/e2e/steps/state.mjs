import assert from 'node:assert/strict';
import { read } from '../editor.mjs';
import { until } from '../harness.mjs';

async function appearance(editor) {
  await editor.find('.view.prune').waitFor({ timeout: 20_000 });
  return {
    view: await editor.view(),
    slider: await read(editor.find('.slider-text')),
    cuts: await editor.find('.cut-kept').allInnerTexts(),
    group: await editor.find('.gl-row.selected').getAttribute('data-group'),
    data: await editor.chosen('Data'),
  };
}

/** Data and metric are read again after a tab or window comes back: the view is as it was once that is done. */
async function appearsAs(editor, before) {
  await until('the view is as it was', async () => {
    assert.deepEqual(await appearance(editor), before);
    return true;
  });
}

/** Hidden tabs and reloads. */
export async function keepState({ harness, workbench, editor }) {
  const before = await appearance(editor);

  await harness.check('the view is the same after its tab was hidden', async () => {
    await (await workbench.showInExplorer('notes.txt')).dblclick();
    await workbench.tab('notes.txt').waitFor();
    await until(
      'the page is gone',
      async () => (await workbench.page.locator('iframe.webview.ready:visible').count()) === 0,
    );
    await workbench.tab('model.onnx').click();
    await editor.ready();
    await appearsAs(editor, before);
    assert.ok(await editor.find('.report').isVisible());
  });

  await harness.check('a ranking goes on while its tab is hidden, and its result is there afterwards', async () => {
    await editor.show('ranks');
    await editor.choose('Method', 'leave-one-out');
    await editor.click('Rank');
    await workbench.tab('notes.txt').click();
    await until(
      'the page is gone',
      async () => (await workbench.page.locator('iframe.webview.ready:visible').count()) === 0,
    );
    await workbench.tab('model.onnx').click();
    await editor.ready();
    await editor.jobEnds(60_000);
    await until('ranks', async () => (await editor.bars()) > 0);
    await editor.choose('Method', 'Shapley');
    await editor.show('prune');
    await appearsAs(editor, before);
  });

  await harness.check('the view is the same after a reload of the window', async () => {
    await workbench.reload();
    // The layout is saved with some delay: a tab that was not restored is opened again.
    const restored = await workbench
      .tab('model.onnx')
      .waitFor({ timeout: 10_000 })
      .then(
        () => true,
        () => false,
      );
    if (restored) await workbench.tab('model.onnx').click();
    else await (await workbench.showInExplorer('examples/digits/model.onnx')).dblclick();
    await editor.ready();
    await appearsAs(editor, before);
  });
}
