/**
 * The end-to-end test: `npm run e2e [-- --link] [--keep] [--steps open,rank,…]`.
 * Packages the extension, installs it in a real VS Code with a fresh home, and does in Chromium what a user does.
 * --link   uses this folder as it was last built instead of a package (quicker while developing)
 * --keep   leaves the home of the test host behind
 * --steps  runs only these, in the order of the table below (later ones need what earlier ones made)
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setUpHost } from '../host/setup.mjs';
import { VsCodeHost, playwright } from '../host/vscode-host.mjs';
import { Harness, until } from './harness.mjs';
import { Editor } from './editor.mjs';
import { enginesOf } from './processes.mjs';
import { secateurAt } from './verify.mjs';
import { Workbench } from './workbench.mjs';
import { openModel } from './steps/open.mjs';
import { rankUnits } from './steps/rank.mjs';
import { pruneModel } from './steps/prune.mjs';
import { explainFeatures } from './steps/features.mjs';
import { keepState } from './steps/state.mjs';
import { surviveTrouble } from './steps/trouble.mjs';
import { showThemes } from './steps/themes.mjs';
import { leaveNothing } from './steps/privacy.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const artifacts = join(root, 'test', 'artifacts', 'e2e');
const { values: options } = parseArgs({
  options: { link: { type: 'boolean' }, keep: { type: 'boolean' }, steps: { type: 'string' } },
});

const STEPS = {
  open: openModel,
  rank: rankUnits,
  prune: pruneModel,
  state: keepState,
  features: explainFeatures,
  trouble: surviveTrouble,
  privacy: leaveNothing,
  themes: showThemes,
};

/** A workspace as a user has it: the example in a folder, beside files that are no models. */
function makeWorkspace(home) {
  const workspace = join(home, 'workspace');
  const digits = join(workspace, 'examples', 'digits');
  mkdirSync(digits, { recursive: true });
  cpSync(join(root, 'examples', 'digits'), digits, { recursive: true });
  writeFileSync(join(workspace, 'notes.txt'), 'Some text.\n');
  // Begins like a model and goes on like noise.
  const noise = Buffer.alloc(4096, 0).map((_, i) => (i * 7919 + 13) % 251);
  writeFileSync(join(workspace, 'broken.onnx'), Buffer.concat([Buffer.from([0x08, 0x08, 0x3a, 0xff, 0x7f]), noise]));
  return { workspace, digits, model: join(digits, 'model.onnx') };
}

function packageOnce(home) {
  const vsix = join(home, 'secateur.vsix');
  execFileSync(process.execPath, [join(root, 'scripts', 'package.mjs'), '--out', vsix], { cwd: root, stdio: 'pipe' });
  copyFileSync(vsix, join(artifacts, 'secateur.vsix'));
  return vsix;
}

rmSync(artifacts, { recursive: true, force: true });
const harness = new Harness(artifacts);
const home = mkdtempSync(join(tmpdir(), 'secateur-e2e-'));
const host = new VsCodeHost(home);
const place = makeWorkspace(home);
let workbench;
harness.evidence = async () => ({
  png: await workbench?.page.screenshot(),
  log: `${host.log('Secateur')}\n--- console\n${workbench?.console.join('\n') ?? ''}\n--- host\n${host.text}`,
});

try {
  await harness.check('the test host is set up', () => void setUpHost());
  const installed = await harness.check('the package installs in VS Code', async () => {
    if (options.link) symlinkSync(root, join(home, 'extensions', 'secateur.secateur-0.1.0'));
    else {
      const said = await host.install(packageOnce(home));
      if (!/successfully installed/.test(said)) throw new Error(said);
    }
  });
  if (installed) {
    await harness.check('the command line in the package works', async () => {
      const extensions = join(home, 'extensions');
      const folder = readdirSync(extensions).find((name) => name.startsWith('secateur.secateur'));
      const { totals } = await secateurAt(join(extensions, folder, 'dist', 'cli.mjs'), 'inspect', place.model);
      if (!(totals.macs > 0)) throw new Error('no totals');
    });
    // A small budget, and no early stop, so that runs are short but can be interrupted.
    host.setSettings({ 'secateur.budget': 200, 'secateur.tolerance': 0.2 });
    await host.start();
    workbench = await Workbench.open(playwright().chromium, host.url(place.workspace));
    const editor = new Editor(workbench);
    const test = { harness, host, workbench, editor, artifacts, home, root, ...place };
    const wanted = options.steps?.split(',') ?? Object.keys(STEPS);
    for (const [name, step] of Object.entries(STEPS)) if (wanted.includes(name)) await step(test);
  }
} catch (error) {
  await harness.check('the test runs to its end', () => {
    throw error;
  });
} finally {
  await workbench?.close().catch(() => undefined);
  await host.stop();
  await harness.check('no engine outlives the editor', () =>
    until('all engines end', () => enginesOf(home).length === 0),
  );
  if (options.keep) console.log(`# kept ${home}`);
  else rmSync(home, { recursive: true, force: true });
}
process.exitCode = harness.summary() ? 0 : 1;
