import assert from 'node:assert/strict';
import { secateur } from '../verify.mjs';

/** From the explorer to the Overview. */
export async function openModel({ harness, workbench, editor, model }) {
  await harness.check('a right click on a model offers Secateur, and it opens', async () => {
    const row = await workbench.showInExplorer('examples/digits/model.onnx');
    await workbench.contextMenu(row, 'Open with Secateur');
    await editor.ready();
  });

  await harness.check('the Overview shows the totals that the command line prints', async () => {
    const { totals, model: file, groups } = await secateur('inspect', model);
    assert.deepEqual(await editor.totals(), { parameters: totals.parameters, macs: totals.macs, bytes: file.bytes });
    assert.equal(await editor.find('.gl-row').count(), groups.length);
  });

  await harness.check('data beside the model is proposed and used; other data can be chosen', async () => {
    assert.match(await editor.waitForData(), /400.*500 held out/);
    await editor.choose('Data', 'synthetic');
    await editor.find('.data-facts.warning').waitFor();
    await editor.choose('Data', 'calib.npz');
    assert.match(await editor.waitForData(), /400/);
  });

  await harness.check('a click on another model file opens Secateur as the editor', async () => {
    const row = await workbench.showInExplorer('examples/digits/model.onnx');
    await row.dblclick();
    await editor.ready();
    assert.equal(await workbench.tab('model.onnx').count(), 1);
  });
}
