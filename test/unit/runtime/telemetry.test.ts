import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const repository = resolve(import.meta.dirname, '../../..');
let folder: string;
let script: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'secateur-telemetry-'));
  script = join(folder, 'run.cjs');
  symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'), 'junction');
  await build({
    stdin: {
      contents: `
        import { createSession } from './src/runtime/session.ts';
        import { SMALL, trialModel } from './src/runtime/trial.ts';
        createSession(trialModel(SMALL)).then(async (session) => {
          const data = new Float32Array(512);
          const { y } = await session.run({ x: { type: 'float32', dims: [1, 8, 8, 8], data } });
          console.log('ran', y.dims.join());
          await session.release();
        }, (error) => { console.log(error.code, error.message); process.exitCode = 1; });`,
      resolveDir: repository,
      loader: 'ts',
    },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    external: ['onnxruntime-node'],
    outfile: script,
    logLevel: 'silent',
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a script as a user's fresh machine would: an empty home, no CI variable. */
function runFresh(telemetry: string | undefined) {
  const home = mkdtempSync(join(folder, 'home-'));
  const env: NodeJS.ProcessEnv = { ...process.env, HOME: home, USERPROFILE: home, LOCALAPPDATA: home };
  for (const name of Object.keys(env)) if (/^(CI|TF_BUILD|GITHUB_ACTIONS|XDG_.*)$/.test(name)) delete env[name];
  if (telemetry === undefined) delete env.ORT_DISABLE_TELEMETRY;
  else env.ORT_DISABLE_TELEMETRY = telemetry;
  const result = spawnSync(process.execPath, [script], { env, cwd: home, encoding: 'utf8', timeout: 50_000 });
  return { result, written: readdirSync(home, { recursive: true }) as string[] };
}

describe('telemetry of the runtime', () => {
  test('a session leaves nothing behind in a fresh home', () => {
    const { result, written } = runFresh('1');
    expect(result.stdout).toBe('ran 1,10\n');
    expect(written.filter((name) => name.includes('.onnxruntime'))).toEqual([]);
    expect(result.stderr).toBe('');
  });

  test('the runtime is not even loaded while its telemetry is on', () => {
    const { result, written } = runFresh(undefined);
    expect(result.status).toBe(1);
    expect(result.stdout).toBe('internal onnxruntime must not be loaded while its telemetry is on.\n');
    expect(written).toEqual([]);
  });
});
