/**
 * What `npm start` and `npm test` have in common: the packages are installed when they are missing or not those of the
 * lock file, and the bundles are built. Plain Node without packages: it runs before anything is installed.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const OLDEST_NODE = 20;

/** Set for every child: onnxruntime reads it from the real environment when it loads. */
export const env = { ...process.env, ORT_DISABLE_TELEMETRY: '1' };

/** A failure that is told in one sentence. */
export class Stop extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

export function checkNode() {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < OLDEST_NODE) {
    throw new Stop(
      `Secateur needs Node.js ${OLDEST_NODE} or newer; this is ${process.versions.node}. See https://nodejs.org.`,
    );
  }
}

/**
 * Runs a program to its end.
 * @param {string} command
 * @param {string[]} args
 * @param {{ capture?: boolean, tee?: boolean, env?: Record<string, string | undefined>, quiet?: boolean }} [options]
 *   capture: stdout comes back instead of being shown; tee: both; quiet: stdout and stderr come back together, unshown
 * @returns {Promise<{ code: number, stdout: string, seconds: number }>} code 127: the program could not be started
 */
export function run(command, args, options = {}) {
  const { capture = false, tee = false, quiet = false } = options;
  const started = performance.now();
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...env, ...options.env },
      stdio: ['ignore', capture || tee || quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'],
      shell: process.platform === 'win32' && !command.endsWith('.exe'),
    });
    let stdout = '';
    const take = (chunk) => {
      stdout += chunk;
      if (tee) process.stdout.write(chunk);
    };
    child.stdout?.setEncoding('utf8').on('data', take);
    child.stderr?.setEncoding('utf8').on('data', take);
    const end = (code) => resolve({ code, stdout, seconds: (performance.now() - started) / 1000 });
    child.on('error', () => end(127));
    child.on('close', (code, signal) => end(code ?? (signal ? 1 : 0)));
  });
}

/** Runs a script with this Node. */
export function node(script, args = [], options = {}) {
  return run(process.execPath, [script, ...args], options);
}

function npm(args, options) {
  // npm tells its scripts where it is; run directly, it is looked up on the PATH.
  const cli = process.env.npm_execpath;
  return cli && /npm-cli\.c?js$/.test(cli) ? node(cli, args, options) : run('npm', args, options);
}

/** Whether node_modules holds what package-lock.json asks for. npm keeps a record of what it installed beside it. */
export function isInstalled() {
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === '' || optional || installed[path]?.version === version,
  );
}

/** Installs the packages if need be. @returns seconds it took, 0 when nothing was to be done */
export async function install() {
  if (isInstalled()) return 0;
  console.log('Installing packages (npm ci); this takes about a minute the first time.');
  const { code, stdout, seconds } = await npm(
    ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
    {
      quiet: true,
    },
  );
  if (code !== 0) throw new Stop(`The packages could not be installed; npm said:\n${stdout.trim()}`);
  return seconds;
}

/** Bundles everything into dist/. */
export async function build() {
  const { code, stdout, seconds } = await node('esbuild.mjs', [], { quiet: true });
  if (code !== 0) throw new Stop(`The build failed:\n${stdout.trim()}`);
  return seconds;
}

/** Path of a program on the PATH, or null. */
export function which(name) {
  const endings = process.platform === 'win32' ? ['.exe', '.cmd', '.bat'] : [''];
  for (const folder of (process.env.PATH ?? '').split(delimiter).filter(Boolean)) {
    for (const ending of endings) {
      const path = join(folder, name + ending);
      if (existsSync(path)) return path;
    }
  }
  return null;
}

/** Runs a script's main function; what goes wrong is told in a sentence and an exit code, without a stack trace. */
export async function main(body) {
  try {
    process.exitCode = (await body()) ?? 0;
  } catch (thrown) {
    console.error(thrown instanceof Stop ? thrown.message : `Unexpected: ${thrown?.message ?? thrown}`);
    process.exitCode = thrown instanceof Stop ? thrown.exitCode : 1;
  }
}
