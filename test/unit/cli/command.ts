/** Builds the command line and its engine once per run of the tests, aside from dist/, and runs it. */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import esbuild from 'esbuild';

export const root = resolve(import.meta.dirname, '../../..');
export const example = join(root, 'examples/digits');

let built: string | null = null;

/** Bundles as esbuild.mjs does; below node_modules, so that onnxruntime-node is found. */
export async function buildCommand(): Promise<void> {
  const outdir = join(root, 'node_modules/.cache', `secateur-test-${process.pid}`);
  mkdirSync(outdir, { recursive: true });
  const shared: esbuild.BuildOptions = {
    bundle: true,
    platform: 'node',
    target: 'node20',
    outdir,
    external: ['onnxruntime-node'],
    absWorkingDir: root,
  };
  const builds: esbuild.BuildOptions[] = [
    { ...shared, entryPoints: { engine: 'src/engine/main.ts' }, format: 'cjs', outExtension: { '.js': '.cjs' } },
    {
      ...shared,
      entryPoints: { cli: 'src/cli/main.ts' },
      format: 'esm',
      outExtension: { '.js': '.mjs' },
      banner: {
        js: "import { createRequire as __createRequire } from 'node:module';\nconst require = __createRequire(import.meta.url);",
      },
    },
  ];
  await Promise.all(builds.map((options) => esbuild.build(options)));
  built = outdir;
}

export function removeCommand(): void {
  if (built && existsSync(built)) rmSync(built, { recursive: true, force: true });
  built = null;
}

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs `secateur …args`; never throws. */
export function secateur(...args: string[]): Promise<Outcome> {
  return secateurWith({}, ...args);
}

/** The same with other environment variables. */
export function secateurWith(env: Record<string, string>, ...args: string[]): Promise<Outcome> {
  if (!built) throw new Error('buildCommand first');
  return new Promise((done) => {
    execFile(
      process.execPath,
      [join(built!, 'cli.mjs'), ...args],
      { maxBuffer: 64 << 20, cwd: root, env: { ...process.env, SECATEUR_CACHE: '', ...env } },
      (error, stdout, stderr) => {
        done({ code: error ? (typeof error.code === 'number' ? error.code : -1) : 0, stdout, stderr });
      },
    );
  });
}

/** Starts `secateur …args`, sends it an interrupt when `ready` says so of what it has printed on stderr, and waits. */
export function interrupted(ready: (stderr: string) => boolean, ...args: string[]): Promise<Outcome> {
  if (!built) throw new Error('buildCommand first');
  const env = { ...process.env, SECATEUR_CACHE: '' };
  const child = spawn(process.execPath, [join(built, 'cli.mjs'), ...args], { cwd: root, env });
  const outcome: Outcome = { code: -1, stdout: '', stderr: '' };
  let sent = false;
  child.stdout.on('data', (data: Buffer) => (outcome.stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => {
    outcome.stderr += data.toString();
    if (!sent && ready(outcome.stderr)) sent = child.kill('SIGINT');
  });
  return new Promise((done) => child.on('close', (code) => done({ ...outcome, code: code ?? -1 })));
}

/** The one line that a failure prints, without progress and notes. */
export function sentence({ stderr }: Outcome): string {
  return stderr
    .split('\n')
    .filter((line) => line.startsWith('secateur: '))
    .join('\n');
}
