import assert from 'node:assert/strict';
import { join } from 'node:path';
import { read } from '../editor.mjs';
import { until } from '../harness.mjs';
import { secateur } from '../verify.mjs';

/** What is drawn: names in the order of the bars, and whether the map has colours. */
async function drawn(editor) {
  const names = await editor.find('.named-row .named-name').allInnerTexts();
  const colours = await editor.find('.feature-canvas').evaluate((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
  });
  return { names, colours };
}

/** Features: what the answers rest on, as a map and as bars, the same as on the command line. */
export async function explainFeatures({ harness, editor, model, digits }) {
  await harness.check('the importance of patches is drawn over the image and as bars', async () => {
    await editor.show('features');
    await editor.choose('Features', 'patches');
    const side = editor.find('vscode-text-field[title^="Side of a patch"] input');
    await side.fill('2');
    await side.press('Enter');
    await editor.click('Explain');
    await editor.jobEnds(90_000);
    await until('where the numbers come from', async () => /seed 0/.test(await read(editor.find('.run-note'))));
    const { names, colours } = await drawn(editor);
    assert.ok(names.length >= 16, `${names.length} bars`);
    assert.ok(colours > 10, `${colours} colours`);
  });

  await harness.check('they are those of the command line', async () => {
    const data = join(digits, 'calib.npz');
    const { features } = await secateur(
      'features',
      model,
      '--data',
      data,
      '--features-kind',
      'patches',
      '--patch',
      '2',
    );
    const best = features.toSorted((a, b) => b.importance - a.importance || a.index - b.index);
    const { names } = await drawn(editor);
    assert.equal(names[0], best[0].name);
  });

  await harness.check('a cell of the map is found among the bars', async () => {
    await editor.find('.feature-stage').focus();
    await editor.find('.feature-stage').press('ArrowRight');
    await until('a marked bar', async () => (await editor.find('.named-row.marked').count()) === 1);
    assert.match(await read(editor.find('.named-row.marked .named-name')), /\(0, 0\)/);
  });

  await harness.check('one sample is explained by itself', async () => {
    await editor.choose('Which samples', 'sample number');
    await editor.click('Explain');
    await editor.jobEnds(90_000);
    await until('the sample', async () => /sample 0/.test(await read(editor.find('.run-note'))));
    await editor.choose('Which samples', 'all samples');
    await editor.show('prune');
  });
}
