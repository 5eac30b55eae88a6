/**
 * Bundles a benchmark and runs it: `node bench/run.mjs [NAME] [arguments of the benchmark]`.
 * Without a name all of them run: analyse, dirichlet, estimators, evaluator, features, open-large, surgery, taylor.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import esbuild from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const benchmarks = ['analyse', 'dirichlet', 'estimators', 'evaluator', 'features', 'open-large', 'surgery', 'taylor'];
const [first, ...rest] = process.argv.slice(2);
const chosen = benchmarks.includes(first) ? [first] : benchmarks;
const args = benchmarks.includes(first) ? rest : process.argv.slice(2);

// Inside the repository, so that onnxruntime-node is found from there.
const cache = path.join(here, '..', 'node_modules', '.cache');
mkdirSync(cache, { recursive: true });
const folder = mkdtempSync(path.join(cache, 'bench-'));
let failed = false;
try {
  for (const name of chosen) {
    const outfile = path.join(folder, `${name}.mjs`);
    await esbuild.build({
      entryPoints: [path.join(here, `${name}.ts`)],
      outfile,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      external: ['onnxruntime-node'],
      logLevel: 'warning',
      banner: {
        js: "import { createRequire as secateurRequire } from 'node:module'; const require = secateurRequire(import.meta.url);",
      },
    });
    // onnxruntime reads its telemetry switch from the real environment.
    const env = { ...process.env, ORT_DISABLE_TELEMETRY: '1' };
    const { status } = spawnSync(process.execPath, ['--expose-gc', outfile, ...args], {
      stdio: 'inherit',
      env,
      cwd: path.dirname(here),
    });
    failed ||= status !== 0;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
