/**
 * Installs a real VS Code for the end-to-end tests: code-server (server, web workbench and extension host of
 * Code - OSS), the node that it needs, and playwright-core. Everything comes from the npm registry, nothing is compiled
 * and no package's install script runs. `node test/host/setup.mjs`; does nothing when it is up to date.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const stamp = join(here, 'node_modules', '.secateur-host');

/** What an installation depends on; a stamp with the same digest means that it is complete. */
function digest() {
  const hash = createHash('sha256');
  for (const file of ['package-lock.json', 'shims/spdlog.js', 'setup.mjs']) hash.update(readFileSync(join(here, file)));
  return hash.digest('hex');
}

function npm(cwd, ...args) {
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];
  execFileSync(process.platform === 'win32' ? 'npm.cmd' : 'npm', ['ci', ...quiet, ...args], { cwd, stdio: 'inherit' });
}

function link(target, path) {
  rmSync(path, { force: true });
  symlinkSync(target, path);
}

/** Installs what is missing. @returns {boolean} whether anything had to be done */
export function setUpHost() {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(
      'The end-to-end tests run on Linux x64 only: that is what the pinned node of the test host is for.',
    );
  }
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest()) return false;
  npm(here);
  const vscode = join(here, 'node_modules', 'code-server', 'lib', 'vscode');
  // VS Code's own modules, pinned by the shrinkwrap that lies there. Without --legacy-peer-deps `npm ci` refuses it.
  npm(vscode, '--omit=dev', '--legacy-peer-deps');
  // The two native modules that matter and that come without binaries.
  copyFileSync(join(here, 'shims', 'spdlog.js'), join(vscode, 'node_modules', '@vscode', 'spdlog', 'index.js'));
  writeFileSync(
    join(vscode, 'node_modules', '@vscode', 'native-watchdog', 'index.js'),
    'exports.start = function () {};\n',
  );
  // The rest of what code-server's own install script does.
  link('code-linux.sh', join(vscode, 'bin', 'remote-cli', 'code-server'));
  link('browser-linux.sh', join(vscode, 'bin', 'helpers', 'browser.sh'));
  writeFileSync(stamp, digest());
  return true;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log(setUpHost() ? 'The test host is installed.' : 'The test host is up to date.');
}
