import { createServer } from 'node:http';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import esbuild from 'esbuild';
import { themes } from './themes.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = join(here, '../..');
const types = { '.js': 'text/javascript', '.css': 'text/css', '.ttf': 'font/ttf' };

/** Builds the webview and the stand-in, and serves pages with the extension's CSP. */
export async function startServer() {
  const folder = mkdtempSync(join(tmpdir(), 'secateur-webview-'));
  const common = { bundle: true, outdir: folder, absWorkingDir: root, logLevel: 'warning' };
  await esbuild.build({
    ...common,
    entryPoints: { webview: 'webview/main.ts', mock: 'test/webview/mock.mjs' },
    format: 'iife',
    target: 'es2022',
  });
  await esbuild.build({ ...common, entryPoints: { webview: 'webview/styles/main.css' }, loader: { '.ttf': 'file' } });
  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (url.pathname === '/') {
      const theme = themes[url.searchParams.get('theme') ?? 'dark'];
      const csp =
        "default-src 'none'; style-src 'self' 'nonce-vars'; font-src 'self'; script-src 'self'; img-src 'self'";
      const vars = Object.entries(theme.vars)
        .map(([k, v]) => `--vscode-${k}: ${v};`)
        .join('');
      response.setHeader('content-type', 'text/html; charset=utf-8');
      response.end(`<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="icon" href="/webview.css"><meta property="csp-nonce" content="vars"><meta http-equiv="Content-Security-Policy" content="${csp}">
<style nonce="vars">html{${vars}} html{scrollbar-color:var(--vscode-scrollbarSlider-background) var(--vscode-editor-background)} body{background:var(--vscode-editor-background)}</style>
<link rel="stylesheet" href="/webview.css"></head><body class="${theme.className}"><div id="app"></div><script src="/mock.js"></script><script src="/webview.js"></script></body></html>`);
      return;
    }
    try {
      const body = readFileSync(join(folder, url.pathname.replaceAll('..', '')));
      response.setHeader('content-type', types[extname(url.pathname)] ?? 'application/octet-stream');
      response.end(body);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () => {
      server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Chromium through playwright-core, from `PLAYWRIGHT` or the test host's folder. */
export async function launch() {
  const { createRequire } = await import('node:module');
  const bases = [process.env.PLAYWRIGHT, join(here, '../host')].filter(Boolean);
  for (const base of bases) {
    try {
      const { chromium } = createRequire(join(base, 'package.json'))('playwright-core');
      return await chromium.launch({
        executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
        args: ['--no-sandbox'],
      });
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  throw new Error('playwright-core was not found: run test/host/setup.mjs, or set PLAYWRIGHT to a folder that has it.');
}
