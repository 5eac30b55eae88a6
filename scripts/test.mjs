/**
 * `npm test`: sets up everything in a fresh clone, then builds, lints, checks formatting and types, and runs the unit
 * tests, ranks on WebGPU, the tests of the views in a browser and the end-to-end test in a real VS Code. The last line is
 * `N passed, N failed` (`, N skipped` where some were).
 *
 *     npm test                    everything
 *     npm test -- unit types      only these steps: build lint format types unit webgpu webview e2e
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Stop, build, checkNode, install, main, node, root, run, which } from './setup.mjs';

const bin = (name) => join('node_modules', name);
const total = { passed: 0, failed: 0, skipped: 0 };
const rows = [];

/** Lint, format and types have no tests to count: they count only when they fail. */
async function checkStep(commands) {
  for (const [script, args] of commands) {
    const { code } = await node(script, args);
    if (code !== 0) return { passed: 0, failed: 1, skipped: 0 };
  }
  return { passed: 0, failed: 0, skipped: 0 };
}

async function unit() {
  const file = join('test', 'artifacts', 'unit.json');
  mkdirSync(join(root, 'test', 'artifacts'), { recursive: true });
  rmSync(join(root, file), { force: true });
  const { code } = await node(bin('vitest/vitest.mjs'), [
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${file}`,
  ]);
  const counts = { passed: 0, failed: 0, skipped: 0 };
  if (existsSync(join(root, file))) {
    const result = JSON.parse(readFileSync(join(root, file), 'utf8'));
    counts.passed = result.numPassedTests;
    counts.failed = result.numFailedTests;
    counts.skipped = result.numPendingTests + result.numTodoTests;
  }
  // A file that does not load, or an error outside of a test.
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

/** Path of Chromium for the end-to-end test: what is there, else installed with apt-get where that is possible. */
async function findChromium() {
  const found = () =>
    process.env.SECATEUR_CHROMIUM ?? ['chromium', 'chromium-browser', 'google-chrome'].map(which).find(Boolean);
  if (found()) return found();
  if (process.getuid?.() !== 0 || !which('apt-get')) return undefined;
  await aptInstall('chromium');
  return found();
}

async function aptInstall(name) {
  console.log(`Installing ${name} with apt-get.`);
  const quiet = { quiet: true, env: { DEBIAN_FRONTEND: 'noninteractive' } };
  await run('apt-get', ['update', '-qq'], quiet);
  const { code, stdout } = await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', name], quiet);
  if (code !== 0) console.log(stdout.trim().split('\n').slice(-5).join('\n'));
}

/** Runs a script that needs a browser and the test host. @param count reads the numbers of tests from what it printed */
async function inBrowser(script, count) {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    console.log('SKIPPED: the tests in a browser run on Linux x64 only.');
    return { passed: 0, failed: 0, skipped: 1 };
  }
  const chromium = await findChromium();
  if (!chromium) {
    console.log('FAILED: this test needs Chromium. Install it (apt-get install chromium) and run npm test again.');
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const host = await node(join('test', 'host', 'setup.mjs'), [], { tee: true });
  if (host.code !== 0) return { passed: 0, failed: 1, skipped: 0 };
  const env = { SECATEUR_CHROMIUM: chromium, CHROMIUM: chromium };
  const { code, stdout } = await node(script, [], { tee: true, env });
  const counts = count(stdout);
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

/** Numbers of lines that begin with `ok`, `FAIL`, `skip`. */
function countLines(stdout) {
  const count = (word) => stdout.match(new RegExp(`^${word} {2,}`, 'gm'))?.length ?? 0;
  return { passed: count('ok'), failed: count('FAIL'), skipped: count('skip') };
}

/** The views in a plain page, with a stand-in for VS Code. */
function webview() {
  return inBrowser(join('test', 'webview', 'checks.mjs'), countLines);
}

/** WebGPU on Chromium's software renderer, which needs the loader of Vulkan. */
async function webgpu() {
  await findChromium();
  const loader = () => existsSync('/usr/lib/x86_64-linux-gnu/libvulkan.so.1');
  if (!loader() && process.getuid?.() === 0 && which('apt-get')) await aptInstall('libvulkan1');
  const { code, stdout } = await node(join('test', 'webgpu', 'ranks.mjs'), [], { tee: true });
  const counts = countLines(stdout);
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

/** The packaged extension in a real VS Code. */
function e2e() {
  return inBrowser(join('test', 'e2e', 'run.mjs'), (stdout) => {
    const last = [...stdout.matchAll(/^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/gm)].at(-1);
    return last
      ? { passed: Number(last[1]), failed: Number(last[2]), skipped: Number(last[3] ?? 0) }
      : { passed: 0, failed: 1, skipped: 0 };
  });
}

const steps = {
  build: async () => {
    await build();
    return { passed: 0, failed: 0, skipped: 0 };
  },
  lint: () => checkStep([[bin('eslint/bin/eslint.js'), ['.']]]),
  format: () => checkStep([[bin('prettier/bin/prettier.cjs'), ['--check', '--log-level=warn', '.']]]),
  types: () =>
    checkStep([
      [bin('typescript/bin/tsc'), ['--noEmit', '-p', '.']],
      [bin('typescript/bin/tsc'), ['--noEmit', '-p', 'webview']],
    ]),
  unit,
  webgpu,
  webview,
  e2e,
};

async function test() {
  checkNode();
  const wanted = process.argv.slice(2);
  const unknown = wanted.filter((name) => !(name in steps));
  if (unknown.length > 0)
    throw new Stop(`There is no step ${unknown.join(', ')}; there are ${Object.keys(steps).join(', ')}.`, 2);
  await install();
  for (const [name, step] of Object.entries(steps)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    console.log(`\n== ${name}`);
    const started = performance.now();
    let counts;
    try {
      counts = await step();
    } catch (thrown) {
      console.log(thrown?.message ?? thrown);
      counts = { passed: 0, failed: 1, skipped: 0 };
    }
    for (const key of Object.keys(total)) total[key] += counts[key];
    rows.push([name, counts, (performance.now() - started) / 1000]);
    if (name === 'build' && counts.failed > 0) break; // nothing else makes sense
  }
  console.log('\n== summary');
  for (const [name, { passed, failed, skipped }, seconds] of rows) {
    const counted =
      passed + skipped > 0 || failed > 1
        ? `, ${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`
        : '';
    console.log(`${failed ? 'FAILED' : 'ok    '} ${name.padEnd(7)} ${seconds.toFixed(0).padStart(4)} s${counted}`);
  }
  console.log(`${total.passed} passed, ${total.failed} failed${total.skipped ? `, ${total.skipped} skipped` : ''}`);
  return total.failed > 0 ? 1 : 0;
}

await main(test);
