import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launch, startServer } from './server.mjs';

const out = process.env.OUT ?? join(fileURLToPath(new URL('.', import.meta.url)), '../artifacts/webview');
const wanted = process.argv.slice(2);

/** name, model, flags, state of the view, then what to do before the picture. */
const scenes = [
  ['overview', { view: { view: 'overview' } }],
  ['overview-many', { model: 'many', view: { view: 'overview' } }],
  ['overview-nothing', { model: 'nothing', flags: 'nodata', view: { view: 'overview' } }],
  ['overview-empty', { model: 'empty', flags: 'nodata', view: { view: 'overview' } }],
  ['ranks-empty', { view: { view: 'ranks' } }],
  ['ranks', { flags: 'ranked', view: { view: 'ranks', selectedGroup: 'b2.conv1' } }],
  [
    'ranks-running',
    {
      flags: 'hangs',
      view: { view: 'ranks', selectedGroup: 'b2.conv1' },
      act: async (p) => {
        await p.getByRole('button', { name: 'Rank', exact: true }).click();
        await p.waitForTimeout(1900);
      },
    },
  ],
  [
    'ranks-two',
    {
      flags: 'ranked,two',
      view: { view: 'ranks', selectedGroup: 'b3.conv1' },
      act: (p) => p.locator('.scatter').scrollIntoViewIfNeeded(),
    },
  ],
  ['ranks-layers', { flags: 'ranked,layers', view: { view: 'ranks', rankScope: 'layers' } }],
  ['ranks-nosignal', { flags: 'ranked,nosignal', view: { view: 'ranks', selectedGroup: 'b1.conv1' } }],
  ['ranks-wide', { model: 'wide', flags: 'ranked', view: { view: 'ranks', selectedGroup: 'up_projection' } }],
  ['ranks-tiny', { model: 'tiny', flags: 'ranked', view: { view: 'ranks', selectedGroup: 'conv' } }],
  ['ranks-many', { model: 'many', flags: 'ranked', view: { view: 'ranks' } }],
  [
    'ranks-table',
    {
      flags: 'ranked',
      view: { view: 'ranks', selectedGroup: 'b2.conv1' },
      act: async (p) => {
        await p.getByRole('checkbox', { name: 'Show as table' }).click();
        await p.waitForTimeout(100);
      },
    },
  ],
  [
    'ranks-fails',
    {
      flags: 'rankfails',
      view: { view: 'ranks' },
      act: async (p) => {
        await p.getByRole('button', { name: 'Rank', exact: true }).click();
        await p.waitForTimeout(200);
      },
    },
  ],
  [
    'ranks-hover',
    {
      flags: 'ranked',
      view: { view: 'ranks', selectedGroup: 'b2.conv1' },
      act: async (p) => {
        await p.locator('.bar-chart').focus();
        for (let i = 0; i < 9; i++) await p.keyboard.press('ArrowRight');
      },
    },
  ],
  [
    'ranks-menu',
    {
      flags: 'ranked',
      view: { view: 'ranks', selectedGroup: 'b2.conv1' },
      act: async (p) => {
        await p.getByRole('combobox', { name: 'Method' }).click();
        await p.waitForTimeout(100);
      },
    },
  ],
  ['features-empty', { view: { view: 'features' } }],
  ...['patches', 'columns', 'shapley', 'tokens', 'rows', 'pixels', 'compared', 'each'].map((features) => [
    `features-${features}`,
    { features, view: { view: 'features' } },
  ]),
  [
    'features-running',
    {
      flags: 'hangs',
      view: { view: 'features' },
      act: async (p) => {
        await p.getByRole('button', { name: 'Explain', exact: true }).click();
        await p.waitForTimeout(700);
      },
    },
  ],
  ['prune-empty', { view: { view: 'prune' } }],
  ['prune', { flags: 'ranked', view: { view: 'prune', selectedGroup: 'b2.conv1', frozen: ['stem'] }, wait: 900 }],
  ['prune-measuring', { flags: 'ranked,hangs', view: { view: 'prune' }, wait: 700 }],
  [
    'prune-curve',
    {
      flags: 'ranked',
      view: { view: 'prune', frozen: ['stem'] },
      act: async (p) => {
        await p.getByRole('button', { name: 'Measure the curve' }).click();
        await p.waitForTimeout(6500);
      },
    },
  ],
  [
    'prune-report',
    {
      flags: 'ranked',
      view: { view: 'prune', frozen: ['stem'] },
      act: async (p) => {
        await p.waitForTimeout(900);
        await p.getByRole('button', { name: 'Prune & export…' }).click();
        await p.waitForTimeout(1600);
      },
    },
  ],
  ['prune-wide', { model: 'wide', flags: 'ranked', view: { view: 'prune' }, wait: 900 }],
  ['prune-many', { model: 'many', flags: 'ranked', view: { view: 'prune' }, wait: 1200 }],
  [
    'prune-fails',
    {
      flags: 'ranked,measurefails,prunefails',
      view: { view: 'prune' },
      act: async (p) => {
        await p.waitForTimeout(500);
        await p.getByRole('button', { name: 'Prune & export…' }).click();
        await p.waitForTimeout(1300);
      },
    },
  ],
  [
    'prune-drop',
    {
      flags: 'ranked',
      view: { view: 'prune' },
      act: async (p) => {
        await p.getByRole('radio', { name: 'Largest drop' }).click();
        await p.waitForTimeout(1600);
      },
    },
  ],
  ['prune-nothing', { model: 'nothing', view: { view: 'prune' } }],
  ['state-loading', { flags: 'slow', wait: 900 }],
  ['state-badmodel', { flags: 'badmodel' }],
  ['state-baddata', { flags: 'baddata' }],
  ['state-nodata', { flags: 'nodata,ranked', view: { view: 'ranks' } }],
  ['state-died', { flags: 'ranked,died', view: { view: 'prune' }, wait: 1200 }],
  ['state-stale', { flags: 'ranked,stale', wait: 600 }],
];

const sizes = { '': [1280, 800], '-editor': [1030, 760], '-narrow': [400, 860], '-huge': [2000, 1000] };
const server = await startServer();
const browser = await launch();
mkdirSync(out, { recursive: true });
let problems = 0;
for (const theme of ['dark', 'light', 'contrast']) {
  for (const [name, scene] of scenes) {
    for (const [suffix, [width, height]] of Object.entries(sizes)) {
      if (suffix && theme !== 'dark' && !wanted.length) continue;
      const title = `${name}${suffix}-${theme}`;
      if (!wanted.every((w) => `${title}-`.includes(w))) continue;
      if (
        !wanted.length &&
        suffix &&
        !['overview', 'ranks', 'prune', 'prune-report', 'features-patches', 'overview-many', 'state-died'].includes(
          name,
        )
      )
        continue;
      const page = await browser.newPage({ viewport: { width, height }, reducedMotion: 'reduce' });
      page.on(
        'console',
        (m) => ['error', 'warning'].includes(m.type()) && (problems++, console.log(`${title}: ${m.text()}`)),
      );
      page.on('pageerror', (e) => (problems++, console.log(`${title}: ${e.stack}`)));
      const query = new URLSearchParams({
        theme,
        model: scene.model ?? 'resnet',
        flags: scene.flags ?? '',
        features: scene.features ?? '',
        view: JSON.stringify(scene.view ?? {}),
      });
      await page.goto(`${server.url}?${query}`);
      await page.waitForTimeout(scene.wait ?? 400);
      await scene.act?.(page).catch((e) => (problems++, console.log(`${title}: ${e.message}`)));
      await page.screenshot({ path: join(out, `${title}.png`) });
      await page.close();
    }
  }
}
await browser.close();
server.close();
console.log(`${problems} problems; pictures in ${out}`);
process.exitCode = problems ? 1 : 0;
