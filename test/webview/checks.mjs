/* global window, document, requestAnimationFrame, cancelAnimationFrame */
/** Drives the webview in the harness and asserts. `node test/webview/checks.mjs` */
import assert from 'node:assert/strict';
import { launch, startServer } from './server.mjs';

const server = await startServer();
const browser = await launch();
let failed = 0;

async function check(name, scene, run) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' });
  const page = await context.newPage();
  const trouble = [];
  page.on('console', (m) => m.type() === 'error' && trouble.push(m.text()));
  page.on('pageerror', (e) => trouble.push(e.stack));
  const query = new URLSearchParams({
    theme: 'dark',
    model: scene.model ?? 'resnet',
    flags: scene.flags ?? '',
    view: JSON.stringify(scene.view ?? {}),
  });
  try {
    await page.goto(`${server.url}?${query}`);
    await page.waitForSelector(scene.ready ?? '.view');
    await run(page);
    assert.deepEqual(trouble, []);
    console.log(`ok    ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAIL  ${name}\n${error.stack}`);
  }
  await context.close();
}

const sent = (page, method) =>
  page.evaluate((m) => window.__messages.filter((x) => x.method === m || x.kind === m), method);

/** Median and worst time between frames while `act` runs in the page. */
async function frames(page, act) {
  await page.evaluate(() => {
    window.__frames = [];
    let last = performance.now();
    const tick = (now) => {
      window.__frames.push(now - last);
      last = now;
      window.__raf = requestAnimationFrame(tick);
    };
    window.__raf = requestAnimationFrame(tick);
  });
  await act();
  const times = await page.evaluate(
    () => (cancelAnimationFrame(window.__raf), window.__frames.slice(2).sort((a, b) => a - b)),
  );
  return { median: times[times.length >> 1], p95: times[Math.floor(times.length * 0.95)], n: times.length };
}

await check('tabs, groups and locks by keyboard', { flags: 'ranked' }, async (page) => {
  await page.getByRole('tab', { name: 'Overview' }).focus();
  await page.keyboard.press('ArrowRight');
  await page.waitForSelector('.view.ranks');
  assert.equal(await page.getByRole('tab', { name: 'Ranks' }).getAttribute('aria-selected'), 'true');
  await page.locator('.gl-body').focus();
  await page.keyboard.press('ArrowDown');
  await page.waitForTimeout(60);
  assert.equal(await page.locator('.gl-row.selected').getAttribute('data-group'), 'b1.conv1');
  assert.match(await page.locator('.group-head h2').innerText(), /b1\.conv1/);
  await page.keyboard.press('l');
  await page.waitForTimeout(60);
  assert.equal(await page.locator('.gl-row.locked').getAttribute('data-group'), 'b1.conv1');
});

await check('rank, watch, stop', { view: { view: 'ranks' } }, async (page) => {
  await page.getByRole('button', { name: 'Rank', exact: true }).click();
  await page.waitForSelector('.bar-chart path.marks');
  await page.waitForFunction(() => document.querySelector('.job-share')?.textContent.includes('%'));
  await page.waitForTimeout(900);
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText(/Stopped\. What was computed by then is kept/).waitFor();
  assert.equal((await sent(page, 'cancel')).length, 1);
  const [{ params }] = await sent(page, 'rank');
  assert.equal(params.method, 'shapley');
  assert.equal(params.metric, 'cross-entropy');
  assert.equal(params.budget, 2000);
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByRole('button', { name: 'Save ranks…' }).waitFor();
  await page.getByRole('button', { name: 'Save ranks…' }).click();
  await page.getByText(/Saved to .*ranks\.json/).waitFor();
});

await check(
  'rank one group by another method',
  { view: { view: 'ranks', selectedGroup: 'b2.conv1' } },
  async (page) => {
    await page.getByRole('combobox', { name: 'Which groups' }).click();
    await page.getByRole('option', { name: 'this group' }).click();
    await page.getByRole('combobox', { name: 'Method' }).click();
    await page.getByRole('option', { name: 'weight magnitude (L1)' }).click();
    await page.waitForTimeout(60);
    assert.equal(await page.getByRole('combobox', { name: 'Value function' }).isVisible(), false);
    await page.getByRole('button', { name: 'Rank', exact: true }).click();
    await page.waitForFunction(
      () => !document.querySelector('.job:not([hidden])') && document.querySelector('.bar-chart path.marks'),
    );
    const [{ params }] = await sent(page, 'rank');
    assert.deepEqual(params.groups, ['b2.conv1']);
    assert.equal(params.method, 'magnitude');
    assert.equal(params.metric, undefined);
  },
);

await check(
  'slider, drag, measure, history, export, report',
  { flags: 'ranked', view: { view: 'prune' } },
  async (page) => {
    await page.waitForSelector('.curve circle.point', { timeout: 5000 });
    const slider = page.getByRole('slider', { name: 'Kept MACs' });
    await slider.focus();
    for (let i = 0; i < 20; i++) await page.keyboard.press('ArrowRight');
    await page.waitForTimeout(100);
    assert.match(await slider.getAttribute('aria-valuetext'), /of the MACs left/);
    const chart = page.getByRole('slider', { name: 'Cut line of b3.conv2' });
    const before = Number(await chart.getAttribute('aria-valuenow'));
    const box = await chart.boundingBox();
    await page.mouse.move(box.x + box.width * 0.7, box.y + 20);
    await page.mouse.down();
    for (let i = 0; i <= 20; i++) await page.mouse.move(box.x + box.width * (0.7 - i * 0.02), box.y + 20);
    await page.mouse.up();
    const after = Number(await chart.getAttribute('aria-valuenow'));
    assert.ok(after < before && Math.abs(after - 0.3 * 64) <= 1, `${before} → ${after}`);
    await page.getByText('Cut lines were moved by hand.').waitFor();
    await chart.focus();
    await page.keyboard.press('ArrowRight');
    await page.waitForTimeout(60);
    assert.equal(Number(await chart.getAttribute('aria-valuenow')), after + 1);
    await page.waitForFunction(() => document.querySelectorAll('.curve circle.point').length >= 2, null, {
      timeout: 5000,
    });
    assert.match(await page.locator('.live-value').innerText(), /%/);
    // An earlier point opens again.
    await page.locator('.curve').focus();
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('Enter');
    await page.waitForTimeout(1200);
    await page.getByRole('button', { name: 'Follow the slider again' }).click();
    await page.getByRole('button', { name: 'Prune & export…' }).click();
    await page.getByText('Exported and checked').waitFor();
    const [{ params }] = await sent(page, 'prune');
    assert.equal(params.out, '/home/mira/models/resnet8-digits.pruned.onnx');
    assert.equal(params.plan.format, 'secateur-plan/1');
    assert.equal(params.plan.target.kind, 'keep-macs');
    assert.equal(params.plan.groups.length, 6);
    assert.deepEqual(
      params.plan.groups.every((g) => g.keep.every((u, i) => i === 0 || g.keep[i - 1] < u)),
      true,
    );
    await page.getByText('max 3e−7', { exact: false }).waitFor();
    await page.getByRole('button', { name: 'Copy CLI command' }).click();
    await page.getByText(/Copied\. The plan is in/).waitFor();
    assert.equal(
      await page.evaluate(() => window.__copied),
      'secateur prune /home/mira/models/resnet8-digits.onnx --plan /home/mira/models/resnet8-digits.plan.json --data /home/mira/models/digits/calib.npz --seed 0 --metric accuracy --device cpu --out /home/mira/models/resnet8-digits.pruned.onnx',
    );
    await page.getByRole('button', { name: 'Open beside' }).click();
    await page.waitForTimeout(400);
    assert.equal((await sent(page, 'open-beside')).length, 1);
    assert.ok((await sent(page, 'save-state')).length > 0);
    await page.reload();
    await page.getByText('Exported and checked').waitFor();
    assert.equal(await page.getByRole('tab', { name: 'Prune' }).getAttribute('aria-selected'), 'true');
  },
);

await check('measuring cancels what came before', { flags: 'ranked', view: { view: 'prune' } }, async (page) => {
  const slider = page.getByRole('slider', { name: 'Kept MACs' });
  await slider.focus();
  for (let i = 0; i < 4; i++) {
    for (let k = 0; k < 12; k++) await page.keyboard.press('ArrowRight');
    await page.waitForTimeout(260);
  }
  const asked = (await sent(page, 'measure')).length;
  assert.ok(asked >= 3, String(asked));
  assert.ok((await sent(page, 'cancel')).length >= asked - 2);
});

await check('largest drop is searched by the engine', { flags: 'ranked', view: { view: 'prune' } }, async (page) => {
  await page.getByRole('radio', { name: 'Largest drop' }).click();
  await page.waitForFunction(() => window.__messages.some((m) => m.method === 'plan'));
  await page.waitForFunction(() =>
    [...document.querySelectorAll('.cut-kept')].some((e) => e.textContent === '45 of 64'),
  );
  const [{ params }] = await sent(page, 'plan');
  assert.deepEqual(params.target, { kind: 'max-drop', value: 0.01 });
  assert.equal(params.metric, 'accuracy');
  assert.equal('resume' in params.ranks, false);
});

await check('the engine dies and comes back', { flags: 'ranked,died', view: { view: 'prune' } }, async (page) => {
  await page.getByRole('button', { name: 'Restart engine' }).click();
  await page.waitForFunction(() => !document.querySelector('.banner'));
  assert.equal((await sent(page, 'restart-engine')).length, 1);
  await page.waitForSelector('.curve circle.point', { timeout: 5000 });
});

await check('a changed file reloads', { flags: 'stale' }, async (page) => {
  await page.getByRole('button', { name: 'Reload' }).click();
  await page.waitForFunction(() => !document.querySelector('.banner'));
  assert.equal((await sent(page, 'inspect')).length, 2);
});

await check('bad model: sentence, hint, retry', { flags: 'badmodel', ready: '.problem' }, async (page) => {
  await page.getByText('The file looks cut off.', { exact: false }).waitFor();
  await page.getByRole('button', { name: 'Retry' }).click();
  await page.waitForFunction(() => window.__messages.filter((m) => m.method === 'inspect').length === 2);
  await page.getByRole('button', { name: 'Show log' }).click();
});

await check('a table of 10 000 rows', { model: 'many' }, async (page) => {
  const body = page.locator('.layers-section .vt-body');
  await body.scrollIntoViewIfNeeded();
  assert.ok((await page.locator('.layers-section .vt-row').count()) < 60);
  await page.getByRole('button', { name: 'MACs', exact: true }).click();
  const times = await frames(page, async () => {
    for (let i = 0; i < 40; i++) {
      await body.evaluate((e, top) => (e.scrollTop = top), i * 5000);
      await page.waitForTimeout(16);
    }
  });
  console.log('      frames while scrolling', times);
  // Times depend on the machine and are only printed; what makes them short is that few rows are drawn.
  assert.ok((await page.locator('.layers-section .vt-row').count()) < 60);
  await page.locator('.layers-section .vt').focus();
  await page.keyboard.press('End');
  await page.waitForTimeout(60);
  assert.equal(await page.locator('.vt-row.active').getAttribute('aria-rowindex'), '10021');
});

for (const model of ['resnet', 'wide', 'many']) {
  await check(`dragging in the model ‘${model}’`, { model, flags: 'ranked', view: { view: 'prune' } }, async (page) => {
    await page.waitForSelector('.cut-chart svg path');
    const drag = async (target, from, to) => {
      const box = await target.boundingBox();
      await page.mouse.move(box.x + box.width * from, box.y + box.height / 2);
      await page.mouse.down();
      const times = await frames(page, async () => {
        for (let i = 0; i <= 60; i++) {
          await page.mouse.move(box.x + box.width * (from + ((to - from) * i) / 60), box.y + box.height / 2);
          await page.waitForTimeout(8);
        }
      });
      await page.mouse.up();
      return times;
    };
    const cost = () => page.locator('.live-cost').innerText();
    const before = await cost();
    const cut = await drag(page.locator('.cut-chart').first(), 0.5, 0.9);
    const between = await cost();
    const slider = await drag(page.locator('.slider'), 0.4, 0.9);
    console.log('      frames: cut line', cut, 'slider', slider);
    assert.notEqual(between, before);
    assert.notEqual(await cost(), between);
  });
}

await browser.close();
server.close();
process.exitCode = failed ? 1 : 0;
