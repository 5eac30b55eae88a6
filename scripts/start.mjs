/**
 * `npm start`: sets up what is missing, then does the main job on the shipped example with the command line: inspect,
 * rank by Shapley value, prune to the smallest model that loses at most one point of accuracy, export, check.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { Stop, build, checkNode, install, main, node, root, run, which } from './setup.mjs';

const example = 'examples/digits';
const model = `${example}/model.onnx`;
const data = ['--data', `${example}/calib.npz`, '--holdout', `${example}/heldout.npz`];
const ranks = 'out/digits.ranks.json';
const small = 'out/digits-small.onnx';
const plan = 'out/digits-small.plan.json';
const report = 'out/digits-small.report.json';

function title(text) {
  const bold = process.stdout.isTTY && !process.env.NO_COLOR;
  console.log(bold ? `\n\u001b[1m${text}\u001b[0m` : `\n${text}`);
}

/** Runs a command of the command line; its progress bar is shown. */
async function secateur(args, { json = false } = {}) {
  const { code, stdout } = await node(join('dist', 'cli.mjs'), json ? [...args, '--json'] : args, { capture: json });
  if (code !== 0) throw new Stop(`secateur ${args[0]} did not succeed; see the line above.`, code);
  return json ? JSON.parse(stdout) : undefined;
}

function thousands(n) {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

async function start() {
  checkNode();
  await install();
  await build();
  mkdirSync(join(root, 'out'), { recursive: true });
  for (const file of [ranks, small, plan, report]) rmSync(join(root, file), { force: true });
  const started = performance.now();

  title(`1. Inspect ${model}`);
  const { totals, groups } = await secateur(['inspect', model], { json: true });
  const prunable = groups.filter((g) => g.prunable);
  console.log(`${thousands(totals.parameters)} parameters, ${thousands(totals.macs)} MACs, ${totals.nodes} nodes.`);
  console.log(`${prunable.length} groups of units can be pruned:`);
  const width = Math.max(...prunable.map((g) => g.id.length));
  for (const g of prunable)
    console.log(`  ${g.id.padEnd(width)}  ${String(g.size).padStart(3)} ${g.kind}s, made by ${g.layers.join(', ')}`);

  title('2. Rank the units by Shapley value');
  const ranked = await secateur(
    ['rank', model, ...data, '--method', 'shapley', '--metric', 'accuracy', '--seed', '1', '--out', ranks],
    { json: true },
  );
  for (const g of ranked.groups) {
    const order = [...g.units].sort((a, b) => b.score - a.score);
    const show = (u) => `${u.index} (${u.score.toFixed(3)})`;
    console.log(
      `  ${g.id.padEnd(width)}  most important ${order.slice(0, 3).map(show).join(', ')}; least ${show(order.at(-1))}; ${thousands(g.evaluations)} evaluations`,
    );
  }

  title('3. Prune to the smallest model that loses at most one point of accuracy, export, check');
  await secateur([
    'prune',
    model,
    '--ranks',
    ranks,
    ...data,
    '--metric',
    'accuracy',
    '--max-drop',
    '0.01',
    // Kernels work on eight channels at a time: other widths are smaller, but not faster.
    '--round-to',
    '8',
    '--seed',
    '1',
    '--out',
    small,
    '--save-plan',
    plan,
    '--save-report',
    report,
  ]);

  title(`Done in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  console.log('Written:');
  for (const file of [small, ranks, plan, report]) console.log(`  ${file}`);
  await openInEditor();
}

/** Opens the result in VS Code where there is one and someone is looking; says how to in any case. */
async function openInEditor() {
  const code = which('code');
  console.log('\nTo see it in VS Code:');
  console.log('  npm run package, then: code --install-extension secateur-*.vsix');
  console.log(`  code ${small}`);
  if (code && process.stdout.isTTY) {
    const { code: failed } = await run(code, [relative(process.cwd(), join(root, small))], { quiet: true });
    console.log(failed ? 'VS Code is here but did not open it.' : 'Opened it in VS Code.');
  }
}

await main(start);
