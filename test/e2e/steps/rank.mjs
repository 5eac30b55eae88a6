import assert from 'node:assert/strict';
import { read } from '../editor.mjs';
import { until } from '../harness.mjs';
import { secateur } from '../verify.mjs';

/** Ranks: one group, partial results, cancelling, all groups. */
export async function rankUnits({ harness, editor, model }) {
  const { groups } = await secateur('inspect', model);
  // Whole blocks are ranked only when they are asked for.
  const prunable = groups.filter((group) => group.prunable && group.kind !== 'block');
  const group = prunable.toSorted((a, b) => a.size - b.size)[0];

  await harness.check('Shapley values of one group: a bar for each unit', async () => {
    await editor.show('ranks');
    await editor.group(group.id).click();
    await editor.choose('Which groups', 'this group');
    await editor.choose('Method', 'Shapley');
    await editor.click('Rank');
    await until('all bars', async () => (await editor.bars()) === group.size, { timeout: 40_000 });
    await editor.jobEnds();
    await until('where the numbers come from', async () => /seed 0/.test(await read(editor.find('.run-note'))));
  });

  await harness.check('a long run shows partial values, stops within seconds and keeps what it has', async () => {
    await editor.choose('Which groups', 'all groups');
    await editor.choose('Evaluations per group', '50 000');
    await editor.choose('Stop when the ranking', 'no tolerance');
    await editor.click('Rank');
    await until('values while it runs', async () => (await editor.jobRunning()) && (await editor.bars()) > 0, {
      timeout: 40_000,
    });
    const pressed = performance.now();
    await editor.button('Stop').click();
    await editor.jobEnds(10_000);
    const seconds = (performance.now() - pressed) / 1000;
    assert.ok(seconds < 3, `stopping took ${seconds.toFixed(1)} s`);
    assert.match(await read(editor.find('.run-note')), /Stopped/);
  });

  await harness.check('whole layers are ranked against each other', async () => {
    await editor.choose('Which groups', 'whole layers');
    await editor.click('Rank');
    await until('a bar for each layer', async () => (await editor.find('.named-row').count()) === prunable.length);
    await editor.jobEnds(60_000);
    await editor.choose('Which groups', 'all groups');
    await until('the bars of units', async () => (await editor.bars()) > 0);
  });

  await harness.check('all groups are ranked', async () => {
    await editor.choose('Evaluations per group', '200 evaluations');
    await editor.choose('Stop when the ranking', '20');
    await editor.click('Rank');
    await editor.jobEnds(90_000);
    assert.match(await read(editor.find('.run-note')), new RegExp(`\\b${prunable.length} groups`));
    for (const { id, size } of prunable.slice(0, 3)) {
      await editor.group(id).click();
      await until(`bars of ${id}`, async () => (await editor.bars()) === size);
    }
  });
}
